import { createHash } from 'node:crypto';
import fc from 'fast-check';
import type { FieldVector } from '../../../runtime/core/aggregation/field.ts';
import type { RandomSource } from '../../../runtime/core/aggregation/shares.ts';

/** The modulus of Field64. */
export const P = 2n ** 64n - 2n ** 32n + 1n;

/** The elements of a Field64 vector. */
export function toBigints(vector: FieldVector): bigint[] {
  return Array.from(
    { length: vector.length / 2 },
    (_, i) => BigInt(vector[2 * i]!) | (BigInt(vector[2 * i + 1]!) << 32n),
  );
}

/** The Field64 vector of `elements`, which are below the modulus. */
export function fromBigints(elements: readonly bigint[]): FieldVector {
  return Uint32Array.from(
    elements.flatMap((element) => [Number(element & 0xffff_ffffn), Number(element >> 32n)]),
  );
}

/** `value` modulo p, never negative. */
export function mod(value: bigint): bigint {
  return ((value % P) + P) % P;
}

/** A source that gives the same bytes in every run: SHA-256 over a name and a counter. */
export function fixedRandom(name: string): RandomSource {
  let counter = 0;
  return (length) => {
    const bytes = new Uint8Array(length);
    for (let offset = 0; offset < length; offset += 32) {
      const block = createHash('sha256').update(`${name} ${counter++}`).digest();
      bytes.set(block.subarray(0, Math.min(32, length - offset)), offset);
    }
    return bytes;
  };
}

/** Field64 elements, the words at which carries happen among them more often than chance has it. */
export function element(): fc.Arbitrary<bigint> {
  const word = fc.oneof(
    fc.constantFrom(0n, 1n, 2n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_fffen, 0xffff_ffffn),
    fc.bigInt(0n, 0xffff_ffffn),
  );
  return fc.tuple(word, word).map(([low, high]) => mod(low | (high << 32n)));
}

/**
 * The upper quantile of the chi-square distribution with `freedom` degrees that is exceeded with
 * probability 1e-6 (Wilson and Hilferty's approximation; the normal quantile is 4.7534).
 */
export function chiSquareLimit(freedom: number): number {
  const a = 2 / (9 * freedom);
  return freedom * (1 - a + 4.7534 * Math.sqrt(a)) ** 3;
}
