/**
 * Where a composition's delta is decided: the tilt at which it is computed, and how far it then spreads. Estimates
 * that steer the computation of pld.ts; nothing of its bound rests on them, another tilt is less sharp, not less
 * true.
 */
import { type Directions, type Losses, lossPoints, type Step } from './step.ts';

/**
 * What a composition is wanted for: its epsilon at a delta (known to be about `near`), or its delta at an epsilon
 * (known to be about `about`).
 */
export type Goal =
  | { readonly delta: number; readonly near?: number }
  | { readonly epsilon: number; readonly about?: number };

/** Where one direction's delta is decided. */
export interface Saddle {
  readonly epsilon: number;
  readonly logDelta: number;
  /** The order at which delta is decided, and the tilted composition's deviation there. */
  readonly order: number;
  readonly deviation: number;
  /** For each mechanism, the mean of |loss| under that tilt. */
  readonly sizes: readonly number[];
  /** The sum over all steps of the mean of loss^2 under it. */
  readonly squares: number;
  /** The tilt to compute with, the least loss to look at, and how far a window has to reach from there. */
  readonly tilt: number;
  readonly from: number;
  readonly span: number;
}

/** The part of delta that tails may take. */
const NEGLIGIBLE = 1e-8;

/** What rounding may take of it, and what a step adds to rounding, relative to the tilted distribution. */
const ROUNDING = 1e-3;
const ROUNDING_OF_STEP = 3e-14;

/** The saddles of `mechanisms`, whose losses are looked at within `reach` deviations of the noise. */
export function saddlesOf(
  mechanisms: readonly (Step & { readonly steps: number })[],
  goal: Goal,
  reach: number,
): Directions<Saddle> {
  const points = mechanisms.map((mechanism) => pointsOf(mechanism, reach));
  const steps = mechanisms.map((mechanism) => mechanism.steps);
  const of = (direction: 'remove' | 'add'): Saddle =>
    saddleOf(
      steps,
      points.map((both) => both[direction]),
      goal,
    );
  return { remove: of('remove'), add: of('add') };
}

/**
 * The saddle-point approximation: delta ~ exp(K(t) - t epsilon) / (t (t + 1) s sqrt(2 pi)) where
 * K'(t) = epsilon + 1 / t + 1 / (t + 1), K being the cumulant generating function of the loss and s^2 = K''(t).
 */
function saddleOf(steps: readonly number[], points: readonly Losses[], goal: Goal): Saddle {
  const at = (order: number) => {
    let [log, mean, variance, squares] = [0, 0, 0, 0];
    const sizes = points.map((losses, index) => {
      const one = cumulants(losses, order);
      log += steps[index]! * one.log;
      mean += steps[index]! * one.mean;
      variance += steps[index]! * one.variance;
      squares += steps[index]! * one.square;
      return one.size;
    });
    const deviation = Math.sqrt(variance);
    const epsilon = mean - 1 / order - 1 / (order + 1);
    const prefactor = Math.max(1, order * (order + 1) * deviation * Math.sqrt(2 * Math.PI));
    return { deviation, epsilon, logDelta: log - order * epsilon - Math.log(prefactor), sizes, squares };
  };
  const wanted = 'delta' in goal ? Math.log(goal.delta) : 0;
  const search = (far: (here: ReturnType<typeof at>) => boolean): number => {
    let low = Math.log(1e-4);
    let high = Math.log(1e9);
    while (high - low > 0.02) {
      const middle = (low + high) / 2;
      if (far(at(Math.exp(middle)))) high = middle;
      else low = middle;
    }
    return Math.exp((low + high) / 2);
  };
  let order =
    'delta' in goal ? search((one) => one.logDelta < wanted) : search((one) => one.epsilon > goal.epsilon);
  let here = at(order);
  let epsilon = 'delta' in goal ? Math.max(0, here.epsilon) : goal.epsilon;
  if ('delta' in goal && goal.near !== undefined && goal.near < epsilon) {
    const { near } = goal;
    order = search((one) => one.epsilon > near);
    here = at(order);
    epsilon = near;
  }
  const about = 'delta' in goal || goal.about === undefined ? here.logDelta : Math.log(goal.about);
  const logDelta = 'delta' in goal ? wanted : Math.min(here.logDelta, about);
  // Below its estimate epsilon may well lie; a window from 0 on has all there is to see.
  const margin = 'delta' in goal ? 1 / order + 0.2 * here.deviation + epsilon / 10 : 0;
  const from = Math.max(0, epsilon - margin);
  const logAt = (tilt: number): number =>
    points.reduce((total, losses, index) => total + steps[index]! * logMoment(losses, tilt), 0);
  const noise =
    Math.log((ROUNDING_OF_STEP / ROUNDING) * steps.reduce((sum, count) => sum + count, 0)) -
    Math.log(Math.max(1, order * here.deviation));
  const window = windowFor(order, logAt, from, logDelta, noise);
  return { ...here, epsilon, logDelta, order, ...window };
}

const TILTS = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1, 1.25, 1.5, 2, 3, 4, 6];

/**
 * The tilt with the shortest window [from, from + span) that a periodic convolution may be read in, with nothing
 * but a {@link NEGLIGIBLE} part of delta out of place:
 *
 *  - what lies beyond the window, by Chernoff's bound exp(K(u) - u (from + span)) at any u,
 *  - what wraps around from below: untilted mass, at most 1, times exp(-tilt span),
 *  - what wraps around from above and is seen a span lower: exp(K(u) - u (from + span) + tilt span - ...) likewise.
 *
 * Smaller tilts than the order of the saddle help against heavy tails, as long as rounding allows.
 */
function windowFor(
  order: number,
  logAt: (tilt: number) => number,
  from: number,
  logDelta: number,
  noise: number,
): { readonly tilt: number; readonly from: number; readonly span: number } {
  const need = -logDelta - Math.log(NEGLIGIBLE);
  const grid = TILTS.map((part) => ({ tilt: part * order, log: logAt(part * order) }));
  const beyond = Math.min(...grid.map(({ tilt, log }) => (log + need) / tilt)) - from;
  let best = { tilt: order, from, span: Number.POSITIVE_INFINITY };
  for (const { tilt, log } of grid) {
    if (tilt > order || (tilt < order && log - tilt * from - logDelta + noise > 0)) continue;
    const above = grid
      .filter((other) => other.tilt > tilt)
      .map((other) => (other.log - other.tilt * from + need) / (other.tilt - tilt));
    const span = Math.max(beyond, need / tilt, Math.min(...above));
    if (span < best.span) best = { tilt, from, span };
  }
  return best;
}

export interface Cumulants {
  readonly log: number;
  readonly mean: number;
  readonly variance: number;
  readonly size: number;
  readonly square: number;
}

/** ln E exp(tilt loss), and the tilted loss's mean, variance, mean size and mean square. */
function cumulants(points: Losses, tilt: number): Cumulants {
  const { losses, logMasses } = points;
  const log = logMoment(points, tilt);
  let [first, second, size] = [0, 0, 0];
  for (let index = 0; index < losses.length; index += 1) {
    const loss = losses[index]!;
    const part = Math.exp(logMasses[index]! + tilt * loss - log) * loss;
    first += part;
    second += part * loss;
    size += Math.abs(part);
  }
  return { log, mean: first, variance: Math.max(0, second - first ** 2), size, square: second };
}

/** ln E exp(tilt loss). */
export function logMoment({ losses, logMasses }: Losses, tilt: number): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let index = 0; index < losses.length; index += 1) {
    const log = logMasses[index]! + tilt * losses[index]!;
    if (log > top) top = log;
  }
  let sum = 0;
  for (let index = 0; index < losses.length; index += 1) {
    sum += Math.exp(logMasses[index]! + tilt * losses[index]! - top);
  }
  return top + Math.log(sum);
}

const known = new Map<string, Directions<Losses>>();
const KEPT = 32;

function pointsOf(step: Step, reach: number): Directions<Losses> {
  const key = [step.samplingRate, step.noiseMultiplier, step.group ?? 1, reach].join();
  const found = known.get(key);
  if (found !== undefined) return found;
  const made = lossPoints(step, reach);
  if (known.size >= KEPT) known.delete(known.keys().next().value!);
  known.set(key, made);
  return made;
}
