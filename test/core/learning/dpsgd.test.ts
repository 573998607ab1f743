import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { before, describe, it } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { clippedSum, startTraining, trainLocally } from '../../../runtime/core/learning/dpsgd.ts';
import type { PrivacyUnit, TrainingJob } from '../../../runtime/core/learning/job.ts';
import {
  type Activation,
  initialParameters,
  layout,
  type ModelSpec,
  parameterCount,
  predict,
} from '../../../runtime/core/learning/model.ts';
import { forward, uploadLayers } from '../../../runtime/core/learning/network.ts';
import { startWasm } from './wasm.ts';

const ACTIVATIONS: readonly Activation[] = ['relu', 'tanh', 'elu'];
/** More windows than one chunk holds, so that padding and a second chunk are met. */
const COUNT = 300;

function seeded(seed: string): (length: number) => Uint8Array {
  let counter = 0;
  return (length) => {
    const blocks = Array.from({ length: Math.ceil(length / 64) }, () => {
      counter += 1;
      return createHmac('sha512', seed).update(String(counter)).digest();
    });
    return new Uint8Array(Buffer.concat(blocks).subarray(0, length));
  };
}

function makeJob(
  unit: PrivacyUnit,
  activation: Activation = 'tanh',
  change: Partial<TrainingJob> = {},
): TrainingJob {
  const model: ModelSpec = { inputs: 6, hidden: [5, 4], activation };
  const values = initialParameters({ inputs: 6, hidden: [COUNT], activation }, Uint8Array.of(9));
  const features = Float32Array.from({ length: COUNT * 6 }, (_, index) => 10 * values[index]!);
  return {
    model,
    parameters: initialParameters(model, Uint8Array.of(7)).map(
      (value, index) => value + 0.1 * Math.sin(index),
    ),
    features,
    labels: Float32Array.from({ length: COUNT }, (_, index) => (features[6 * index]! + 1) / 2),
    episodeOf: Int32Array.from({ length: COUNT }, (_, index) => (index < 280 ? 0 : index < 290 ? 1 : 2)),
    unit,
    clipNorm: 0.5,
    noiseMultiplier: 1,
    samplingRate: 0.1,
    steps: 1,
    learningRate: 1,
    optimiser: { kind: 'sgd', momentum: 0 },
    expectedBatch: 30,
    ...change,
  };
}

/** The gradient of (output - label)^2 / 2 for one window, unit by unit in plain float64: the oracle. */
function naiveGradient(job: TrainingJob, window: number): Float64Array {
  const { model, parameters } = job;
  const layers = layout(model);
  const inputs: number[][] = [[...job.features.subarray(window * model.inputs, (window + 1) * model.inputs)]];
  const slopes: number[][] = [];
  layers.forEach(({ rows, columns, weights, biases }, depth) => {
    const outputs: number[] = [];
    slopes[depth] = [];
    for (let column = 0; column < columns; column += 1) {
      let sum = parameters[biases + column]!;
      for (let row = 0; row < rows; row += 1) {
        sum += inputs[depth]![row]! * parameters[weights + row * columns + column]!;
      }
      const last = depth + 1 === layers.length;
      outputs.push(last ? sum : ACTIVATION[model.activation].value(sum));
      slopes[depth]!.push(last ? 1 : ACTIVATION[model.activation].slope(sum));
    }
    inputs.push(outputs);
  });
  const gradient = new Float64Array(parameters.length);
  let errors = [inputs.at(-1)![0]! - job.labels[window]!];
  for (let depth = layers.length - 1; depth >= 0; depth -= 1) {
    const { rows, columns, weights, biases } = layers[depth]!;
    const deltas = errors.map((error, column) => error * slopes[depth]![column]!);
    errors = new Array<number>(rows).fill(0);
    for (let column = 0; column < columns; column += 1) {
      gradient[biases + column] = deltas[column]!;
      for (let row = 0; row < rows; row += 1) {
        gradient[weights + row * columns + column] = deltas[column]! * inputs[depth]![row]!;
        errors[row]! += deltas[column]! * parameters[weights + row * columns + column]!;
      }
    }
  }
  return gradient;
}

const ACTIVATION = {
  relu: { value: (x: number) => Math.max(0, x), slope: (x: number) => (x > 0 ? 1 : 0) },
  tanh: { value: Math.tanh, slope: (x: number) => 1 - Math.tanh(x) ** 2 },
  elu: { value: (x: number) => (x > 0 ? x : Math.expm1(x)), slope: (x: number) => (x > 0 ? 1 : Math.exp(x)) },
};

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

function assertClose(actual: Float64Array, expected: Float64Array, tolerance: number): void {
  assert.equal(actual.length, expected.length);
  const scale = Math.max(1, Math.hypot(...expected));
  actual.forEach((value, index) => {
    assert.ok(
      Math.abs(value - expected[index]!) <= tolerance * scale,
      `${index}: ${value}, not ${expected[index]}`,
    );
  });
}

before(startWasm);

describe('the oracle', () => {
  it('agrees with finite differences of the plain prediction', () => {
    const job = makeJob('window');
    const gradient = naiveGradient(job, 3);
    const loss = (parameters: Float64Array): number =>
      (predict(job.model, parameters, job.features.subarray(18, 24)) - job.labels[3]!) ** 2 / 2;
    gradient.forEach((value, index) => {
      const up = job.parameters.slice();
      const down = job.parameters.slice();
      up[index]! += 1e-6;
      down[index]! -= 1e-6;
      assert.ok(Math.abs((loss(up) - loss(down)) / 2e-6 - value) < 1e-8);
    });
  });
});

describe('forward', () => {
  it('agrees with the plain prediction to 1e-5', () => {
    for (const activation of ACTIVATIONS) {
      const job = makeJob('none', activation);
      const layers = uploadLayers(job.model, job.parameters);
      const output = forward(job.model, layers, tf.tensor2d(job.features, [COUNT, 6]))
        .at(-1)!
        .dataSync();
      for (let window = 0; window < COUNT; window += 1) {
        const plain = predict(job.model, job.parameters, job.features.subarray(6 * window, 6 * window + 6));
        assert.ok(Math.abs(output[window]! - plain) < 1e-5);
      }
    }
  });
});

describe('clippedSum', () => {
  const drawn = Array.from({ length: COUNT }, (_, index) => index).filter((index) => index % 10 !== 0);

  it('of windows is the sum of each window gradient, clipped', () => {
    for (const activation of ACTIVATIONS) {
      const job = makeJob('window', activation);
      const gradients = drawn.map((window) => naiveGradient(job, window));
      const norms = gradients.map((gradient) => Math.hypot(...gradient));
      assert.ok(norms.some((norm) => norm > 0.5) && norms.some((norm) => norm < 0.5), 'clips some, not all');
      const expected = total(
        gradients.map((gradient) => clip(gradient, 0.5)),
        job.parameters.length,
      );
      assertClose(clippedSum(job, drawn).sum, expected, 1e-5);
    }
  });

  it('of episodes is the sum of each episode mean gradient, clipped', () => {
    const job = makeJob('episode', 'elu', { clipNorm: 0.3 });
    const means = [0, 1, 2].map((episode) => {
      const windows = [...job.episodeOf.keys()].filter((window) => job.episodeOf[window] === episode);
      const sum = total(
        windows.map((window) => naiveGradient(job, window)),
        job.parameters.length,
      );
      return sum.map((value) => value / windows.length);
    });
    assert.ok(
      means.some((mean) => Math.hypot(...mean) > 0.3),
      'clips',
    );
    const clipped = means.map((mean) => clip(mean, 0.3));
    assertClose(clippedSum(job, [0, 1, 2]).sum, total(clipped, job.parameters.length), 1e-5);
    assertClose(clippedSum(job, [2]).sum, clipped[2]!, 1e-5);
  });

  it('without a unit is the plain sum', () => {
    const job = makeJob('none', 'relu', { clipNorm: 1e-9 });
    const gradients = drawn.map((window) => naiveGradient(job, window));
    assertClose(clippedSum(job, drawn).sum, total(gradients, job.parameters.length), 1e-5);
  });

  it('of one unit is never longer than the clip norm', () => {
    const job = makeJob('window', 'relu', { clipNorm: 0.01 });
    for (let window = 0; window < 40; window += 1) {
      assert.ok(Math.hypot(...clippedSum(job, [window]).sum) <= 0.01 * (1 + 1e-5));
    }
    const episodes = makeJob('episode', 'relu', { clipNorm: 0.01 });
    for (const episode of [0, 1, 2]) {
      assert.ok(Math.hypot(...clippedSum(episodes, [episode]).sum) <= 0.01 * (1 + 1e-5));
    }
  });

  it('of nothing is zero', () => {
    for (const unit of ['window', 'episode', 'none'] as const) {
      assert.deepEqual(
        clippedSum(makeJob(unit), []).sum,
        new Float64Array(parameterCount(makeJob(unit).model)),
      );
    }
  });

  it('keeps nothing on the backend', () => {
    const held = tf.memory().numTensors;
    clippedSum(makeJob('window'), drawn);
    clippedSum(makeJob('episode'), [0, 1, 2]);
    assert.equal(tf.memory().numTensors, held);
  });
});

describe('training', () => {
  it('adds noise of deviation sigma C / expected batch in a step that draws nobody', () => {
    // With rate 1e-12 a draw is empty but for one seed in 10^9; the model has many parameters.
    const model: ModelSpec = { inputs: 6, hidden: [1000], activation: 'tanh' };
    const parameters = initialParameters(model, Uint8Array.of(1));
    for (const unit of ['window', 'episode'] as const) {
      const change = {
        model,
        parameters,
        samplingRate: 1e-12,
        noiseMultiplier: 3,
        clipNorm: 2,
        expectedBatch: 4,
      };
      const result = trainLocally(makeJob(unit, 'tanh', change), seeded('noise'));
      assert.equal(result.steps, 1);
      assert.ok(Number.isNaN(result.losses[0]));
      const moved = result.parameters.map((value, index) => (value - parameters[index]!) / 1.5);
      const n = moved.length;
      // Both bounds would be broken by one seed in 10^5.
      assert.ok(Math.abs(moved.reduce((sum, value) => sum + value, 0)) < 4.42 * Math.sqrt(n));
      assert.ok(
        Math.abs(moved.reduce((sum, value) => sum + value ** 2, 0) / n - 1) < 4.42 * Math.sqrt(2 / n),
      );
    }
  });

  it('divides by the agreed batch, not by the draw', () => {
    const moved = (expectedBatch: number): Float64Array => {
      const job = makeJob('window', 'tanh', { expectedBatch, samplingRate: 1, noiseMultiplier: 1e-9 });
      return trainLocally(job, seeded('x')).parameters.map((value, index) => value - job.parameters[index]!);
    };
    const job = makeJob('window');
    const all = Array.from({ length: COUNT }, (_, index) => index);
    assertClose(
      moved(30),
      clippedSum(job, all).sum.map((value) => -value / 30),
      1e-5,
    );
    assertClose(
      moved(60).map((value) => 2 * value),
      moved(30),
      1e-5,
    );
  });

  it('is the same again for the same bytes, and takes both from them, draw and noise', () => {
    const job = makeJob('window', 'elu', { steps: 5, learningRate: 0.1 });
    const first = trainLocally(job, seeded('a'));
    assert.deepEqual(trainLocally(job, seeded('a')), first);
    assert.notDeepEqual(trainLocally(job, seeded('b')), first);
  });

  it('can be driven step by step', () => {
    const job = makeJob('window', 'tanh', { steps: 3, learningRate: 0.1 });
    const training = startTraining(job, seeded('a'));
    assert.deepEqual([training.step(), training.step()], [1, 2]);
    assert.equal(training.result().steps, 2);
    assert.deepEqual([training.step(), training.step()], [3, 3]);
    assert.deepEqual(training.result(), trainLocally(job, seeded('a')));
  });

  it('learns, with every optimiser', () => {
    for (const [optimiser, learningRate] of [
      [{ kind: 'sgd', momentum: 0 }, 0.3],
      [{ kind: 'sgd', momentum: 0.9 }, 0.05],
      [{ kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }, 0.02],
    ] as const) {
      const job = makeJob('none', 'tanh', { optimiser, learningRate, steps: 150 });
      const { losses } = trainLocally(job, seeded('learn'));
      const mean = (from: number): number =>
        losses.slice(from, from + 20).reduce((sum, loss) => sum + loss) / 20;
      assert.ok(mean(130) < mean(0) / 4, `${JSON.stringify(optimiser)}: ${mean(0)} to ${mean(130)}`);
    }
  });

  it('says so when it diverges', () => {
    const job = makeJob('none', 'relu', { steps: 200, learningRate: 1e30 });
    assert.throws(() => trainLocally(job, seeded('far')), /diverged in step \d+ of 200/);
  });

  it('refuses impossible jobs', () => {
    const bad: Partial<TrainingJob>[] = [
      { parameters: new Float64Array(3) },
      { parameters: makeJob('window').parameters.map(() => Number.NaN) },
      { features: new Float32Array(7) },
      { features: makeJob('window').features.map(() => Number.POSITIVE_INFINITY) },
      { labels: new Float32Array(7) },
      { episodeOf: new Int32Array(7) },
      { episodeOf: Int32Array.from({ length: COUNT }, (_, index) => index % 2) },
      { clipNorm: 0 },
      { noiseMultiplier: 0 },
      { noiseMultiplier: Number.NaN },
      { samplingRate: 0 },
      { samplingRate: 1.01 },
      { steps: -1 },
      { steps: 0.5 },
      { learningRate: 0 },
      { expectedBatch: 0 },
    ];
    for (const change of bad) {
      assert.throws(() => trainLocally(makeJob('window', 'tanh', change), seeded('x')), RangeError);
    }
  });
});
