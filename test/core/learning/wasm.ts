import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';

/** Starts the WebAssembly backend in the test's own process. */
export async function startWasm(): Promise<void> {
  const manifest = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json');
  setWasmPaths(join(dirname(manifest), 'dist', '/'));
  if (!(await tf.setBackend('wasm'))) throw new Error('the WebAssembly backend does not start');
}
