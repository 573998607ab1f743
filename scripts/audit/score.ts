import { batchesOfPass } from '../../runtime/core/learning/job.ts';
import type { Setting } from './settings.ts';

/** What a step gives away about the canary. */
export interface Release {
  /** The noised sum of gradients in the canary's direction, in clip norms: the canary adds 1. */
  readonly sum: number;
  /** The noised count of units that stayed whole, the others taken off: the canary, if drawn, adds -1/2. */
  readonly count: number;
}

/** Deviations of the noise, in the units of {@link Release}. */
export interface Noises {
  readonly sum: number;
  /** Infinite where nothing is counted. */
  readonly count: number;
}

/**
 * How much more likely the releases of one training are with the canary than without, by its logarithm: no score tells the two apart better (Neyman and Pearson 1933). `noises` may be
 * those of a trainer that is suspected of having others than it claims: a wrong suspicion costs power only.
 */
export function scoreOf(setting: Setting, releases: readonly Release[], noises: Noises): number {
  return setting.sampler === 'passes'
    ? treeScore(setting.samplingRate, releases, noises)
    : poissonScore(setting.samplingRate, releases, noises);
}

/** Each step is of a mixture: with probability q the canary was drawn, and shifted the sum by 1, the count by -1/2. */
function poissonScore(samplingRate: number, releases: readonly Release[], noises: Noises): number {
  let score = 0;
  for (const { sum, count } of releases) {
    const drawn = (sum - 0.5) / noises.sum ** 2 - (count + 0.25) / (2 * noises.count ** 2);
    score += logMix(samplingRate, drawn);
  }
  return score;
}

/** ln(1 - q + q exp(x)), also where exp(x) is infinite. */
function logMix(q: number, x: number): number {
  return x > 0 ? x + Math.log(q + (1 - q) * Math.exp(-x)) : Math.log(1 - q + q * Math.exp(x));
}

/**
 * The nodes of each pass's tree have noise of one deviation and of their own, and the canary, which is at the first
 * leaf, adds 1 to those that cover it. A node is the running sum at step t less that at t without its lowest binary
 * digit (tree.ts); with t a power of two, the running sum itself.
 */
function treeScore(samplingRate: number, releases: readonly Release[], noises: Noises): number {
  const batches = batchesOfPass(samplingRate);
  let score = 0;
  let running = 0;
  releases.forEach(({ sum }, index) => {
    const step = (index % batches) + 1;
    running = step === 1 ? sum : running + sum;
    if ((step & (step - 1)) === 0) score += (running - 0.5) / noises.sum ** 2;
  });
  return score;
}
