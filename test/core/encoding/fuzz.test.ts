import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeCbor, encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { ENCODING_TARGETS } from '../../../scripts/fuzz/encoding-targets.ts';
import { fuzz } from '../../../scripts/fuzz/fuzz.ts';

for (const target of ENCODING_TARGETS) {
  test(`${target.name}: changed bytes are refused, or are what their meaning is written as`, {
    timeout: 120_000,
  }, () => {
    const { finding, accepted } = fuzz(target, { seed: 1, cases: 5000 });
    assert.equal(finding, undefined);
    assert.ok(accepted > 0, 'no change was taken: the changes are too coarse to reach anything');
  });
}

test('a byte an item: a length that would take memory a hundredfold is refused', () => {
  const empties = new Uint8Array(5 * 2 ** 20).fill(0x80);
  empties.set([0x9a, 0x00, 0x4f, 0xff, 0xfb]);
  const before = process.memoryUsage().rss;
  assert.throws(() => decodeCbor(empties), /more than 4194304 items/);
  assert.ok(process.memoryUsage().rss - before < 2 ** 30);
  // As many as a format of the house can need are taken.
  assert.equal((decodeCbor(encodeCbor(new Array<number>(2 ** 21).fill(1))) as number[]).length, 2 ** 21);
});
