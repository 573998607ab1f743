import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  holds,
  lifeInterval,
  lifeScore,
  machinesNeeded,
  outcomesWithin,
  pValue,
  spreadAt,
  thresholdOf,
} from '../../../runtime/core/learning/conformal.ts';
import { createRandom } from './random.ts';

test('ninety percent takes nine machines, ninety-five nineteen, and so on', () => {
  assert.deepEqual([0.5, 0.8, 0.9, 0.95, 0.99].map(machinesNeeded), [1, 4, 9, 19, 99]);
  for (const coverage of [0, 1, -1, 2, Number.NaN]) assert.throws(() => machinesNeeded(coverage), RangeError);
});

test('with too few machines the largest score is given, and nothing promised; with none there is no end', () => {
  const scores = [3, 1, 2, 8, 5, 4, 7, 6];
  assert.deepEqual(thresholdOf(scores, 0.9, 0.99), {
    value: 8,
    machines: 8,
    needed: 9,
    coverage: 0.9,
    guaranteed: false,
  });
  const nine = thresholdOf([...scores, 9], 0.9, 0.99);
  assert.deepEqual([nine.value, nine.guaranteed], [9, true]);
  const none = thresholdOf([], 0.9, 0);
  assert.deepEqual([none.value, none.guaranteed], [Number.POSITIVE_INFINITY, false]);
  assert.throws(() => thresholdOf([1, Number.NaN], 0.9, 0), RangeError);
  assert.throws(() => thresholdOf([1], 0.9, 1), RangeError);
});

test('the coin takes the upper of two ranks as often as the coverage needs', () => {
  // 0.9 x 19 = 17.1: rank 18 in one case of ten, else rank 17.
  const scores = Array.from({ length: 18 }, (_, index) => index + 1);
  assert.equal(thresholdOf(scores, 0.9, 0.09).value, 18);
  assert.equal(thresholdOf(scores, 0.9, 0.11).value, 17);
  // 0.9 x 20 = 18 exactly, whatever the coin.
  const nineteen = [...scores, 19];
  for (const coin of [0, 0.5, 0.999]) assert.equal(thresholdOf(nineteen, 0.9, coin).value, 18);
});

test('over machines and their moments the coverage is what was asked for, with nine machines as with eighteen', () => {
  // Machines differ from each other more than their rows do. 4,000 trials: 3 deviations are 0.014.
  for (const [machines, coverage, seed] of [
    [9, 0.9, 1],
    [12, 0.9, 2],
    [18, 0.9, 3],
    [30, 0.8, 4],
  ] as const) {
    const random = createRandom(seed);
    let covered = 0;
    const trials = 4000;
    for (let trial = 0; trial < trials; trial += 1) {
      const one = () => {
        const scale = Math.exp(random.normal());
        return Math.abs(scale * random.normal());
      };
      const { value } = thresholdOf(Array.from({ length: machines }, one), coverage, random.uniform());
      if (one() <= value) covered += 1;
    }
    assert.ok(Math.abs(covered / trials - coverage) < 0.015, `${machines}: ${covered / trials}`);
  }
});

test('an interval holds exactly the lives whose score is within the threshold; at the cap it is open', () => {
  const cap = 125;
  for (const predicted of [0, 3, 40, 90, 124, 125]) {
    for (const threshold of [0, 5, 20, 60]) {
      const interval = lifeInterval(predicted, cap, threshold);
      for (let remaining = 0; remaining <= 300; remaining += 1) {
        const within = lifeScore(predicted, remaining, cap) <= threshold + 1e-12;
        // Above the cap a life is known to be "the cap or more" only.
        if (remaining < cap)
          assert.equal(holds(interval, remaining), within, `${predicted} ${threshold} ${remaining}`);
        else assert.equal(holds(interval, remaining), interval.high === undefined);
      }
    }
  }
  assert.deepEqual(lifeInterval(125, cap, 10), { low: 115, high: undefined });
  assert.ok(spreadAt(0, cap) < spreadAt(60, cap) && spreadAt(60, cap) < spreadAt(125, cap));
});

test('outcomes: one where the model is sure, both where it is not', () => {
  assert.deepEqual(outcomesWithin(0.95, 0.3), { failure: true, noFailure: false });
  assert.deepEqual(outcomesWithin(0.05, 0.3), { failure: false, noFailure: true });
  assert.deepEqual(outcomesWithin(0.5, 0.6), { failure: true, noFailure: true });
  assert.deepEqual(outcomesWithin(0.5, 0.3), { failure: false, noFailure: false });
});

test('a p-value counts every machine alike, however many windows it has', () => {
  const groups = [Float64Array.of(1, 2, 3, 4), Float64Array.of(10), new Float64Array(0)];
  assert.equal(pValue(groups, 3), (1 + 0.5 + 1) / 3);
  assert.equal(pValue(groups, 100), 1 / 3);
  assert.equal(pValue(groups, 0), 1);
  assert.equal(pValue([], 5), 1);
});

test('a p-value of a healthy machine is at most alpha with probability at most alpha', () => {
  const random = createRandom(9);
  const windows = () => {
    const level = random.normal();
    return Float64Array.from({ length: 20 }, () => level + random.normal()).sort();
  };
  let below = 0;
  const trials = 3000;
  for (let trial = 0; trial < trials; trial += 1) {
    const groups = Array.from({ length: 19 }, windows);
    if (pValue(groups, windows()[Math.floor(20 * random.uniform())]!) <= 0.1) below += 1;
  }
  assert.ok(below / trials <= 0.1 + 0.017, `${below / trials}`);
});
