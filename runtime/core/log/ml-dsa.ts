import type { Verifier } from '#ed25519';
import { parseCheckpoint } from './checkpoint.ts';
import type { CosignatureScheme } from './cosignature.ts';
import { encodeUtf8, quote } from './text.ts';
import { ML_DSA_44_COSIGNATURE } from './vkey.ts';

/*
 * ML-DSA-44 cosignatures (C2SP tlog-cosignature, type 0x06). What is signed is a structure of RFC 8446's
 * kind, not the checkpoint's text: it names the cosigner, and leaves the extension lines out. The arithmetic
 * of FIPS 204 comes from outside, since not every platform has it.
 */

/** FIPS 204, table 2, in bytes. */
const SIGNATURE_LENGTH = 2420;

const LABEL = encodeUtf8('subtree/v1\n\0');
const HASH_LENGTH = 32;
const UINT64_LENGTH = 8;

/** Type 0x06, with `createVerifier` for public keys of 1,312 bytes (pure ML-DSA-44, an empty context). */
export function mlDsa44Scheme(createVerifier: (publicKey: Uint8Array) => Verifier): CosignatureScheme {
  return {
    type: ML_DSA_44_COSIGNATURE,
    signatureLength: SIGNATURE_LENGTH,
    message: cosignedMessage,
    createVerifier,
  };
}

/**
 * The structure cosigned_message for a whole checkpoint: the subtree [0, size).
 * Throws if the text is no checkpoint, or a name is longer than the 255 bytes that the structure has for it.
 */
export function cosignedMessage(cosigner: string, timestamp: number, text: string): Uint8Array {
  const { origin, size, root } = parseCheckpoint(text);
  const names = [nameBytes(cosigner), nameBytes(origin)] as const;
  const length = LABEL.length + names[0].length + names[1].length + 2 + 3 * UINT64_LENGTH + HASH_LENGTH;
  const message = new Uint8Array(length);
  const view = new DataView(message.buffer);
  let at = 0;
  const bytes = (part: Uint8Array) => {
    message.set(part, at);
    at += part.length;
  };
  const uint64 = (value: number) => {
    view.setBigUint64(at, BigInt(value));
    at += UINT64_LENGTH;
  };
  const name = (part: Uint8Array) => {
    message[at++] = part.length;
    bytes(part);
  };
  bytes(LABEL);
  name(names[0]);
  uint64(timestamp);
  name(names[1]);
  uint64(0);
  uint64(size);
  bytes(root);
  return message;
}

function nameBytes(name: string): Uint8Array {
  const bytes = encodeUtf8(name);
  if (bytes.length === 0 || bytes.length > 255) {
    throw new RangeError(
      `${quote(name)} has ${bytes.length} bytes: a cosigned message has room for 1 to 255`,
    );
  }
  return bytes;
}
