import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { clippedSum } from '../../../runtime/core/learning/dpsgd.ts';
import type { TrainingJob } from '../../../runtime/core/learning/job.ts';
import {
  type Activation,
  inputCount,
  layout,
  outputCount,
  outputsOf,
  parameterCount,
} from '../../../runtime/core/learning/model.ts';
import { uploadNetwork } from '../../../runtime/core/learning/network.ts';
import { pairsAreFewer } from '../../../runtime/core/learning/norms.ts';
import { BACKENDS } from './backends.ts';
import { COUNT, MODELS, makeJob, naiveGradient } from './jobs.ts';

const ACTIVATIONS: readonly Activation[] = ['relu', 'tanh', 'elu'];
const all = Array.from({ length: COUNT }, (_, index) => index);
const drawn = all.filter((index) => index % 10 !== 0);

function clip(gradient: Float64Array, norm: number): Float64Array {
  const scale = Math.min(1, norm / Math.hypot(...gradient));
  return gradient.map((value) => value * scale);
}

function total(gradients: readonly Float64Array[], length: number): Float64Array {
  const sum = new Float64Array(length);
  for (const gradient of gradients)
    for (let index = 0; index < length; index += 1) sum[index]! += gradient[index]!;
  return sum;
}

/** Within 1e-5 of the whole vector's length. */
function assertClose(actual: Float64Array, expected: Float64Array): void {
  assert.equal(actual.length, expected.length);
  const far = Math.hypot(...actual.map((value, index) => value - expected[index]!));
  assert.ok(far <= 1e-5 * Math.hypot(...expected), `${far} of ${Math.hypot(...expected)}`);
}

/** Every loss that a model can be trained on, with runs that were cut off among the squared ones. */
function jobsOf(name: string, activation: Activation): TrainingJob[] {
  const model = MODELS[name]!;
  if (model.kind === 'autoencoder') return [makeJob('window', activation, { model })];
  const bounds = Uint8Array.from({ length: COUNT }, (_, index) => (index % 3) & 1);
  const failures = Float32Array.from({ length: COUNT }, (_, index) => (index % 4 === 0 ? 1 : 0));
  return [
    makeJob('window', activation, { model }),
    makeJob('window', activation, { model, atLeast: bounds }),
    makeJob('window', activation, { model, loss: 'logistic', labels: failures }),
  ];
}

describe('the models tried', () => {
  it('meet both ways to the norm of a convolution', () => {
    const ways = Object.values(MODELS)
      .flatMap((model) => layout(model).filter(({ positions }) => positions > 1))
      .map(pairsAreFewer);
    assert.ok(ways.includes(true) && ways.includes(false));
  });
});

for (const { name: backend, skip, start } of BACKENDS) {
  describe(`on ${backend}`, { skip }, () => {
    for (const name of Object.keys(MODELS)) {
      it(`${name}: the network agrees with the plain prediction`, async () => {
        await start();
        for (const activation of ACTIVATIONS) {
          const { model, parameters, features } = makeJob('none', activation, { model: MODELS[name]! });
          const network = uploadNetwork(model, parameters);
          const pass = network.forward(features, COUNT);
          const width = inputCount(model);
          for (let window = 0; window < COUNT; window += 1) {
            const inputs = features.subarray(width * window, width * (window + 1));
            outputsOf(model, parameters, inputs).forEach((plain, index) => {
              assert.ok(Math.abs(pass.outputs[window * outputCount(model) + index]! - plain) < 1e-5);
            });
          }
          pass.dispose();
          network.dispose();
        }
      });

      it(`${name}: the sum of clipped window gradients is that of naive ones`, async () => {
        await start();
        for (const activation of ACTIVATIONS) {
          for (const job of jobsOf(name, activation)) {
            const gradients = drawn.map((window) => naiveGradient(job, window));
            const norms = gradients.map((gradient) => Math.hypot(...gradient)).sort((a, b) => a - b);
            const clipNorm = norms[Math.floor(norms.length / 2)]!;
            const { sum, whole, windows } = clippedSum({ ...job, clipNorm }, drawn);
            assertClose(
              sum,
              total(
                gradients.map((each) => clip(each, clipNorm)),
                sum.length,
              ),
            );
            assert.equal(windows, drawn.length);
            assert.ok(Math.abs(whole - norms.length / 2) <= 2, `${whole} of ${norms.length} stayed whole`);
          }
        }
      });

      it(`${name}: no window adds more than the clip norm`, async () => {
        await start();
        const job = makeJob('window', 'relu', { model: MODELS[name]!, clipNorm: 0.01 });
        for (let window = 0; window < 40; window += 1) {
          assert.ok(Math.hypot(...clippedSum(job, [window]).sum) <= 0.01 * (1 + 1e-6));
        }
      });

      it(`${name}: the sum of clipped episode gradients is that of naive means`, async () => {
        await start();
        const job = makeJob('episode', 'elu', { model: MODELS[name]! });
        const means = [0, 1, 2].map((episode) => {
          const windows = all.filter((window) => job.episodeOf[window] === episode);
          const sum = total(
            windows.map((window) => naiveGradient(job, window)),
            job.parameters.length,
          );
          return sum.map((value) => value / windows.length);
        });
        const norms = means.map((mean) => Math.hypot(...mean)).sort((a, b) => a - b);
        const clipNorm = Math.sqrt(norms[0]! * norms[1]!);
        const clipped = means.map((mean) => clip(mean, clipNorm));
        const { sum, whole } = clippedSum({ ...job, clipNorm }, [0, 1, 2]);
        assertClose(sum, total(clipped, sum.length));
        assert.equal(whole, 1);
        assertClose(clippedSum({ ...job, clipNorm }, [2]).sum, clipped[2]!);
      });

      it(`${name}: without a unit the sum is plain`, async () => {
        await start();
        const job = makeJob('none', 'relu', { model: MODELS[name]!, clipNorm: 1e-9 });
        const gradients = drawn.map((window) => naiveGradient(job, window));
        assertClose(clippedSum(job, drawn).sum, total(gradients, job.parameters.length));
      });
    }

    it('of nothing is zero, and nothing is left on the backend', async () => {
      await start();
      const held = tf.memory().numTensors;
      for (const model of Object.values(MODELS)) {
        for (const unit of ['window', 'episode', 'none'] as const) {
          const job = makeJob(unit, 'tanh', { model });
          assert.deepEqual(clippedSum(job, []).sum, new Float64Array(parameterCount(model)));
          clippedSum(job, [0, 1, 2]);
        }
      }
      assert.equal(tf.memory().numTensors, held);
    });
  });
}
