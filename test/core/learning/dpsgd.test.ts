import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { clippedSum, startTraining, trainLocally } from '../../../runtime/core/learning/dpsgd.ts';
import { mechanismOf, type TrainingJob, type TrainingState } from '../../../runtime/core/learning/job.ts';
import { initialParameters, type ModelSpec } from '../../../runtime/core/learning/model.ts';
import { COUNT, MODELS, makeJob, seeded } from './jobs.ts';
import { startWasm } from './wasm.ts';

function assertClose(actual: Float64Array, expected: Float64Array, tolerance: number): void {
  assert.equal(actual.length, expected.length);
  const far = Math.hypot(...actual.map((value, index) => value - expected[index]!));
  assert.ok(far <= tolerance * Math.hypot(...expected), `${far} of ${Math.hypot(...expected)}`);
}

before(startWasm);

describe('training', () => {
  it('adds noise of deviation sigma C / expected batch in a step that draws nobody', () => {
    // With rate 1e-12 a draw is empty but for one seed in 10^9; the model has many parameters.
    const model: ModelSpec = { kind: 'dense', inputs: 6, hidden: [1000], activation: 'tanh' };
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
      { atLeast: new Uint8Array(3) },
      { samplerSeed: new Uint8Array(31) },
      { loss: 'reconstruction' },
      { noiseMultiplier: 1e6 },
      { clipping: { kind: 'adaptive', quantile: 1, learningRate: 0.2, countNoise: 5 } },
      // A count that costs as much as the whole step is allowed to.
      { clipping: { kind: 'adaptive', quantile: 0.5, learningRate: 0.2, countNoise: 0.5 } },
      {
        sampler: 'passes',
        clipping: { kind: 'adaptive', quantile: 0.5, learningRate: 0.2, countNoise: 5 },
      },
    ];
    for (const change of bad) {
      assert.throws(() => trainLocally(makeJob('window', 'tanh', change), seeded('x')), RangeError);
    }
  });
});

describe('the sampler', () => {
  it('alone decides who takes part', () => {
    // Next to no noise, and other bytes for it: the parameters tell who was drawn.
    const change = { samplerSeed: seeded('draws')(32), steps: 3, learningRate: 0.1, noiseMultiplier: 1e-9 };
    const job = makeJob('window', 'tanh', change);
    const one = trainLocally(job, seeded('a')).parameters;
    assertClose(trainLocally(job, seeded('b')).parameters, one, 1e-8);
    const other = trainLocally({ ...job, samplerSeed: seeded('others')(32) }, seeded('a')).parameters;
    assert.ok(Math.hypot(...other.map((value, index) => value - one[index]!)) > 1e-3);
  });

  it('of passes takes every unit once a pass, at the same place', () => {
    const model = MODELS.linear!;
    const job = makeJob('none', 'tanh', { model, sampler: 'passes', samplingRate: 1 / 7, steps: 14 });
    const training = startTraining({ ...job, learningRate: 1e-12 }, seeded('passes'));
    while (training.step() < 14);
    const { losses } = training.result();
    assertClose(losses.slice(7), losses.slice(0, 7), 1e-6);
    // Seven batches of different windows.
    assert.equal(new Set([...losses.slice(0, 7)].map((loss) => loss.toFixed(6))).size, 7);
    // Steps that sum to the plain gradient of all windows: each was there once.
    const moved = startTraining({ ...job, learningRate: 1e-9, steps: 7 }, seeded('passes'));
    while (moved.step() < 7);
    const change = moved
      .result()
      .parameters.map((value, index) => ((job.parameters[index]! - value) / 1e-9) * job.expectedBatch);
    const all = Array.from({ length: COUNT }, (_, index) => index);
    assertClose(change, clippedSum(job, all).sum, 1e-4);
  });
});

describe('a run that is resumed', () => {
  const kinds: Partial<TrainingJob>[] = [
    { optimiser: { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } },
    { optimiser: { kind: 'sgd', momentum: 0.9 } },
    { sampler: 'passes', samplingRate: 0.25 },
    { clipping: { kind: 'adaptive', quantile: 0.5, learningRate: 0.2, countNoise: 5 } },
  ];

  it('ends where one without a break does', () => {
    // Every word the same, so that the noise is, wherever a run takes it up.
    const same = (length: number): Uint8Array =>
      Uint8Array.from({ length }, (_, i) => [18, 86, 52, 0][i % 4]!);
    for (const change of kinds) {
      const job = makeJob('window', 'tanh', { steps: 9, learningRate: 0.05, ...change });
      const whole = startTraining(job, same);
      while (whole.step() < 9);
      let state: TrainingState | undefined;
      for (const stop of [2, 5, 9]) {
        const part = startTraining(job, same, state);
        while (part.step() < stop);
        state = structuredClone(part.state());
        assert.equal(state.done, stop);
      }
      assert.deepEqual(startTraining(job, same, state).result(), whole.result());
      assert.deepEqual(state, whole.state());
    }
  });

  it('refuses the state of another job', () => {
    const job = makeJob('window', 'tanh', { steps: 3, learningRate: 0.1 });
    const state = startTraining(job, seeded('a')).state();
    const adam = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } as const;
    for (const [other, from] of [
      [makeJob('window', 'tanh', { model: MODELS.linear! }), state],
      [{ ...job, optimiser: adam }, state],
      [{ ...job, samplerSeed: seeded('x')(32) }, state],
      [job, { ...state, done: 4 }],
      [job, { ...state, done: 1 }],
      [job, { ...state, parameters: state.parameters.map(() => Number.NaN) }],
    ] as const) {
      assert.throws(() => startTraining(other, seeded('a'), from), RangeError);
    }
  });
});

describe('adaptive clipping', () => {
  it('finds the quantile it is to find, from above and from below', () => {
    for (const clipNorm of [0.01, 10]) {
      const job = makeJob('window', 'tanh', {
        clipNorm,
        samplingRate: 0.3,
        expectedBatch: 0.3 * COUNT,
        steps: 60,
        // The parameters all but stay.
        learningRate: 1e-9,
        clipping: { kind: 'adaptive', quantile: 0.7, learningRate: 0.3, countNoise: 2 },
      });
      const training = startTraining(job, seeded('adaptive'));
      while (training.step() < 60);
      const all = Array.from({ length: COUNT }, (_, index) => index);
      const { whole } = clippedSum({ ...job, clipNorm: training.state().clipNorm }, all);
      // Draws of 150: a share's deviation is below 0.04 a step, and steps average it.
      assert.ok(Math.abs(whole / COUNT - 0.7) < 0.1, `${whole} of ${COUNT}`);
    }
  });
});

describe('the mechanism of a job', () => {
  it('is Poisson sampling, or the nodes of the trees of each pass', () => {
    const job = makeJob('window', 'tanh', { steps: 20, samplingRate: 0.25, noiseMultiplier: 3 });
    assert.deepEqual(mechanismOf(job), { samplingRate: 0.25, noiseMultiplier: 3, steps: 20 });
    // Trees of 4 leaves have 3 levels.
    const nodes = (steps: number): number => mechanismOf({ ...job, sampler: 'passes', steps }).steps;
    assert.deepEqual([0, 1, 2, 3, 4, 5, 8, 20].map(nodes), [0, 1, 2, 2, 3, 4, 6, 15]);
    assert.equal(mechanismOf({ ...job, sampler: 'passes' }).samplingRate, 1);
  });
});

describe('memory', () => {
  it('for 100,000 parameters and a batch of 256 is at most 1.5 times that without privacy', () => {
    const model: ModelSpec = { kind: 'dense', inputs: 420, hidden: [200, 80], activation: 'elu' };
    const job = makeJob('window', 'elu', { model, samplingRate: 0.5, expectedBatch: 256 });
    assert.ok(job.parameters.length >= 100_000);
    const drawn = Array.from({ length: 256 }, (_, index) => index);
    const peak = (unit: 'window' | 'none'): number => {
      let most = 0;
      const held = tf.memory().numBytes;
      const backend = tf.backend();
      // Looked at whenever something is fetched: then all that a step needs is there.
      const readSync = backend.readSync;
      backend.readSync = function (id) {
        most = Math.max(most, tf.memory().numBytes - held);
        return readSync.call(this, id);
      };
      try {
        clippedSum({ ...job, unit }, drawn);
      } finally {
        backend.readSync = readSync;
      }
      return most;
    };
    const plain = peak('none');
    assert.ok(plain > 4 * job.parameters.length);
    assert.ok(peak('window') <= 1.5 * plain, `${peak('window')} bytes against ${plain}`);
    // Far from one gradient a window.
    assert.ok(peak('window') < (4 * 256 * job.parameters.length) / 20);
  });
});
