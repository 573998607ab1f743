/** The most bytes that one call of getRandomValues may fill (Web Cryptography API, 10.1.1). */
const CALL_LIMIT = 65_536;

/** `length` bytes from the browser's CSPRNG. */
export function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let offset = 0; offset < length; offset += CALL_LIMIT) {
    globalThis.crypto.getRandomValues(bytes.subarray(offset, Math.min(length, offset + CALL_LIMIT)));
  }
  return bytes;
}
