/**
 * A vector over a prime field: each element is `wordsPerElement` 32-bit words, the least significant
 * first. That is also the order of the wire form, and a layout on which a number-theoretic transform can
 * work in place. Every element is canonical, that is, below the modulus.
 */
export type FieldVector = Uint32Array;

/** A prime field of draft-irtf-cfrg-vdaf, section 6.1; elements live in vectors only. */
export interface Field {
  /** The draft's name, for messages. */
  readonly name: string;
  /** ENCODED_SIZE of the draft: bytes an element takes on the wire. */
  readonly encodedSize: number;
  /** 32-bit words an element takes in a `FieldVector`. */
  readonly wordsPerElement: number;
  /** A vector of `length` zeros. */
  zeros(length: number): FieldVector;
  /** The number of elements of `vector`. */
  lengthOf(vector: FieldVector): number;
  /** The element-wise sum. Throws a RangeError when the lengths differ, as do the next three. */
  add(a: FieldVector, b: FieldVector): FieldVector;
  /** Adds `b` to `a` in place. */
  addInto(a: FieldVector, b: FieldVector): void;
  /** The element-wise difference `a - b`. */
  subtract(a: FieldVector, b: FieldVector): FieldVector;
  /** Subtracts `b` from `a` in place. */
  subtractFrom(a: FieldVector, b: FieldVector): void;
  /** The element-wise additive inverse. */
  negate(a: FieldVector): FieldVector;
  /** The draft's `encode_vec`: elements in order, each little-endian. */
  encodeVec(vector: FieldVector): Uint8Array;
  /** The draft's `decode_vec`: throws on a partial element and on a value that is not below the modulus. */
  decodeVec(bytes: Uint8Array): FieldVector;
  /**
   * Rejection sampling (the draft's `next_vec`): writes the candidates of `bytes` that are below the
   * modulus to `vector` from element `start` on, and returns the number of elements filled so far.
   */
  sampleInto(vector: FieldVector, start: number, bytes: Uint8Array): number;
}
