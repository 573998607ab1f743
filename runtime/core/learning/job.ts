import { type ModelSpec, parameterCount } from './model.ts';

/**
 * What one application of the mechanism protects: a window, all windows of one machine episode, or
 * nothing (`none`: neither clipping nor noise, for comparison only).
 */
export type PrivacyUnit = 'window' | 'episode' | 'none';

/** What turns the noised mean gradient of a step into a change of the parameters. */
export type Optimiser =
  | { readonly kind: 'sgd'; readonly momentum: number }
  | { readonly kind: 'adam'; readonly beta1: number; readonly beta2: number; readonly epsilon: number };

/** Everything one training run needs; plain data, so that it can be sent to another process. */
export interface TrainingJob {
  readonly model: ModelSpec;
  /** Where to start from; in the layout of the model. */
  readonly parameters: Float64Array;
  /** n x f, row by row. */
  readonly features: Float32Array;
  /** n labels, RUL over the cap. */
  readonly labels: Float32Array;
  /** n episode indices, not negative, the windows of one episode together. */
  readonly episodeOf: Int32Array;
  readonly unit: PrivacyUnit;
  /** C: the L2 norm a unit's gradient is clipped to. */
  readonly clipNorm: number;
  /** Sigma: the noise added to a step's sum has deviation sigma * C in every coordinate. */
  readonly noiseMultiplier: number;
  /** q: the Poisson rate at which a unit takes part in a step. */
  readonly samplingRate: number;
  readonly steps: number;
  readonly learningRate: number;
  readonly optimiser: Optimiser;
  /** What a step's sum is divided by, in units: agreed beforehand, since counting the draw would tell. */
  readonly expectedBatch: number;
}

/** What a run gives back. The losses are computed from raw data and never leave the gateway. */
export interface TrainingResult {
  readonly parameters: Float64Array;
  readonly steps: number;
  /** Mean squared error of each step's draw before the step, in units of the cap; NaN for an empty draw. */
  readonly losses: Float64Array;
}

const LARGEST_STEPS = 1_000_000;

/** @throws RangeError naming the first thing of `job` that is impossible. */
export function checkJob(job: TrainingJob): void {
  const count = job.labels.length;
  require(job.parameters.length === parameterCount(job.model), 'parameters do not fit the model');
  require(job.parameters.every(Number.isFinite), 'a parameter is not finite');
  require(job.features.length === count * job.model.inputs, 'features do not fit the labels and the model');
  require(job.features.every(Number.isFinite), 'a feature is not finite');
  require(job.labels.every(Number.isFinite), 'a label is not finite');
  require(job.episodeOf.length === count, 'episodeOf does not fit the labels');
  require(episodesAreTogether(job.episodeOf), 'the windows of an episode are not together');
  require(['window', 'episode', 'none'].includes(job.unit), `unknown privacy unit ${job.unit}`);
  require(job.samplingRate > 0 &&
    job.samplingRate <= 1, `sampling rate ${job.samplingRate} is not in (0, 1]`);
  require(Number.isSafeInteger(job.steps) &&
    job.steps >= 0 &&
    job.steps <= LARGEST_STEPS, `${job.steps} steps: a whole number up to ${LARGEST_STEPS} is needed`);
  require(positive(job.learningRate), `learning rate ${job.learningRate} is not above 0`);
  require(positive(job.expectedBatch), `expected batch ${job.expectedBatch} is not above 0`);
  if (job.unit !== 'none') {
    require(positive(job.clipNorm), `clip norm ${job.clipNorm} is not above 0`);
    require(positive(job.noiseMultiplier), `noise multiplier ${job.noiseMultiplier} is not above 0`);
  }
}

function positive(value: number): boolean {
  return Number.isFinite(value) && value > 0;
}

function episodesAreTogether(episodeOf: Int32Array): boolean {
  const seen = new Set<number>();
  let previous = -1;
  for (const episode of episodeOf) {
    if (episode === previous) continue;
    if (episode < 0 || seen.has(episode)) return false;
    seen.add(episode);
    previous = episode;
  }
  return true;
}

function require(condition: boolean, fault: string): void {
  if (!condition) throw new RangeError(`a training job cannot run: ${fault}`);
}
