import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { leafHash, nodeHash } from '../../../runtime/core/log/hash.ts';
import { naiveLeaf, naiveRoot } from './naive.ts';

function someBytes(length: number): Uint8Array {
  return new Uint8Array(length).map((_, index) => (index * 101 + length) & 255);
}

test('leaves of every length to 200, and of those around the largest that is copied', () => {
  const around = Array.from({ length: 9 }, (_, index) => 4092 + index);
  for (const length of [...Array(201).keys(), ...around, 70_000]) {
    const data = someBytes(length);
    assert.equal(toHex(leafHash(data)), toHex(naiveLeaf(data)), `${length} bytes`);
    assert.equal(toHex(data), toHex(someBytes(length)));
  }
});

test('a short leaf after a long one, and a hash that is kept while others are made', () => {
  const [long, short] = [someBytes(4000), someBytes(3)];
  const first = leafHash(long);
  const second = leafHash(short);
  assert.equal(toHex(second), toHex(naiveLeaf(short)));
  assert.equal(toHex(first), toHex(naiveLeaf(long)));
  assert.equal(toHex(nodeHash(first, second)), toHex(naiveRoot([naiveLeaf(long), naiveLeaf(short)])));
});
