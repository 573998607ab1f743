/** Trainers with a real training process, and what is to be seen of it from outside. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TrainingJob } from '../../../runtime/core/learning/job.ts';
import { initialParameters, type ModelSpec } from '../../../runtime/core/learning/model.ts';
import {
  createTrainer,
  type TrainerOptions,
  type WatchedTrainer,
} from '../../../runtime/services/training/trainer.ts';

export const CHILD = new URL('../../../runtime/services/training/child.ts', import.meta.url);
export const BADLY_BEHAVED = new URL('./children/badly-behaved.ts', import.meta.url);
export const model: ModelSpec = { kind: 'dense', inputs: 2, hidden: [4], activation: 'tanh' };
export const never = new AbortController().signal;

/** What the trainer in hand has logged. */
export let lines: string[] = [];
let trainer: WatchedTrainer | undefined;

export function start(change: Partial<TrainerOptions>): WatchedTrainer {
  lines = [];
  trainer = createTrainer({
    childModule: CHILD,
    execArgv: ['--import', 'tsx'],
    nice: 5,
    memoryLimitBytes: 2 ** 30,
    idleMs: 60_000,
    timeLimitMs: 60_000,
    log: (level, message) => lines.push(`${level} ${message}`),
    ...change,
  });
  return trainer;
}

/** y = (a + 1) / 2, learned without privacy. `what` is read by the badly behaved process only. */
export function makeJob(change: Partial<TrainingJob> = {}, what = 0.5): TrainingJob {
  const features = Float32Array.from({ length: 200 }, (_, index) => Math.sin(index * 1.7));
  features[0] = what;
  return {
    model,
    parameters: initialParameters(model, Uint8Array.of(1)),
    features,
    labels: Float32Array.from({ length: 100 }, (_, index) => (features[2 * index]! + 1) / 2),
    episodeOf: new Int32Array(100),
    unit: 'none',
    clipNorm: 1,
    noiseMultiplier: 1,
    samplingRate: 0.5,
    steps: 200,
    learningRate: 0.05,
    optimiser: { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    expectedBatch: 50,
    ...change,
  };
}

/** A job that goes on until it is stopped. */
export const endless = (): TrainingJob => makeJob({ steps: 1_000_000 });

/** The training processes this one has started that are still there, from proc(5), with their priority. */
export async function children(): Promise<{ pid: number; nice: number }[]> {
  const found: { pid: number; nice: number }[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    // A process may be gone between the two reads.
    const [stat, line] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''),
      readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''),
    ]);
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ours = Number(fields[1]) === process.pid && /(child|badly-behaved)\.ts/.test(line);
    if (ours && fields[0] !== 'Z') found.push({ pid: Number(pid), nice: Number(fields[16]) });
  }
  return found;
}

/** Waits for a process to come or go, within the limit of the test runner. */
export async function untilChildren(count: number): Promise<void> {
  while ((await children()).length !== count) await sleep(20);
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(10);
}

export async function stopTrainer(): Promise<void> {
  await trainer?.stop();
  trainer = undefined;
}

export const skip = existsSync('/proc/self/stat')
  ? false
  : 'processes are looked up in /proc, which is not here';
