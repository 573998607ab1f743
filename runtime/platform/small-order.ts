/**
 * The encodings of Ed25519's eight points of small order, the non-canonical ones included, sign bit cleared:
 * y = 0, 1, -1, the two of order 8, and p and p + 1 for 0 and 1. OpenSSL and Node judge them differently from
 * version to version (Node 24 refuses such a key, Node 20 does not), so that both variants refuse them
 * themselves, as key and as R: one accept set, whatever runs below.
 */
const ENCODINGS: readonly string[] = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
];

const POINTS = ENCODINGS.map((text) =>
  Uint8Array.from({ length: 32 }, (_, index) => Number.parseInt(text.slice(2 * index, 2 * index + 2), 16)),
);

/** Whether the 32 bytes at `offset` encode a point of small order. */
export function isSmallOrder(bytes: Uint8Array, offset = 0): boolean {
  return POINTS.some((point) =>
    point.every((byte, index) => {
      const other = bytes[offset + index] ?? -1;
      return (index === 31 ? other & 0x7f : other) === byte;
    }),
  );
}
