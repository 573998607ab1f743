import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { merkleRoot } from '../../../runtime/core/log/block-root.ts';
import { leafHash } from '../../../runtime/core/log/hash.ts';
import { treeRoot } from '../../../runtime/core/log/tree.ts';
import { naiveLeaf, naiveRoot } from './naive.ts';
import { skipVectors, vectorJson } from './vectors.ts';

/** Bytes that tell their place, cut into entries of the given lengths side by side. */
function entriesOf(lengths: readonly number[], seed: number): Uint8Array[] {
  const key = createHash('sha256').update(String(seed)).digest();
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const bytes = new Uint8Array(total).map((_, at) => (key[at % 32]! + Math.imul(at, 2654435761)) >>> 13);
  let end = 0;
  return lengths.map((length) => {
    end += length;
    return bytes.subarray(end - length, end);
  });
}

/** The same lengths for the same seed. */
function lengthsOf(count: number, most: number, seed: number): number[] {
  return fc.sample(fc.integer({ min: 0, max: most }), { numRuns: count, seed });
}

function check(entries: readonly Uint8Array[], what: string): void {
  assert.equal(toHex(merkleRoot(entries)), toHex(treeRoot(entries.map(leafHash))), what);
}

test('trees of all sizes from 0 to 300, entries of 0 to 5,000 bytes, against the RFC word for word', () => {
  const entries = entriesOf(lengthsOf(300, 5000, 1), 1);
  const hashes = entries.map(naiveLeaf);
  for (let size = 0; size <= entries.length; size++) {
    const root = toHex(naiveRoot(hashes.slice(0, size)));
    assert.equal(toHex(merkleRoot(entries.slice(0, size))), root, `${size} entries`);
  }
});

test('trees of all sizes from 0 to 300 of entries as short as samples', () => {
  const entries = entriesOf(lengthsOf(300, 200, 2), 2);
  const hashes = entries.map(naiveLeaf);
  for (let size = 0; size <= entries.length; size++) {
    const root = toHex(naiveRoot(hashes.slice(0, size)));
    assert.equal(toHex(merkleRoot(entries.slice(0, size))), root, `${size} entries`);
  }
});

test('entries of every length from 0 to 1,200, alone and beside three others', () => {
  const entries = entriesOf([...Array(1201).keys()], 3);
  for (const [length, entry] of entries.entries()) {
    assert.equal(toHex(merkleRoot([entry])), toHex(naiveLeaf(entry)), `${length} bytes`);
    check([entry, ...entries.slice(1200 - length).slice(0, 3)], `${length} bytes among four`);
  }
});

test('sizes to 8,192 and beyond, of short, long and mixed entries', () => {
  for (const [seed, size] of [301, 1023, 1024, 1025, 4095, 6001, 8191, 8192].entries()) {
    for (const most of [100, 1024, 5000]) {
      check(entriesOf(lengthsOf(size, most, seed), seed), `${size} entries of up to ${most} bytes`);
    }
  }
  for (const size of [8193, 16_384, 16_385, 20_000]) {
    check(entriesOf(lengthsOf(size, 60, size), size), `${size} entries`);
  }
});

test('any mixture of entries', () => {
  const entry = fc.oneof(
    { weight: 6, arbitrary: fc.uint8Array({ maxLength: 130 }) },
    { weight: 1, arbitrary: fc.uint8Array({ minLength: 900, maxLength: 1100, size: 'max' }) },
  );
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 40 }), (entries) => check(entries, 'mixture')),
    { numRuns: 300 },
  );
});

test('a root does not depend on what was hashed before, and has memory of its own', () => {
  const large = entriesOf(lengthsOf(3000, 1024, 5), 5);
  const small = entriesOf([0, 55, 56, 64], 6);
  const before = merkleRoot(small);
  const kept = toHex(before);
  const copies = large.map((entry) => toHex(entry));
  merkleRoot(large);
  assert.deepEqual(
    large.map((entry) => toHex(entry)),
    copies,
  );
  assert.equal(toHex(merkleRoot(small)), kept);
  assert.equal(toHex(before), kept);
});

interface HashVectors {
  readonly empty: string;
  readonly leaf: readonly { readonly data: string; readonly hash: string }[];
}

test('the hashes of RFC 6962 as published', { skip: skipVectors }, () => {
  const { empty, leaf } = vectorJson<HashVectors>('rfc6962/hash.json');
  assert.equal(toHex(merkleRoot([])), empty);
  assert.ok(leaf.length > 0);
  for (const { data, hash } of leaf) assert.equal(toHex(merkleRoot([new TextEncoder().encode(data)])), hash);
});

/** Certificate Transparency's reference tree: the entries and the roots of its first 1 to 8. */
test('the reference tree of Certificate Transparency', () => {
  const hex = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657'];
  const inputs = [...hex, '606162636465666768696a6b6c6d6e6f'].map(
    (text) => new Uint8Array(Buffer.from(text, 'hex')),
  );
  const roots = [
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ];
  for (const [index, root] of roots.entries())
    assert.equal(toHex(merkleRoot(inputs.slice(0, index + 1))), root);
});

test('memory does not grow with the number of roots', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const entries = Array.from({ length: 2000 }, () => new Uint8Array(randomBytes(500)));
  const held = () => {
    collect();
    const { arrayBuffers, external } = process.memoryUsage();
    return arrayBuffers + external;
  };
  merkleRoot(entries);
  const before = held();
  for (let round = 0; round < 200; round++) merkleRoot(entries);
  assert.ok(held() - before < 200_000, 'more is held than before');
});
