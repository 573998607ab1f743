/**
 * What mechanisms cost together: the tightest of the upper bounds at hand, add/remove-one adjacency, the worse of
 * both directions. Privacy loss distributions decide nearly always (pld.ts); plain Gaussians are exact
 * (gaussian.ts); Rényi (rdp.ts) and the unsampled Gaussian stand behind them where a lattice would be too long.
 */
import { gaussianDelta, gaussianEpsilon } from './gaussian.ts';
import { compose, estimate, FINE, type Fineness, type Repeated } from './pld.ts';
import * as rdp from './rdp.ts';

export type { Mechanism, Target } from './rdp.ts';

type Mechanism = rdp.Mechanism;

/** A budget and what of it is spent. */
export interface Budget {
  readonly samplingRate: number;
  readonly noiseMultiplier: number;
  readonly epsilon: number;
  readonly delta: number;
  /** What has run over the same data before. */
  readonly spent?: readonly Mechanism[];
}

/** Steps beyond this are not counted. */
export const MOST_STEPS = 1e9;

/** Beyond this no budget is meant, and the search for a multiplier gives up. */
const LARGEST_NOISE_MULTIPLIER = 1e6;

/** Where epsilon is so large that it protects nothing, Rényi's bound is good enough. */
const WORTH_A_LATTICE = 2000;
const LEAST_NOISE = 0.05;

/**
 * The least epsilon >= 0 that is known to hold at `delta` for all of `mechanisms` run on the same data. 0 when
 * nothing was released.
 *
 * @throws RangeError when a mechanism or delta is out of range.
 */
export function epsilonOf(mechanisms: readonly Mechanism[], delta: number): number {
  rdp.checkDelta(delta);
  const working = gathered(mechanisms);
  if (working.length === 0) return 0;
  if (drawnAtAll(working) <= delta) return 0;
  const unsampled = gaussianEpsilon(together(working), delta);
  if (working.every(({ samplingRate }) => samplingRate === 1) || !loud(working)) return unsampled;
  const renyi = Math.min(unsampled, rdp.epsilonOf(working, delta));
  if (renyi > WORTH_A_LATTICE) return renyi;
  return Math.min(renyi, latticeEpsilon(working, delta));
}

/**
 * The same for a unit that stands in `group` records, each drawn, clipped and noised as `mechanisms` say: what it
 * means to take all of them away, or to add them. Infinity where that is beyond `limit`, and nothing is protected.
 *
 * @throws RangeError when a figure is out of range.
 */
export function groupEpsilonOf(
  mechanisms: readonly Mechanism[],
  delta: number,
  group: number,
  limit = Number.POSITIVE_INFINITY,
): number {
  if (!(Number.isSafeInteger(group) && group >= 1)) {
    throw new RangeError(`a group of ${group} records: it has to be a whole number, 1 or more`);
  }
  const bounded = (epsilon: number): number => (epsilon > limit ? Number.POSITIVE_INFINITY : epsilon);
  if (group === 1) return bounded(epsilonOf(mechanisms, delta));
  rdp.checkDelta(delta);
  const working = gathered(mechanisms);
  if (working.length === 0 || group * drawnAtAll(working) <= delta) return 0;
  const unsampled = gaussianEpsilon(together(working) / group, delta);
  if (working.every(({ samplingRate }) => samplingRate === 1)) return bounded(unsampled);
  const grouped = working.map((one) =>
    one.samplingRate === 1 ? { ...one, noiseMultiplier: one.noiseMultiplier / group } : { ...one, group },
  );
  const worth = Math.min(1.2 * limit, WORTH_A_LATTICE);
  if (!loud(working) || estimate(grouped, delta) > worth) return bounded(unsampled);
  return bounded(Math.min(unsampled, latticeEpsilon(grouped, delta)));
}

/**
 * The epsilon of privacy loss distributions alone. Where the estimate that the computation was laid out for was
 * far too high, as with steps that break badly and rarely, it is laid out again for what was found.
 */
function latticeEpsilon(working: readonly Repeated[], delta: number): number {
  let best = Number.POSITIVE_INFINITY;
  let near: number | undefined;
  let limited = false;
  for (let tries = 0; tries < 8; tries += 1) {
    const composed = compose(working, near === undefined ? { delta } : { delta, near });
    const { remove, add } = composed;
    limited = composed.limited;
    best = Math.min(best, Math.max(remove.epsilonAt(delta), add.epsilonAt(delta)));
    const hidden = best <= Math.max(remove.from, add.from);
    if (best === 0 || (!hidden && best > 0.7 * Math.max(remove.around, add.around))) break;
    near = hidden ? best / 2 : best;
  }
  // The estimate of the lattice's error rests on the same approximation.
  if (best === 0 || limited || (near === undefined && !few(working))) return best;
  return finer(best, 5e-4, (fineness, before) => {
    const { remove, add, limited } = compose(working, { delta, near: before }, fineness);
    return { bound: Math.max(remove.epsilonAt(delta), add.epsilonAt(delta)), limited };
  });
}

/** The bound `found` on ever finer lattices, until one takes off less than `part` or can be no finer. */
function finer(
  found: number,
  part: number,
  look: (fineness: Fineness, before: number) => { readonly bound: number; readonly limited: boolean },
): number {
  let best = found;
  for (let tolerance = FINE.tolerance / 8; tolerance > 1e-8; tolerance /= 8) {
    const before = best;
    const { bound, limited } = look({ ...FINE, tolerance }, before);
    best = Math.min(best, bound);
    if (limited || best > before * (1 - part)) break;
  }
  return best;
}

/** Whether there is noise enough for a lattice of sensible length; with less, sampling is all the protection. */
function loud(working: readonly Repeated[]): boolean {
  return working.every(
    ({ samplingRate, noiseMultiplier }) => samplingRate === 1 || noiseMultiplier >= LEAST_NOISE,
  );
}

function few(working: readonly Repeated[]): boolean {
  return working.reduce((sum, { steps }) => sum + steps, 0) <= 100;
}

/**
 * The least delta that is known to hold at `epsilon` >= 0 for all of `mechanisms` run on the same data.
 *
 * @throws RangeError when a mechanism or epsilon is out of range.
 */
export function deltaOf(mechanisms: readonly Mechanism[], epsilon: number): number {
  if (!(epsilon >= 0 && Number.isFinite(epsilon))) {
    throw new RangeError(`epsilon is ${epsilon}: it has to be a finite number, 0 or more`);
  }
  const working = gathered(mechanisms);
  if (working.length === 0) return 0;
  const unsampled = Math.min(drawnAtAll(working), gaussianDelta(together(working), epsilon));
  if (working.every(({ samplingRate }) => samplingRate === 1)) return unsampled;
  if (epsilon > WORTH_A_LATTICE || !loud(working)) return unsampled;
  const look = (fineness: Fineness, about?: number) => {
    const goal = about === undefined ? { epsilon } : { epsilon, about: Math.max(Number.MIN_VALUE, about) };
    const { remove, add, limited } = compose(working, goal, fineness);
    return { bound: Math.max(remove.deltaAt(epsilon), add.deltaAt(epsilon)), limited };
  };
  const first = look(FINE);
  return Math.min(unsampled, first.limited ? first.bound : finer(first.bound, 5e-3, look));
}

/**
 * The least noise multiplier (to one part in 10^4, rounded up) with which `steps` steps at `samplingRate` stay
 * within (`epsilon`, `delta`) by {@link epsilonOf}.
 *
 * @throws RangeError when the target is out of range or cannot be reached.
 */
export function solveNoiseMultiplier({ samplingRate, steps, delta, epsilon }: rdp.Target): number {
  if (!(epsilon > 0) || !Number.isFinite(epsilon)) {
    throw new RangeError(`epsilon is ${epsilon}: it has to be a finite number above 0`);
  }
  const spent = (noiseMultiplier: number): number =>
    epsilonOf([{ samplingRate, noiseMultiplier, steps }], delta);
  // Rényi's answer is safe and close.
  let high = rdp.solveNoiseMultiplier({ samplingRate, steps, delta, epsilon });
  if (spent(high) > epsilon) {
    throw new RangeError(`no noise multiplier below ${LARGEST_NOISE_MULTIPLIER} keeps epsilon at ${epsilon}`);
  }
  let low = high / 1.1;
  while (low > 1e-3 && spent(low) <= epsilon) {
    high = low;
    low /= 1.3;
  }
  return least(spent, epsilon, low, high, 1e-4);
}

/**
 * How many further steps stay within the budget, by {@link epsilonOf} of them together with what is spent: 0 when
 * not one does, {@link MOST_STEPS} when as many as anybody makes do. Exact up to some thousands of steps, beyond
 * that at most one part in 5,000 too low; never too high.
 *
 * @throws RangeError when a figure is out of range.
 */
export function stepsWithin({ samplingRate, noiseMultiplier, epsilon, delta, spent = [] }: Budget): number {
  if (!(epsilon >= 0)) throw new RangeError(`epsilon is ${epsilon}: it has to be 0 or more`);
  const cost = (steps: number): number =>
    epsilonOf([...spent, { samplingRate, noiseMultiplier, steps }], delta);
  let low = { steps: 1, epsilon: cost(1) };
  if (low.epsilon > epsilon) return 0;
  if (samplingRate === 0) return MOST_STEPS;
  let high: typeof low | undefined;
  for (let narrow = false; ; ) {
    const gap = high === undefined ? MOST_STEPS : high.steps - low.steps;
    if (low.steps >= MOST_STEPS || gap <= Math.max(1, low.steps / 5000)) return low.steps;
    const steps = nextGuess(low, high, epsilon, narrow);
    const tried = { steps, epsilon: cost(steps) };
    if (tried.epsilon <= epsilon) low = tried;
    else high = tried;
    // Interpolation that takes off less than half of the bracket is followed by a cut in the middle.
    narrow = high !== undefined && high.steps - low.steps > gap / 2;
  }
}

type Priced = { readonly steps: number; readonly epsilon: number };

/** Where epsilon, growing like a power of the steps, meets `epsilon`: strictly between `low` and `high`. */
function nextGuess(low: Priced, high: Priced | undefined, epsilon: number, middle: boolean): number {
  if (high === undefined) {
    const factor = low.epsilon > 0 ? Math.min(1000, Math.max(2, 1.1 * (epsilon / low.epsilon) ** 2)) : 32;
    return Math.min(MOST_STEPS, Math.ceil(low.steps * factor));
  }
  let guess = Math.sqrt(low.steps * high.steps);
  if (!middle && low.epsilon > 0 && Number.isFinite(high.epsilon)) {
    const power = Math.log(high.steps / low.steps) / Math.log(high.epsilon / low.epsilon);
    guess = low.steps * (epsilon / low.epsilon) ** power;
  }
  return Math.min(high.steps - 1, Math.max(low.steps + 1, Math.floor(guess)));
}

/** Equal steps counted together, plain Gaussians made one, idle ones left out; the order does not matter. */
function gathered(mechanisms: readonly Mechanism[]): readonly Repeated[] {
  mechanisms.forEach(rdp.checkMechanism);
  const sampled = new Map<string, Repeated>();
  let precision = 0;
  for (const { samplingRate, noiseMultiplier, steps } of mechanisms) {
    if (samplingRate === 0 || steps === 0) continue;
    if (samplingRate === 1) {
      precision += steps / noiseMultiplier ** 2;
      continue;
    }
    const key = `${samplingRate},${noiseMultiplier}`;
    const before = sampled.get(key)?.steps ?? 0;
    sampled.set(key, { samplingRate, noiseMultiplier, steps: before + steps });
  }
  const keys = [...sampled.keys()].sort();
  const list = keys.map((key) => sampled.get(key)!);
  if (precision > 0) list.push({ samplingRate: 1, noiseMultiplier: 1 / Math.sqrt(precision), steps: 1 });
  return list;
}

/** An upper bound on the probability that a unit is in any step, beyond which nothing about it is revealed. */
function drawnAtAll(working: readonly Repeated[]): number {
  return working.reduce((sum, { samplingRate, steps }) => sum + samplingRate * steps, 0);
}

/** The noise multiplier of the one Gaussian that all steps would be if everybody took part in each. */
function together(working: readonly Repeated[]): number {
  return 1 / Math.sqrt(working.reduce((sum, one) => sum + one.steps / one.noiseMultiplier ** 2, 0));
}

function least(
  spent: (at: number) => number,
  epsilon: number,
  from: number,
  to: number,
  part: number,
): number {
  let [low, high] = [from, to];
  while (high - low > part * high) {
    const middle = Math.sqrt(low * high);
    if (spent(middle) <= epsilon) high = middle;
    else low = middle;
  }
  return high;
}
