/**
 * An endorsement: the identity key's word for the keys of each purpose,
 * `[9, member, gateway, time, [sample, log, witness, tls]]` in a COSE_Sign1.
 */
import { createVerifier, type Signer } from '#ed25519';
import { decodeCbor, decodeError, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { createSign1Signer, keyIdOf, parseSign1, verifySign1 } from '../../core/encoding/cose.ts';
import { byteString, fieldsOf, safeInteger, text } from '../../core/encoding/fields.ts';
import { KIND } from '../../core/encoding/kind.ts';
import { checkPublicKey, type GatewayKeys, PURPOSES, type Purpose } from './keys.ts';

/** The public keys that an identity vouches for. */
export interface Endorsement {
  readonly member: string;
  readonly gateway: string;
  /** When it was made, milliseconds since 1970. */
  readonly time: number;
  readonly publicKeys: Readonly<Record<Purpose, Uint8Array>>;
}

/** The endorsement of a gateway's own keys. */
export function endorse(keys: GatewayKeys, member: string, gateway: string, time: number): Uint8Array {
  const payload = encodeCbor([
    KIND.endorsement,
    member,
    gateway,
    time,
    PURPOSES.map((purpose): Uint8Array => (keys[purpose] satisfies Signer).publicKey),
  ]);
  return createSign1Signer(keys.identity).sign(payload);
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
  const fields = fieldsOf(decodeCbor(message.payload), 5, 'endorsement');
  if (fields[0] !== KIND.endorsement) throw decodeError('endorsement: not of its kind');
  const keys = fieldsOf(fields[4], PURPOSES.length, 'endorsement: keys');
  const keyFor = (purpose: Purpose): Uint8Array => {
    const key = byteString(keys[PURPOSES.indexOf(purpose)], `endorsement: ${purpose} key`, 32);
    checkPublicKey(key, `endorsement: ${purpose} key`);
    return key;
  };
  return {
    member: text(fields[1], 'endorsement: member'),
    gateway: text(fields[2], 'endorsement: gateway'),
    time: safeInteger(fields[3], 'endorsement: time'),
    publicKeys: {
      sample: keyFor('sample'),
      log: keyFor('log'),
      witness: keyFor('witness'),
      tls: keyFor('tls'),
    },
  };
}
