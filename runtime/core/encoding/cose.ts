/** COSE_Sign1 (RFC 9052, section 4.2) with EdDSA (-8, RFC 9053 section 2.2), the curve pinned to Ed25519. */
import type { Signer, Verifier } from '#ed25519';
import { sha256 } from '#sha256';
import { type CborValue, createCborWriter, decodeCbor, decodeError, encodeCbor, equalBytes } from './cbor.ts';

const TAG_SIGN1 = 18;
const HEADER_ALGORITHM = 1;
const HEADER_KEY_ID = 4;
const EDDSA = -8;
const EMPTY = new Uint8Array(0);
const KEY_ID_BYTES = 8;
const SIGNATURE_BYTES = 64;

/** One key's way to sign payloads. */
export interface Sign1Signer {
  readonly keyId: Uint8Array;
  readonly publicKey: Uint8Array;
  /** The tagged COSE_Sign1 of `payload`. */
  sign(payload: Uint8Array): Uint8Array;
}

/** A COSE_Sign1 in canonical form, its signature not yet checked. */
export interface Sign1 {
  readonly protectedHeader: Uint8Array;
  readonly keyId: Uint8Array;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

/** The 8-byte key identifier that goes with a public key: the start of its SHA-256. */
export function keyIdOf(publicKey: Uint8Array): Uint8Array {
  return sha256(publicKey).slice(0, KEY_ID_BYTES);
}

/** Signs payloads with `signer`; header and Sig_structure's constant parts are encoded once. */
export function createSign1Signer(signer: Signer): Sign1Signer {
  const keyId = keyIdOf(signer.publicKey);
  const header = encodeProtectedHeader(keyId);
  const writer = createCborWriter(1 << 14, 'shared');
  return {
    keyId,
    publicKey: signer.publicKey,
    sign(payload) {
      const signature = signer.sign(signedBytes(header, payload));
      writer.head(6, TAG_SIGN1);
      writer.array(4);
      writer.bytes(header);
      writer.head(5, 0);
      writer.bytes(payload);
      writer.bytes(signature);
      return writer.take();
    },
  };
}

function encodeProtectedHeader(keyId: Uint8Array): Uint8Array {
  return encodeCbor(
    new Map<number, CborValue>([
      [HEADER_ALGORITHM, EDDSA],
      [HEADER_KEY_ID, keyId],
    ]),
  );
}

const structureWriter = createCborWriter(1 << 14, 'shared');

/** Sig_structure of RFC 9052, section 4.4, with no external data. */
function signedBytes(protectedHeader: Uint8Array, payload: Uint8Array): Uint8Array {
  structureWriter.array(4);
  structureWriter.text('Signature1');
  structureWriter.bytes(protectedHeader);
  structureWriter.bytes(EMPTY);
  structureWriter.bytes(payload);
  return structureWriter.take();
}

/**
 * Reads a tagged COSE_Sign1 in the one form the house writes: protected header {alg: EdDSA, kid of 8 bytes},
 * empty unprotected header, attached payload, 64-byte signature, deterministic CBOR throughout.
 * @throws DecodeError for anything else.
 */
export function parseSign1(bytes: Uint8Array): Sign1 {
  const message = decodeCbor(bytes);
  if (!isTag(message) || message.tag !== TAG_SIGN1) throw decodeError('COSE: not a tagged COSE_Sign1');
  const parts = message.value;
  if (!Array.isArray(parts) || parts.length !== 4) throw decodeError('COSE: Sign1 is not an array of four');
  const [protectedHeader, unprotected, payload, signature] = parts as readonly CborValue[];
  if (!(protectedHeader instanceof Uint8Array))
    throw decodeError('COSE: protected header is not a byte string');
  if (!(unprotected instanceof Map) || unprotected.size !== 0) {
    throw decodeError('COSE: unprotected header is not empty');
  }
  if (!(payload instanceof Uint8Array)) throw decodeError('COSE: payload is not attached');
  if (!(signature instanceof Uint8Array) || signature.length !== SIGNATURE_BYTES) {
    throw decodeError('COSE: signature is not 64 bytes');
  }
  return { protectedHeader, keyId: parseProtectedHeader(protectedHeader), payload, signature };
}

function parseProtectedHeader(bytes: Uint8Array): Uint8Array {
  const header = decodeCbor(bytes);
  const keyId = header instanceof Map ? header.get(HEADER_KEY_ID) : undefined;
  if (!(keyId instanceof Uint8Array) || keyId.length !== KEY_ID_BYTES) {
    throw decodeError('COSE: protected header has no key identifier of 8 bytes');
  }
  if (!equalBytes(bytes, encodeProtectedHeader(keyId))) {
    throw decodeError('COSE: protected header is not {alg: EdDSA, kid}');
  }
  return keyId;
}

/** Whether the signature of `message` is that of the verifier's key. */
export function verifySign1(message: Sign1, verifier: Verifier): boolean {
  return verifier(signedBytes(message.protectedHeader, message.payload), message.signature);
}

function isTag(value: CborValue): value is { readonly tag: number; readonly value: CborValue } {
  return typeof value === 'object' && value !== null && 'tag' in value;
}
