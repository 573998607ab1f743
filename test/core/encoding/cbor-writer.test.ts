import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { decodeCbor, encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { createCborWriter } from '../../../runtime/core/encoding/cbor-writer.ts';

test('shared results are those that stand alone, and stay as they are', () => {
  const items = fc.array(fc.uint8Array({ maxLength: 90 }), { maxLength: 60 });
  fc.assert(
    fc.property(items, fc.integer({ min: 1, max: 200 }), (list, capacity) => {
      const shared = createCborWriter(capacity, 'shared');
      const results = list.map((item, index) => {
        shared.array(2);
        shared.integer(index);
        shared.bytes(item);
        return shared.take();
      });
      for (const [index, result] of results.entries()) {
        assert.equal(toHex(result), toHex(encodeCbor([index, list[index]!])));
      }
    }),
  );
});

test('writing over a shared result leaves its neighbours alone', () => {
  const shared = createCborWriter(64, 'shared');
  const results = Array.from({ length: 50 }, (_, index) => {
    shared.bytes(new Uint8Array(7).fill(index));
    return shared.take();
  });
  for (let index = 0; index < results.length; index += 2) results[index]!.fill(255);
  for (let index = 1; index < results.length; index += 2) {
    assert.equal(toHex(results[index]!), `47${toHex(new Uint8Array(7).fill(index))}`);
  }
});

test('an item that fails leaves no trace in the next', () => {
  const expected = toHex(encodeCbor([1, 'x', new Map([['key', 2]])]));
  for (const bad of [
    [1, 'x', 1.5],
    [[[2 ** 53]]],
    new Map([['key', [0, Number.NaN]]]),
    { tag: 1, value: 0.1 },
  ]) {
    assert.throws(() => encodeCbor(bad), RangeError);
    assert.equal(toHex(encodeCbor([1, 'x', new Map([['key', 2]])])), expected);
  }
});

test('results have memory of their own unless asked for otherwise', () => {
  const first = encodeCbor([1, 2, 3]);
  const second = encodeCbor([4, 5, 6]);
  assert.notEqual(first.buffer, second.buffer);
  assert.equal(first.buffer.byteLength, first.length);
  assert.equal(toHex(first), '83010203');
});

test('text of any length around the shortest way, ASCII or not', () => {
  for (let length = 0; length <= 70; length++) {
    for (const character of ['a', '\x7f', '\x80', 'é', '€', '😀']) {
      const text = 'x'.repeat(length) + character;
      assert.equal(decodeCbor(encodeCbor(text)), text);
      assert.equal(toHex(encodeCbor(text)).endsWith(Buffer.from(text).toString('hex')), true);
    }
  }
});

test('integers at the edges of every width, as number and as bigint', () => {
  const edges = [
    0,
    23,
    24,
    255,
    256,
    65_535,
    65_536,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 40 + 5,
    Number.MAX_SAFE_INTEGER,
  ];
  for (const edge of edges) {
    for (const value of [edge, -edge - (edge === Number.MAX_SAFE_INTEGER ? 0 : 1), -edge]) {
      const bytes = encodeCbor(value);
      assert.equal(toHex(bytes), toHex(encodeCbor(BigInt(value))), String(value));
      // There is one zero.
      assert.equal(decodeCbor(bytes), value === 0 ? 0 : value);
    }
  }
});

test('floats in a row are floats one by one', () => {
  fc.assert(
    fc.property(fc.array(fc.double(), { maxLength: 30 }), (values) => {
      const writer = createCborWriter(1);
      writer.floats(values);
      assert.equal(toHex(writer.take()), toHex(encodeCbor(values.map((float) => ({ float })))));
    }),
  );
});
