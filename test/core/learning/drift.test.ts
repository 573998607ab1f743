import assert from 'node:assert/strict';
import { test } from 'node:test';
import { driftOf, kolmogorov, referenceOf, twoSample } from '../../../runtime/core/learning/drift.ts';
import { createRandom } from './random.ts';

const channel = (name: string) => ({ name, unit: '1', low: -4, high: 4, leastWidth: 1 });
const SHEET = { channels: ['a', 'b', 'c', 'd'].map(channel) };
const WINDOWS = { window: 10, minimum: 5, slopeScale: 1 };
const NAMES = ['a', 'b', 'c', 'd'];
const SPEC = { recent: 60, reference: 60, falseAlarms: 0.01 };

test('Kolmogorov’s distribution has its published critical values', () => {
  // Smirnov 1948: 10, 5, 1 and 0.1 percent.
  for (const [x, p] of [
    [1.2238, 0.1],
    [1.3581, 0.05],
    [1.6276, 0.01],
    [1.9495, 0.001],
  ] as const)
    assert.ok(Math.abs(kolmogorov(x) - p) < 5e-5, `${x}: ${kolmogorov(x)}`);
  assert.equal(kolmogorov(0), 1);
  assert.ok(kolmogorov(10) < 1e-80);
});

test('the distance of two samples is that of their step functions, ties or not', () => {
  assert.equal(twoSample([1, 2, 3, 4], [3, 4, 5, 6]).distance, 0.5);
  assert.equal(twoSample([1, 1, 2, 2], [1, 1, 2, 2]).distance, 0);
  assert.equal(twoSample([1, 2], [3, 4]).distance, 1);
  assert.ok(Number.isNaN(twoSample([5, 5, 5], [5, 5, 5]).p), 'a constant sensor tells nothing');
  assert.equal(twoSample([5, 5, 5, 5], [6, 6, 6, 6]).distance, 1, 'one that is stuck elsewhere does');
});

/** Rows of `memory`: each value keeps so much of the one before. */
function rowsOf(seed: number, count: number, memory: number): number[][] {
  const random = createRandom(seed);
  let values = NAMES.map(() => random.normal());
  return Array.from({ length: count }, () => {
    values = values.map((value) => memory * value + Math.sqrt(1 - memory ** 2) * random.normal());
    return values;
  });
}

function drift(rows: number[][]) {
  return driftOf(
    referenceOf(rows, SHEET, WINDOWS, SPEC)!,
    rows.slice(-SPEC.recent),
    SHEET,
    WINDOWS,
    NAMES,
    SPEC,
  );
}

for (const memory of [0, 0.5, 0.8]) {
  test(`a run that does not change drifts in at most one case of a hundred, its rows alike by ${memory}`, () => {
    let alarms = 0;
    const trials = 600;
    for (let trial = 0; trial < trials; trial += 1) {
      if (drift(rowsOf(1000 * memory + trial, 150, memory)).shifted.length > 0) alarms += 1;
    }
    // 0.01, and three deviations of a count of 600.
    assert.ok(alarms / trials <= 0.01 + 3 * Math.sqrt((0.01 * 0.99) / trials), `${alarms} of ${trials}`);
  });
}

test('one sensor that has moved by one and a half deviations is found nine times of ten, and named', () => {
  let found = 0;
  const trials = 100;
  for (let trial = 0; trial < trials; trial += 1) {
    const rows = rowsOf(5000 + trial, 150, 0.3);
    for (const row of rows.slice(-60)) row[2]! += 1.5;
    const { shifted } = drift(rows);
    if (shifted[0]?.channel === 'c') found += 1;
  }
  assert.ok(found >= 90, `${found} of ${trials}`);
});

test('values outside the agreed range are counted, of the recent rows', () => {
  const rows = rowsOf(7, 150, 0).map((row) => row.map((value) => Math.max(-3, Math.min(3, value))));
  assert.equal(drift(rows).clipped, 0);
  for (const row of rows.slice(-30)) row[0] = 9;
  assert.equal(drift(rows).clipped, 30 / (60 * 4));
});

test('a run that is too short for two parts says nothing', () => {
  assert.equal(referenceOf(rowsOf(1, 119, 0), SHEET, WINDOWS, SPEC), undefined);
  assert.ok(referenceOf(rowsOf(1, 120, 0), SHEET, WINDOWS, SPEC));
});

test('a constant channel is left out of the comparison', () => {
  const rows = rowsOf(3, 150, 0);
  for (const row of rows) row[1] = 2;
  assert.equal(drift(rows).compared, 3);
});
