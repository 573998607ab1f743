/** A training job over made-up data, to see how fast this machine trains a model. */
import { randomBytes } from '#random';
import type { PrivacyUnit, TrainingJob } from '../../core/learning/job.ts';
import { initialParameters, inputCount, type ModelSpec } from '../../core/learning/model.ts';

export interface Trial {
  readonly model: ModelSpec;
  readonly unit: PrivacyUnit;
  readonly windows: number;
  /** Windows of each of its episodes. */
  readonly episodeLength: number;
  readonly samplingRate: number;
  readonly steps: number;
}

/** The seed of the made-up values: any will do. */
const SEED = Uint8Array.of(1);

export function trialJob({ model, unit, windows, episodeLength, samplingRate, steps }: Trial): TrainingJob {
  const width = inputCount(model);
  const units = unit === 'episode' ? Math.ceil(windows / episodeLength) : windows;
  const chosen = {
    loss: model.kind === 'autoencoder' ? ('reconstruction' as const) : ('squared' as const),
    atLeast: new Uint8Array(windows),
    sampler: 'poisson' as const,
    clipping: { kind: 'flat' as const },
    samplerSeed: randomBytes(32),
  };
  return {
    ...chosen,
    model,
    parameters: initialParameters(model, SEED),
    features: Float32Array.from({ length: windows * width }, (_, index) => Math.sin(index * 1.7)),
    labels: Float32Array.from({ length: windows }, (_, index) => (Math.cos(index / 9) + 1) / 2),
    episodeOf: Int32Array.from({ length: windows }, (_, index) => Math.floor(index / episodeLength)),
    unit,
    clipNorm: 0.1,
    noiseMultiplier: 1,
    samplingRate,
    steps,
    learningRate: 0.001,
    optimiser: { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    expectedBatch: Math.max(1, units * samplingRate),
  };
}
