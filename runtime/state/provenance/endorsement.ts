/**
 * An endorsement: the identity key's word for the keys of each purpose,
 * `[9, member, gateway, serial, time, [sample, log, witness, tls]]` in a COSE_Sign1. The agreement pins one; a
 * later one of a higher serial takes its place.
 */
import { createVerifier, type Signer } from '#ed25519';
import { decodeCbor, decodeError, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { createSign1Signer, keyIdOf, parseSign1, verifySign1 } from '../../core/encoding/cose.ts';
import { byteString, fieldsOf, safeInteger, text } from '../../core/encoding/fields.ts';
import { KIND } from '../../core/encoding/kind.ts';
import { checkPublicKey } from './keys.ts';
import { PURPOSES, type Purpose } from './purposes.ts';

/** The public keys that an identity vouches for. */
export interface Endorsement {
  readonly member: string;
  readonly gateway: string;
  /** 0 at the first; the highest is in force. */
  readonly serial: number;
  /** When it was made, milliseconds since 1970, by the gateway's own clock. */
  readonly time: number;
  readonly publicKeys: Readonly<Record<Purpose, Uint8Array>>;
  /** The COSE_Sign1 that says all this. */
  readonly statement: Uint8Array;
}

/** Whose public keys are endorsed, and with which identity. */
export type EndorsedKeys = Readonly<Record<Purpose, { readonly publicKey: Uint8Array }>> & {
  readonly identity: Signer;
};

/** The endorsement of a gateway's own keys; `serial` is one more than that of the last. */
export function endorse(
  keys: EndorsedKeys,
  member: string,
  gateway: string,
  time: number,
  serial = 0,
): Uint8Array {
  const publicKeys = PURPOSES.map((purpose) => keys[purpose].publicKey);
  return createSign1Signer(keys.identity).sign(
    encodeCbor([KIND.endorsement, member, gateway, serial, time, publicKeys]),
  );
}

/**
 * The endorsement in `bytes`, checked against the identity key.
 * @throws Error when it is malformed, not that identity's, or names an unfit key.
 */
export function openEndorsement(bytes: Uint8Array, identity: Uint8Array): Endorsement {
  checkPublicKey(identity, 'identity key');
  const message = parseSign1(bytes);
  if (!equalBytes(message.keyId, keyIdOf(identity)) || !verifySign1(message, createVerifier(identity))) {
    throw decodeError('endorsement: not signed by the identity key');
  }
  const fields = fieldsOf(decodeCbor(message.payload), 6, 'endorsement');
  if (fields[0] !== KIND.endorsement) throw decodeError('endorsement: not of its kind');
  const keys = fieldsOf(fields[5], PURPOSES.length, 'endorsement: keys');
  const keyFor = (purpose: Purpose): Uint8Array => {
    const key = byteString(keys[PURPOSES.indexOf(purpose)], `endorsement: ${purpose} key`, 32);
    checkPublicKey(key, `endorsement: ${purpose} key`);
    return key;
  };
  return {
    member: text(fields[1], 'endorsement: member'),
    gateway: text(fields[2], 'endorsement: gateway'),
    serial: safeInteger(fields[3], 'endorsement: serial'),
    time: safeInteger(fields[4], 'endorsement: time'),
    publicKeys: {
      sample: keyFor('sample'),
      log: keyFor('log'),
      witness: keyFor('witness'),
      tls: keyFor('tls'),
    },
    statement: bytes,
  };
}

/** Whether two endorsements name the same key for every purpose. */
export function namesSameKeys(a: Endorsement, b: Endorsement): boolean {
  return PURPOSES.every((purpose) => equalBytes(a.publicKeys[purpose], b.publicKeys[purpose]));
}
