import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { nodeHash } from '../../../runtime/core/log/hash.ts';
import {
  consistencyProof,
  consistencyProofSync,
  inclusionProof,
  inclusionProofOf,
  inclusionProofSync,
  type ProofPlan,
  planConsistency,
  planInclusion,
  planPrefix,
  planRoot,
  planSubtreeConsistency,
  readerOf,
  readFrontier,
  readProofSync,
  readRoot,
} from '../../../runtime/core/log/proof.ts';
import { isSubtree, MAX_SIZE } from '../../../runtime/core/log/size.ts';
import { createFrontier } from '../../../runtime/core/log/tree.ts';
import { rebuildPrefix, verifyConsistency, verifyInclusion } from '../../../runtime/core/log/verify.ts';
import { naivePath, naiveProof, naiveRoot, naiveSubproof, naiveSubtreeProof, someLeaves } from './naive.ts';

const SIZES = 130;
const LEAVES = someLeaves(SIZES);
const READER = readerOf(LEAVES);
const ROOTS = Array.from({ length: SIZES + 1 }, (_, size) => naiveRoot(LEAVES.slice(0, size)));

const hex = (lines: readonly Uint8Array[]) => lines.map(toHex);

test('inclusion proofs of every leaf of every tree of 1 to 130 leaves', () => {
  for (let size = 1; size <= SIZES; size++) {
    const leaves = LEAVES.slice(0, size);
    for (let index = 0; index < size; index++) {
      const proof = inclusionProofSync(index, size, READER);
      assert.deepEqual(hex(proof), hex(naivePath(index, leaves)), `${index} in ${size}`);
      assert.ok(verifyInclusion(LEAVES[index]!, index, size, proof, ROOTS[size]!));
    }
  }
});

test('consistency proofs between every two sizes of 1 to 130', () => {
  for (let size = 1; size <= SIZES; size++) {
    const leaves = LEAVES.slice(0, size);
    for (let old = 1; old <= size; old++) {
      const proof = consistencyProofSync(old, size, READER);
      assert.deepEqual(hex(proof), hex(naiveProof(old, leaves)), `${old} to ${size}`);
      assert.ok(verifyConsistency(old, size, proof, ROOTS[old]!, ROOTS[size]!));
    }
    assert.deepEqual(consistencyProofSync(0, size, READER), []);
  }
});

test('lines for evidence lead to both roots by themselves, for every two sizes of 1 to 130', () => {
  for (let size = 2; size <= SIZES; size++) {
    const leaves = LEAVES.slice(0, size);
    for (let old = 1; old < size; old++) {
      const lines = readProofSync(planPrefix(old, size), READER);
      assert.deepEqual(hex(lines), hex(naiveSubproof(old, leaves, false)));
      const rebuilt = rebuildPrefix(old, size, lines);
      assert.ok('root' in rebuilt);
      assert.equal(toHex(rebuilt.root), toHex(ROOTS[size]!));
      assert.equal(toHex(rebuilt.subtreeRoot), toHex(ROOTS[old]!));
    }
  }
});

test('subtree consistency proofs, every subtree of every tree of 1 to 48 leaves', () => {
  for (let size = 1; size <= 48; size++) {
    for (let start = 0; start < size; start++) {
      for (let end = start + 1; end <= size; end++) {
        if (!isSubtree(start, end)) continue;
        const proof = readProofSync(planSubtreeConsistency(start, end, size), READER);
        assert.deepEqual(hex(proof), hex(naiveSubtreeProof(start, end, LEAVES.slice(0, size))));
      }
    }
  }
});

test('a plan asks only for what the tree has, and for nothing twice', () => {
  const check = (plan: ProofPlan, size: number) => {
    const nodes = plan.flat();
    assert.equal(new Set(nodes.map(({ level, index }) => `${level}/${index}`)).size, nodes.length);
    for (const { level, index } of nodes) assert.ok((index + 1) * 2 ** level <= size);
  };
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (a, b) => {
      fc.pre(a !== b);
      const [small, large] = [Math.min(a, b), Math.max(a, b)];
      check(planInclusion(small, large), large);
      check(planConsistency(small, large), large);
      check([planRoot(large)], large);
    }),
  );
});

test('storage that answers later gives the same', async () => {
  const later = async (level: number, index: number) => READER(level, index);
  for (const [small, large] of [
    [1, 2],
    [6, 7],
    [64, 130],
    [77, 129],
  ] as const) {
    assert.deepEqual(await inclusionProof(small, large, later), inclusionProofSync(small, large, READER));
    assert.deepEqual(await consistencyProof(small, large, later), consistencyProofSync(small, large, READER));
    assert.deepEqual(
      await consistencyProof(small, large, READER),
      consistencyProofSync(small, large, READER),
    );
  }
  for (const size of [0, 1, 100, 127, 128, 130]) {
    assert.equal(toHex(await readRoot(size, later)), toHex(ROOTS[size]!));
    assert.equal(toHex(createFrontier(await readFrontier(size, later)).root()), toHex(ROOTS[size]!));
  }
});

test('proofs hold up to 2^53-1 leaves', async () => {
  // All leaves alike: then a complete subtree's hash depends on its level alone, and any size can be had.
  const levels = [LEAVES[0]!];
  const reader = (level: number) => {
    while (levels.length <= level)
      levels.push(nodeHash(levels[levels.length - 1]!, levels[levels.length - 1]!));
    return levels[level]!;
  };
  const sizes = [
    MAX_SIZE,
    MAX_SIZE - 1,
    2 ** 52,
    2 ** 52 + 1,
    2 ** 52 - 1,
    2 ** 32,
    2 ** 32 + 1,
    2 ** 31,
    2 ** 31 - 1,
  ];
  for (const size of sizes) {
    const root = await readRoot(size, reader);
    for (const index of [0, 1, 2 ** 31 - 1, 2 ** 30, Math.floor(size / 3), size - 2, size - 1]) {
      if (index >= size) continue;
      const proof = inclusionProofSync(index, size, reader);
      assert.ok(verifyInclusion(levels[0]!, index, size, proof, root), `${index} in ${size}`);
      if (index === 0) continue;
      const old = await readRoot(index, reader);
      const growth = consistencyProofSync(index, size, reader);
      assert.ok(growth.length <= 63);
      assert.ok(verifyConsistency(index, size, growth, old, root), `${index} to ${size}`);
    }
  }
});

test('the samples of a block', () => {
  const block = someLeaves(1000);
  for (const index of [0, 1, 511, 512, 767, 768, 998, 999]) {
    const proof = inclusionProofOf(block, index);
    assert.ok(verifyInclusion(block[index]!, index, 1000, proof, naiveRoot(block)));
  }
});

test('what cannot be proved is refused', async () => {
  assert.throws(() => planInclusion(5, 5), /no leaf 5/);
  assert.throws(() => planInclusion(0, 0), /no leaf 0/);
  assert.throws(() => planInclusion(-1, 5), RangeError);
  assert.throws(() => planInclusion(0, 2 ** 53), RangeError);
  assert.throws(() => planConsistency(6, 5), RangeError);
  assert.throws(() => planConsistency(1.5, 5), RangeError);
  assert.throws(() => planSubtreeConsistency(1, 3, 8), /not a subtree/);
  assert.throws(() => READER(7, 1), /no subtree 7\/1/);
  assert.throws(() => READER(60, 0), RangeError);
  const short = () => new Uint8Array(31);
  assert.throws(() => inclusionProofSync(3, 9, short), /has 31 bytes, not 32/);
  await assert.rejects(inclusionProof(3, 9, short), /has 31 bytes, not 32/);
  const broken = () => Promise.reject(new Error('the disk is gone'));
  await assert.rejects(consistencyProof(3, 9, broken), /the disk is gone/);
});
