/** Live prediction in plain TypeScript: what the model in use says of every machine that is running. */

import type { Drift } from '../../core/learning/drift.ts';
import type { Episode, LabelSpec } from '../../core/learning/episodes.ts';
import { levelOf, probabilityOf } from '../../core/learning/evaluate.ts';
import {
  type DataSheet,
  featuresOfNormalised,
  leastRows,
  normaliseRows,
} from '../../core/learning/features.ts';
import type { Label } from '../../core/learning/kinds.ts';
import { type ModelSpec, predict } from '../../core/learning/model.ts';
import { latestRows } from '../../core/learning/resample.ts';
import type { Alarms } from './alarm.ts';
import type { Calibration, LifeInterval, OutcomeSet, Unusual } from './calibration.ts';
import { createDriftMeter } from './drift.ts';
import type { Role } from './holdout.ts';

/** Plain data, published as JSON as it stands. */
export interface Prediction {
  readonly machine: string;
  readonly label: Label;
  /** Rows until the machine fails; at the cap it means that much or more. NaN (null in JSON) for other labels. */
  readonly remaining: number;
  readonly cap: number;
  /** The prediction is the cap: `remaining` or more. */
  readonly atCap: boolean;
  readonly interval: LifeInterval | null;
  /** Label failure-within: probability of a failure within `horizon` rows. */
  readonly probability: number | null;
  readonly horizon: number | null;
  readonly outcomes: OutcomeSet | null;
  /** Label none: mean squared reconstruction error. */
  readonly anomaly: number | null;
  readonly unusual: Unusual | null;
  /** Version of the federation's model. */
  readonly model: number;
  /** Whether that model was evaluated on machines of this gateway that it has not learned from. */
  readonly evaluated: boolean;
  /** What this machine is to the model: one that it learned from, one that judged it, or one that it is measured by. */
  readonly role: Role | null;
  /** Samples since the last repair. */
  readonly age: number;
  /** The newest sample's time, and the time of the prediction; milliseconds since 1970. */
  readonly at: number;
  readonly time: number;
  /** Null: no alarm is agreed. `since`: time of the sample that raised it. */
  readonly alarm: { readonly on: boolean; readonly since: number | null } | null;
  /** Null: the run is too short to say. */
  readonly drift: Drift | null;
}

export interface PredictorOptions {
  readonly model: ModelSpec;
  readonly sheet: DataSheet;
  readonly windows: LabelSpec;
  readonly dataset: { run(machine: string): Episode | undefined; machines(): readonly string[] };
  readonly calibration?: Calibration | undefined;
  readonly alarms?: Alarms | undefined;
  readonly roleOf?: (machine: string) => Role | undefined;
  readonly emit: (prediction: Prediction) => void;
  readonly log?: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface Predictor {
  /** Predicts with `parameters` from now on, and at once for every machine. */
  use(version: number, parameters: Float64Array, evaluated?: boolean): void;
  /** No model is good enough: nothing is predicted. */
  rest(): void;
  /** Machines that have new rows or a new state. */
  refresh(machines: Iterable<string>): void;
  /** The latest of each machine that runs, the nearest to failure first. */
  latest(): readonly Prediction[];
}

/** Rows that one look goes back, when many have come at once. */
const MOST_ROWS = 256;

/** How far an alarm has seen of a run. */
interface Seen {
  readonly began: number;
  readonly clock: number;
}

export function createPredictor(options: PredictorOptions): Predictor {
  const { model, sheet, windows, dataset, calibration, alarms, log = () => {} } = options;
  const { cap, label = 'remaining-life', period } = windows;
  const latest = new Map<string, Prediction>();
  const seen = new Map<string, Seen>();
  const drift = createDriftMeter(sheet, windows);
  let present:
    | { readonly version: number; readonly parameters: Float64Array; readonly evaluated: boolean }
    | undefined;

  /** Rows as the model counts them, passed since some beginning. */
  const clockOf = (run: Episode) => (period === undefined ? run.rows.length : Math.floor(run.ended / period));

  /** What the model says of each of the newest rows, up to `most` of them, oldest first. */
  function outputsOf(run: Episode, most: number): number[] {
    const rows = latestRows(run, windows, windows.window + most - 1);
    const least = leastRows(windows);
    if (rows.length < least) return [];
    const normalised = normaliseRows(rows, sheet, windows);
    const outputs: number[] = [];
    for (let end = Math.max(least, rows.length - most + 1); end <= rows.length; end += 1) {
      const count = Math.min(end, windows.window);
      outputs.push(
        predict(model, present!.parameters, featuresOfNormalised(normalised, windows, count, end)),
      );
    }
    return outputs;
  }

  /** An alarm counts every row, also of those that came together. */
  function newRows(run: Episode, began: number): { readonly count: number; readonly follows: boolean } {
    const before = seen.get(run.machine);
    const clock = clockOf(run);
    seen.set(run.machine, { began, clock });
    if (before?.began === began && clock >= before.clock) {
      return { count: Math.min(MOST_ROWS, clock - before.clock), follows: clock - before.clock <= MOST_ROWS };
    }
    return { count: Math.min(MOST_ROWS, alarms?.rule.persistence ?? 1), follows: false };
  }

  function predictFor(machine: string): void {
    const run = present && dataset.run(machine);
    if (!run) {
      forget(machine);
      return;
    }
    const began = run.times?.[0] ?? 0;
    const fresh = alarms ? newRows(run, began) : { count: 1, follows: false };
    const outputs = outputsOf(run, Math.max(1, fresh.count));
    if (outputs.length === 0) {
      // Too short to predict, and still the run that it was: an alarm stands as it stood.
      latest.delete(machine);
      return;
    }
    const made = describe(run, outputs.at(-1)!, began);
    if (alarms && fresh.count > 0) {
      const levels = outputs.slice(-fresh.count).map(levelFor);
      const note = noteOf(made, alarms.rule.persistence);
      alarms.look({ machine, began, time: run.ended, levels, follows: fresh.follows, note });
    }
    const since = alarms?.since(machine);
    const alarm = alarms ? { on: since !== undefined, since: since ?? null } : null;
    const prediction = { ...made, alarm };
    latest.set(machine, prediction);
    options.emit(prediction);
  }

  function levelFor(output: number): number {
    if (label !== 'none') return levelOf(output, windows);
    return calibration?.unusual(output)?.p ?? Number.NaN;
  }

  function describe(run: Episode, output: number, began: number): Omit<Prediction, 'alarm'> {
    const remaining = label === 'remaining-life' ? levelOf(output, windows) : Number.NaN;
    const probability = label === 'failure-within' ? probabilityOf(output) : null;
    const anomaly = label === 'none' ? output : null;
    return {
      machine: run.machine,
      label,
      remaining,
      cap,
      atCap: remaining >= cap,
      interval: (label === 'remaining-life' && calibration?.interval(remaining)) || null,
      probability,
      horizon: windows.horizon ?? null,
      outcomes: (probability !== null && calibration?.outcomes(probability)) || null,
      anomaly,
      unusual: (anomaly !== null && calibration?.unusual(anomaly)) || null,
      model: present!.version,
      evaluated: present!.evaluated,
      role: options.roleOf?.(run.machine) ?? null,
      age: run.rows.length,
      at: run.ended,
      time: Date.now(),
      drift: drift.of(run.machine, began, run.rows) ?? null,
    };
  }

  function forget(machine: string): void {
    latest.delete(machine);
    seen.delete(machine);
    drift.forget(machine);
    if (present) alarms?.stood(machine);
  }

  /** One machine that cannot be predicted must not keep the others from it. */
  function tryFor(machine: string): void {
    try {
      predictFor(machine);
    } catch (error) {
      latest.delete(machine);
      log('error', `${machine} cannot be predicted: ${(error as Error).message}`);
    }
  }

  return {
    use(version, parameters, evaluated = false) {
      present = { version, parameters, evaluated };
      calibration?.use(parameters);
      for (const machine of dataset.machines()) tryFor(machine);
    },
    rest() {
      present = undefined;
      calibration?.use(undefined);
      latest.clear();
    },
    refresh(machines) {
      for (const machine of machines) tryFor(machine);
    },
    latest: () => [...latest.values()].sort((a, b) => urgency(a) - urgency(b)),
  };
}

/** The less, the sooner somebody should look. */
function urgency({ remaining, probability, unusual }: Prediction): number {
  if (probability !== null) return 1 - probability;
  return Number.isNaN(remaining) ? (unusual?.p ?? 1) : remaining;
}

/** A prediction in words, without the machine's name: `18 rows left (9 to 30; 90 %, not guaranteed)`. */
export function describePrediction(given: Omit<Prediction, 'alarm' | 'drift'>): string {
  const { remaining, cap, atCap, interval, probability, horizon, outcomes, anomaly, unusual } = given;
  if (probability !== null) {
    const can = outcomes && [outcomes.failure ? 'failure' : '', outcomes.noFailure ? 'no failure' : ''];
    const words = can
      ? ` (${can.filter(Boolean).join(' or ') || 'nothing it knows'}; ${sureness(outcomes)})`
      : '';
    return `failure within ${horizon} rows with probability ${probability.toFixed(2)}${words}`;
  }
  if (anomaly !== null) {
    return `anomaly score ${anomaly.toPrecision(3)}${unusual ? ` (p ${unusual.p.toPrecision(2)}; ${sureness(unusual)})` : ''}`;
  }
  const left = atCap ? `${cap.toFixed(0)} rows or more left` : `${remaining.toFixed(0)} rows left`;
  if (!interval) return left;
  const { low, high } = interval;
  const range = high === null ? `at least ${low.toFixed(0)}` : `${low.toFixed(0)} to ${high.toFixed(0)}`;
  return `${left} (${range}; ${sureness(interval)})`;
}

function sureness(certainty: {
  coverage: number;
  guaranteed: boolean;
  machines: number;
  needed: number;
}): string {
  const { coverage, guaranteed, machines, needed } = certainty;
  const percent = `${Number((coverage * 100).toFixed(1))} %`;
  return guaranteed ? percent : `${percent}, not guaranteed: ${machines} of ${needed} calibration machines`;
}

function noteOf(made: Omit<Prediction, 'alarm'>, persistence: number): string {
  const often = persistence === 1 ? '' : `, ${persistence} predictions in a row`;
  return `model ${made.model} of the federation: ${describePrediction(made)}${often}`;
}
