/** CRC-32C (Castagnoli; RFC 3720, appendix B.4), which LevelDB's files carry. */

const TABLES = Array.from({ length: 4 }, () => new Uint32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  TABLES[0]![byte] = value >>> 0;
}
for (let slice = 1; slice < 4; slice++) {
  for (let byte = 0; byte < 256; byte++) {
    const before = TABLES[slice - 1]![byte]!;
    TABLES[slice]![byte] = (before >>> 8) ^ TABLES[0]![before & 0xff]!;
  }
}
const [T0, T1, T2, T3] = TABLES as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];

/** Goes on with a CRC that has not been ended; begins with -1. */
export function updateCrc(crc: number, bytes: Uint8Array, from = 0, to = bytes.length): number {
  let state = crc;
  let at = from;
  // Four bytes at a time: twice as quick.
  for (; at + 4 <= to; at += 4) {
    state ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    state =
      T3[state & 0xff]! ^ T2[(state >>> 8) & 0xff]! ^ T1[(state >>> 16) & 0xff]! ^ T0[(state >>> 24) & 0xff]!;
  }
  for (; at < to; at++) state = T0[(state ^ bytes[at]!) & 0xff]! ^ (state >>> 8);
  return state;
}

export function crc32c(bytes: Uint8Array, from = 0, to = bytes.length): number {
  return (updateCrc(-1, bytes, from, to) ^ -1) >>> 0;
}

const MASK_DELTA = 0xa282ead8;

/** As LevelDB stores it (util/crc32c.h), so that a CRC over bytes that hold CRCs is no weaker. */
export function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}
