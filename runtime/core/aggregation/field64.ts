import type { Field, FieldVector } from './field.ts';

const P_HIGH = 0xffff_ffff;
const TWO_32 = 2 ** 32;

/**
 * Field64 of draft-irtf-cfrg-vdaf, section 6.1: p = 2^64 - 2^32 + 1, eight bytes an element. 2^64 is
 * congruent to 2^32 - 1, so that a carry out of the top is repaired by one addition.
 */
export const Field64: Field = {
  name: 'Field64',
  encodedSize: 8,
  wordsPerElement: 2,
  zeros: (length) => new Uint32Array(2 * length),
  lengthOf: (vector) => vector.length / 2,
  add(a, b) {
    const sum = Uint32Array.from(a);
    addInto(sum, b);
    return sum;
  },
  addInto,
  subtract(a, b) {
    const difference = Uint32Array.from(a);
    subtractFrom(difference, b);
    return difference;
  },
  subtractFrom,
  negate(a) {
    const negated = new Uint32Array(a.length);
    subtractFrom(negated, a);
    return negated;
  },
  encodeVec,
  decodeVec,
  sampleInto,
};

function addInto(a: FieldVector, b: FieldVector): void {
  sameLength(a, b);
  for (let i = 0; i < a.length; i += 2) {
    const low = a[i]! + b[i]!;
    const carry = low >= TWO_32 ? 1 : 0;
    const high = a[i + 1]! + b[i + 1]! + carry;
    const lowWord = low >>> 0;
    if (high >= TWO_32 || (high === P_HIGH && lowWord !== 0)) {
      // Take p away: the same as adding 2^32 - 1 modulo 2^64.
      a[i] = lowWord - 1;
      a[i + 1] = lowWord === 0 ? high : high + 1;
    } else {
      a[i] = lowWord;
      a[i + 1] = high;
    }
  }
}

function subtractFrom(a: FieldVector, b: FieldVector): void {
  sameLength(a, b);
  for (let i = 0; i < a.length; i += 2) {
    const low = a[i]! - b[i]!;
    const borrow = low < 0 ? 1 : 0;
    const high = a[i + 1]! - b[i + 1]! - borrow;
    const lowWord = low >>> 0;
    if (high < 0) {
      // Add p: the same as taking 2^32 - 1 away modulo 2^64.
      a[i] = lowWord + 1;
      a[i + 1] = lowWord === P_HIGH ? high : high - 1;
    } else {
      a[i] = lowWord;
      a[i + 1] = high;
    }
  }
}

function sameLength(a: FieldVector, b: FieldVector): void {
  if (a.length !== b.length) {
    throw new RangeError(
      `Field64: vectors of ${a.length / 2} and ${b.length / 2} elements do not go together`,
    );
  }
}

function encodeVec(vector: FieldVector): Uint8Array {
  const bytes = new Uint8Array(4 * vector.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < vector.length; i++) view.setUint32(4 * i, vector[i]!, true);
  return bytes;
}

function decodeVec(bytes: Uint8Array): FieldVector {
  if (bytes.length % 8 !== 0) {
    throw new RangeError(`Field64: ${bytes.length} bytes are not a whole number of 8-byte elements`);
  }
  const vector = new Uint32Array(bytes.length / 4);
  if (sampleInto(vector, 0, bytes) !== bytes.length / 8) {
    throw new RangeError('Field64: an encoded element is not below the modulus');
  }
  return vector;
}

function sampleInto(vector: FieldVector, start: number, bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let filled = 2 * start;
  for (let offset = 0; offset < bytes.length; offset += 8) {
    const low = view.getUint32(offset, true);
    const high = view.getUint32(offset + 4, true);
    if (high === P_HIGH && low !== 0) continue;
    vector[filled] = low;
    vector[filled + 1] = high;
    filled += 2;
  }
  return filled / 2;
}

/**
 * The vector of the integers in `values`, a negative one as the additive inverse of its magnitude. Throws
 * a RangeError unless every value is a safe integer.
 */
export function fromSigned(values: ArrayLike<number>): FieldVector {
  const vector = new Uint32Array(2 * values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isSafeInteger(value)) throw new RangeError(`Field64: element ${i} is not a safe integer`);
    const magnitude = Math.abs(value);
    const low = magnitude >>> 0;
    const high = Math.floor(magnitude / TWO_32);
    if (value >= 0) {
      vector[2 * i] = low;
      vector[2 * i + 1] = high;
    } else {
      // p - magnitude, word by word: p is (0xffffffff, 1).
      vector[2 * i] = 1 - low;
      vector[2 * i + 1] = P_HIGH - high - (low > 1 ? 1 : 0);
    }
  }
  return vector;
}

/**
 * The integers that `vector` stands for, those above p / 2 read as negative. Throws a RangeError for one
 * beyond the safe integers, since a float64 could not hold it exactly.
 */
export function toSigned(vector: FieldVector): Float64Array {
  const values = new Float64Array(vector.length / 2);
  for (let i = 0; i < values.length; i++) {
    const low = vector[2 * i]!;
    const high = vector[2 * i + 1]!;
    const negative = high >= 0x8000_0000;
    // p - element = (0xffffffff - high) * 2^32 + (1 - low).
    const magnitude = negative ? (P_HIGH - high) * TWO_32 + (1 - low) : high * TWO_32 + low;
    if (magnitude > Number.MAX_SAFE_INTEGER) {
      throw new RangeError(`Field64: element ${i} is beyond the safe integers`);
    }
    values[i] = negative ? -magnitude : magnitude;
  }
  return values;
}
