/**
 * Rényi differential privacy of the Poisson-subsampled Gaussian mechanism (Mironov, Talwar, Zhang 2019,
 * "Rényi Differential Privacy of the Sampled Gaussian Mechanism"), add/remove-one adjacency.
 */

/** `steps` releases of a sum clipped to norm C, each with noise of deviation `noiseMultiplier` * C. */
export interface Mechanism {
  /** The Poisson rate q at which a unit takes part in a step, in [0, 1]. */
  readonly samplingRate: number;
  /** Sigma: the noise's deviation over the clip norm, above 0. */
  readonly noiseMultiplier: number;
  readonly steps: number;
}

/** What a noise multiplier is solved for: `steps` at `samplingRate` within (`epsilon`, `delta`). */
export interface Target {
  readonly samplingRate: number;
  readonly steps: number;
  readonly delta: number;
  readonly epsilon: number;
}

/** Dense where the best order usually lies; the large ones serve tiny budgets. */
const ORDERS: readonly number[] = [
  ...Array.from({ length: 99 }, (_, index) => 1 + (index + 1) / 10),
  ...Array.from({ length: 53 }, (_, index) => index + 11),
  ...[72, 80, 96, 112, 128, 160, 192, 256, 384, 512, 1024],
];

/** Beyond this no budget is meant, and the search for a multiplier gives up. */
const LARGEST_NOISE_MULTIPLIER = 1e6;

/**
 * The epsilon at `delta` of `mechanisms` run one after the other on the same data: their RDP added order
 * by order, converted as in Balle et al. 2020 ("Hypothesis testing interpretations and Rényi differential
 * privacy", theorem 21). An upper bound. 0 when nothing was released.
 *
 * @throws RangeError when a mechanism or delta is out of range.
 */
export function epsilonOf(mechanisms: readonly Mechanism[], delta: number): number {
  checkDelta(delta);
  mechanisms.forEach(checkMechanism);
  const working = mechanisms.filter(({ samplingRate, steps }) => samplingRate > 0 && steps > 0);
  if (working.length === 0) return 0;
  let best = Number.POSITIVE_INFINITY;
  for (const order of ORDERS) {
    let total = 0;
    for (const mechanism of working) {
      total += mechanism.steps * rdpOfStep(mechanism.samplingRate, mechanism.noiseMultiplier, order);
    }
    best = Math.min(best, epsilonAt(order, total, delta));
  }
  return Math.max(0, best);
}

/**
 * The least noise multiplier (to one part in 10^6, rounded up) with which `steps` steps at `samplingRate`
 * stay within (`epsilon`, `delta`) by {@link epsilonOf}.
 *
 * @throws RangeError when the target is out of range or cannot be reached.
 */
export function solveNoiseMultiplier({ samplingRate, steps, delta, epsilon }: Target): number {
  if (!(epsilon > 0) || !Number.isFinite(epsilon)) {
    throw new RangeError(`epsilon is ${epsilon}: it has to be a finite number above 0`);
  }
  const spent = (noiseMultiplier: number): number =>
    epsilonOf([{ samplingRate, noiseMultiplier, steps }], delta);
  let high = 1;
  while (spent(high) > epsilon) {
    high *= 2;
    if (high > LARGEST_NOISE_MULTIPLIER) {
      throw new RangeError(
        `no noise multiplier below ${LARGEST_NOISE_MULTIPLIER} keeps epsilon at ${epsilon}`,
      );
    }
  }
  let low = high / 2;
  while (low > 1e-3 && spent(low) <= epsilon) low /= 2;
  while (high - low > 1e-6 * high) {
    const middle = (low + high) / 2;
    if (spent(middle) <= epsilon) high = middle;
    else low = middle;
  }
  return high;
}

/**
 * RDP of one step at `order` > 1: ln(A) / (order - 1), where A is the moment of section 3.3 of Mironov
 * et al. 2019.
 */
export function rdpOfStep(samplingRate: number, noiseMultiplier: number, order: number): number {
  if (samplingRate === 0) return 0;
  if (samplingRate === 1) return order / (2 * noiseMultiplier ** 2);
  const logMoment = Number.isInteger(order)
    ? logMomentAtInteger(samplingRate, noiseMultiplier, order)
    : logMomentByQuadrature(samplingRate, noiseMultiplier, order);
  return Math.max(0, logMoment) / (order - 1);
}

/** The binomial sum of Mironov et al. 2019, section 3.3, for integer orders. */
export function logMomentAtInteger(samplingRate: number, noiseMultiplier: number, order: number): number {
  const terms: number[] = [];
  let logBinomial = 0;
  for (let k = 0; k <= order; k += 1) {
    const logWeight = logBinomial + k * Math.log(samplingRate) + (order - k) * Math.log1p(-samplingRate);
    terms.push(logWeight + (k * (k - 1)) / (2 * noiseMultiplier ** 2));
    logBinomial += Math.log(order - k) - Math.log(k + 1);
  }
  return logSum(terms);
}

/**
 * The same moment, E[(1 - q + q exp((2z - 1) / (2 sigma^2)))^order] over z ~ N(0, sigma^2), by the
 * trapezoidal rule: the integrand is analytic in a strip of half-width pi sigma^2 and falls off like a
 * Gaussian, so the rule converges geometrically, and no cancelling series is needed for fractional orders.
 */
export function logMomentByQuadrature(q: number, sigma: number, order: number): number {
  const step = Math.min(sigma, sigma ** 2) / 8;
  const low = -14 * sigma;
  const high = order + 14 * sigma;
  const count = Math.min(2_000_000, Math.ceil((high - low) / step));
  const width = (high - low) / count;
  const logs = new Float64Array(count + 1);
  for (let index = 0; index <= count; index += 1) {
    const z = low + index * width;
    const logRatio = Math.log(q) + (2 * z - 1) / (2 * sigma ** 2);
    const logMixture = logAdd(Math.log1p(-q), logRatio);
    logs[index] = order * logMixture - z ** 2 / (2 * sigma ** 2);
  }
  return logSum(logs) + Math.log(width) - Math.log(sigma) - 0.5 * Math.log(2 * Math.PI);
}

function epsilonAt(order: number, rdp: number, delta: number): number {
  // Balle et al. 2020, theorem 21; below order 1.01 the formula is numerically worthless, and unused.
  return rdp + Math.log1p(-1 / order) - (Math.log(delta) + Math.log(order)) / (order - 1);
}

function logAdd(a: number, b: number): number {
  const high = Math.max(a, b);
  return high + Math.log1p(Math.exp(Math.min(a, b) - high));
}

function logSum(terms: ArrayLike<number>): number {
  let high = Number.NEGATIVE_INFINITY;
  for (let index = 0; index < terms.length; index += 1) high = Math.max(high, terms[index]!);
  let sum = 0;
  for (let index = 0; index < terms.length; index += 1) sum += Math.exp(terms[index]! - high);
  return high + Math.log(sum);
}

/** @throws RangeError unless 0 < delta < 1. */
export function checkDelta(delta: number): void {
  if (!(delta > 0 && delta < 1)) throw new RangeError(`delta is ${delta}: it has to lie between 0 and 1`);
}

/** @throws RangeError unless every figure is in range. */
export function checkMechanism({ samplingRate, noiseMultiplier, steps }: Mechanism): void {
  if (!(samplingRate >= 0 && samplingRate <= 1)) {
    throw new RangeError(`the sampling rate is ${samplingRate}: it has to lie in [0, 1]`);
  }
  if (!(noiseMultiplier > 0 && Number.isFinite(noiseMultiplier))) {
    throw new RangeError(`the noise multiplier is ${noiseMultiplier}: it has to be a finite number above 0`);
  }
  if (!(Number.isSafeInteger(steps) && steps >= 0)) {
    throw new RangeError(`the number of steps is ${steps}: it has to be a whole number, 0 or more`);
  }
}
