/**
 * Arithmetic on tree sizes and leaf indices. They are plain numbers, so they end at 2^53-1; JavaScript's
 * bit operators end at 2^32, hence divisions here instead of shifts.
 */

/** The greatest tree size: what a number holds exactly. */
export const MAX_SIZE = Number.MAX_SAFE_INTEGER;

/** Whether `n` can be a tree size or an index: an integer from 0 to 2^53-1. */
export function isSize(n: number): boolean {
  return Number.isSafeInteger(n) && n >= 0;
}

/** Throws a RangeError unless `n` is a tree size; `what` names it in the message. */
export function assertSize(n: number, what: string): void {
  if (!isSize(n)) throw new RangeError(`${what} is ${n}: it must be an integer from 0 to ${MAX_SIZE}`);
}

/** The number of an ASCII decimal without leading zeroes, or undefined (also above 2^53-1). */
export function parseSize(text: string): number | undefined {
  if (!/^(0|[1-9][0-9]{0,15})$/.test(text)) return undefined;
  const n = Number(text);
  return isSize(n) ? n : undefined;
}

export function isOdd(n: number): boolean {
  return n % 2 === 1;
}

/** n shifted right by one bit. */
export function half(n: number): number {
  return Math.floor(n / 2);
}

/** The greatest power of two that is <= n, for n >= 1. */
export function powerWithin(n: number): number {
  let power = n > 0xffff_ffff ? 2 ** 32 : 1;
  while (power * 2 <= n) power *= 2;
  return power;
}

/** The greatest power of two that is < n, for n >= 2: where RFC 6962, section 2.1, splits a tree. */
export function splitPoint(n: number): number {
  return powerWithin(n - 1);
}

/** Whether n is 1, 2, 4, ... */
export function isPowerOfTwo(n: number): boolean {
  return n >= 1 && powerWithin(n) === n;
}

/** k of 2^k; by division, since Math.log2 promises no exact result. */
export function exponentOf(power: number): number {
  let exponent = 0;
  for (let rest = power; rest > 1; rest /= 2) exponent++;
  return exponent;
}

/** How many bits of n are set: the number of complete subtrees that a tree of n leaves consists of. */
export function countOnes(n: number): number {
  let ones = 0;
  for (let rest = n; rest > 0; rest = half(rest)) if (isOdd(rest)) ones++;
  return ones;
}

/**
 * Whether [start, end) is a subtree in the sense of draft-ietf-plants-merkle-tree-certs, section 4.1: not
 * empty, and start a multiple of the least power of two that is >= end - start.
 */
export function isSubtree(start: number, end: number): boolean {
  if (!isSize(start) || !isSize(end) || start >= end) return false;
  if (start === 0) return true;
  const width = end - start;
  const power = powerWithin(width);
  return start % (power === width ? power : power * 2) === 0;
}
