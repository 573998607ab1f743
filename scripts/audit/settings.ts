import {
  mechanismOf,
  type PrivacyUnit,
  type Sampling,
  type TrainingJob,
} from '../../runtime/core/learning/job.ts';
import { epsilonOf } from '../../runtime/core/privacy/accountant.ts';

/** What is audited: the part of a training job that its privacy rests on, and the delta of the claim. */
export interface Setting {
  readonly name: string;
  readonly unit: Exclude<PrivacyUnit, 'none'>;
  readonly sampler: Sampling;
  readonly clipping: NonNullable<TrainingJob['clipping']>;
  readonly noiseMultiplier: number;
  readonly samplingRate: number;
  /** Of one training; for `passes`, whole passes. */
  readonly steps: number;
  readonly delta: number;
}

/**
 * Few steps, little noise and a large delta: what can be shown with n trainings is an epsilon of about ln n, so
 * that a claim has to be small to be refuted. The code is the same for every figure.
 */
const POISSON = {
  sampler: 'poisson',
  noiseMultiplier: 1,
  samplingRate: 0.25,
  steps: 4,
  delta: 0.01,
} as const;
const PASSES = { sampler: 'passes', noiseMultiplier: 2, samplingRate: 0.25, steps: 4, delta: 0.01 } as const;
const FLAT = { kind: 'flat' } as const;
/** The count costs two fifths of the privacy (of mu squared), so that it would show if it were noised too little. */
const ADAPTIVE = { kind: 'adaptive', quantile: 0.5, learningRate: 0.05, countNoise: 0.8 } as const;

export const SETTINGS: readonly Setting[] = [
  { name: 'window-poisson-flat', unit: 'window', clipping: FLAT, ...POISSON },
  { name: 'window-poisson-adaptive', unit: 'window', clipping: ADAPTIVE, ...POISSON },
  { name: 'window-passes-flat', unit: 'window', clipping: FLAT, ...PASSES },
  { name: 'episode-poisson-flat', unit: 'episode', clipping: FLAT, ...POISSON },
  { name: 'episode-poisson-adaptive', unit: 'episode', clipping: ADAPTIVE, ...POISSON },
  { name: 'episode-passes-flat', unit: 'episode', clipping: FLAT, ...PASSES },
];

/** The epsilon that the accountant states for one training. */
export function claimedEpsilon(setting: Setting): number {
  return epsilonOf([mechanismOf(setting)], setting.delta);
}

/**
 * How a trainer is made to break its word: the code stays the real one, but it is given another job than the
 * one the claim is for.
 *
 * - `noiseless`: a millionth of the noise.
 * - `unclipped`: the clip norm is out of reach, the noise as wide as agreed.
 * - `half-noise`: half of the noise.
 * - `count-noiseless`: the count that an adaptive clip norm follows has a millionth of its noise, the sum its own.
 * - `windows`: each window of an episode is clipped and noised by itself, though whole episodes are protected.
 */
export type Sabotage = 'noiseless' | 'unclipped' | 'half-noise' | 'count-noiseless' | 'windows';

/** What can be done to a trainer of `setting`. */
export function sabotages({ unit, clipping }: Setting): readonly Sabotage[] {
  return [
    'noiseless',
    'half-noise',
    ...(clipping.kind === 'flat' ? (['unclipped'] as const) : (['count-noiseless'] as const)),
    ...(unit === 'episode' ? (['windows'] as const) : []),
  ];
}

/** `job`, so that it breaks what was claimed for it. */
export function sabotaged(job: TrainingJob, how: Sabotage): TrainingJob {
  const { clipping, clipNorm, noiseMultiplier } = job;
  if (how === 'windows') return { ...job, unit: 'window' };
  if (how === 'half-noise') return { ...job, noiseMultiplier: noiseMultiplier / 2 };
  if (how === 'noiseless') return { ...job, noiseMultiplier: noiseMultiplier * SMALL };
  if (how === 'unclipped') {
    return { ...job, clipNorm: clipNorm / SMALL, noiseMultiplier: noiseMultiplier * SMALL };
  }
  if (clipping?.kind !== 'adaptive') throw new RangeError('without an adaptive clip norm nothing is counted');
  // Of both, the noise that was agreed on the sum: see sumMultiplier.
  const countNoise = clipping.countNoise * SMALL;
  const onSum = noiseMultiplier ** -2 - (2 * clipping.countNoise) ** -2;
  const together = (onSum + (2 * countNoise) ** -2) ** -0.5;
  return { ...job, clipping: { ...clipping, countNoise }, noiseMultiplier: together };
}

/** Small against any noise, and far enough from the end of float64. */
const SMALL = 1e-6;
