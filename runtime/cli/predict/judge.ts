/** What a model says of machines in a file, and how right it was where the truth is known. */
import {
  type AlarmJudgement,
  type AlarmTerms,
  type JudgedRun,
  judgeAlarms,
  limitsFor,
  ruleFor,
} from '../../core/learning/alarm.ts';
import { holds, type Interval, lifeInterval } from '../../core/learning/conformal.ts';
import type { LabelSpec } from '../../core/learning/episodes.ts';
import {
  areaUnderCurve,
  levelOf,
  logLoss,
  phm08Score,
  probabilityOf,
  rmse,
} from '../../core/learning/evaluate.ts';
import {
  type DataSheet,
  featuresOfNormalised,
  leastRows,
  normaliseRows,
} from '../../core/learning/features.ts';
import { type ModelSpec, predict } from '../../core/learning/model.ts';
import { historiesOf } from '../../core/learning/resample.ts';
import type { MachineRows } from './rows.ts';

/** A model, and how its inputs are made. */
export interface Predicting {
  readonly model: ModelSpec;
  readonly parameters: Float64Array;
  readonly sheet: DataSheet;
  readonly windows: LabelSpec;
}

/** What the gateway that the model comes from knows of its errors. */
export interface Calibrated {
  readonly value: number;
  readonly coverage: number;
  readonly guaranteed: boolean;
}

/** One prediction, after row `row` (from 1) of a machine; with a period, of the resampled rows. */
export interface Said {
  readonly machine: string;
  readonly row: number;
  readonly output: number;
  /** Remaining rows, uncapped, or 1 for a failure within the horizon or an unhealthy row, else 0. */
  readonly truth: number | undefined;
}

/** Everything that can be said of one machine, oldest first. */
export function sayOf(
  { model, parameters, sheet, windows }: Predicting,
  { machine, rows, times, truth }: MachineRows,
  endsInFailure: boolean,
): Said[] {
  const least = leastRows(windows);
  const run = times ? { rows, times } : { rows };
  return historiesOf(run, windows).flatMap(({ rows: own, left }) => {
    const normalised = normaliseRows(own, sheet, windows);
    const said: Said[] = [];
    for (let end = least; end <= own.length; end += 1) {
      const count = Math.min(end, windows.window);
      const output = predict(model, parameters, featuresOfNormalised(normalised, windows, count, end));
      const after = left[end - 1]!;
      const row = windows.period === undefined ? rows.length - after : end;
      const known = endsInFailure ? truthAt(after, windows) : truth?.[row - 1];
      said.push({ machine, row, output, truth: known });
    }
    return said;
  });
}

function truthAt(left: number, { label, horizon, cap }: LabelSpec): number {
  if (label === 'failure-within') return left < horizon! ? 1 : 0;
  return label === 'none' ? (left < cap ? 1 : 0) : left;
}

/** One prediction as it is printed. */
export function shownAs({ output }: Said, { windows }: Predicting, calibrated: Calibrated | undefined) {
  const { label = 'remaining-life', cap } = windows;
  if (label === 'none') return { anomaly: output };
  if (label === 'failure-within') return { probability: probabilityOf(output) };
  const remaining = levelOf(output, windows);
  return { remaining, atCap: remaining >= cap, ...intervalOf(remaining, cap, calibrated) };
}

function intervalOf(remaining: number, cap: number, calibrated: Calibrated | undefined) {
  if (!calibrated) return {};
  const { low, high } = lifeInterval(remaining, cap, calibrated.value);
  const { coverage, guaranteed } = calibrated;
  return { interval: { low, high: high ?? null, coverage, guaranteed } };
}

export interface Judgement {
  /** Label remaining-life, over one prediction a machine, its last: the truth not capped. */
  readonly rmse?: number;
  readonly score?: number;
  /** The same over every prediction, the truth capped. */
  readonly rmseCapped?: number;
  /** Share of the machines whose truth lies in the interval of the last prediction. */
  readonly covered?: number;
  readonly logLoss?: number;
  readonly auc?: number;
  readonly alarms?: AlarmJudgement;
  readonly machines: number;
  readonly predictions: number;
}

/** Holds what was said against the truth; undefined where none is known. */
export function judge(
  machines: readonly (readonly Said[])[],
  predicting: Predicting,
  alarm: AlarmTerms | undefined,
  calibrated: Calibrated | undefined,
): Judgement | undefined {
  const known = machines
    .map((said) => said.filter((one): one is Said & { truth: number } => one.truth !== undefined))
    .filter((said) => said.length > 0);
  if (known.length === 0) return undefined;
  const all = known.flat();
  const counts = { machines: known.length, predictions: all.length };
  const { windows } = predicting;
  const { label = 'remaining-life', cap } = windows;
  if (label !== 'remaining-life') {
    const outputs = (wanted: number) =>
      all.filter(({ truth }) => truth === wanted).map(({ output }) => output);
    const auc = areaUnderCurve(outputs(1), outputs(0));
    if (label === 'none') return { ...counts, auc };
    const loss = all.reduce((sum, { output, truth }) => sum + logLoss(output, truth > 0.5), 0) / all.length;
    return { ...counts, logLoss: loss, auc };
  }
  const level = ({ output }: Said) => levelOf(output, windows);
  const last = known.map((said) => said.at(-1)!);
  const predicted = last.map(level);
  const actual = last.map(({ truth }) => truth);
  const intervals = calibrated && last.map((one) => lifeInterval(level(one), cap, calibrated.value));
  const runs = known.map(
    (said): JudgedRun => ({ levels: said.map(level), remaining: said.map(({ truth }) => truth) }),
  );
  return {
    ...counts,
    rmse: rmse(predicted, actual),
    score: phm08Score(predicted, actual),
    rmseCapped: rmse(
      all.map(level),
      all.map(({ truth }) => Math.min(cap, truth)),
    ),
    ...(intervals ? { covered: share(intervals, actual) } : {}),
    // The coverage sets the rule for the healthy state alone.
    ...(alarm ? { alarms: judgeAlarms(runs, ruleFor(label, alarm, 0.9), limitsFor(alarm.horizon)) } : {}),
  };
}

function share(intervals: readonly Interval[], actual: readonly number[]): number {
  return intervals.filter((interval, index) => holds(interval, actual[index]!)).length / intervals.length;
}
