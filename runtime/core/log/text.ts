import { tryBase64 } from '../encoding/base64.ts';
import { HASH_LENGTH } from './hash.ts';

// Without ignoreBOM a decoder drops a leading byte order mark, and the text would not be what was signed.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** The UTF-8 bytes of `text`; a RangeError if it has a lone surrogate, which has no UTF-8 form. */
export function encodeUtf8(text: string): Uint8Array {
  if (!isWellFormed(text)) throw new RangeError('the text has a lone surrogate, which UTF-8 cannot write');
  return encoder.encode(text);
}

/** The text of UTF-8 bytes, a byte order mark kept, or undefined if they are not valid UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Whether every surrogate in `text` is one of a pair. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/**
 * The text of a message from outside, which may be at most `limit` bytes of UTF-8. Throws, naming `what`.
 */
export function readText(message: Uint8Array | string, limit: number, what: string): string {
  // A string has at most as many UTF-16 units as UTF-8 bytes: a long one is refused before it is encoded.
  if (message.length > limit) throw new Error(`malformed ${what}: more than ${limit} bytes`);
  if (typeof message !== 'string') {
    const text = decodeUtf8(message);
    if (text === undefined) throw new Error(`malformed ${what}: not valid UTF-8`);
    return text;
  }
  if (!isWellFormed(message)) throw new Error(`malformed ${what}: it has a lone surrogate`);
  if (encoder.encode(message).length > limit) throw new Error(`malformed ${what}: more than ${limit} bytes`);
  return message;
}

/** The 32 bytes of a hash in canonical base64, or undefined. */
export function parseHash(line: string): Uint8Array | undefined {
  const hash = tryBase64(line);
  return hash?.length === HASH_LENGTH ? hash : undefined;
}

/** `text` for a message: quoted, cut short, so that a hostile line does not fill the journal. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
}
