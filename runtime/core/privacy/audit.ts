/**
 * The statistics of an empirical privacy audit: whether a trainer gives away more than it claims. A canary's score
 * is observed in many trainings with it and many without; how well the scores can be told apart bounds from below
 * the epsilon that the trainer can truly have. A bound above the claim convicts the trainer, at the stated
 * confidence; one below it acquits nobody.
 */
import { upperLimit } from './binomial.ts';
import { gaussianEpsilon } from './gaussian.ts';
import { upperQuantile } from './normal.ts';

/** What was observed: independent scores; whether large or small scores speak for the canary is found out. */
export interface Observations {
  readonly withCanary: ArrayLike<number>;
  readonly withoutCanary: ArrayLike<number>;
}

/** What the observations prove. */
export interface AuditBound {
  /** With the stated confidence, the trainer's epsilon at delta is at least this. 0: nothing is proved. */
  readonly epsilon: number;
  /** With the stated confidence, the trainer's Gaussian-DP parameter mu is at least this. */
  readonly mu: number;
  /** Of a Gaussian of that mu, epsilon at delta: a sharper bound, for trainers known to be Gaussian in their trade-off. */
  readonly gaussianEpsilon: number;
  /** The threshold that the test was made with, and whether scores above it speak for the canary. */
  readonly threshold: number;
  readonly above: boolean;
  /** Limits on the test's error rates that hold together with the stated confidence. */
  readonly falsePositives: number;
  readonly falseNegatives: number;
}

/** How an audit is judged. */
export interface AuditOptions {
  readonly delta: number;
  /** The probability that the bound holds, such as 0.95. */
  readonly confidence: number;
  /** The part of the observations that the threshold is chosen on, and that then count no more; a half if not given. */
  readonly choosing?: number;
  /** Which of the bounds the threshold is chosen for; 'epsilon' if not given. */
  readonly aim?: 'epsilon' | 'mu';
}

/**
 * A lower bound on epsilon. The threshold is chosen on the first part of either list and tested on the rest, so
 * that choosing costs no confidence. Under (epsilon, delta) every test obeys TPR <= exp(epsilon) FPR + delta and
 * TNR <= exp(epsilon) FNR + delta (Kairouz, Oh, Viswanath 2015, "The Composition Theorem for Differential
 * Privacy", theorem 2.1); with Clopper-Pearson limits, each wrong with half of 1 - confidence, for both error rates
 * (Jagielski et al. 2020, "Auditing Differentially Private Machine Learning"). mu is that of the Gaussian trade-off
 * curve through the same limits (Nasr et al. 2023, "Tight Auditing of Differentially Private Machine Learning").
 *
 * The lists have to be in the order of trainings that do not depend on each other.
 *
 * @throws RangeError when there are too few observations, or one is not a number.
 */
export function auditBound(observations: Observations, options: AuditOptions): AuditBound {
  const { delta, confidence, choosing = 0.5, aim = 'epsilon' } = options;
  if (!(delta >= 0 && delta < 1)) throw new RangeError(`delta is ${delta}: it has to lie in [0, 1)`);
  if (!(confidence > 0 && confidence < 1)) {
    throw new RangeError(`a confidence of ${confidence}: it has to lie between 0 and 1`);
  }
  if (!(choosing > 0 && choosing < 1)) {
    throw new RangeError(`a part of ${choosing} to choose on: it has to lie between 0 and 1`);
  }
  const error = (1 - confidence) / 2;
  const [chooseWith, testWith] = split(observations.withCanary, choosing, 'with');
  const [chooseWithout, testWithout] = split(observations.withoutCanary, choosing, 'without');
  const tests = { withCanary: testWith.length, withoutCanary: testWithout.length };
  const { threshold, above } = choose(chooseWith, chooseWithout, tests, error, (positives, negatives) =>
    aim === 'mu' ? gaussianMu(positives, negatives) : epsilonFromRates(positives, negatives, delta),
  );
  const speaks = (score: number): boolean => (above ? score > threshold : score < threshold);
  const wrong = testWithout.filter(speaks).length;
  const missed = testWith.length - testWith.filter(speaks).length;
  const falsePositives = upperLimit(wrong, testWithout.length, error);
  const falseNegatives = upperLimit(missed, testWith.length, error);
  const mu = gaussianMu(falsePositives, falseNegatives);
  return {
    epsilon: epsilonFromRates(falsePositives, falseNegatives, delta),
    mu,
    gaussianEpsilon:
      mu > 0 && delta > 0 ? gaussianEpsilon(1 / mu, delta) : mu > 0 ? Number.POSITIVE_INFINITY : 0,
    threshold,
    above,
    falsePositives,
    falseNegatives,
  };
}

/** The least epsilon that a test with these error rates leaves possible at delta; 0 where every one is. */
export function epsilonFromRates(falsePositives: number, falseNegatives: number, delta: number): number {
  const one = Math.log((1 - falseNegatives - delta) / falsePositives);
  const other = Math.log((1 - falsePositives - delta) / falseNegatives);
  return Math.max(0, Number.isNaN(one) ? 0 : one, Number.isNaN(other) ? 0 : other);
}

/** The mu whose Gaussian trade-off curve passes through these error rates; 0 where they are no better than chance. */
export function gaussianMu(falsePositives: number, falseNegatives: number): number {
  if (falsePositives >= 1 || falseNegatives >= 1) return 0;
  if (falsePositives <= 0 || falseNegatives <= 0) return Number.POSITIVE_INFINITY;
  return Math.max(0, upperQuantile(falsePositives) + upperQuantile(falseNegatives));
}

/** The threshold and direction whose bound would be best if the rest of the observations were like these. */
function choose(
  withCanary: Float64Array,
  withoutCanary: Float64Array,
  tests: { readonly withCanary: number; readonly withoutCanary: number },
  error: number,
  bound: (falsePositives: number, falseNegatives: number) => number,
): { readonly threshold: number; readonly above: boolean } {
  const sortedWith = withCanary.slice().sort();
  const sortedWithout = withoutCanary.slice().sort();
  let best = { threshold: 0, above: true, worth: Number.NEGATIVE_INFINITY };
  for (const threshold of candidates(sortedWith, sortedWithout)) {
    const [w, wo] = [countAbove(sortedWith, threshold), countAbove(sortedWithout, threshold)];
    for (const above of [true, false]) {
      const missed = (above ? withCanary.length - w : w) / withCanary.length;
      const wrong = (above ? wo : withoutCanary.length - wo) / withoutCanary.length;
      const falseNegatives = upperLimit(Math.ceil(missed * tests.withCanary), tests.withCanary, error);
      const falsePositives = upperLimit(Math.ceil(wrong * tests.withoutCanary), tests.withoutCanary, error);
      // Where no threshold proves anything, the one that tells most apart is taken.
      const worth = bound(falsePositives, falseNegatives) + 1e-3 * (1 - falsePositives - falseNegatives);
      if (worth > best.worth) best = { threshold, above, worth };
    }
  }
  return best;
}

/** At most this many thresholds are compared: more would cost time and find little. */
const THRESHOLDS = 64;

/** Midpoints between neighbouring scores, at evenly spread ranks and towards both ends. */
function candidates(sortedWith: Float64Array, sortedWithout: Float64Array): Set<number> {
  const all = Float64Array.from([...sortedWith, ...sortedWithout]).sort();
  const found = new Set<number>();
  const take = (rank: number): void => {
    const at = Math.min(all.length - 2, Math.max(0, Math.round(rank)));
    found.add((all[at]! + all[at + 1]!) / 2);
  };
  for (let index = 0; index < THRESHOLDS / 2; index += 1)
    take(((all.length - 2) * index) / (THRESHOLDS / 2 - 1));
  for (const sorted of [sortedWith, sortedWithout]) {
    for (const end of [sorted[0]!, sorted.at(-1)!]) {
      // The ends of either list are where a test with hardly a false alarm lies.
      const rank = countBelow(all, end);
      for (const offset of [-2, -1, 0, 1]) take(rank + offset);
    }
  }
  for (let index = 1; index <= THRESHOLDS / 4; index += 1) take((all.length * index) / (THRESHOLDS * 4));
  return found;
}

function countAbove(sorted: Float64Array, threshold: number): number {
  return sorted.length - countBelow(sorted, threshold, true);
}

/** How many are below `value`, or not above it. */
function countBelow(sorted: Float64Array, value: number, orEqual = false): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value || (orEqual && sorted[middle] === value)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function split(
  scores: ArrayLike<number>,
  choosing: number,
  which: string,
): readonly [Float64Array, Float64Array] {
  const all = Float64Array.from(scores);
  if (all.some(Number.isNaN)) throw new RangeError(`a score ${which} the canary is not a number`);
  const first = Math.floor(all.length * choosing);
  if (first < 2 || all.length - first < 2) {
    throw new RangeError(
      `${all.length} scores ${which} the canary are too few to choose a threshold and to test it`,
    );
  }
  return [all.subarray(0, first), all.subarray(first)];
}
