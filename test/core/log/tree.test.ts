import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { emptyRoot, leafHash, nodeHash } from '../../../runtime/core/log/hash.ts';
import { MAX_SIZE, parseSize } from '../../../runtime/core/log/size.ts';
import { createFrontier, treeRoot } from '../../../runtime/core/log/tree.ts';
import { naiveRoot, someLeaves } from './naive.ts';
import { skipVectors, vectorJson } from './vectors.ts';

interface HashVectors {
  readonly empty: string;
  readonly leaf: readonly { readonly data: string; readonly hash: string }[];
  readonly node: readonly { readonly left: string; readonly right: string; readonly hash: string }[];
}

test('the hashes of RFC 6962 as published', { skip: skipVectors }, () => {
  const vectors = vectorJson<HashVectors>('rfc6962/hash.json');
  assert.equal(toHex(emptyRoot), vectors.empty);
  for (const { data, hash } of vectors.leaf)
    assert.equal(toHex(leafHash(new TextEncoder().encode(data))), hash);
  assert.ok(vectors.leaf.length > 0 && vectors.node.length > 0);
  for (const { left, right, hash } of vectors.node) {
    // The published children are short strings, which nodeHash refuses: this pins the oracle of these tests.
    const oracle = createHash('sha256').update(Uint8Array.of(1)).update(left).update(right).digest('hex');
    assert.equal(oracle, hash);
  }
});

test('a node has two children of 32 bytes', () => {
  const [a, b] = someLeaves(2) as [Uint8Array, Uint8Array];
  assert.deepEqual(toHex(nodeHash(a, b)), toHex(naiveRoot([a, b])));
  assert.throws(() => nodeHash(a.subarray(1), b), RangeError);
  assert.throws(() => nodeHash(a, Uint8Array.of(...b, 0)), RangeError);
  assert.throws(() => nodeHash(a.subarray(1), Uint8Array.of(...b, 0)), RangeError);
});

test('roots of all sizes from 0 to 300, at once and leaf by leaf', () => {
  const leaves = someLeaves(300);
  const frontier = createFrontier();
  for (let size = 0; size <= leaves.length; size++) {
    const expected = toHex(naiveRoot(leaves.slice(0, size)));
    assert.equal(toHex(treeRoot(leaves.slice(0, size))), expected);
    assert.equal(frontier.size, size);
    assert.equal(toHex(frontier.root()), expected);
    assert.equal(toHex(createFrontier(frontier).root()), expected);
    if (size < leaves.length) frontier.append(leaves[size]!);
  }
});

test('a frontier tells of every complete subtree once, with its root', () => {
  const leaves = someLeaves(100);
  const frontier = createFrontier();
  const told = new Map<string, string>();
  for (const leaf of leaves) {
    frontier.append(leaf, (level, index, hash) => {
      assert.ok(!told.has(`${level}/${index}`));
      told.set(`${level}/${index}`, toHex(hash));
    });
  }
  let complete = 0;
  for (let level = 0; 2 ** level <= leaves.length; level++) {
    for (let index = 0; (index + 1) * 2 ** level <= leaves.length; index++) {
      complete++;
      const expected = naiveRoot(leaves.slice(index * 2 ** level, (index + 1) * 2 ** level));
      assert.equal(told.get(`${level}/${index}`), toHex(expected));
    }
  }
  assert.equal(told.size, complete);
});

test('a state can be gone back to', () => {
  fc.assert(
    fc.property(fc.nat(70), fc.nat(70), (kept, lost) => {
      const leaves = someLeaves(kept + lost);
      const frontier = createFrontier();
      for (const leaf of leaves.slice(0, kept)) frontier.append(leaf);
      const { size, hashes } = frontier;
      for (const leaf of leaves.slice(kept)) frontier.append(leaf);
      assert.equal(toHex(createFrontier({ size, hashes }).root()), toHex(naiveRoot(leaves.slice(0, kept))));
    }),
    { numRuns: 50 },
  );
});

test('a frontier that cannot be is refused', () => {
  const [hash] = someLeaves(1) as [Uint8Array];
  assert.throws(() => createFrontier({ size: 3, hashes: [hash] }), /has 2 hashes, not 1/);
  assert.throws(() => createFrontier({ size: 4, hashes: [hash, hash] }), /has 1 hashes, not 2/);
  assert.throws(() => createFrontier({ size: -1, hashes: [] }), RangeError);
  assert.throws(() => createFrontier({ size: 0.5, hashes: [] }), RangeError);
  assert.throws(() => createFrontier({ size: 2 ** 53, hashes: [hash] }), RangeError);
  assert.throws(() => createFrontier({ size: 1, hashes: [hash.subarray(1)] }), RangeError);
  assert.throws(() => createFrontier().append(hash.subarray(1)), RangeError);
  const full = createFrontier({ size: MAX_SIZE, hashes: Array.from({ length: 53 }, () => hash) });
  assert.throws(() => full.append(hash), /the tree is full/);
});

test('sizes are decimal, without leading zeroes, up to 2^53-1', () => {
  assert.equal(parseSize('0'), 0);
  assert.equal(parseSize('9007199254740991'), MAX_SIZE);
  for (const text of [
    '',
    '00',
    '01',
    '+1',
    '-1',
    ' 1',
    '1 ',
    '1.0',
    '1e3',
    '0x1',
    '9007199254740992',
    '99999999999999999999',
    '١',
  ]) {
    assert.equal(parseSize(text), undefined, text);
  }
});
