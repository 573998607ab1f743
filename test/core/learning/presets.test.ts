import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Channel, featureCount } from '../../../runtime/core/learning/features.ts';
import { parameterCount } from '../../../runtime/core/learning/model.ts';
import {
  cmapssPreset,
  learningRateAt,
  mechanismOf,
  modelSpecOf,
  simulatedPreset,
} from '../../../runtime/core/learning/presets.ts';
import { epsilonOf } from '../../../runtime/core/privacy/accountant.ts';

const names = ['altitude', 'mach', 'tra', ...(cmapssPreset.windows.inputs ?? [])];
const channels = names.map((name): Channel => ({ name, unit: '/', low: 0, high: 1, leastWidth: 1 }));

describe('the presets', () => {
  it('see the 21 sensors of C-MAPSS', () => {
    assert.equal(channels.length, 24);
    assert.equal(featureCount({ channels }, cmapssPreset.windows), 42);
    assert.equal(parameterCount(modelSpecOf(cmapssPreset, 'window', { channels })), 1921);
  });

  it('plan noise that keeps all their rounds within the budget, and no round more', () => {
    for (const preset of [cmapssPreset, simulatedPreset]) {
      for (const unit of ['window', 'episode'] as const) {
        const training = preset.training[unit];
        for (const epsilon of [2, 8]) {
          const mechanism = mechanismOf(training, training.rounds, { epsilon, delta: 1e-5 });
          assert.equal(mechanism.steps, training.rounds * training.stepsPerRound);
          assert.ok(epsilonOf([mechanism], 1e-5) <= epsilon);
          const longer = { ...mechanism, steps: mechanism.steps + training.stepsPerRound };
          assert.ok(epsilonOf([longer], 1e-5) > epsilon);
        }
      }
    }
  });

  it('let the learning rate fall from the first to the last round, by the same factor each', () => {
    const training = { firstLearningRate: 0.04, lastLearningRate: 0.01 };
    const rates = [0, 1, 2, 3].map((round) => learningRateAt(training, round, 3));
    const expected = [0.04, 0.02, 0.01, 0.01];
    rates.forEach((rate, round) => {
      assert.ok(Math.abs(rate - expected[round]!) < 1e-15);
    });
    assert.equal(learningRateAt(training, 0, 1), 0.04);
  });
});
