import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { nodeHash } from '../../../runtime/core/log/hash.ts';
import { planMultiproof, rootFromMultiproof } from '../../../runtime/core/log/multiproof.ts';
import { inclusionProofSync, readerOf, readProofSync, readRoot } from '../../../runtime/core/log/proof.ts';
import { MAX_SIZE } from '../../../runtime/core/log/size.ts';
import { treeRoot } from '../../../runtime/core/log/tree.ts';
import { naivePath, naiveRoot, someLeaves } from './naive.ts';

type Hashes = readonly Uint8Array[];

const LEAVES = someLeaves(2000);
const hex = (hashes: Hashes) => hashes.map(toHex);

/** The definition, word for word: of a range without a wanted leaf the root, else what both halves need. */
function naiveMultiproof(wanted: ReadonlySet<number>, leaves: Hashes, begin = 0): Uint8Array[] {
  if (leaves.every((_, i) => !wanted.has(begin + i))) return leaves.length === 0 ? [] : [naiveRoot(leaves)];
  if (leaves.length === 1) return [];
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return [
    ...naiveMultiproof(wanted, leaves.slice(0, k), begin),
    ...naiveMultiproof(wanted, leaves.slice(k), begin + k),
  ];
}

function rootOf(indexes: readonly number[], leaves: Hashes, size: number, hashes: Hashes): string {
  const rebuilt = rootFromMultiproof(indexes, leaves, size, hashes);
  return 'root' in rebuilt ? toHex(rebuilt.root) : rebuilt.fault;
}

test('every choice of leaves of every tree of up to 10, mutations refused', () => {
  const other = someLeaves(1, 'other')[0]!;
  for (let size = 0; size <= 10; size++) {
    const leaves = LEAVES.slice(0, size);
    const reader = readerOf(leaves);
    const root = toHex(naiveRoot(leaves));
    for (let set = 0; set < 2 ** size; set++) {
      const indexes = leaves.flatMap((_, i) => ((set >> i) & 1 ? [i] : []));
      const shown = indexes.map((i) => leaves[i]!);
      const hashes = readProofSync(planMultiproof(indexes, size), reader);
      assert.deepEqual(hex(hashes), hex(naiveMultiproof(new Set(indexes), leaves)), `${indexes} of ${size}`);
      assert.equal(rootOf(indexes, shown, size, hashes), root);
      const refuse = (i: readonly number[], l: Hashes, s: number, h: Hashes) =>
        assert.notEqual(rootOf(i, l, s, h), root, `${indexes} of ${size}`);
      refuse(indexes, shown, size, [...hashes, other]);
      for (let at = 0; at < hashes.length; at++) {
        refuse(indexes, shown, size, hashes.with(at, other));
        refuse(indexes, shown, size, hashes.toSpliced(at, 1));
        refuse(indexes, shown, size, hashes.toSpliced(at, 0, other));
        if (at > 0) {
          refuse(indexes, shown, size, hashes.with(at, hashes[at - 1]!).with(at - 1, hashes[at]!));
        }
      }
      for (let at = 0; at < indexes.length; at++) {
        refuse(indexes, shown.with(at, other), size, hashes);
        refuse(indexes, shown.toSpliced(at, 1), size, hashes);
        refuse(indexes.toSpliced(at, 1), shown, size, hashes);
        refuse(indexes.with(at, indexes[at]! + 1), shown, size, hashes);
        refuse(indexes.with(at, indexes[at]! - 1), shown, size, hashes);
        if (at > 0) refuse(indexes, shown.with(at, shown[at - 1]!).with(at - 1, shown[at]!), size, hashes);
      }
    }
  }
});

test('of one leaf, it is the hashes of the inclusion proof from left to right', () => {
  for (const size of [1, 2, 3, 7, 8, 9, 64, 77, 100]) {
    const leaves = LEAVES.slice(0, size);
    for (let index = 0; index < size; index++) {
      const hashes = readProofSync(planMultiproof([index], size), readerOf(leaves));
      assert.deepEqual(hex(hashes).sort(), hex(naivePath(index, leaves)).sort());
    }
  }
});

test('any choice of leaves of trees of up to 2,000', () => {
  const readers = new Map<number, ReturnType<typeof readerOf>>();
  const choice = fc
    .integer({ min: 1, max: 2000 })
    .chain((size) =>
      fc.tuple(
        fc.constant(size),
        fc.uniqueArray(fc.nat(size - 1), { maxLength: 60 }),
        fc.boolean(),
        fc.nat(),
      ),
    );
  fc.assert(
    fc.property(choice, ([size, some, inverse, pick]) => {
      const leaves = LEAVES.slice(0, size);
      const reader = readers.get(size) ?? readerOf(leaves);
      readers.set(size, reader);
      const set = new Set(some);
      const indexes = leaves.map((_, i) => i).filter((i) => set.has(i) !== inverse);
      const shown = indexes.map((i) => leaves[i]!);
      const hashes = readProofSync(planMultiproof(indexes, size), reader);
      const root = toHex(treeRoot(leaves));
      assert.equal(rootOf(indexes, shown, size, hashes), root);
      const single = indexes.reduce((sum, i) => sum + inclusionProofSync(i, size, reader).length, 0);
      assert.ok(hashes.length <= Math.max(1, single), 'never more than the proofs one by one');
      if (hashes.length > 0) {
        const at = pick % hashes.length;
        const changed = new Uint8Array(hashes[at]!);
        changed[pick % 32]! ^= 1 << (pick % 8);
        assert.notEqual(rootOf(indexes, shown, size, hashes.with(at, changed)), root);
        assert.notEqual(rootOf(indexes, shown, size, hashes.toSpliced(at, 1)), root);
      }
    }),
    { numRuns: 150 },
  );
});

test('trees of up to 2^53-1 leaves cost their height', async () => {
  // All leaves alike: then a complete subtree's hash depends on its level alone, and any size can be had.
  const levels = [LEAVES[0]!];
  let read = 0;
  const reader = (level: number) => {
    read++;
    while (levels.length <= level) levels.push(nodeHash(levels.at(-1)!, levels.at(-1)!));
    return levels[level]!;
  };
  for (const size of [MAX_SIZE, MAX_SIZE - 1, 2 ** 52, 2 ** 52 + 1, 2 ** 32 + 1, 2 ** 31, 2 ** 31 + 3]) {
    const root = await readRoot(size, reader);
    const indexes = [0, 1, 5, 2 ** 29, Math.floor(size / 3), Math.floor(size / 2), size - 2, size - 1];
    read = 0;
    const hashes = readProofSync(planMultiproof(indexes, size), reader);
    assert.ok(read < 9 * 53);
    assert.equal(
      rootOf(
        indexes,
        indexes.map(() => levels[0]!),
        size,
        hashes,
      ),
      toHex(root),
    );
    assert.equal(rootOf([], [], size, readProofSync(planMultiproof([], size), reader)), toHex(root));
  }
});

test('what is no proof is named', () => {
  const [a, b] = LEAVES as [Uint8Array, Uint8Array];
  const cases: readonly (readonly [string, readonly number[], Hashes, number, Hashes])[] = [
    ['out of range', [0], [a], -1, []],
    ['out of range', [0], [a], 2 ** 53, []],
    ['out of range', [0.5], [a], 2, [b]],
    ['out of range', [-1], [a], 2, [b]],
    ['out of range', [Number.NaN], [a], 2, [b]],
    ['no leaf 2', [2], [a], 2, [b]],
    ['no leaf 0', [0], [a], 0, []],
    ['not ascending', [1, 0], [a, b], 2, []],
    ['not ascending', [1, 1], [a, b], 2, []],
    ['1 indexes come with 2', [0], [a, b], 2, []],
    ['leaf hash 1 has 31', [0], [a.subarray(1)], 2, [b]],
    ['proof hash 1 has 31', [0], [a], 2, [b.subarray(1)]],
    ['too short', [0], [a], 2, []],
    ['too short', [], [], 2, []],
    ['too long', [0], [a], 1, [b]],
    ['too long', [], [], 0, [b]],
    ['too long', [], [], 5, [a, b]],
  ];
  for (const [fault, ...rest] of cases)
    assert.ok(rootOf(...rest).includes(fault), `${fault}: ${rootOf(...rest)}`);
  assert.throws(() => planMultiproof([3], 3), /no leaf 3/);
  assert.throws(() => planMultiproof([2, 1], 3), /not ascending/);
  assert.throws(() => planMultiproof([], 1.5), RangeError);
});
