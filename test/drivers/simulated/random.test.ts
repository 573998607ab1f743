import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRandom } from '../../../drivers/simulated/random.ts';

const draw = (n: number, next: () => number) => Array.from({ length: n }, next);

test('equal words, equal sequences; other words, others', () => {
  const of = (...words: number[]) => draw(8, createRandom(...words).uniform);
  assert.deepEqual(of(1, 2, 3), of(1, 2, 3));
  assert.notDeepEqual(of(1, 2, 3), of(1, 3, 2));
  assert.notDeepEqual(of(1), of(1, 0));
  assert.notDeepEqual(of(1), of(1 + 2 ** 32));
  assert.ok(new Set(draw(1000, () => 0).map((_, i) => of(i)[0])).size > 995);
});

test('uniform fills its bins, normal has the right moments (fixed seeds, six standard errors)', () => {
  const n = 60_000;
  const bins = new Array<number>(20).fill(0);
  const { uniform } = createRandom(42);
  for (let i = 0; i < n; i++) bins[Math.floor(20 * uniform())]! += 1;
  for (const count of bins) assert.ok(Math.abs(count - n / 20) < 6 * Math.sqrt(n / 20), `${bins}`);
  const { normal } = createRandom(43);
  const values = draw(n, normal);
  const moment = (k: number) => values.reduce((sum, value) => sum + value ** k, 0) / n;
  assert.ok(Math.abs(moment(1)) < 6 / Math.sqrt(n));
  assert.ok(Math.abs(moment(2) - 1) < 6 * Math.sqrt(2 / n));
  assert.ok(Math.abs(moment(4) - 3) < 6 * Math.sqrt(96 / n));
});
