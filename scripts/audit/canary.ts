import { createCipheriv, createHash } from 'node:crypto';
import { createSampler, type RandomBytes } from '../../runtime/core/learning/chance.ts';
import { sumMultiplier } from '../../runtime/core/learning/clipping.ts';
import { startTraining } from '../../runtime/core/learning/dpsgd.ts';
import { batchesOfPass, type TrainingJob } from '../../runtime/core/learning/job.ts';
import { type Noises, type Release, scoreOf } from './score.ts';
import { type Sabotage, type Setting, sabotaged } from './settings.ts';

/** The canary's only feature and label: the output stays near 0, and so its gradient in one direction. */
const FEATURE = 100;
const LABEL = -10_000;
/** The direction of its gradient: the feature for the weight, 1 for the bias. */
const DIRECTION = [FEATURE, 1].map((value) => value / Math.hypot(FEATURE, 1)) as [number, number];
/** Windows of the canary where it is an episode. */
const CANARY_WINDOWS = 5;
/** Units whose gradient is 0 but for the noise in the bias: they are drawn, counted, and change nothing. */
const OTHERS = 6;
/** So small that what a step changes is not seen by the next one. */
const LEARNING_RATE = 1e-12;
const CLIP_NORM = 1;

export interface Trials {
  /** Trainings with the canary, and as many without. */
  readonly trainings: number;
  /**
   * Trainings that are made of one run, each going on from where the one before ended: with parameters that
   * hardly move and fresh chance they do not depend on each other, and what a run costs at its start is paid once.
   */
  readonly perRun?: number;
  /** Decides all chance. */
  readonly seed: string;
  readonly sabotage?: Sabotage;
  readonly progress?: (done: number, of: number) => void;
}

/** Scores of trainings with the canary and without, for the statistics of core/privacy/audit.ts. */
export interface Scores {
  readonly withCanary: Float64Array;
  readonly withoutCanary: Float64Array;
}

/**
 * Trains with the real trainer on the current TensorFlow.js backend, with a canary and without. The canary is a
 * unit whose gradient is as large as clipping lets through, in a known direction, at every step. Whoever scores
 * sees all parameters released, the clip norm where it is adaptive, and the draws of all other units, but not
 * that of the canary, unless the claim does not rest on it (`passes`). This is what the claim has to withstand.
 */
export function collectScores(setting: Setting, trials: Trials): Scores {
  const { trainings, perRun = 1, seed, sabotage = 'honest', progress } = trials;
  const scores = { withCanary: new Float64Array(trainings), withoutCanary: new Float64Array(trainings) };
  for (const which of ['withoutCanary', 'withCanary'] as const) {
    const chance = stream(`${seed} ${setting.name} ${sabotage} ${which}`);
    for (let done = 0; done < trainings; done += perRun) {
      const count = Math.min(perRun, trainings - done);
      const honest = makeJob(setting, which === 'withCanary', count, chance);
      const job = trials.sabotage ? sabotaged(honest, trials.sabotage) : honest;
      const releases = run(job, chance);
      for (let index = 0; index < count; index += 1) {
        const own = releases.slice(index * setting.steps, (index + 1) * setting.steps);
        scores[which][done + index] = scoreOf(setting, own, noisesOf(job));
      }
      progress?.((which === 'withCanary' ? trainings : 0) + done + count, 2 * trainings);
    }
  }
  return scores;
}

/** What the job's run releases, step by step. */
function run(job: TrainingJob, chance: RandomBytes): readonly Release[] {
  const training = startTraining(job, chance);
  const factor = job.expectedBatch / job.learningRate;
  const releases: Release[] = [];
  let before = training.state();
  while (before.done < job.steps) {
    const drawn = othersDrawn(job, before.done);
    training.step();
    const after = training.state();
    const [weight, bias] = [0, 1].map((at) => (before.parameters[at]! - after.parameters[at]!) * factor);
    releases.push({
      sum: (weight! * DIRECTION[0] + bias! * DIRECTION[1]) / agreedNorm(job, before.clipNorm),
      count: countOf(job, before.clipNorm, after.clipNorm) - drawn / 2,
    });
    before = after;
  }
  return releases;
}

/** The clip norm that was agreed on; where it is adaptive, the one released last. */
function agreedNorm({ clipping }: TrainingJob, last: number): number {
  return clipping?.kind === 'adaptive' ? last : CLIP_NORM;
}

function noisesOf({ clipping = { kind: 'flat' }, clipNorm, noiseMultiplier }: TrainingJob): Noises {
  const adaptive = clipping.kind === 'adaptive';
  return {
    sum: Math.max(LEAST, sumMultiplier(noiseMultiplier, clipping) * (adaptive ? 1 : clipNorm / CLIP_NORM)),
    count: adaptive ? Math.max(LEAST, clipping.countNoise) : Number.POSITIVE_INFINITY,
  };
}

/** Less noise tells no more, and brings errors of rounding to light. */
const LEAST = 0.01;

/** The sampler's seed; for `passes` one that gives the canary the first place, which most nodes cover. */
function samplerSeed({ sampler, samplingRate }: Setting, chance: RandomBytes): Uint8Array {
  for (;;) {
    const seed = chance(32);
    if (sampler !== 'passes') return seed;
    const places = createSampler(seed).assignBatches(OTHERS + 1, batchesOfPass(samplingRate));
    if (places[OTHERS] === 0) return seed;
  }
}

/** The canary comes last, so that it moves no other unit's draw. */
function makeJob(setting: Setting, canary: boolean, trainings: number, chance: RandomBytes): TrainingJob {
  const { unit, sampler, clipping, noiseMultiplier, samplingRate } = setting;
  const own = canary ? (unit === 'episode' ? CANARY_WINDOWS : 1) : 0;
  const length = OTHERS + own;
  return {
    model: { kind: 'dense', inputs: 1, hidden: [], activation: 'tanh' },
    parameters: new Float64Array(2),
    features: new Float32Array(length).fill(FEATURE, OTHERS),
    labels: new Float32Array(length).fill(LABEL, OTHERS),
    episodeOf: Int32Array.from({ length }, (_, window) => Math.min(window, OTHERS)),
    unit,
    clipNorm: CLIP_NORM,
    clipping,
    noiseMultiplier,
    samplingRate,
    sampler,
    samplerSeed: samplerSeed(setting, chance),
    steps: trainings * setting.steps,
    learningRate: LEARNING_RATE,
    optimiser: { kind: 'sgd', momentum: 0 },
    expectedBatch: OTHERS * samplingRate,
  };
}

/** How many of the others the step drew, where they are counted. */
function othersDrawn(job: TrainingJob, step: number): number {
  if (job.clipping?.kind !== 'adaptive') return 0;
  return createSampler(job.samplerSeed!).poissonDraw(step, OTHERS, job.samplingRate).length;
}

/** The noised count that an adaptive clip norm tells: a half for each unit drawn that stayed whole, else minus a half. */
function countOf({ clipping, expectedBatch }: TrainingJob, before: number, after: number): number {
  if (clipping?.kind !== 'adaptive') return 0;
  const share = clipping.quantile - Math.log(after / before) / clipping.learningRate;
  return (share - 0.5) * expectedBatch;
}

/** A CSPRNG that repeats: AES-256 in counter mode, with the hash of `name` as its key. */
function stream(name: string): RandomBytes {
  const cipher = createCipheriv('aes-256-ctr', createHash('sha256').update(name).digest(), Buffer.alloc(16));
  const zeros = Buffer.alloc(65_536);
  return (length) => cipher.update(zeros.subarray(0, length));
}
