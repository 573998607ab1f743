import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AGGREGATION_TARGETS } from '../../../scripts/fuzz/aggregation-targets.ts';
import { fuzz } from '../../../scripts/fuzz/fuzz.ts';

for (const target of AGGREGATION_TARGETS) {
  test(`${target.name}: changed bytes are refused, or are what their meaning is written as`, {
    timeout: 120_000,
  }, () => {
    const { finding, accepted } = fuzz(target, { seed: 1, cases: 5000 });
    assert.equal(finding, undefined);
    assert.ok(accepted > 0, 'no change was taken: the changes are too coarse to reach anything');
  });
}
