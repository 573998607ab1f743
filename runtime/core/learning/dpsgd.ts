import * as tf from '@tensorflow/tfjs-core';
import { type Chance, createChance, type RandomBytes } from './chance.ts';
import { checkJob, type TrainingJob, type TrainingResult } from './job.ts';
import { layout, parameterCount } from './model.ts';
import { addWeightedGradients, backward, exampleNorms, type Layer, uploadLayers } from './network.ts';
import { createOptimiser } from './optimiser.ts';

/**
 * Windows sent through the network at a time. Every chunk is padded to this with windows of weight 0, so
 * that the memory and time of a step depend on the draw's size in whole chunks alone.
 */
const CHUNK = 256;

/** The sum of clipped gradients of the windows or episodes drawn, and the squared error met on the way. */
export interface ClippedSum {
  readonly sum: Float64Array;
  readonly squaredError: number;
  readonly windows: number;
}

/** A training run between two steps, so that whoever drives it can look up in between. */
export interface Training {
  /** Runs one step and gives the number done; does nothing when all are done. */
  step(): number;
  /** What has been reached; complete once all steps are done. */
  result(): TrainingResult;
}

/**
 * DP-SGD (Abadi et al. 2016, algorithm 1) on the current TensorFlow.js backend, from `job.parameters`.
 * Each step draws units by Poisson sampling, clips each unit's gradient to C, adds noise of deviation
 * sigma * C to the sum and divides by the agreed batch. An empty draw is a step like any other. Gradients
 * are summed, noised and applied in float64.
 *
 * @param random the CSPRNG that sampling and noise come from
 * @throws RangeError when the job is impossible; `step` throws an Error when training diverges
 */
export function startTraining(job: TrainingJob, random: RandomBytes): Training {
  checkJob(job);
  const chance = createChance(random);
  const parameters = job.parameters.slice();
  const optimise = createOptimiser(job.optimiser, job.learningRate, parameters.length);
  const units = job.unit === 'episode' ? episodeSpans(job.episodeOf).length : job.labels.length;
  const losses = new Float64Array(job.steps);
  let done = 0;
  return {
    step() {
      if (done === job.steps) return done;
      const drawn = chance.poissonDraw(units, job.samplingRate);
      const { sum, squaredError, windows } = clippedSum({ ...job, parameters }, drawn);
      losses[done] = squaredError / windows;
      addNoise(job, sum, chance);
      for (let index = 0; index < sum.length; index += 1) sum[index]! /= job.expectedBatch;
      optimise(parameters, sum);
      done += 1;
      if (!parameters.every(Number.isFinite)) {
        throw new Error(`training diverged in step ${done} of ${job.steps}: lower the learning rate`);
      }
      return done;
    },
    result: () => ({ parameters: parameters.slice(), steps: done, losses: losses.slice(0, done) }),
  };
}

/** {@link startTraining} with all steps at once. */
export function trainLocally(job: TrainingJob, random: RandomBytes): TrainingResult {
  const training = startTraining(job, random);
  while (training.step() < job.steps);
  return training.result();
}

/**
 * The sum of the gradients of the units in `drawn` (windows, or episodes in order of appearance), each
 * clipped to `job.clipNorm`, at `job.parameters`. An episode's gradient is the mean over its windows.
 */
export function clippedSum(job: TrainingJob, drawn: readonly number[]): ClippedSum {
  const layers = uploadLayers(job.model, job.parameters);
  try {
    return job.unit === 'episode' ? sumOfEpisodes(job, layers, drawn) : sumOfWindows(job, layers, drawn);
  } finally {
    tf.dispose(layers.flatMap(({ weights, biases }) => [weights, biases]));
  }
}

function sumOfWindows(job: TrainingJob, layers: readonly Layer[], drawn: readonly number[]): ClippedSum {
  const sum = new Float64Array(parameterCount(job.model));
  let squaredError = 0;
  for (let start = 0; start < drawn.length; start += CHUNK) {
    squaredError += addChunk(job, layers, drawn.slice(start, start + CHUNK), job.unit === 'window', sum);
  }
  return { sum, squaredError, windows: drawn.length };
}

function sumOfEpisodes(job: TrainingJob, layers: readonly Layer[], drawn: readonly number[]): ClippedSum {
  const spans = episodeSpans(job.episodeOf);
  const sum = new Float64Array(parameterCount(job.model));
  let squaredError = 0;
  let windows = 0;
  for (const episode of drawn) {
    const { start, count } = spans[episode]!;
    const gradient = new Float64Array(sum.length);
    for (let offset = 0; offset < count; offset += CHUNK) {
      const indices = Array.from(
        { length: Math.min(CHUNK, count - offset) },
        (_, index) => start + offset + index,
      );
      squaredError += addChunk(job, layers, indices, false, gradient);
    }
    const norm = Math.sqrt(gradient.reduce((total, value) => total + value * value, 0)) / count;
    const scale = Math.min(1, job.clipNorm / norm) / count;
    for (let index = 0; index < sum.length; index += 1) sum[index]! += scale * gradient[index]!;
    windows += count;
  }
  return { sum, squaredError, windows };
}

/** Adds the (clipped) gradients of one padded chunk of windows to `sum`; gives their squared error. */
function addChunk(
  job: TrainingJob,
  layers: readonly Layer[],
  indices: readonly number[],
  clip: boolean,
  sum: Float64Array,
): number {
  const width = job.model.inputs;
  const features = new Float32Array(CHUNK * width);
  const labels = new Float32Array(CHUNK);
  const weights = new Float32Array(CHUNK);
  indices.forEach((index, row) => {
    features.set(job.features.subarray(index * width, (index + 1) * width), row * width);
    labels[row] = job.labels[index]!;
    weights[row] = 1;
  });
  return tf.tidy(() => {
    const input = tf.tensor2d(features, [CHUNK, width]);
    const weight = tf.tensor2d(weights, [CHUNK, 1]);
    const { traces, errors } = backward(job.model, layers, input, tf.tensor2d(labels, [CHUNK, 1]));
    const scale = clip ? clipFactors(exampleNorms(traces), weight, job.clipNorm) : weight;
    addWeightedGradients(layout(job.model), traces, scale, sum);
    return tf.sum(tf.mul(errors, weight)).dataSync()[0]!;
  });
}

/** weight * min(1, C / norm), also where the norm is 0: C / max(norm, C) is never above 1. */
function clipFactors(norms: tf.Tensor2D, weight: tf.Tensor2D, clipNorm: number): tf.Tensor2D {
  return tf.mul(weight, tf.div(clipNorm, tf.maximum(norms, clipNorm))) as tf.Tensor2D;
}

function addNoise(job: TrainingJob, sum: Float64Array, chance: Chance): void {
  if (job.unit === 'none') return;
  const deviation = job.noiseMultiplier * job.clipNorm;
  for (let index = 0; index < sum.length; index += 1) sum[index]! += chance.gaussian(deviation);
}

function episodeSpans(episodeOf: Int32Array): { start: number; count: number }[] {
  const spans: { start: number; count: number }[] = [];
  episodeOf.forEach((episode, index) => {
    if (index > 0 && episodeOf[index - 1] === episode) spans.at(-1)!.count += 1;
    else spans.push({ start: index, count: 1 });
  });
  return spans;
}
