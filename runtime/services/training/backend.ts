import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { clippedSum } from '../../core/learning/dpsgd.ts';
import type { TrainingJob } from '../../core/learning/job.ts';

/** What TensorFlow.js computes with in this process. */
export interface Backend {
  readonly name: 'tfjs-node' | 'wasm';
  /** For people: the version, and why the other one is not used. */
  readonly detail: string;
}

const WASM_FILE = 'tfjs-backend-wasm.wasm';

/**
 * Starts TensorFlow.js: the native backend where it is installed and does a real training step right,
 * else WebAssembly.
 *
 * @param wasmDirectory where the backend's .wasm files are; else KOSMOS_WASM_DIR, this program's own
 * directory, or the installed package
 * @throws Error when neither backend works
 */
export async function startBackend(wasmDirectory?: string): Promise<Backend> {
  const native = await startNative();
  if (native === 'works')
    return { name: 'tfjs-node', detail: `@tensorflow/tfjs-node on tfjs ${tf.version_core}` };
  const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
  const directory = wasmDirectory ?? process.env.KOSMOS_WASM_DIR ?? findWasm();
  if (!existsSync(join(directory, WASM_FILE))) {
    throw new Error(`TensorFlow.js cannot start: there is no ${WASM_FILE} in ${directory}; install again`);
  }
  setWasmPaths(join(directory, '/'));
  if (!(await tf.setBackend('wasm'))) {
    throw new Error('TensorFlow.js cannot start: this Node does not run its WebAssembly');
  }
  probe();
  return {
    name: 'wasm',
    detail: `@tensorflow/tfjs-backend-wasm on tfjs ${tf.version_core}; tfjs-node ${native}`,
  };
}

/** {@link startBackend} for a report; an error becomes its text. Holds the backend's memory from then on. */
export async function describeBackend(wasmDirectory?: string): Promise<{ name: string; detail: string }> {
  try {
    return await startBackend(wasmDirectory);
  } catch (error) {
    return { name: 'none', detail: messageOf(error) };
  }
}

/** `works`, or why it is not used. The cast keeps the compiler from asking for an optional package's types. */
async function startNative(): Promise<string> {
  try {
    await import('@tensorflow/tfjs-node' as string);
  } catch (error) {
    return isMissing(error) ? 'is not installed' : `does not load (${messageOf(error)})`;
  }
  try {
    if (!(await tf.setBackend('tensorflow'))) return 'does not start';
    probe();
    return 'works';
  } catch (error) {
    return `fails at a training step (${messageOf(error)})`;
  }
}

/**
 * One step whose result is known: a linear model 2 * x + 1 at x = 3 with label 5 has error 2, gradient
 * (6, 2) of norm sqrt(40), here clipped to 1.
 */
function probe(): void {
  const job: TrainingJob = {
    model: { kind: 'dense', inputs: 1, hidden: [], activation: 'tanh' },
    parameters: Float64Array.of(2, 1),
    features: Float32Array.of(3),
    labels: Float32Array.of(5),
    episodeOf: Int32Array.of(0),
    unit: 'window',
    clipNorm: 1,
    noiseMultiplier: 1,
    samplingRate: 1,
    steps: 1,
    learningRate: 1,
    optimiser: { kind: 'sgd', momentum: 0 },
    expectedBatch: 1,
  };
  const { sum } = clippedSum(job, [0]);
  const expected = [6 / Math.sqrt(40), 2 / Math.sqrt(40)];
  if (!expected.every((value, index) => Math.abs(value - sum[index]!) < 1e-5)) {
    throw new Error(`a training step gave ${[...sum].join(', ')} instead of ${expected.join(', ')}`);
  }
}

function findWasm(): string {
  const own = dirname(fileURLToPath(import.meta.url));
  if (existsSync(join(own, WASM_FILE))) return own;
  const manifest = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json');
  return join(dirname(manifest), 'dist');
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.split('\n', 1)[0]! : String(error);
}
