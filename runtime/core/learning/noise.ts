import type { RandomBytes } from './chance.ts';

/** The deviation of the lattice noise, in steps of the lattice. */
export const DEVIATION = 2 ** 16;

/** Gaussian noise on whole numbers. */
export interface LatticeNoise {
  /** Fills `target` with independent values of deviation {@link DEVIATION}. */
  fill(target: Int32Array): void;
}

const LAYERS = 256;
const SIGN = 0x100;
const PLACE_SHIFT = 9;
const PLACES = 2 ** 23;
/** A whole number of 32-bit words. */
const BYTES = 65_536;

/**
 * The discrete Gaussian P(z) ~ exp(-z^2 / 2 s^2), s = {@link DEVIATION}, over the whole numbers, by a
 * ziggurat whose layers hold whole numbers (Marsaglia and Tsang 2000; Buchmann et al. 2013, "Discrete
 * ziggurat: a time-memory trade-off for sampling from a Gaussian distribution over the integers").
 *
 * Why on a lattice: noise of floating-point arithmetic reveals by its last bits what it was added to
 * (Mironov 2012, "On significance of the least significant bits for differential privacy"). Here a sum
 * is first rounded to a lattice that is agreed, then noise of the same lattice is added as whole numbers,
 * below 2^53 and so without error. Every output can occur under every input, and its probability depends
 * on the distance in steps alone. On whole numbers the discrete Gaussian costs no more than the continuous
 * one (Canonne, Kairouz, Steinke 2020, "The discrete Gaussian for differential privacy", theorem 4); at
 * this deviation the two differ, also mixed by sampling, by terms of the size of exp(-2 pi^2 s^2), which
 * is nothing.
 *
 * What remains is how exactly the values are drawn. A layer (8 bits), a sign and a place in the layer (23
 * bits, drawn again where they would favour one) come from whole numbers alone. Float64 enters in the
 * heights of the layers, the share of the tail, and in comparisons with exp: each probability is off by a
 * factor within 1 +- 2^-40 up to 3.6 deviations, and within 1 +- 2^-32 in the tail, where one value of
 * 3,000 lies, as far as 13 deviations (beyond: probability 10^-37). For d coordinates and T steps that adds
 * at most 2 d T (2^-40 + 2^-32 / 3000) to the expected privacy loss: 3 x 10^-5 for 29,057 parameters and
 * 500 steps.
 */
export function createLatticeNoise(random: RandomBytes): LatticeNoise {
  tables ??= ziggurat();
  const { inner, quotient, inverse, fair, simple, low, height, tail } = tables;
  let words = new Uint32Array(0);
  let used = 0;

  function refill(): void {
    // Copied where it has to be: a view of words must begin at a multiple of four.
    const bytes = random(BYTES);
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
    words = new Uint32Array(aligned.buffer as ArrayBuffer, aligned.byteOffset, BYTES / 4);
    used = 0;
  }

  function nextWord(): number {
    if (used >= words.length) refill();
    used += 1;
    return words[used - 1]!;
  }

  /** Uniform in [0, 1), 53 bits. */
  function uniform(): number {
    return ((nextWord() >>> 5) * 2 ** 26 + (nextWord() >>> 6)) / 2 ** 53;
  }

  /** A size beyond the base layer: geometric, thinned to the Gaussian. */
  function fromTail(): number {
    const start = inner[0]! + 1;
    const rate = start / DEVIATION ** 2;
    for (;;) {
      // The second value gives a small first one the precision that its logarithm needs.
      const beyond = Math.floor(-Math.log(uniform() + uniform() * 2 ** -53) / rate);
      if (uniform() < density(beyond)) return start + beyond;
    }
  }

  /** What one value in fifty needs: another place, a comparison, or the tail. Below 0: begin again. */
  function carefully(layer: number, first: number): number {
    let place = first;
    // The layer stays, or those that fit badly into 2^23 would be met less often.
    while (place >= fair[layer]!) place = nextWord() >>> PLACE_SHIFT;
    const size = Math.floor(place / quotient[layer]!);
    if (size <= inner[layer]!) return size;
    if (layer === 0) return uniform() < tail ? fromTail() : -1;
    return low[layer]! + uniform() * height[layer]! < density(size) ? size : -1;
  }

  return {
    fill(target) {
      let index = 0;
      while (index < target.length) {
        if (used >= words.length) refill();
        const run = { index, used };
        fillSimple(target, words, run, simple, inverse);
        index = run.index;
        used = run.used;
        if (index === target.length || used === words.length) continue;
        const word = nextWord();
        const size = carefully(word & (LAYERS - 1), word >>> PLACE_SHIFT);
        const negative = (word & SIGN) !== 0;
        // Zero has one sign only.
        if (size < 0 || (negative && size === 0)) continue;
        target[index] = negative ? -size : size;
        index += 1;
      }
    },
  };
}

/**
 * Fills `target` from `run.index` on with what `words` from `run.used` on give, and stops at a word that
 * needs care. Apart from the rest, and without a call or a branch on the sign, it takes half the time.
 */
function fillSimple(
  target: Int32Array,
  words: Uint32Array,
  run: { index: number; used: number },
  simple: Int32Array,
  inverse: Float64Array,
): void {
  let { index, used } = run;
  while (index < target.length && used < words.length) {
    const word = words[used]!;
    const layer = word & (LAYERS - 1);
    const place = word >>> PLACE_SHIFT;
    if (place >= simple[layer]!) break;
    used += 1;
    // The half keeps the product clear of whole numbers, so that its rounding never shows.
    const size = ((place + 0.5) * inverse[layer]!) | 0;
    // -1 for a negative value.
    const sign = (word << (32 - PLACE_SHIFT)) >> 31;
    target[index] = (size ^ sign) - sign;
    // Zero has one sign only: the next value takes the place of the other.
    index += size === 0 && sign !== 0 ? 0 : 1;
  }
  run.index = index;
  run.used = used;
}

/**
 * Layers of one area each. Layer 0 holds the sizes 0 to R = `inner[0]` at every height below f(R), and as many
 * more of that height as have the weight of the tail beyond R, the last of them in part (`tail`); layer i
 * holds 0 to `last[i]` at heights from `low[i]`, as far as these lie under f, which they do up to
 * `inner[i]`. The top layer may reach above 1, where everything is rejected.
 */
/** The same for everybody, and half a millisecond's work. */
let tables: ReturnType<typeof ziggurat> | undefined;

function ziggurat() {
  let least = DEVIATION;
  let most = 6 * DEVIATION;
  // The farther out the tail begins, the smaller the layers: the farthest with which they still reach 1.
  while (most - least > 1) {
    const middle = Math.floor((least + most) / 2);
    if (layersFrom(middle).top >= 1) least = middle;
    else most = middle;
  }
  const { last, inner, low, height, tail } = layersFrom(least);
  const quotient = Float64Array.from(last, (size) => Math.floor(PLACES / (size + 1)));
  const fair = Int32Array.from(last, (size, layer) => (size + 1) * quotient[layer]!);
  const inverse = quotient.map((places) => 1 / places);
  /** Places below this are fair, and of a size that is accepted unseen. */
  const simple = fair.map((places, layer) =>
    Math.min(places, Math.max(0, inner[layer]! + 1) * quotient[layer]!),
  );
  return { inner, low, height, tail, quotient, inverse, fair, simple };
}

function layersFrom(start: number) {
  const floor = density(start);
  const tail = tailSum(start) / floor;
  const area = (start + 1 + Math.ceil(tail)) * floor;
  const last = new Int32Array(LAYERS);
  const inner = new Int32Array(LAYERS);
  const low = new Float64Array(LAYERS);
  const height = new Float64Array(LAYERS);
  last[0] = start + Math.ceil(tail);
  inner[0] = start;
  let top = floor;
  for (let layer = 1; layer < LAYERS; layer += 1) {
    low[layer] = top;
    // One more than needed and one less than could be accepted unseen: the comparison with f decides.
    last[layer] = Math.min(start, farthest(top) + 1);
    height[layer] = area / (last[layer]! + 1);
    top += height[layer]!;
    inner[layer] = farthest(top) - 1;
  }
  return { last, inner, low, height, tail: tail / Math.ceil(tail), top };
}

/** f: the probability of a size over that of 0. */
function density(size: number): number {
  return Math.exp(-0.5 * (size / DEVIATION) ** 2);
}

/** The largest size at which f is at least `value`, give or take one; below 0 where there is none. */
function farthest(value: number): number {
  return value < 1 ? Math.floor(DEVIATION * Math.sqrt(-2 * Math.log(value))) : -1;
}

/**
 * The sum of f over all sizes above `start`: the integral, by the continued fraction of Mills' ratio
 * (Laplace 1805), less half a step and the next term of Euler and Maclaurin; what follows is below 2^-60.
 */
function tailSum(start: number): number {
  const x = start / DEVIATION;
  let fraction = x;
  for (let term = 400; term > 0; term -= 1) fraction = x + term / fraction;
  const f = density(start);
  return (DEVIATION * f) / fraction - f / 2 + (x * f) / DEVIATION / 12;
}
