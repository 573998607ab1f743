import { createVerifier, type Signer, type Verifier } from '#ed25519';
import { parseCheckpoint } from './checkpoint.ts';
import { createNoteVerifier, type NoteSignature, type NoteVerifier } from './note.ts';
import { assertSize, isSize } from './size.ts';
import { decodeUtf8, encodeUtf8, quote } from './text.ts';
import { createVkey, ED25519_COSIGNATURE, ED25519_NOTE, type Vkey } from './vkey.ts';

/*
 * Cosignatures (C2SP tlog-cosignature): the note signature is a u64 of POSIX seconds and a signature over a
 * message that the signature type defines. Types differ in this table alone.
 */

/** What a signature type is made of. */
export interface CosignatureScheme {
  /** The type byte of its verifier keys. */
  readonly type: number;
  /** The length of the signature behind the timestamp, in bytes. */
  readonly signatureLength: number;
  /** What is signed: the cosigner's name, POSIX seconds, the checkpoint's text. */
  message(cosigner: string, timestamp: number, text: string): Uint8Array;
  createVerifier(key: Uint8Array): Verifier;
}

/** Type 0x04, cosignature/v1: two lines, then the whole text of the checkpoint, extension lines included. */
export const ED25519_SCHEME: CosignatureScheme = {
  type: ED25519_COSIGNATURE,
  signatureLength: 64,
  message: (_cosigner, timestamp, text) => encodeUtf8(`cosignature/v1\ntime ${timestamp}\n${text}`),
  createVerifier,
};

/** The types that are verified unless a caller hands in others. */
export const COSIGNATURE_SCHEMES: readonly CosignatureScheme[] = [ED25519_SCHEME];

const TIMESTAMP_LENGTH = 8;

/** A key that cosigns checkpoints. */
export interface Cosigner {
  readonly vkey: Vkey;
  readonly scheme: CosignatureScheme;
  sign(message: Uint8Array): Uint8Array;
}

/** A cosigner of type 0x04. Its key must cosign under this name only: the message does not hold the name. */
export function createCosigner(name: string, signer: Signer): Cosigner {
  const vkey = createVkey(name, ED25519_COSIGNATURE, signer.publicKey);
  return { vkey, scheme: ED25519_SCHEME, sign: (message) => signer.sign(message) };
}

/**
 * The cosignature of the checkpoint whose note has `text`, at `timestamp` POSIX seconds (1 or more: zero
 * would say that nothing is claimed about the time). The caller has checked consistency and stored the head.
 * Throws if the text is no checkpoint.
 */
export function cosign(cosigner: Cosigner, text: string, timestamp: number): NoteSignature {
  parseCheckpoint(text);
  assertSize(timestamp, 'the timestamp of a cosignature');
  if (timestamp === 0) throw new RangeError('a cosignature needs a timestamp, not zero');
  const { vkey, scheme } = cosigner;
  const bytes = cosigner.sign(scheme.message(vkey.name, timestamp, text));
  const signature = new Uint8Array(TIMESTAMP_LENGTH + bytes.length);
  new DataView(signature.buffer).setBigUint64(0, BigInt(timestamp));
  signature.set(bytes, TIMESTAMP_LENGTH);
  return { name: vkey.name, keyId: vkey.keyId, signature };
}

/** The POSIX seconds in a cosignature; believable only once it is verified. Throws if there are none. */
export function cosignatureTime(line: NoteSignature): number {
  const timestamp = timestampOf(line.signature);
  if (timestamp === undefined) throw new Error(`the signature of ${quote(line.name)} has no timestamp`);
  return timestamp;
}

/** The verifier of a cosigner's key. Throws if its type is none of `schemes`. */
export function createCosignatureVerifier(
  vkey: Vkey,
  schemes: readonly CosignatureScheme[] = COSIGNATURE_SCHEMES,
): NoteVerifier {
  const scheme = schemes.find(({ type }) => type === vkey.type);
  if (scheme === undefined) {
    throw new Error(
      `the key of ${quote(vkey.name)} has signature type ${vkey.type}, which cannot be verified here`,
    );
  }
  const verifySignature = scheme.createVerifier(vkey.key);
  return {
    name: vkey.name,
    keyId: vkey.keyId,
    verify(bytes, signature) {
      if (signature.length !== TIMESTAMP_LENGTH + scheme.signatureLength) return false;
      const timestamp = timestampOf(signature);
      const text = decodeUtf8(bytes);
      if (timestamp === undefined || text === undefined || !isCheckpoint(text)) return false;
      const message = scheme.message(vkey.name, timestamp, text);
      return verifySignature(message, signature.subarray(TIMESTAMP_LENGTH));
    },
  };
}

/** The verifier of any key that can be under a checkpoint: a log's of type 0x01, or a cosigner's. */
export function createCheckpointVerifier(
  vkey: Vkey,
  schemes: readonly CosignatureScheme[] = COSIGNATURE_SCHEMES,
): NoteVerifier {
  return vkey.type === ED25519_NOTE ? createNoteVerifier(vkey) : createCosignatureVerifier(vkey, schemes);
}

function timestampOf(signature: Uint8Array): number | undefined {
  if (signature.length <= TIMESTAMP_LENGTH) return undefined;
  const view = new DataView(signature.buffer, signature.byteOffset, signature.byteLength);
  const timestamp = Number(view.getBigUint64(0));
  return isSize(timestamp) ? timestamp : undefined;
}

function isCheckpoint(text: string): boolean {
  try {
    parseCheckpoint(text);
    return true;
  } catch {
    return false;
  }
}
