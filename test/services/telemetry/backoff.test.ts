import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBackoff } from '../../../runtime/services/telemetry/backoff.ts';

test('waits double up to the limit, start over after a reset, and chance takes up to a half off', () => {
  const longest = createBackoff(1_000, 6_000, () => 1);
  const waits = [longest.next(), longest.next(), longest.next(), longest.next(), longest.next()];
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 6_000, 6_000]);
  longest.reset();
  assert.equal(longest.next(), 1_000);
  const shortest = createBackoff(1_000, 6_000, () => 0);
  assert.deepEqual([shortest.next(), shortest.next()], [500, 1_000]);
  assert.equal(createBackoff(1_000, 300, () => 1).next(), 300);
});
