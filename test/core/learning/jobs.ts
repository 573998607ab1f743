import { createHmac } from 'node:crypto';
import type { PrivacyUnit, TrainingJob } from '../../../runtime/core/learning/job.ts';
import {
  type Activation,
  initialParameters,
  inputCount,
  type ModelSpec,
  outputsOf,
} from '../../../runtime/core/learning/model.ts';

/** More windows than one chunk holds, so that padding and a second chunk are met. */
export const COUNT = 500;

/**
 * A generator with a fixed seed, so that a test that passes goes on passing. The seeds were not searched
 * for.
 */
export function seeded(seed: string): (length: number) => Uint8Array {
  let counter = 0;
  return (length) => {
    const blocks = Array.from({ length: Math.ceil(length / 64) }, () => {
      counter += 1;
      return createHmac('sha512', seed).update(String(counter)).digest();
    });
    return new Uint8Array(Buffer.concat(blocks).subarray(0, length));
  };
}

/** A model of each kind, small; the convolutions meet overlap, gaps and both ways to a norm. */
export const MODELS: Readonly<Record<string, ModelSpec>> = {
  linear: { kind: 'dense', inputs: 6, hidden: [], activation: 'tanh' },
  dense: { kind: 'dense', inputs: 6, hidden: [5, 4], activation: 'tanh' },
  convolution: {
    kind: 'convolution',
    rows: 9,
    channels: 2,
    filters: [
      { count: 3, width: 3, stride: 2 },
      { count: 4, width: 2, stride: 1 },
    ],
    hidden: [3],
    activation: 'tanh',
  },
  'convolution with many positions': {
    kind: 'convolution',
    rows: 14,
    channels: 1,
    filters: [{ count: 2, width: 2, stride: 1 }],
    hidden: [],
    activation: 'tanh',
  },
  'convolution at one position': {
    kind: 'convolution',
    rows: 4,
    channels: 2,
    filters: [{ count: 3, width: 3, stride: 3 }],
    hidden: [],
    activation: 'tanh',
  },
  autoencoder: { kind: 'autoencoder', inputs: 6, hidden: [4, 2], activation: 'tanh' },
};

export function makeJob(
  unit: PrivacyUnit,
  activation: Activation = 'tanh',
  change: Partial<TrainingJob> = {},
): TrainingJob {
  const model: ModelSpec = { ...(change.model ?? MODELS.dense!), activation };
  const width = inputCount(model);
  const values = initialParameters(
    { kind: 'dense', inputs: width, hidden: [COUNT], activation },
    Uint8Array.of(9),
  );
  const features = Float32Array.from({ length: COUNT * width }, (_, index) => 10 * values[index]!);
  return {
    parameters: initialParameters(model, Uint8Array.of(7)).map(
      (value, index) => value + 0.1 * Math.sin(index),
    ),
    features,
    labels: Float32Array.from({ length: COUNT }, (_, index) => (features[width * index]! + 1) / 2),
    episodeOf: Int32Array.from({ length: COUNT }, (_, index) => (index < 450 ? 0 : index < 490 ? 1 : 2)),
    unit,
    loss: model.kind === 'autoencoder' ? 'reconstruction' : 'squared',
    clipNorm: 0.5,
    noiseMultiplier: 1,
    samplingRate: 0.1,
    steps: 1,
    learningRate: 1,
    optimiser: { kind: 'sgd', momentum: 0 },
    expectedBatch: 50,
    ...change,
    model,
  };
}

/**
 * The gradient of one window's loss by central differences of the plain prediction in float64: the oracle.
 * It shares nothing with what is tested but the layout of the parameters.
 */
export function naiveGradient(job: TrainingJob, window: number): Float64Array {
  const width = inputCount(job.model);
  const inputs = job.features.subarray(window * width, (window + 1) * width);
  const label = job.labels[window]!;
  const loss = (parameters: Float64Array): number => {
    const outputs = outputsOf(job.model, parameters, inputs);
    if (job.loss === 'reconstruction') {
      return outputs.reduce((sum, value, index) => sum + (value - inputs[index]!) ** 2, 0) / 2 / width;
    }
    const output = outputs[0]!;
    if (job.loss === 'logistic') {
      return (
        -label * Math.log(1 / (1 + Math.exp(-output))) - (1 - label) * Math.log(1 / (1 + Math.exp(output)))
      );
    }
    return output > label && job.atLeast?.[window] === 1 ? 0 : (output - label) ** 2 / 2;
  };
  const near = 1e-5;
  const parameters = job.parameters.slice();
  return parameters.map((_, index) => {
    const value = parameters[index]!;
    parameters[index] = value + near;
    const up = loss(parameters);
    parameters[index] = value - near;
    const down = loss(parameters);
    parameters[index] = value;
    return (up - down) / (2 * near);
  });
}
