import type { FieldVector } from './field.ts';
import { fromSigned, toSigned } from './field64.ts';
import type { RandomSource } from './shares.ts';

/** How real numbers become field elements. */
export interface FixedPointSpec {
  /** Each value is clipped to [-bound, bound]; finite, above 0. */
  readonly bound: number;
  /** One step is 2^-fractionBits; an integer, 0 to 52. */
  readonly fractionBits: number;
}

const MAX_FRACTION_BITS = 52;
/** Values rounded with one draw from the random source, to bound the buffer. */
const DRAW = 4_096;

/**
 * The largest magnitude, in steps, that an encoded value can have: the bound rounded down to a step.
 * Throws a RangeError for a spec without sense, or with a bound below one step.
 */
export function stepLimit({ bound, fractionBits }: FixedPointSpec): number {
  if (!Number.isSafeInteger(fractionBits) || fractionBits < 0 || fractionBits > MAX_FRACTION_BITS) {
    throw new RangeError(`fixed point: fraction bits must be an integer from 0 to ${MAX_FRACTION_BITS}`);
  }
  if (!Number.isFinite(bound) || bound <= 0) throw new RangeError('fixed point: the bound must be above 0');
  const limit = Math.floor(bound * 2 ** fractionBits);
  if (limit < 1) throw new RangeError('fixed point: the bound is below one step; take more fraction bits');
  if (!Number.isSafeInteger(limit)) {
    throw new RangeError(
      'fixed point: bound * 2^fractionBits is beyond the safe integers; take fewer fraction bits',
    );
  }
  return limit;
}

/**
 * Throws a RangeError unless the sum of `count` encoded vectors stays within the safe integers: then it
 * can neither wrap around Field64 (2^53 is far below p / 2) nor lose a digit in a float64.
 */
export function checkCapacity(count: number, spec: FixedPointSpec): void {
  if (!Number.isSafeInteger(count) || count < 1)
    throw new RangeError(`fixed point: a sum of ${count} vectors`);
  if (!Number.isSafeInteger(count * stepLimit(spec))) {
    throw new RangeError(
      `fixed point: ${count} values of up to ${spec.bound} with ${spec.fractionBits} fraction bits ` +
        'can leave the safe integers; take fewer fraction bits or a smaller bound',
    );
  }
}

/**
 * Clips each value, scales it by 2^fractionBits and rounds it up or down at random, so that the expected
 * result is the clipped value (to 2^-53 of a step): biases do not add up over members and rounds. Throws a
 * RangeError for a value that is not finite; the message tells its place, never the value.
 */
export function encodeFixedPoint(
  values: Float64Array,
  spec: FixedPointSpec,
  random: RandomSource,
): FieldVector {
  const limit = stepLimit(spec);
  const scale = 2 ** spec.fractionBits;
  const steps = new Float64Array(values.length);
  for (let start = 0; start < values.length; start += DRAW) {
    const end = Math.min(values.length, start + DRAW);
    const bytes = random(8 * (end - start));
    const coins = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = start; i < end; i++) {
      const value = values[i]!;
      if (!Number.isFinite(value)) throw new RangeError(`fixed point: value ${i} is not finite`);
      steps[i] = roundRandomly(value * scale, limit, uniform(coins, 8 * (i - start)));
    }
  }
  return fromSigned(steps);
}

/**
 * The mean of `count` vectors, given their sum in the field. The arithmetic is exact up to one correctly
 * rounded division an element, so that every member gets the same bits. Throws a RangeError when the
 * capacity is exceeded, and an Error "aggregate out of bound" for a sum that `count` honest vectors cannot have.
 */
export function decodeMean(sumVector: FieldVector, count: number, spec: FixedPointSpec): Float64Array {
  checkCapacity(count, spec);
  const most = count * stepLimit(spec);
  const scale = 2 ** spec.fractionBits;
  const mean = signedSteps(sumVector);
  for (let i = 0; i < mean.length; i++) {
    if (Math.abs(mean[i]!) > most) throw outOfBound(`element ${i} of the sum of ${count} vectors`);
    mean[i] = mean[i]! / count / scale;
  }
  return mean;
}

function signedSteps(sumVector: FieldVector): Float64Array {
  try {
    return toSigned(sumVector);
  } catch (error) {
    throw outOfBound('the sum', error);
  }
}

function outOfBound(what: string, cause?: unknown): Error {
  return new Error(`aggregate out of bound: ${what} is beyond what the bound allows; the round is void`, {
    cause,
  });
}

/** Works on the magnitude, where the fraction is exact; the sign goes back on at the end. */
function roundRandomly(scaled: number, limit: number, coin: number): number {
  const magnitude = Math.min(Math.abs(scaled), limit);
  const whole = Math.floor(magnitude);
  const rounded = coin < magnitude - whole ? whole + 1 : whole;
  return scaled < 0 ? -rounded : rounded;
}

/** A number in [0, 1) with 53 random bits from the eight bytes at `offset`. */
function uniform(coins: DataView, offset: number): number {
  const high = coins.getUint32(offset, true) >>> 5;
  const low = coins.getUint32(offset + 4, true) >>> 6;
  return (high * 2 ** 26 + low) / 2 ** 53;
}
