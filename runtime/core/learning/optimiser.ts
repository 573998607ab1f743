import type { Optimiser } from './job.ts';

/** Changes `parameters` in place by one step along the mean gradient. */
export type OptimiserStep = (parameters: Float64Array, gradient: Float64Array) => void;

/**
 * A fresh optimiser in plain float64. It sees noised gradients only, so that its state costs no privacy.
 * `adam` is Kingma and Ba 2015, algorithm 1.
 */
export function createOptimiser(optimiser: Optimiser, learningRate: number, length: number): OptimiserStep {
  return optimiser.kind === 'sgd'
    ? sgd(optimiser.momentum, learningRate, length)
    : adam(optimiser, learningRate, length);
}

function sgd(momentum: number, learningRate: number, length: number): OptimiserStep {
  const velocity = new Float64Array(length);
  return (parameters, gradient) => {
    for (let index = 0; index < length; index += 1) {
      velocity[index] = momentum * velocity[index]! + gradient[index]!;
      parameters[index]! -= learningRate * velocity[index]!;
    }
  };
}

function adam(
  { beta1, beta2, epsilon }: Extract<Optimiser, { kind: 'adam' }>,
  learningRate: number,
  length: number,
): OptimiserStep {
  const first = new Float64Array(length);
  const second = new Float64Array(length);
  let decay1 = 1;
  let decay2 = 1;
  return (parameters, gradient) => {
    decay1 *= beta1;
    decay2 *= beta2;
    for (let index = 0; index < length; index += 1) {
      const value = gradient[index]!;
      first[index] = beta1 * first[index]! + (1 - beta1) * value;
      second[index] = beta2 * second[index]! + (1 - beta2) * value * value;
      const mean = first[index]! / (1 - decay1);
      const deviation = Math.sqrt(second[index]! / (1 - decay2));
      parameters[index]! -= (learningRate * mean) / (deviation + epsilon);
    }
  };
}
