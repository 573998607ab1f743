import type { Mechanism } from '../privacy/rdp.ts';
import { type Clipping, latticeStep, sumMultiplier } from './clipping.ts';
import type { Loss } from './loss.ts';
import { inputCount, type ModelSpec, parameterCount } from './model.ts';
import { treeLevels } from './tree.ts';

/**
 * What one application of the mechanism protects: a window, all windows of one machine episode, or
 * nothing (`none`: neither clipping nor noise, for comparison only).
 */
export type PrivacyUnit = 'window' | 'episode' | 'none';

/** What turns the noised mean gradient of a step into a change of the parameters. */
export type Optimiser =
  | { readonly kind: 'sgd'; readonly momentum: number }
  | { readonly kind: 'adam'; readonly beta1: number; readonly beta2: number; readonly epsilon: number };

/**
 * Who takes part in a step: `poisson` each unit by chance, anew in each step; `passes` each unit in one step
 * of every pass over the data, always at the same place, with noise correlated over the steps (DP-FTRL).
 */
export type Sampling = 'poisson' | 'passes';

/** Everything one training run needs; plain data, so that it can be sent to another process. */
export interface TrainingJob {
  readonly model: ModelSpec;
  /** Where to start from; in the layout of the model. */
  readonly parameters: Float64Array;
  /** n x f, row by row. */
  readonly features: Float32Array;
  /** n labels: RUL over the cap, or 0 and 1; not looked at for a reconstruction. */
  readonly labels: Float32Array;
  /** n; 1: the label is a lower bound only, since the run was cut off. Default: none is. */
  readonly atLeast?: Uint8Array;
  /** n episode indices, not negative, the windows of one episode together. */
  readonly episodeOf: Int32Array;
  readonly unit: PrivacyUnit;
  /** Default `squared`; an autoencoder needs `reconstruction`. */
  readonly loss?: Loss;
  /** C: the L2 norm a unit's gradient is clipped to; the first one, where clipping is adaptive. */
  readonly clipNorm: number;
  /** Default `flat`. */
  readonly clipping?: Clipping;
  /**
   * Sigma: what a step costs is that of Gaussian noise of deviation sigma * C in every coordinate of its sum.
   * What is added is wider by what rounding, and an adaptive clip norm, cost.
   */
  readonly noiseMultiplier: number;
  /** q: the Poisson rate at which a unit takes part in a step; 1 / the batches of a pass for `passes`. */
  readonly samplingRate: number;
  /** Default `poisson`. */
  readonly sampler?: Sampling;
  /** 32 bytes that alone decide who takes part when; default fresh ones. */
  readonly samplerSeed?: Uint8Array;
  readonly steps: number;
  readonly learningRate: number;
  readonly optimiser: Optimiser;
  /** What a step's sum is divided by, in units: agreed beforehand, since counting the draw would tell. */
  readonly expectedBatch: number;
}

/** What a run that is not finished yet goes on from: plain data. It is as secret as what it was made from. */
export interface TrainingState {
  readonly done: number;
  readonly parameters: Float64Array;
  readonly losses: Float64Array;
  readonly clipNorm: number;
  readonly samplerSeed: Uint8Array;
  readonly optimiser: readonly Float64Array[];
  /** The open nodes of the tree of `passes`. */
  readonly tree: { readonly step: number; readonly nodes: readonly Int32Array[] };
}

/** What a run gives back. The losses are computed from raw data and never leave the gateway. */
export interface TrainingResult {
  readonly parameters: Float64Array;
  readonly steps: number;
  /**
   * Of each step's draw, before the step: mean squared error in units of the cap, or mean negative
   * log-likelihood; NaN for an empty draw.
   */
  readonly losses: Float64Array;
}

const LARGEST_STEPS = 1_000_000;

/** The batches of one pass for `passes`: round(1 / rate). */
export function batchesOfPass(samplingRate: number): number {
  return Math.max(1, Math.round(1 / samplingRate));
}

/**
 * What one run of the job costs, in the terms of the accountant. For `passes`, a unit is in one step of a
 * pass, and so in at most as many nodes as the pass's tree has levels, each released once with Gaussian
 * noise; passes add up. No chance is claimed there, so the rate is 1. An adaptive clip norm is within
 * `noiseMultiplier`: see {@link sumMultiplier}.
 */
export function mechanismOf(
  job: Pick<TrainingJob, 'samplingRate' | 'noiseMultiplier' | 'steps' | 'sampler'>,
): Mechanism {
  const { samplingRate, noiseMultiplier, steps } = job;
  if (job.sampler !== 'passes') return { samplingRate, noiseMultiplier, steps };
  const batches = batchesOfPass(samplingRate);
  const nodes = Math.floor(steps / batches) * treeLevels(batches) + treeLevels(steps % batches);
  return { samplingRate: 1, noiseMultiplier, steps: nodes };
}

/** @throws RangeError naming the first thing of `job` that is impossible. */
export function checkJob(job: TrainingJob): void {
  const count = job.labels.length;
  require(job.parameters.length === parameterCount(job.model), 'parameters do not fit the model');
  require(job.parameters.every(Number.isFinite), 'a parameter is not finite');
  require(job.features.length ===
    count * inputCount(job.model), 'features do not fit the labels and the model');
  require(job.features.every(Number.isFinite), 'a feature is not finite');
  require(job.labels.every(Number.isFinite), 'a label is not finite');
  require(job.episodeOf.length === count, 'episodeOf does not fit the labels');
  require(episodesAreTogether(job.episodeOf), 'the windows of an episode are not together');
  require(['window', 'episode', 'none'].includes(job.unit), `unknown privacy unit ${job.unit}`);
  require((job.atLeast?.length ?? count) === count, 'atLeast does not fit the labels');
  const loss = job.loss ?? 'squared';
  require(['squared', 'logistic', 'reconstruction'].includes(loss), `unknown loss ${loss}`);
  require((job.model.kind === 'autoencoder') ===
    (loss === 'reconstruction'), `an ${job.model.kind} model cannot be trained on the loss ${loss}`);
  const sampler = job.sampler ?? 'poisson';
  require(['poisson', 'passes'].includes(sampler), `unknown sampler ${sampler}`);
  require((job.samplerSeed?.length ?? 32) === 32, 'the seed of the sampler has not 32 bytes');
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
    const clipping = job.clipping ?? { kind: 'flat' };
    checkClipping(clipping, sampler);
    latticeStep(job.clipNorm, sumMultiplier(job.noiseMultiplier, clipping), job.parameters.length);
  }
}

function checkClipping(clipping: Clipping, sampler: Sampling): void {
  if (clipping.kind === 'flat') return;
  require(clipping.kind === 'adaptive', `unknown clipping ${(clipping as { kind: string }).kind}`);
  require(sampler === 'poisson', 'the tree of passes needs one clip norm, not an adaptive one');
  require(clipping.quantile > 0 && clipping.quantile < 1, `quantile ${clipping.quantile} is not in (0, 1)`);
  require(positive(clipping.learningRate), `the clip norm's rate ${clipping.learningRate} is not above 0`);
  require(positive(clipping.countNoise), `noise on the count ${clipping.countNoise} is not above 0`);
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
