import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { evaluateLastWindows, phm08Score, rmse } from '../../../runtime/core/learning/evaluate.ts';

describe('rmse and phm08Score', () => {
  it('are what the definitions give', () => {
    assert.equal(rmse([3, 5], [0, 1]), Math.sqrt(12.5));
    // Ten late costs e - 1, thirteen early as much, and a right one nothing.
    const cost = Math.E - 1;
    assert.ok(Math.abs(phm08Score([60, 37, 8], [50, 50, 8]) - 2 * cost) < 1e-12);
    assert.ok(phm08Score([60], [50]) > phm08Score([40], [50]));
  });

  it('refuse nothing and unequal many', () => {
    for (const score of [rmse, phm08Score]) {
      assert.throws(() => score([], []), RangeError);
      assert.throws(() => score([1], [1, 2]), RangeError);
    }
  });
});

describe('evaluateLastWindows', () => {
  it('predicts from the last window and compares with the uncapped truth', () => {
    const sheet = { channels: [{ name: 'a', unit: '/', low: -1, high: 1, leastWidth: 0 }] };
    const spec = { window: 3, minimum: 2, slopeScale: 1, cap: 100 };
    const model = { inputs: 2, hidden: [], activation: 'tanh' } as const;
    const identity = Float64Array.of(1, 0, 0);
    const units = [
      { rows: [[0.9], [0.5], [0.5], [0.5]], rul: 53 },
      { rows: [[1], [1]], rul: 140 },
    ];
    const { rmse: error, score, engines } = evaluateLastWindows(model, identity, units, sheet, spec);
    assert.equal(engines, 2);
    assert.ok(Math.abs(error - Math.sqrt((9 + 1600) / 2)) < 1e-9);
    assert.ok(Math.abs(score - (Math.expm1(3 / 13) + Math.expm1(40 / 13))) < 1e-9);
  });
});
