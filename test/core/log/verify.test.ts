import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromBase64 } from '../../../runtime/core/encoding/base64.ts';
import {
  consistencyProofSync,
  inclusionProofSync,
  planPrefix,
  planSubtreeConsistency,
  readerOf,
  readProofSync,
} from '../../../runtime/core/log/proof.ts';
import { isSubtree } from '../../../runtime/core/log/size.ts';
import {
  consistencyFault,
  inclusionFault,
  rebuildPrefix,
  verifyConsistency,
  verifyInclusion,
  verifySubtreeConsistency,
  verifySubtreeInclusion,
} from '../../../runtime/core/log/verify.ts';
import { naivePath, naiveRoot, someLeaves } from './naive.ts';
import { skipVectors, vectorJson, vectorPath } from './vectors.ts';

/** One published case; which fields it has depends on its kind. */
interface Case {
  readonly leafIdx: number;
  readonly treeSize: number;
  readonly start: number;
  readonly end: number;
  readonly size: number;
  readonly size1: number;
  readonly size2: number;
  readonly root: string;
  readonly root1: string;
  readonly root2: string;
  readonly leafHash: string;
  readonly proof: readonly string[] | null;
  readonly desc: string;
  readonly wantErr: boolean;
}

type Check = (c: Case, proof: readonly Uint8Array[]) => boolean;

const KINDS: readonly (readonly [string, number, Check])[] = [
  [
    'inclusion',
    98,
    (c, proof) => verifyInclusion(fromBase64(c.leafHash), c.leafIdx, c.treeSize, proof, fromBase64(c.root)),
  ],
  [
    'consistency',
    98,
    (c, proof) => verifyConsistency(c.size1, c.size2, proof, fromBase64(c.root1), fromBase64(c.root2)),
  ],
  [
    'subtreeinclusion',
    204,
    (c, proof) =>
      verifySubtreeInclusion(fromBase64(c.leafHash), c.leafIdx, c.start, c.end, proof, fromBase64(c.root)),
  ],
  [
    'subtreeconsistency',
    118,
    (c, proof) =>
      verifySubtreeConsistency(c.start, c.end, c.size, proof, fromBase64(c.root1), fromBase64(c.root2)),
  ],
];

for (const [kind, count, check] of KINDS) {
  test(`the ${count} published cases of ${kind}`, { skip: skipVectors }, () => {
    const folder = `merkle/testdata/${kind}`;
    const files = readdirSync(vectorPath(folder), { recursive: true, encoding: 'utf8' });
    const cases = files.filter((file) => file.endsWith('.json'));
    assert.equal(cases.length, count);
    for (const file of cases) {
      const c = vectorJson<Case>(`${folder}/${file}`);
      assert.equal(check(c, (c.proof ?? []).map(fromBase64)), !c.wantErr, `${kind}/${file}: ${c.desc}`);
    }
  });
}

const LEAVES = someLeaves(64);
const READER = readerOf(LEAVES);
const ROOTS = Array.from({ length: 65 }, (_, size) => naiveRoot(LEAVES.slice(0, size)));
const root = (size: number) => ROOTS[size]!;

/** Every way to spoil a list of hashes by one bit, one line less, one line more, or two lines swapped. */
function* spoilt(lines: readonly Uint8Array[]): Generator<readonly Uint8Array[]> {
  for (const [at, line] of lines.entries()) {
    for (const bit of [0, 100, 255]) yield lines.with(at, flipped(line, bit));
    yield lines.toSpliced(at, 1);
    yield lines.toSpliced(at, 0, LEAVES[0]!);
    yield lines.with(at, line.subarray(1));
    if (at > 0) yield lines.with(at, lines[at - 1]!).with(at - 1, line);
  }
  yield [...lines, LEAVES[0]!];
  yield [...lines, new Uint8Array(0)];
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = new Uint8Array(bytes);
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
}

test('a spoilt inclusion proof is refused, every leaf of every tree of 1 to 33 leaves', () => {
  for (let size = 1; size <= 33; size++) {
    for (let index = 0; index < size; index++) {
      const proof = inclusionProofSync(index, size, READER);
      const leaf = LEAVES[index]!;
      for (const bad of spoilt(proof)) assert.ok(!verifyInclusion(leaf, index, size, bad, root(size)));
      for (let other = 0; other < size; other++) {
        if (other !== index) assert.ok(!verifyInclusion(leaf, other, size, proof, root(size)));
      }
      assert.ok(!verifyInclusion(flipped(leaf, 9), index, size, proof, root(size)));
      assert.ok(!verifyInclusion(leaf, index, size, proof, flipped(root(size), 9)));
      assert.ok(!verifyInclusion(leaf, size, size, proof, root(size)));
    }
  }
});

test('a spoilt consistency proof is refused, every two sizes of 1 to 33', () => {
  for (let size = 1; size <= 33; size++) {
    for (let old = 1; old <= size; old++) {
      const proof = consistencyProofSync(old, size, READER);
      const roots = [root(old), root(size)] as const;
      for (const bad of spoilt(proof))
        assert.ok(!verifyConsistency(old, size, bad, ...roots), `${old} ${size}`);
      assert.ok(!verifyConsistency(old, size, proof, flipped(roots[0], 7), roots[1]));
      assert.ok(!verifyConsistency(old, size, proof, roots[0], flipped(roots[1], 7)));
      if (old !== size) {
        assert.ok(!verifyConsistency(old, size, proof, roots[1], roots[0]));
        assert.ok(!verifyConsistency(size, old, proof, roots[1], roots[0]));
      }
    }
  }
});

test('subtrees: every proof of every tree of 1 to 32 leaves is accepted, and refused when spoilt', () => {
  for (let size = 1; size <= 32; size++) {
    for (let start = 0; start < size; start++) {
      for (let end = start + 1; end <= size; end++) {
        const proof = isSubtree(start, end)
          ? readProofSync(planSubtreeConsistency(start, end, size), READER)
          : [];
        const sub = naiveRoot(LEAVES.slice(start, end));
        const whole = root(size);
        assert.equal(verifySubtreeConsistency(start, end, size, proof, sub, whole), isSubtree(start, end));
        for (const bad of spoilt(proof)) {
          assert.ok(!verifySubtreeConsistency(start, end, size, bad, sub, whole));
        }
        const index = start + ((end - start) >> 1);
        const path = naivePath(index - start, LEAVES.slice(start, end));
        assert.equal(
          verifySubtreeInclusion(LEAVES[index]!, index, start, end, path, sub),
          isSubtree(start, end),
        );
        assert.ok(!verifySubtreeInclusion(LEAVES[index]!, index - start - 1, start, end, path, sub));
      }
    }
  }
});

test('lines for evidence cannot lead to the larger root and another prefix', () => {
  for (let size = 2; size <= 33; size++) {
    for (let old = 1; old < size; old++) {
      const lines = readProofSync(planPrefix(old, size), READER);
      for (const bad of spoilt(lines)) {
        const rebuilt = rebuildPrefix(old, size, bad);
        if ('root' in rebuilt) assert.notDeepEqual(Buffer.from(rebuilt.root), Buffer.from(root(size)));
      }
    }
  }
  assert.ok('fault' in rebuildPrefix(0, 5, []));
  assert.ok('fault' in rebuildPrefix(5, 5, []));
  assert.ok('fault' in rebuildPrefix(6, 5, []));
  assert.ok('fault' in rebuildPrefix(4, 5, []));
});

test('a fault is named', () => {
  const whole = root(7);
  const proof = inclusionProofSync(4, 7, READER);
  const fault = (lines: readonly Uint8Array[], index = 4, size = 7, leaf = LEAVES[4]!) =>
    inclusionFault(leaf, index, size, lines, whole);
  assert.equal(fault(proof), undefined);
  assert.match(fault(proof.slice(1)) ?? '', /too short/);
  assert.match(fault([...proof, whole]) ?? '', /too long/);
  assert.match(fault(proof.with(0, whole)) ?? '', /another root/);
  assert.match(fault(proof, 7) ?? '', /no leaf 7 in a tree of 7/);
  assert.match(fault(proof, 4, 2 ** 53) ?? '', /out of range/);
  assert.match(fault(proof, 4, 7, new Uint8Array(31)) ?? '', /31 bytes/);
  const growth = consistencyProofSync(5, 7, READER);
  const fault2 = (lines: readonly Uint8Array[], old = root(5), next = whole) =>
    consistencyFault(5, 7, lines, old, next);
  assert.equal(fault2(growth), undefined);
  assert.match(fault2([]) ?? '', /empty/);
  assert.match(fault2(growth.slice(0, -1)) ?? '', /too short/);
  assert.match(fault2(growth, root(6)) ?? '', /another old root/);
  assert.match(fault2(growth, root(5), root(6)) ?? '', /another new root/);
  assert.match(consistencyFault(0, 7, [], root(0), whole) ?? '', /empty tree/);
});

test('no list of hashes makes a verifier throw', () => {
  const line = fc.oneof(fc.constantFrom(...LEAVES), fc.uint8Array({ maxLength: 33 }));
  const sizes = fc.oneof(fc.nat(70), fc.double(), fc.maxSafeInteger());
  fc.assert(
    fc.property(
      sizes,
      sizes,
      sizes,
      fc.array(line, { maxLength: 10 }),
      line,
      line,
      (a, b, c, proof, x, y) => {
        verifyInclusion(x, a, b, proof, y);
        verifyConsistency(a, b, proof, x, y);
        verifySubtreeInclusion(x, a, b, c, proof, y);
        verifySubtreeConsistency(a, b, c, proof, x, y);
        rebuildPrefix(a, b, proof);
      },
    ),
    { numRuns: 1000 },
  );
});
