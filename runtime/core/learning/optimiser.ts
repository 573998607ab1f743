import type { Optimiser } from './job.ts';

/** What turns mean gradients into changes of the parameters, step by step. */
export interface OptimiserRun {
  /** Changes `parameters` in place by one step along the mean gradient. */
  step(parameters: Float64Array, gradient: Float64Array): void;
  /** What {@link createOptimiser} goes on from. */
  state(): readonly Float64Array[];
}

/**
 * An optimiser in plain float64, fresh or from the state of another. It sees noised gradients only, so that
 * its state costs no privacy. `adam` is Kingma and Ba 2015, algorithm 1.
 *
 * @throws RangeError when the state is not one of this optimiser
 */
export function createOptimiser(
  optimiser: Optimiser,
  learningRate: number,
  length: number,
  from?: readonly Float64Array[],
): OptimiserRun {
  const lengths = optimiser.kind === 'sgd' ? [length] : [length, length, 2];
  if (from !== undefined && from.map((values) => values.length).join() !== lengths.join()) {
    throw new RangeError('the state to go on from is not one of this optimiser');
  }
  return optimiser.kind === 'sgd'
    ? sgd(optimiser.momentum, learningRate, from?.[0]?.slice() ?? new Float64Array(length))
    : adam(optimiser, learningRate, from ?? [new Float64Array(length), new Float64Array(length)]);
}

function sgd(momentum: number, learningRate: number, velocity: Float64Array): OptimiserRun {
  return {
    step(parameters, gradient) {
      for (let index = 0; index < parameters.length; index += 1) {
        const change = momentum * velocity[index]! + gradient[index]!;
        velocity[index] = change;
        parameters[index]! -= learningRate * change;
      }
    },
    state: () => [velocity.slice()],
  };
}

function adam(
  { beta1, beta2, epsilon }: Extract<Optimiser, { kind: 'adam' }>,
  learningRate: number,
  from: readonly Float64Array[],
): OptimiserRun {
  const first = from[0]!.slice();
  const second = from[1]!.slice();
  let [decay1, decay2] = from[2] === undefined ? [1, 1] : [from[2][0]!, from[2][1]!];
  return {
    step(parameters, gradient) {
      decay1 *= beta1;
      decay2 *= beta2;
      for (let index = 0; index < parameters.length; index += 1) {
        const value = gradient[index]!;
        first[index] = beta1 * first[index]! + (1 - beta1) * value;
        second[index] = beta2 * second[index]! + (1 - beta2) * value * value;
        const mean = first[index]! / (1 - decay1);
        const deviation = Math.sqrt(second[index]! / (1 - decay2));
        parameters[index]! -= (learningRate * mean) / (deviation + epsilon);
      }
    },
    state: () => [first.slice(), second.slice(), Float64Array.of(decay1, decay2)],
  };
}
