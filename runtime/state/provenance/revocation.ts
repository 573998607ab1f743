/**
 * A revocation: `[15, member, gateway, purpose index, key, time, reason]` in a COSE_Sign1 of the gateway's
 * identity key or of the member's key. The index is that of REVOCABLE. Revoking the identity key revokes every
 * key that it ever endorses, so that whoever stole it cannot go on with keys of his own.
 */
import { createVerifier, type Signer } from '#ed25519';
import { decodeCbor, decodeError, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { createSign1Signer, keyIdOf, parseSign1, verifySign1 } from '../../core/encoding/cose.ts';
import { byteString, fieldsOf, safeInteger, text } from '../../core/encoding/fields.ts';
import { KIND } from '../../core/encoding/kind.ts';
import { type KeyName, REVOCABLE } from './purposes.ts';

/** The longest reason, in characters. */
export const MAX_REASON = 200;

export interface Revocation {
  readonly member: string;
  readonly gateway: string;
  readonly purpose: KeyName;
  /** The public key that counts no more. */
  readonly key: Uint8Array;
  /** From when on, milliseconds since 1970. */
  readonly time: number;
  readonly reason: string;
  /** Who said it. The member's word counts before that of an identity, which may be in a thief's hands. */
  readonly by: 'identity' | 'member';
  /** The COSE_Sign1 that says all this. */
  readonly statement: Uint8Array;
}

/** Whose word is taken. */
export interface RevokingKeys {
  readonly identity: Uint8Array;
  readonly memberKey: Uint8Array;
}

/** The statement that revokes a key. @throws RangeError when the reason is too long or the time is none. */
export function revoke(
  signer: Signer,
  { member, gateway, purpose, key, time, reason }: Omit<Revocation, 'by' | 'statement'>,
): Uint8Array {
  if (reason.length > MAX_REASON)
    throw new RangeError(`a reason has at most ${MAX_REASON} characters, not ${reason.length}`);
  if (!Number.isSafeInteger(time) || time < 0)
    throw new RangeError(`${time} is no time in milliseconds since 1970`);
  return createSign1Signer(signer).sign(
    encodeCbor([KIND.revocation, member, gateway, REVOCABLE.indexOf(purpose), key, time, reason]),
  );
}

/**
 * The revocation in `bytes`, checked against the keys that may say it.
 * @throws Error when it is malformed or signed by neither.
 */
export function openRevocation(bytes: Uint8Array, { identity, memberKey }: RevokingKeys): Revocation {
  const message = parseSign1(bytes);
  const by = equalBytes(message.keyId, keyIdOf(memberKey)) ? 'member' : 'identity';
  const key = by === 'member' ? memberKey : identity;
  if (!equalBytes(message.keyId, keyIdOf(key)) || !verifySign1(message, createVerifier(key))) {
    throw decodeError("revocation: signed neither by the gateway's identity key nor by its member's key");
  }
  const fields = fieldsOf(decodeCbor(message.payload), 7, 'revocation');
  if (fields[0] !== KIND.revocation) throw decodeError('revocation: not of its kind');
  const purpose = REVOCABLE[safeInteger(fields[3], 'revocation: purpose')];
  if (purpose === undefined) throw decodeError('revocation: its purpose is unknown');
  const reason = text(fields[6], 'revocation: reason');
  if (reason.length > MAX_REASON) throw decodeError(`revocation: a reason of ${reason.length} characters`);
  const revoked = byteString(fields[4], 'revocation: key', 32);
  if (purpose === 'identity' && !equalBytes(revoked, identity)) {
    throw decodeError("revocation: names another identity key than the gateway's");
  }
  return {
    member: text(fields[1], 'revocation: member'),
    gateway: text(fields[2], 'revocation: gateway'),
    purpose,
    key: revoked,
    time: safeInteger(fields[5], 'revocation: time'),
    reason,
    by,
    statement: bytes,
  };
}
