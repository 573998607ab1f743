/** Live prediction in plain TypeScript: what the model in force says of every machine that is running. */

import type { LabelSpec } from '../../core/learning/episodes.ts';
import { type DataSheet, windowFeatures } from '../../core/learning/features.ts';
import { type ModelSpec, predictRul } from '../../core/learning/model.ts';
import type { Dataset } from './dataset.ts';

export interface Prediction {
  readonly machine: string;
  /** Samples until the machine fails; at the cap it means that much or more. */
  readonly remaining: number;
  readonly cap: number;
  /** Version of the federation's model. */
  readonly model: number;
  /** Samples since the last repair. */
  readonly age: number;
  /** Milliseconds since 1970. */
  readonly time: number;
}

export interface PredictorOptions {
  readonly model: ModelSpec;
  readonly sheet: DataSheet;
  readonly windows: LabelSpec;
  readonly dataset: Pick<Dataset, 'running' | 'machines'>;
  readonly emit: (prediction: Prediction) => void;
}

export interface Predictor {
  /** Predicts with `parameters` from now on, and at once for every machine. */
  use(version: number, parameters: Float64Array): void;
  /** Machines that have new rows or a new state. */
  refresh(machines: Iterable<string>): void;
  /** The latest of each machine that runs, the nearest to failure first. */
  latest(): readonly Prediction[];
}

export function createPredictor(options: PredictorOptions): Predictor {
  const { model, sheet, windows, dataset } = options;
  const latest = new Map<string, Prediction>();
  let present: { readonly version: number; readonly parameters: Float64Array } | undefined;

  function predictFor(machine: string): void {
    const rows = dataset.running(machine);
    if (!present || !rows || rows.length < windows.minimum) {
      latest.delete(machine);
      return;
    }
    const features = windowFeatures(rows, sheet, windows);
    const prediction: Prediction = {
      machine,
      remaining: predictRul(model, present.parameters, features, windows.cap),
      cap: windows.cap,
      model: present.version,
      age: rows.length,
      time: Date.now(),
    };
    latest.set(machine, prediction);
    options.emit(prediction);
  }

  return {
    use(version, parameters) {
      present = { version, parameters };
      for (const machine of dataset.machines()) predictFor(machine);
    },
    refresh(machines) {
      for (const machine of machines) predictFor(machine);
    },
    latest: () => [...latest.values()].sort((a, b) => a.remaining - b.remaining),
  };
}
