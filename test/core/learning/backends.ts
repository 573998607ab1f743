import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { startWasm } from './wasm.ts';

/** Every backend of TensorFlow.js that this machine has; the others say why they are left out. */
export const BACKENDS: readonly {
  readonly name: string;
  readonly skip: string | false;
  start(): Promise<void>;
}[] = [
  { name: 'wasm', skip: false, start: startWasm },
  { name: 'cpu', skip: false, start: () => startNamed('cpu') },
  await optional('tensorflow', '@tensorflow/tfjs-node'),
];

async function optional(name: string, module: string): Promise<(typeof BACKENDS)[number]> {
  let skip: string | false = false;
  try {
    // A name that is not a literal, so that the compiler does not ask for an optional package.
    await import(module);
  } catch (error) {
    skip = `${module} cannot be loaded: ${error instanceof Error ? error.message.split('\n', 1)[0] : error}`;
  }
  return {
    name,
    skip,
    start: () => startNamed(name),
  };
}

async function startNamed(name: string): Promise<void> {
  if (!(await tf.setBackend(name))) throw new Error(`the backend ${name} does not start`);
}
