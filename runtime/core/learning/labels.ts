/** What is to be learned from a row of a run: known, known from one side, or not known at all. */
import type { Label } from './kinds.ts';

/** How a run ended; `censored`: taken out of service or repaired before it broke, so that nobody knows its RUL. */
export type End = 'failure' | 'censored' | 'running';

export interface TargetSpec {
  /** RUL above this, in rows, counts as this; for the label `none`, rows before a failure that are not healthy. */
  readonly cap: number;
  /** What is learned; remaining life when left out. */
  readonly label?: Label;
  /** Rows within which a failure is foretold, where that is the label. */
  readonly horizon?: number;
}

export interface Target {
  readonly value: number;
  /** The truth may lie above `value`. */
  readonly atLeast: boolean;
}

/**
 * The label of a row with `left` rows to the end of its run; undefined where there is none to give.
 *
 * `remaining-life`: `left` over the cap, at most 1, which means the cap or more. A run that was ended by a repair
 * would have lasted longer, so its labels below the cap are lower bounds. `failure-within`: 1 where the failure
 * comes in fewer than `horizon` rows, else 0; of a repaired run only those rows are known, as 0, that had a horizon
 * left. `none`: 0 for every row that may be taken for healthy. Of a run that is going on nothing else is learned.
 *
 * @param exact whether `left` is the truth or less than it
 */
export function targetOf(left: number, exact: boolean, end: End, spec: TargetSpec): Target | undefined {
  const { label = 'remaining-life', cap, horizon = Number.NaN } = spec;
  if (label === 'none') return end !== 'failure' || left >= cap ? { value: 0, atLeast: false } : undefined;
  if (end === 'running') return undefined;
  const known = exact && end === 'failure';
  if (label === 'remaining-life') return { value: Math.min(left, cap) / cap, atLeast: !known && left < cap };
  if (left >= horizon) return { value: 0, atLeast: false };
  return known ? { value: 1, atLeast: false } : undefined;
}

/** @throws RangeError when the cap or the horizon is impossible. */
export function checkTarget({ cap, label, horizon }: TargetSpec): void {
  if (!(cap > 0 && Number.isFinite(cap))) {
    throw new RangeError(`the RUL cap is ${cap}: it has to be a finite number of rows above 0`);
  }
  if (label === 'failure-within' && !(horizon !== undefined && horizon > 0 && Number.isFinite(horizon))) {
    throw new RangeError(`the horizon is ${horizon}: it has to be a finite number of rows above 0`);
  }
}

const ANSWERS =
  /^(rul|ttf|label|target|(remaining|residual).?(useful.?)?life|time.?to.?failure|failed|failure)$/i;

/** Whether a channel of this name tells what is to be foretold: a model that sees it learns nothing else. */
export function tellsAnswer(channel: string): boolean {
  return ANSWERS.test(channel);
}
