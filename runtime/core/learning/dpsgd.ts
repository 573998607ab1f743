import { createSampler, type RandomBytes } from './chance.ts';
import { latticeStep, nextClipNorm, sumMultiplier, summation } from './clipping.ts';
import { batchesOfPass, checkJob, type TrainingJob, type TrainingResult, type TrainingState } from './job.ts';
import { parameterCount } from './model.ts';
import { uploadNetwork } from './network.ts';
import { createLatticeNoise } from './noise.ts';
import { createOptimiser } from './optimiser.ts';
import { createTreeNoise } from './tree.ts';
import { createUnits, type Units } from './units.ts';

/** The sum of clipped gradients of the units drawn, and what was met on the way. */
export interface ClippedSum {
  readonly sum: Float64Array;
  /** The sum of the windows' losses, as {@link TrainingResult} reports them. */
  readonly loss: number;
  readonly windows: number;
  /** Units whose gradient was within the clip norm. */
  readonly whole: number;
}

/** A training run between two steps, so that whoever drives it can look up in between. */
export interface Training {
  /** Runs one step and gives the number done; does nothing when all are done. */
  step(): number;
  /** What has been reached; complete once all steps are done. */
  result(): TrainingResult;
  /** What {@link startTraining} goes on from, with the same job, as if there had been no break. */
  state(): TrainingState;
}

/**
 * DP-SGD (Abadi et al. 2016, algorithm 1) on the current TensorFlow.js backend, from `job.parameters`, or
 * DP-FTRL where the job's sampler is `passes`. Each step draws units, clips each unit's gradient to C, sums,
 * rounds the sum to a lattice, adds noise of that lattice ({@link createLatticeNoise}) and divides by the
 * agreed batch. An empty draw is a step like any other. Gradients are summed, noised and applied in float64.
 *
 * The deviation of the noise is noiseMultiplier x (C + what rounding adds to it: {@link latticeStep},
 * {@link summation}); the distance of the lattice's points is that over 2^16: agreed numbers alone decide
 * it, and the clip norm, which has been released where it is adaptive.
 *
 * @param random the CSPRNG that noise comes from, and the sampler's seed where the job has none
 * @throws RangeError when the job is impossible, or `from` is not of it; `step` throws an Error when
 * training diverges
 */
export function startTraining(job: TrainingJob, random: RandomBytes, from?: TrainingState): Training {
  checkJob(job);
  if (from !== undefined) checkState(job, from);
  const samplerSeed = (from?.samplerSeed ?? job.samplerSeed ?? random(32)).slice();
  const parameters = (from?.parameters ?? job.parameters).slice();
  const optimiser = createOptimiser(job.optimiser, job.learningRate, parameters.length, from?.optimiser);
  const units = createUnits(job);
  const draw = drawing(job, units.count, samplerSeed);
  const noise = noising(job, random, from);
  const losses = new Float64Array(job.steps);
  losses.set(from?.losses ?? []);
  let clipNorm = from?.clipNorm ?? job.clipNorm;
  let done = from?.done ?? 0;
  return {
    step() {
      if (done === job.steps) return done;
      const drawn = draw(done);
      const clipped = sumOver(job, units, parameters, clipNorm, drawn);
      losses[done] = clipped.loss / clipped.windows;
      noise.toMean(clipped.sum, clipNorm, done);
      clipNorm = noise.nextClipNorm(clipNorm, clipped.whole, drawn.length);
      optimiser.step(parameters, clipped.sum);
      done += 1;
      if (!allFinite(parameters)) {
        throw new Error(`training diverged in step ${done} of ${job.steps}: lower the learning rate`);
      }
      return done;
    },
    result: () => ({ parameters: parameters.slice(), steps: done, losses: losses.slice(0, done) }),
    state: () => ({
      done,
      parameters: parameters.slice(),
      losses: losses.slice(0, done),
      clipNorm,
      samplerSeed: samplerSeed.slice(),
      optimiser: optimiser.state(),
      tree: noise.tree(),
    }),
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
  return sumOver(job, createUnits(job), job.parameters, job.clipNorm, drawn);
}

function sumOver(
  job: TrainingJob,
  units: Units,
  parameters: Float64Array,
  clipNorm: number,
  drawn: readonly number[],
): ClippedSum {
  const network = uploadNetwork(job.model, parameters);
  try {
    return units.sum(network, clipNorm, drawn);
  } finally {
    network.dispose();
  }
}

/** The units of each step. */
function drawing(job: TrainingJob, units: number, seed: Uint8Array): (step: number) => readonly number[] {
  const sampler = createSampler(seed);
  if (job.sampler !== 'passes') return (step) => sampler.poissonDraw(step, units, job.samplingRate);
  // Each unit's place is drawn by itself: that one more is there moves none of the others.
  const batches: number[][] = Array.from({ length: batchesOfPass(job.samplingRate) }, () => []);
  sampler.assignBatches(units, batches.length).forEach((batch, unit) => {
    batches[batch]!.push(unit);
  });
  return (step) => batches[step % batches.length]!;
}

/** All noise of a run. */
function noising(job: TrainingJob, random: RandomBytes, from: TrainingState | undefined) {
  const lattice = createLatticeNoise(random);
  const tree = createTreeNoise((target) => lattice.fill(target), from?.tree);
  const clipping = job.clipping ?? { kind: 'flat' };
  const allowance = job.unit === 'window' ? 1 + summation(job.expectedBatch).share : 1;
  const passes = job.sampler === 'passes';
  // Independent noise is drawn in parts that stay in the processor's cache; that of a tree is needed whole.
  const values = new Int32Array(passes ? job.parameters.length : Math.min(job.parameters.length, PART));
  const one = new Int32Array(1);
  return {
    /** Makes a sum of clipped gradients the noised mean, in place. */
    toMean(sum: Float64Array, clipNorm: number, step: number): void {
      if (job.unit === 'none') {
        scale(sum, 1 / job.expectedBatch);
        return;
      }
      const multiplier = sumMultiplier(job.noiseMultiplier, clipping);
      const distance = latticeStep(allowance * clipNorm, multiplier, sum.length);
      if (passes) tree.next(values, step % batchesOfPass(job.samplingRate) === 0);
      for (let start = 0; start < sum.length; start += values.length) {
        const part = sum.subarray(start, start + values.length);
        if (!passes) lattice.fill(values.subarray(0, part.length));
        roundAndAdd(part, values, distance, job.expectedBatch);
      }
    },
    nextClipNorm(clipNorm: number, whole: number, drawn: number): number {
      if (job.unit === 'none' || clipping.kind === 'flat') return clipNorm;
      lattice.fill(one);
      const count = { sum: whole - drawn / 2, noise: one[0]!, expectedBatch: job.expectedBatch };
      return nextClipNorm(clipNorm, clipping, count);
    },
    tree: () => tree.state(),
  };
}

const PART = 2048;

/**
 * Adding 1.5 x 2^52 and taking it away again leaves the nearest whole number below 2^51, in a fraction of the
 * time of Math.round.
 */
const ROUNDING = 1.5 * 2 ** 52;

/** (`sum` rounded to the lattice + `noise`) / `batch`, in place. */
function roundAndAdd(sum: Float64Array, noise: Int32Array, distance: number, batch: number): void {
  const inverse = 1 / distance;
  const factor = distance / batch;
  for (let index = 0; index < sum.length; index += 1) {
    sum[index] = (sum[index]! * inverse + ROUNDING - ROUNDING + noise[index]!) * factor;
  }
}

function scale(values: Float64Array, by: number): void {
  for (let index = 0; index < values.length; index += 1) values[index]! *= by;
}

function allFinite(values: Float64Array): boolean {
  // 0 times what is not finite is NaN, and so is the sum from then on.
  let sum = 0;
  for (let index = 0; index < values.length; index += 1) sum += 0 * values[index]!;
  return sum === 0;
}

function checkState(job: TrainingJob, from: TrainingState): void {
  const fits =
    Number.isSafeInteger(from.done) &&
    from.done >= 0 &&
    from.done <= job.steps &&
    from.losses.length === from.done &&
    from.parameters.length === parameterCount(job.model) &&
    allFinite(from.parameters) &&
    from.clipNorm > 0 &&
    from.samplerSeed.length === 32 &&
    (job.samplerSeed === undefined ||
      job.samplerSeed.every((byte, index) => byte === from.samplerSeed[index]));
  if (!fits) throw new RangeError('the state to go on from is not one of this training job');
}
