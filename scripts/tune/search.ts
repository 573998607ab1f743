import { rmse } from '../../runtime/core/learning/evaluate.ts';
import { featuresOfNormalised, normaliseRows } from '../../runtime/core/learning/features.ts';
import { predictRul } from '../../runtime/core/learning/model.ts';
import type { LearningPreset, TrainingPreset } from '../../runtime/core/learning/presets.ts';
import { type Federated, type FederationOptions, federate } from './federation.ts';

/** A change to a preset that is tried against it. */
export interface Candidate {
  readonly name: string;
  readonly training?: Partial<TrainingPreset>;
  readonly windows?: Partial<LearningPreset['windows']>;
}

export const FOLDS = 5;
/** Held-out engines are judged where test engines are cut off: not before this many rows from the end. */
const EARLIEST = 145;
const LATEST = 5;

/** One constant changed at a time: what the presets were chosen by, again and again from the best. */
export function candidatesAround(
  { windows, training }: LearningPreset,
  unit: FederationOptions['unit'],
): Candidate[] {
  const own = training[unit];
  const factor = (name: 'clipNorm' | 'firstLearningRate' | 'lastLearningRate', by: number): Candidate => ({
    name: `${name} x ${by}`,
    training: { [name]: own[name] * by },
  });
  return [
    { name: 'as it is' },
    ...[0.5, 2].map((by) => factor('clipNorm', by)),
    ...[0.6, 1.6].map((by) => factor('firstLearningRate', by)),
    ...[0.4, 2.5].map((by) => factor('lastLearningRate', by)),
    ...[0.5, 2].map((by) => ({
      name: `stepsPerRound x ${by}`,
      training: { stepsPerRound: Math.max(1, Math.round(own.stepsPerRound * by)) },
    })),
    ...[0.5, 2].map((by) => ({
      name: `samplingRate x ${by}`,
      training: { samplingRate: Math.min(1, own.samplingRate * by) },
    })),
    ...[[32, 16], [16, 8], [8], []].map((hidden) => ({
      name: `hidden ${hidden.join('-')}`,
      training: { hidden },
    })),
    ...(['tanh', 'relu'] as const).map((activation) => ({ name: activation, training: { activation } })),
    ...[0.5, 2].map((by) => ({
      name: `slopeScale x ${by}`,
      windows: { slopeScale: windows.slopeScale * by },
    })),
  ];
}

/**
 * Root mean squared error in rows (cycles) against the uncapped truth, over windows of engines held out by
 * fivefold cross-validation: each engine is predicted by a federation that has not seen it.
 */
export function crossValidate(options: FederationOptions, candidate: Candidate): number {
  const { unit } = options;
  const preset = changed(options.preset, unit, candidate);
  const predicted: number[] = [];
  const actual: number[] = [];
  for (let fold = 0; fold < FOLDS; fold += 1) {
    const seen = options.engines.filter((_, index) => index % FOLDS !== fold);
    const heldOut = options.engines.filter((_, index) => index % FOLDS === fold);
    const federated = federate({ ...options, preset, engines: seen, seed: FOLDS * options.seed + fold });
    for (const rows of heldOut) judge({ ...options, preset }, federated, rows, predicted, actual);
  }
  return rmse(predicted, actual);
}

function changed(
  preset: LearningPreset,
  unit: FederationOptions['unit'],
  candidate: Candidate,
): LearningPreset {
  const training = { ...preset.training, [unit]: { ...preset.training[unit], ...candidate.training } };
  return { ...preset, windows: { ...preset.windows, ...candidate.windows }, training };
}

function judge(
  { preset: { windows }, sheet }: FederationOptions,
  { model, parameters }: Federated,
  rows: readonly (readonly number[])[],
  predicted: number[],
  actual: number[],
): void {
  const normalised = normaliseRows(rows, sheet, windows);
  const first = Math.max(windows.window, rows.length - EARLIEST);
  for (let end = first; end <= rows.length - LATEST; end += 1) {
    const features = featuresOfNormalised(normalised, windows, windows.window, end);
    predicted.push(predictRul(model, parameters, features, windows.cap));
    actual.push(rows.length - end);
  }
}
