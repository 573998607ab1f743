/**
 * An endorsement: the identity key's word for the keys of each purpose,
 * `[9, member, gateway, serial, time, [sample, log, witness, tls], [proof, proof, proof, proof]]` in a COSE_Sign1.
 * The agreement pins one; a later one of a higher serial takes its place. Each key's proof is its signature over
 * `[16, member, gateway, serial, time, identity, [keys]]`: nobody can endorse a key that another holds.
 */
import { createVerifier, type Signer } from '#ed25519';
import { type CborValue, decodeCbor, decodeError, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
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

/** Whose public keys are endorsed, and with which identity; each vouches for itself. */
export type EndorsedKeys = Readonly<Record<Purpose | 'identity', Signer>>;

const PROOF_BYTES = 64;

/** What a key signs to prove that whoever endorses it holds it. */
function possession(
  { member, gateway, serial, time }: Pick<Endorsement, 'member' | 'gateway' | 'serial' | 'time'>,
  identity: Uint8Array,
  publicKeys: readonly Uint8Array[],
): Uint8Array {
  return encodeCbor([KIND.possession, member, gateway, serial, time, identity, [...publicKeys]]);
}

/** The endorsement of a gateway's own keys; `serial` is one more than that of the last. */
export function endorse(
  keys: EndorsedKeys,
  member: string,
  gateway: string,
  time: number,
  serial = 0,
): Uint8Array {
  const publicKeys = PURPOSES.map((purpose) => keys[purpose].publicKey);
  const proved = possession({ member, gateway, serial, time }, keys.identity.publicKey, publicKeys);
  const proofs = PURPOSES.map((purpose) => keys[purpose].sign(proved));
  return createSign1Signer(keys.identity).sign(
    encodeCbor([KIND.endorsement, member, gateway, serial, time, publicKeys, proofs]),
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
  const fields = fieldsOf(decodeCbor(message.payload), 7, 'endorsement');
  if (fields[0] !== KIND.endorsement) throw decodeError('endorsement: not of its kind');
  const keys = fieldsOf(fields[5], PURPOSES.length, 'endorsement: keys');
  const keyFor = (purpose: Purpose): Uint8Array => {
    const key = byteString(keys[PURPOSES.indexOf(purpose)], `endorsement: ${purpose} key`, 32);
    checkPublicKey(key, `endorsement: ${purpose} key`);
    return key;
  };
  const endorsement: Endorsement = {
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
  checkProofs(endorsement, identity, fields[6]);
  return endorsement;
}

function checkProofs(endorsement: Endorsement, identity: Uint8Array, given: CborValue | undefined): void {
  const proofs = fieldsOf(given, PURPOSES.length, 'endorsement: proofs');
  const publicKeys = PURPOSES.map((purpose) => endorsement.publicKeys[purpose]);
  const proved = possession(endorsement, identity, publicKeys);
  for (const [index, purpose] of PURPOSES.entries()) {
    const proof = byteString(proofs[index], `endorsement: proof of the ${purpose} key`, PROOF_BYTES);
    if (!createVerifier(publicKeys[index]!)(proved, proof)) {
      throw decodeError(
        `endorsement: the ${purpose} key does not vouch for it: whoever made it does not hold that key`,
      );
    }
  }
}

/** Whether two endorsements name the same key for every purpose. */
export function namesSameKeys(a: Endorsement, b: Endorsement): boolean {
  return PURPOSES.every((purpose) => equalBytes(a.publicKeys[purpose], b.publicKeys[purpose]));
}
