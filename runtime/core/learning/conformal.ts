/**
 * Split conformal prediction where the data come in machines: rows of one machine resemble each other, machines are
 * exchangeable. The unit that is counted is the machine, however long it ran.
 *
 * One window is drawn from each calibration machine (subsampling once: Dunn, Wasserman and Ramdas 2022,
 * "Distribution-free prediction sets for two-layer hierarchical models", section 4.2): the scores of K machines and
 * that of a random window of a new machine are then exchangeable, and the rank of the new one is uniform over K + 1.
 * Pooling all windows, each machine weighing the same (Lee, Barber and Willett 2023, "Distribution-free inference with
 * hierarchical data"), has the same guarantee and, measured with nine machines, 99.8 % coverage where 90 % is asked
 * for; it is used for p-values, where it costs nothing.
 *
 * What is promised: over machines, and over the moments of their runs, at least the coverage. What is not: the
 * coverage at one moment (just before a failure, say) or of one machine.
 */

export interface Threshold {
  /** Scores up to this are within; Infinity when there is no calibration machine. */
  readonly value: number;
  /** Calibration machines. */
  readonly machines: number;
  /** Machines that it takes for the coverage. */
  readonly needed: number;
  readonly coverage: number;
  /** False with too few machines: then the value is the largest score, and nothing is promised. */
  readonly guaranteed: boolean;
}

/** An interval of remaining life, in rows; `high` undefined: at least `low`. */
export interface Interval {
  readonly low: number;
  readonly high: number | undefined;
}

/** Sums of fractions are a little off. */
const ROUNDING = 1e-9;

/** The least number of calibration machines for which `coverage` can be promised: 9 for 0.9, 19 for 0.95. */
export function machinesNeeded(coverage: number): number {
  checkCoverage(coverage);
  return Math.ceil(coverage / (1 - coverage) - ROUNDING);
}

/**
 * The threshold for one score a machine. The rank that gives exactly the coverage mostly lies between two whole
 * ones; `coin` in [0, 1), drawn once and independent of the scores, takes the upper one as often as that needs
 * (smoothed conformal prediction: Vovk, Gammerman and Shafer 2005, section 2.2), so that coverage is not above what
 * was asked for either.
 *
 * @throws RangeError for a coverage or a coin that is impossible, or a score that is not a number
 */
export function thresholdOf(scores: readonly number[], coverage: number, coin: number): Threshold {
  const needed = machinesNeeded(coverage);
  if (!(coin >= 0 && coin < 1)) throw new RangeError(`a coin of ${coin}: it has to lie in [0, 1)`);
  if (scores.some(Number.isNaN)) throw new RangeError('a score is not a number');
  const machines = scores.length;
  const sorted = [...scores].sort((a, b) => a - b);
  const guaranteed = machines >= needed;
  const exact = coverage * (machines + 1);
  const below = Math.floor(exact + ROUNDING);
  const rank = guaranteed ? below + (coin < exact - below - ROUNDING ? 1 : 0) : machines;
  const value = rank === 0 ? Number.POSITIVE_INFINITY : (sorted[rank - 1] ?? Number.POSITIVE_INFINITY);
  return { value, machines, needed, coverage, guaranteed };
}

/**
 * How far off a prediction may be expected to be, relative to others: near the failure less. Fixed, not fitted on
 * anybody's data; a wrong guess makes intervals wider, never wrong.
 *
 * @param predicted remaining life in rows, 0 to `cap`
 */
export function spreadAt(predicted: number, cap: number): number {
  return 0.2 + 0.8 * Math.max(0, Math.min(1, predicted / cap));
}

/** The score of a prediction of remaining life: its error by the capped truth, in units of {@link spreadAt}. */
export function lifeScore(predicted: number, remaining: number, cap: number): number {
  return Math.abs(predicted - Math.min(remaining, cap)) / spreadAt(predicted, cap);
}

/** The remaining lives whose score is within the threshold. An end at or above the cap is open. */
export function lifeInterval(predicted: number, cap: number, threshold: number): Interval {
  const reach = threshold * spreadAt(predicted, cap);
  const high = predicted + reach;
  return { low: Math.max(0, predicted - reach), high: high >= cap - ROUNDING ? undefined : high };
}

/** Whether `remaining` rows, not capped, lie in the interval. */
export function holds({ low, high }: Interval, remaining: number): boolean {
  return remaining >= low - ROUNDING && (high === undefined || remaining <= high + ROUNDING);
}

/** The score of a probability of failure: how little of it was given to what then happened. */
export function outcomeScore(probability: number, failed: boolean): number {
  return failed ? 1 - probability : probability;
}

/** The outcomes whose score is within the threshold: one, both, or, rarely, neither. */
export function outcomesWithin(
  probability: number,
  threshold: number,
): { readonly failure: boolean; readonly noFailure: boolean } {
  const within = (failed: boolean) => outcomeScore(probability, failed) <= threshold + ROUNDING;
  return { failure: within(true), noFailure: within(false) };
}

/**
 * How unusual `score` is beside the healthy windows of the calibration machines: at most alpha with probability at
 * most alpha for a healthy window of another machine. The least it can be is 1 / (K + 1).
 *
 * @param groups one list of scores a machine, sorted upwards; empty ones are passed over
 */
export function pValue(groups: readonly Float64Array[], score: number): number {
  const counted = groups.filter((group) => group.length > 0);
  const above = counted.reduce((sum, group) => sum + (group.length - rankIn(group, score)) / group.length, 0);
  return (1 + above) / (counted.length + 1);
}

/** How many of the sorted values are below `value`. */
function rankIn(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function checkCoverage(coverage: number): void {
  if (!(coverage > 0 && coverage < 1)) {
    throw new RangeError(`a coverage of ${coverage}: it has to lie between 0 and 1`);
  }
}
