import { turboshake128 } from '@noble/hashes/sha3-addons.js';
import type { Field, FieldVector } from './field.ts';

/** An extendable-output function of draft-irtf-cfrg-vdaf, section 6.2: one stream, read in order. */
export interface Xof {
  /** The next `length` bytes (>= 1) of the stream. */
  next(length: number): Uint8Array;
  /** The next `length` elements (>= 1) of `field`; a candidate that is not below the modulus is skipped. */
  nextVec(field: Field, length: number): FieldVector;
}

/** How the draft constructs an XOF: a seed, a domain separation tag and a binder. */
export interface XofKind {
  readonly name: string;
  /** SEED_SIZE of the draft, in bytes. */
  readonly seedSize: number;
  create(seed: Uint8Array, dst: Uint8Array, binder: Uint8Array): Xof;
}

/** The draft's domain byte of TurboSHAKE128 for this XOF. */
const DOMAIN = 1;
const MAX_TAG = 0xffff;
const MAX_SEED = 0xff;

/**
 * XofTurboShake128 of draft-irtf-cfrg-vdaf, section 6.2.1, over TurboSHAKE128 of RFC 9861. Throws a
 * RangeError for a seed above 255 or a tag above 65,535 bytes, as the draft demands.
 */
export const XofTurboShake128: XofKind = {
  name: 'XofTurboShake128',
  seedSize: 32,
  create(seed, dst, binder) {
    if (dst.length > MAX_TAG)
      throw new RangeError(`domain separation tag of ${dst.length} bytes: at most ${MAX_TAG}`);
    if (seed.length > MAX_SEED) throw new RangeError(`XOF seed of ${seed.length} bytes: at most ${MAX_SEED}`);
    const sponge = turboshake128
      .create({ D: DOMAIN })
      .update(Uint8Array.of(dst.length & 0xff, dst.length >>> 8))
      .update(dst)
      .update(Uint8Array.of(seed.length))
      .update(seed)
      .update(binder);
    return xofOver((length) => sponge.xof(length));
  },
};

/** The draft's `derive_seed`: a fresh seed from a seed, a tag and a binder. */
export function deriveSeed(kind: XofKind, seed: Uint8Array, dst: Uint8Array, binder: Uint8Array): Uint8Array {
  return kind.create(seed, dst, binder).next(kind.seedSize);
}

/** The draft's `expand_into_vec`: a seed, a tag and a binder to `length` (>= 1) elements of `field`. */
export function expandIntoVec(
  kind: XofKind,
  field: Field,
  seed: Uint8Array,
  dst: Uint8Array,
  binder: Uint8Array,
  length: number,
): FieldVector {
  return kind.create(seed, dst, binder).nextVec(field, length);
}

function xofOver(read: (length: number) => Uint8Array): Xof {
  const next = (length: number): Uint8Array => {
    if (!Number.isSafeInteger(length) || length < 1) throw new RangeError(`XOF: cannot read ${length} bytes`);
    return read(length);
  };
  return {
    next,
    nextVec(field, length) {
      const vector = field.zeros(length);
      // Reading exactly what is missing keeps the stream where the draft's one-by-one loop leaves it.
      let filled = field.sampleInto(vector, 0, next(length * field.encodedSize));
      while (filled < length) {
        filled = field.sampleInto(vector, filled, next((length - filled) * field.encodedSize));
      }
      return vector;
    },
  };
}
