import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { randomBytes } from '#random';
import { startTraining, type Training } from '../../runtime/core/learning/dpsgd.ts';
import type { PrivacyUnit, TrainingJob } from '../../runtime/core/learning/job.ts';
import { initialParameters, type ModelSpec } from '../../runtime/core/learning/model.ts';
import { alternate, type Bench, type Side } from './harness.ts';

export type Net = Extract<ModelSpec, { kind: 'dense' }>;

/** The nets and batches that the figures are for. */
export const NETS: readonly Net[] = [
  { kind: 'dense', inputs: 42, hidden: [32, 16], activation: 'elu' },
  { kind: 'dense', inputs: 420, hidden: [64, 32], activation: 'elu' },
];
export const BATCHES: readonly number[] = [64, 256];

const WINDOWS = 4096;
const STEPS_A_TURN = 10;
const RUNS = 60;
const WARM_UP = 400;

export function nameOf(net: Net, batch: number): string {
  return `${[net.inputs, ...net.hidden, 1].join('-')} at ${batch}`;
}

/** Features and labels that look like sensors: within [-1, 1], the same in each run. */
function makeJob(net: Net, batch: number, unit: PrivacyUnit): TrainingJob {
  const features = Float32Array.from({ length: WINDOWS * net.inputs }, (_, index) => Math.sin(index * index));
  return {
    model: net,
    parameters: initialParameters(net, Uint8Array.of(1)),
    features,
    labels: Float32Array.from({ length: WINDOWS }, (_, index) => (1 + features[index * net.inputs]!) / 2),
    episodeOf: new Int32Array(WINDOWS),
    unit,
    clipNorm: 0.1,
    noiseMultiplier: 1,
    samplingRate: batch / WINDOWS,
    steps: 1_000_000,
    learningRate: 1e-3,
    optimiser: { kind: 'sgd', momentum: 0 },
    expectedBatch: batch,
  };
}

/** Milliseconds of this process's CPU time a step, over a turn of many: what else runs here does not count. */
function timed(training: Training): () => number {
  return () => {
    const started = process.cpuUsage();
    for (let step = 0; step < STEPS_A_TURN; step += 1) training.step();
    const { user, system } = process.cpuUsage(started);
    return (user + system) / 1000 / STEPS_A_TURN;
  };
}

/** Starts the backend that is measured. */
export async function startWasm(): Promise<void> {
  const manifest = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json');
  setWasmPaths(join(dirname(manifest), 'dist', '/'));
  if (!(await tf.setBackend('wasm'))) throw new Error('the WebAssembly backend does not start');
}

/** Milliseconds of a DP step of this trainer, draw and noise included, with the non-private step beside it. */
export async function measureStep(net: Net, batch: number): Promise<{ dp: Side; plain: Side }> {
  const dp = startTraining(makeJob(net, batch, 'window'), randomBytes);
  const plain = startTraining(makeJob(net, batch, 'none'), randomBytes);
  // The compiler is at work for the first hundreds of steps.
  for (let step = 0; step < WARM_UP; step += 1) {
    dp.step();
    plain.step();
  }
  const { a, b } = await alternate(timed(dp), timed(plain), { runs: RUNS });
  return { dp: a, plain: b };
}

/**
 * A step of DP-SGD against the same trainer's step without clipping and noise. The machine's other work
 * falls on both alike, and only this process's CPU time counts.
 */
export const dpStep: Bench = {
  name: 'dp-step',
  unit: 'x the time of the non-private step, the worst of four; wanted: at most 1.25',
  against: 'the step without clipping and noise, same trainer and backend',
  async run() {
    await startWasm();
    const sides: Record<string, Side> = {};
    const notes: string[] = [];
    let worst = 0;
    for (const net of NETS) {
      for (const batch of BATCHES) {
        const name = nameOf(net, batch);
        const { dp, plain } = await measureStep(net, batch);
        sides[`DP ${name}, ms`] = dp;
        sides[`non-private ${name}, ms`] = plain;
        const ratio = dp.median / plain.median;
        worst = Math.max(worst, ratio);
        notes.push(`${name}: ${ratio.toFixed(2)}`);
      }
    }
    return { value: worst, ratio: worst, sides, note: notes.join('; ') };
  },
};
