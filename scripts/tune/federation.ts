import { randomBytes } from '#random';
import { trainLocally } from '../../runtime/core/learning/dpsgd.ts';
import { type Episode, type LabelledWindows, labelledWindows } from '../../runtime/core/learning/episodes.ts';
import type { DataSheet } from '../../runtime/core/learning/features.ts';
import type { PrivacyUnit } from '../../runtime/core/learning/job.ts';
import { applyUpdate, initialParameters, type ModelSpec } from '../../runtime/core/learning/model.ts';
import {
  type LearningPreset,
  learningRateAt,
  mechanismOf,
  modelSpecOf,
} from '../../runtime/core/learning/presets.ts';

/** Federated averaging in one process: what gateways do together, without what lies between them. */
export interface FederationOptions {
  readonly preset: LearningPreset;
  readonly unit: PrivacyUnit;
  readonly sheet: DataSheet;
  /** Run-to-failure rows; dealt round-robin to the gateways. */
  readonly engines: readonly (readonly (readonly number[])[])[];
  readonly gateways: number;
  readonly budget: { readonly epsilon: number; readonly delta: number };
  /** The first model is drawn from this. Draws and noise are fresh each time. */
  readonly seed: number;
}

export interface Federated {
  readonly model: ModelSpec;
  readonly parameters: Float64Array;
  /** Of every update of every gateway: the greatest absolute value, and the L2 norm. */
  readonly updates: readonly { readonly greatest: number; readonly norm: number }[];
}

/** Runs all rounds of the preset; every gateway adds the whole noise of its budget. */
export function federate({
  preset,
  unit,
  sheet,
  engines,
  gateways,
  budget,
  seed,
}: FederationOptions): Federated {
  const training = preset.training[unit];
  const model = modelSpecOf(preset, unit, sheet);
  const noiseMultiplier =
    unit === 'none' ? 0 : mechanismOf(training, training.rounds, budget).noiseMultiplier;
  const shares = dealOut(engines, gateways).map((dealt) => labelledWindows(dealt, sheet, preset.windows));
  const updates: { greatest: number; norm: number }[] = [];
  let parameters = initialParameters(model, Uint8Array.of(seed >>> 8, seed));
  for (let round = 0; round < training.rounds; round += 1) {
    const mean = new Float64Array(parameters.length);
    const learningRate = learningRateAt(training, round, training.rounds);
    for (const share of shares) {
      const job = { ...training, ...share, model, parameters, unit, noiseMultiplier, learningRate };
      const expectedBatch = training.samplingRate * unitsOf(share, unit);
      const local = trainLocally({ ...job, steps: training.stepsPerRound, expectedBatch }, randomBytes);
      const update = local.parameters.map((value, index) => value - parameters[index]!);
      updates.push({ greatest: Math.max(...update.map(Math.abs)), norm: Math.hypot(...update) });
      for (let index = 0; index < mean.length; index += 1) mean[index]! += update[index]! / gateways;
    }
    parameters = applyUpdate(parameters, mean);
  }
  return { model, parameters, updates };
}

function dealOut(engines: FederationOptions['engines'], gateways: number): Episode[][] {
  return Array.from({ length: gateways }, (_, gateway) =>
    engines
      .filter((_engine, index) => index % gateways === gateway)
      .map((rows, index) => ({ machine: `${gateway}-${index}`, rows, end: 'failure', ended: 0 })),
  );
}

function unitsOf(share: LabelledWindows, unit: PrivacyUnit): number {
  return unit === 'episode' ? share.episodes : share.count;
}
