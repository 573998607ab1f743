/** "expand 32-byte k", little-endian (RFC 8439, section 2.3). */
const CONSTANTS = Uint32Array.of(0x61707865, 0x3320646e, 0x79622d32, 0x6b206574);
const BLOCK_WORDS = 16;

/**
 * The ChaCha20 key stream (RFC 8439, section 2.4) of a 32-byte `key` and a 12-byte `nonce`, from block 0 on:
 * a deterministic generator that anybody who knows the seed can run again, bit for bit, on any machine.
 * Gives the next `length` bytes at each call. A stream ends after 2^32 blocks (256 GiB).
 *
 * @throws RangeError for a key or nonce of another length
 */
export function chachaStream(key: Uint8Array, nonce: Uint8Array): (length: number) => Uint8Array {
  if (key.length !== 32) throw new RangeError(`a ChaCha20 key of ${key.length} bytes: 32 are needed`);
  if (nonce.length !== 12) throw new RangeError(`a ChaCha20 nonce of ${nonce.length} bytes: 12 are needed`);
  const state = new Uint32Array(BLOCK_WORDS);
  state.set(CONSTANTS);
  state.set(littleEndianWords(key), 4);
  state.set(littleEndianWords(nonce), 13);
  const words = new Uint32Array(BLOCK_WORDS);
  const block = new Uint8Array(4 * BLOCK_WORDS);
  const view = new DataView(block.buffer);
  let used = block.length;

  function refill(): void {
    chachaBlock(state, words);
    for (let index = 0; index < BLOCK_WORDS; index += 1) view.setUint32(4 * index, words[index]!, true);
    state[12] = (state[12]! + 1) >>> 0;
    if (state[12] === 0) throw new RangeError('a ChaCha20 stream is at its end');
    used = 0;
  }

  return (length) => {
    const bytes = new Uint8Array(length);
    for (let filled = 0; filled < length; ) {
      if (used === block.length) refill();
      const part = block.subarray(used, used + length - filled);
      bytes.set(part, filled);
      filled += part.length;
      used += part.length;
    }
    return bytes;
  };
}

function littleEndianWords(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Uint32Array.from({ length: bytes.length / 4 }, (_, index) => view.getUint32(4 * index, true));
}

/** One block (RFC 8439, section 2.3): ten double rounds over columns and diagonals, then the state added. */
function chachaBlock(state: Uint32Array, words: Uint32Array): void {
  words.set(state);
  for (let round = 0; round < 20; round += 1) {
    // Odd rounds take the diagonals: the rows of b, c and d are read one, two and three places on.
    const shift = round % 2;
    for (let column = 0; column < 4; column += 1) {
      const second = 4 + ((column + shift) & 3);
      const third = 8 + ((column + 2 * shift) & 3);
      const fourth = 12 + ((column + 3 * shift) & 3);
      let a = words[column]!;
      let b = words[second]!;
      let c = words[third]!;
      let d = words[fourth]!;
      a = (a + b) | 0;
      d ^= a;
      d = (d << 16) | (d >>> 16);
      c = (c + d) | 0;
      b ^= c;
      b = (b << 12) | (b >>> 20);
      a = (a + b) | 0;
      d ^= a;
      d = (d << 8) | (d >>> 24);
      c = (c + d) | 0;
      b ^= c;
      b = (b << 7) | (b >>> 25);
      words[column] = a;
      words[second] = b;
      words[third] = c;
      words[fourth] = d;
    }
  }
  for (let index = 0; index < BLOCK_WORDS; index += 1) words[index]! += state[index]!;
}
