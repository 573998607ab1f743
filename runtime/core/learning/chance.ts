import { chachaStream } from './chacha.ts';

/** Gives `length` (up to 65536) fresh bytes of a cryptographically secure generator. */
export type RandomBytes = (length: number) => Uint8Array;

/** Which units take part in a step: a function of a 32-byte seed and the step, and of nothing else. */
export interface Sampler {
  /** The indices 0 to `count` - 1, each taken with probability `rate` in this step, independently, in order. */
  poissonDraw(step: number, count: number, rate: number): number[];
  /** For each of `count` units a batch from 0 to `batches` - 1, uniform and independent; always the same. */
  assignBatches(count: number, batches: number): Uint32Array;
}

/** What a stream of the seed is for; the first word of its nonce. */
const PURPOSE = { draw: 0, batches: 1 };
const CHUNK = 4096;

/**
 * The draws of `seed`, which is secret and committed to: that a unit takes part with probability q protects
 * it only from those who do not know the draw. Integers alone are used, so that a seed opened for an
 * audit gives the same draws on every machine, and a run goes on after a crash from the step's number.
 */
export function createSampler(seed: Uint8Array): Sampler {
  return {
    poissonDraw(step, count, rate) {
      const next = byteReader(seed, PURPOSE.draw, step, count);
      const digits = rateDigits(rate);
      const drawn: number[] = [];
      for (let index = 0; index < count; index += 1) if (isBelow(digits, next)) drawn.push(index);
      return drawn;
    },
    assignBatches(count, batches) {
      const next = byteReader(seed, PURPOSE.batches, 0, 4 * count);
      return Uint32Array.from({ length: count }, () => uniformBelow(batches, next));
    },
  };
}

/** Bytes of one stream of the seed, fetched so that few are left over. */
function byteReader(seed: Uint8Array, purpose: number, step: number, expected: number): () => number {
  const nonce = new Uint8Array(12);
  const view = new DataView(nonce.buffer);
  view.setUint32(0, purpose, true);
  view.setUint32(4, step >>> 0, true);
  view.setUint32(8, Math.floor(step / 2 ** 32), true);
  const stream = chachaStream(seed, nonce);
  let bytes = new Uint8Array(0);
  let used = 0;
  return () => {
    if (used === bytes.length) {
      bytes = stream(Math.min(CHUNK, Math.max(64, expected))) as Uint8Array<ArrayBuffer>;
      used = 0;
    }
    const byte = bytes[used]!;
    used += 1;
    return byte;
  };
}

/**
 * `rate` in [0, 1] in base 256, exactly (a float64 ends; 1 is 256/256). A uniform value is below it if its
 * first digit that differs is smaller, so that mostly one byte settles a unit.
 */
function rateDigits(rate: number): number[] {
  if (rate === 1) return [256];
  const digits: number[] = [];
  for (let rest = rate * 256; digits.length < 140; rest = (rest - Math.floor(rest)) * 256) {
    digits.push(Math.floor(rest));
    if (rest === Math.floor(rest)) break;
  }
  return digits;
}

function isBelow(digits: readonly number[], next: () => number): boolean {
  for (const digit of digits) {
    const byte = next();
    if (byte !== digit) return byte < digit;
  }
  return false;
}

/** Uniform in 0 to `limit` - 1: 32 bits, and again where they would favour the small ones. */
function uniformBelow(limit: number, next: () => number): number {
  const fair = 2 ** 32 - (2 ** 32 % limit);
  for (;;) {
    const word = next() * 2 ** 24 + next() * 2 ** 16 + next() * 2 ** 8 + next();
    if (word < fair) return word % limit;
  }
}
