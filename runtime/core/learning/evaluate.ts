/** How good a model is on runs that it has not learned from. */
import { type AlarmTerms, type JudgedRun, judgeAlarms, limitsFor, ruleFor } from './alarm.ts';
import { type Episode, type LabelSpec, labelledWindows } from './episodes.ts';
import { type DataSheet, windowFeatures } from './features.ts';
import type { Label } from './kinds.ts';
import { type ModelSpec, predict, predictRul } from './model.ts';

/** A machine seen up to some moment, and the rows (cycles) it then had left: the truth, not capped. */
export interface EvaluationUnit {
  readonly rows: readonly (readonly number[])[];
  readonly rul: number;
}

/** Errors in rows (cycles), over one prediction a machine. */
export interface Evaluation {
  readonly rmse: number;
  /** The PHM08 score, a sum over the machines. */
  readonly score: number;
  readonly engines: number;
}

/** Root of the mean squared difference. @throws RangeError when the lengths differ or are 0. */
export function rmse(predicted: readonly number[], actual: readonly number[]): number {
  checkPairs(predicted, actual);
  const sum = predicted.reduce((total, value, index) => total + (value - actual[index]!) ** 2, 0);
  return Math.sqrt(sum / predicted.length);
}

/**
 * The score of the PHM08 challenge (Saxena et al. 2008, "Damage propagation modeling for aircraft engine
 * run-to-failure simulation", equation 11): late predictions (d >= 0) cost exp(d / 10) - 1, early ones
 * exp(-d / 13) - 1.
 */
export function phm08Score(predicted: readonly number[], actual: readonly number[]): number {
  checkPairs(predicted, actual);
  return predicted.reduce((total, value, index) => {
    const late = value - actual[index]!;
    return total + Math.expm1(late < 0 ? -late / 13 : late / 10);
  }, 0);
}

/** Predicts every unit's RUL from its last window and compares it with the truth as it is. */
export function evaluateLastWindows(
  model: ModelSpec,
  parameters: Float64Array,
  units: readonly EvaluationUnit[],
  sheet: DataSheet,
  spec: LabelSpec,
): Evaluation {
  const predicted = units.map(({ rows }) =>
    predictRul(model, parameters, windowFeatures(rows, sheet, spec), spec.cap),
  );
  const actual = units.map(({ rul }) => rul);
  return { rmse: rmse(predicted, actual), score: phm08Score(predicted, actual), engines: units.length };
}

/** The probability that log-odds stand for. */
export function probabilityOf(logOdds: number): number {
  return logOdds >= 0 ? 1 / (1 + Math.exp(-logOdds)) : Math.exp(logOdds) / (1 + Math.exp(logOdds));
}

/** -log of the probability given to what happened, from log-odds; finite for every finite input. */
export function logLoss(logOdds: number, failed: boolean): number {
  const against = failed ? -logOdds : logOdds;
  return Math.max(0, against) + Math.log1p(Math.exp(-Math.abs(against)));
}

/**
 * Probability that a score of the first kind is above one of the second, ties half (Mann and Whitney 1947): the area
 * under the ROC curve. NaN where one of the two is empty.
 */
export function areaUnderCurve(above: readonly number[], below: readonly number[]): number {
  const all = [
    ...above.map((score) => ({ score, first: true })),
    ...below.map((score) => ({ score, first: false })),
  ].sort((a, b) => a.score - b.score);
  let sum = 0;
  for (let from = 0; from < all.length; ) {
    let to = from;
    while (to < all.length && all[to]!.score === all[from]!.score) to += 1;
    const firsts = all.slice(from, to).filter(({ first }) => first).length;
    // Ranks from + 1 to `to` share their mean.
    sum += (firsts * (from + 1 + to)) / 2;
    from = to;
  }
  const count = above.length * below.length;
  return (sum - (above.length * (above.length + 1)) / 2) / count;
}

/** The value below which a part `p` of the sorted values lies, between two of them in proportion. */
export function quantile(sorted: ArrayLike<number>, p: number): number {
  if (sorted.length === 0) return Number.NaN;
  const place = p * (sorted.length - 1);
  const low = sorted[Math.floor(place)]!;
  return low + (sorted[Math.ceil(place)]! - low) * (place - Math.floor(place));
}

/** The windows of one machine that its truth is known for, and what a model said of them. */
export interface Judged {
  readonly machine: string;
  /** Outputs of `predict`, in order. */
  readonly outputs: Float64Array;
  /** See `targetOf`. */
  readonly labels: ArrayLike<number>;
  /** Label `none`: outputs for windows of the rows before a failure, which are not healthy. */
  readonly unhealthy: Float64Array;
  /** Mean square of the features of each window: the error of an autoencoder that always says the middle. */
  readonly squares: Float64Array;
  /** What an alarm would have seen of each run, where every row was looked at. */
  readonly runs: readonly JudgedRun[];
}

/** Windows of a machine that are looked at; those of longer runs lie further apart. */
const MOST_WINDOWS = 2_000;

/**
 * What a model says of the finished runs of one machine. For remaining life and failure within a horizon, runs that
 * ended in a failure; for the healthy state, whatever may be taken for healthy.
 *
 * @throws RangeError when the episodes are not all of one machine, or do not fit the sheet
 */
export function judgeMachine(
  model: ModelSpec,
  parameters: Float64Array,
  episodes: readonly Episode[],
  sheet: DataSheet,
  spec: LabelSpec,
): Judged {
  const machine = episodes[0]?.machine ?? '';
  if (episodes.some((episode) => episode.machine !== machine)) {
    throw new RangeError('judged are the runs of one machine at a time');
  }
  const usable = usableEpisodes(episodes, spec.label);
  const rows = usable.reduce((sum, episode) => sum + episode.rows.length, 0);
  const strided = { ...spec, stride: Math.max(1, Math.ceil(rows / MOST_WINDOWS)) };
  const { count, features, labels, episodeOf } = labelledWindows(usable, sheet, strided);
  const width = count === 0 ? 0 : features.length / count;
  const outputs = outputsOver(model, parameters, features, count);
  const squares = new Float64Array(count);
  for (let index = 0; index < count * width; index += 1) {
    squares[Math.floor(index / width)]! += features[index]! ** 2 / width;
  }
  const unhealthy =
    spec.label === 'none' ? unhealthyOutputs(model, parameters, usable, sheet, strided) : new Float64Array(0);
  const runs = strided.stride === 1 ? runsOf(outputs, labels, episodeOf, spec) : [];
  return { machine, outputs, labels, unhealthy, squares, runs };
}

/** The outputs run by run, as levels; above the cap the rows that are left are counted from the end. */
function runsOf(
  outputs: Float64Array,
  labels: Float32Array,
  episodeOf: Int32Array,
  spec: LabelSpec,
): JudgedRun[] {
  if (spec.label === 'none') return [];
  const runs: { levels: number[]; remaining: number[] }[] = [];
  for (let index = outputs.length - 1, later = 0; index >= 0; index -= 1, later += 1) {
    if (index === outputs.length - 1 || episodeOf[index] !== episodeOf[index + 1]) {
      runs.unshift({ levels: [], remaining: [] });
      later = 0;
    }
    const capped = spec.label === 'failure-within' || labels[index]! >= 1;
    runs[0]!.levels.unshift(levelOf(outputs[index]!, spec));
    runs[0]!.remaining.unshift(capped ? later : labels[index]! * spec.cap);
  }
  return runs;
}

/** What an alarm looks at: see `ruleFor`. For the healthy state a p-value is needed, which is not the model's to say. */
export function levelOf(output: number, { label, cap }: Pick<LabelSpec, 'label' | 'cap'>): number {
  if (label === 'none') return Number.NaN;
  if (label === 'failure-within') return 1 - probabilityOf(output);
  return cap * Math.max(0, Math.min(1, output));
}

/** Runs that a model of this label can be judged by; the healthy state also by one that goes on. */
export function usableEpisodes(episodes: readonly Episode[], label: Label = 'remaining-life'): Episode[] {
  return episodes.filter(({ end }) => label === 'none' || end === 'failure');
}

/** What a model says of each of `count` windows that lie one after the other in `features`. */
export function outputsOver(
  model: ModelSpec,
  parameters: Float64Array,
  features: Float32Array,
  count: number,
): Float64Array {
  const width = count === 0 ? 0 : features.length / count;
  return Float64Array.from({ length: count }, (_, index) =>
    predict(model, parameters, features.subarray(index * width, (index + 1) * width)),
  );
}

function unhealthyOutputs(
  model: ModelSpec,
  parameters: Float64Array,
  episodes: readonly Episode[],
  sheet: DataSheet,
  spec: LabelSpec,
): Float64Array {
  const failed = episodes.filter(({ end }) => end === 'failure');
  const { count, features, labels } = labelledWindows(failed, sheet, { ...spec, label: 'remaining-life' });
  return outputsOver(model, parameters, features, count).filter((_, index) => labels[index]! < 1);
}

/** What the error of a label is called. */
export const MEASURES = {
  'remaining-life': 'RMSE in rows',
  'failure-within': 'log-loss',
  none: 'mean reconstruction error',
} as const;

/** Each machine weighs the same, however long it ran. */
export interface Figures {
  readonly machines: number;
  readonly windows: number;
  /** What models are compared by: see {@link MEASURES}. */
  readonly error: number;
  /** The same of the best constant answer, found on these very runs; NaN where it means nothing. */
  readonly trivial: number;
  /**
   * Remaining life: `score`, the PHM08 score of a window. Failure within: `auc`. The healthy state: `median`, `p90`,
   * `p99` of the reconstruction error, and `auc` of telling the rows before a failure, where there were failures.
   * With an alarm, of these runs: `alarmsDue`, `detected`, `missed`, `tooEarly`, `falseAlarms`, `medianLead` in rows.
   */
  readonly more: Readonly<Record<string, number>>;
}

/** @throws RangeError when no machine has a window: there is nothing to say then. */
export function figuresOf(
  judged: readonly Judged[],
  spec: Pick<LabelSpec, 'label' | 'cap' | 'horizon'>,
  alarm?: AlarmTerms,
): Figures {
  const figures = errorsOf(judged, spec);
  if (!alarm || spec.label === 'none') return figures;
  const runs = judged.flatMap((one) => one.runs);
  const horizon = spec.label === 'failure-within' ? spec.horizon! : alarm.horizon;
  // The coverage sets the rule for the healthy state alone.
  const rule = ruleFor(spec.label ?? 'remaining-life', alarm, 0.9);
  const { due, detected, missed, tooEarly, falseAlarms, leadTimes } = judgeAlarms(
    runs,
    rule,
    limitsFor(horizon),
  );
  const alarms = { alarmsDue: due, detected, missed, tooEarly, falseAlarms };
  return { ...figures, more: { ...figures.more, ...alarms, medianLead: quantile(leadTimes, 0.5) } };
}

function errorsOf(judged: readonly Judged[], spec: Pick<LabelSpec, 'label' | 'cap'>): Figures {
  const machines = judged.filter(({ outputs }) => outputs.length > 0);
  if (machines.length === 0) throw new RangeError('no machine has a window to judge by');
  const windows = machines.reduce((sum, { outputs }) => sum + outputs.length, 0);
  const counts = { machines: machines.length, windows };
  if (spec.label === 'failure-within') return { ...counts, ...outcomeFigures(machines) };
  if (spec.label === 'none') return { ...counts, ...healthyFigures(machines) };
  return { ...counts, ...lifeFigures(machines, spec.cap) };
}

function lifeFigures(machines: readonly Judged[], cap: number) {
  const predicted = ({ outputs }: Judged, index: number) => cap * Math.max(0, Math.min(1, outputs[index]!));
  const square = meanOver(machines, (one, at) => (predicted(one, at) - cap * one.labels[at]!) ** 2);
  const score = meanOver(machines, (one, at) => phm08Score([predicted(one, at)], [cap * one.labels[at]!]));
  const middle = meanOver(machines, (one, at) => cap * one.labels[at]!);
  const trivial = meanOver(machines, (one, at) => (middle - cap * one.labels[at]!) ** 2);
  return { error: Math.sqrt(square), trivial: Math.sqrt(trivial), more: { score } };
}

function outcomeFigures(machines: readonly Judged[]) {
  const failed = (one: Judged, at: number) => one.labels[at]! > 0.5;
  const error = meanOver(machines, (one, at) => logLoss(one.outputs[at]!, failed(one, at)));
  const rate = meanOver(machines, (one, at) => (failed(one, at) ? 1 : 0));
  // With one outcome only, the best constant is never wrong, and says nothing of a model.
  const known = rate > 0 && rate < 1;
  const trivial = known ? -rate * Math.log(rate) - (1 - rate) * Math.log(1 - rate) : Number.NaN;
  const outputs = (wanted: boolean) =>
    machines.flatMap((one) => [...one.outputs].filter((_, at) => failed(one, at) === wanted));
  return { error, trivial, more: { auc: areaUnderCurve(outputs(true), outputs(false)) } };
}

function healthyFigures(machines: readonly Judged[]) {
  const sorted = Float64Array.from(machines.flatMap(({ outputs }) => [...outputs])).sort();
  const unhealthy = machines.flatMap((one) => [...one.unhealthy]);
  return {
    error: meanOver(machines, ({ outputs }, at) => outputs[at]!),
    trivial: meanOver(machines, ({ squares }, at) => squares[at]!),
    more: {
      median: quantile(sorted, 0.5),
      p90: quantile(sorted, 0.9),
      p99: quantile(sorted, 0.99),
      ...(unhealthy.length > 0 ? { auc: areaUnderCurve(unhealthy, [...sorted]) } : {}),
    },
  };
}

/** The mean over the machines of each one's mean. */
function meanOver(machines: readonly Judged[], value: (one: Judged, index: number) => number): number {
  let sum = 0;
  for (const one of machines) {
    let own = 0;
    for (let index = 0; index < one.outputs.length; index += 1) own += value(one, index);
    sum += own / one.outputs.length;
  }
  return sum / machines.length;
}

/** How much worse than the best model seen a new one may be, on the same runs. */
export const TOLERANCE = 0.05;

export type Verdict =
  | { readonly adopt: true; readonly best: boolean; readonly why: string }
  | { readonly adopt: false; readonly why: string };

/**
 * The rule: a model is refused when it is no better than the best constant answer, or when its error is more than
 * 1 + tolerance times that of the best model adopted so far, measured on the same runs. The best one so far and not
 * the last one, so that a tolerance cannot add up over the rounds.
 */
export function compareModels(
  candidate: Figures,
  best: Figures | undefined,
  label: Label = 'remaining-life',
  tolerance = TOLERANCE,
): Verdict {
  const measure = MEASURES[label];
  const shown = (value: number) => value.toPrecision(4);
  const { error, trivial } = candidate;
  if (!Number.isFinite(error)) return { adopt: false, why: `its ${measure} is ${error}` };
  if (error >= trivial) {
    return {
      adopt: false,
      why: `its ${measure} is ${shown(error)}, and always the same answer would have ${shown(trivial)}`,
    };
  }
  if (best && error > best.error * (1 + tolerance)) {
    return {
      adopt: false,
      why: `its ${measure} is ${shown(error)}, and a model before it has ${shown(best.error)} on the same runs`,
    };
  }
  const than = Number.isNaN(trivial) ? '' : `, always the same answer ${shown(trivial)}`;
  return {
    adopt: true,
    best: !best || error <= best.error,
    why: `its ${measure} is ${shown(error)}${best ? `, the best before it has ${shown(best.error)}` : ''}${than}`,
  };
}

function checkPairs(predicted: readonly number[], actual: readonly number[]): void {
  if (predicted.length !== actual.length || predicted.length === 0) {
    throw new RangeError(
      `${predicted.length} predictions for ${actual.length} machines: need as many, one at least`,
    );
  }
}
