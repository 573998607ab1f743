import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { decodeBundle, encodeBundle, MAX_ENTRY_BYTES } from '../../../runtime/core/log/bundle.ts';
import { openCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { leafHash } from '../../../runtime/core/log/hash.ts';
import { createNoteVerifier } from '../../../runtime/core/log/note.ts';
import {
  consistencyProof,
  inclusionProof,
  inclusionProofSync,
  readerOf,
  readRoot,
} from '../../../runtime/core/log/proof.ts';
import {
  formatTilePath,
  hashReaderFromTiles,
  newTiles,
  parseTilePath,
  TILE_WIDTH,
  type Tile,
  tileHash,
  tilesOf,
  tileWidth,
} from '../../../runtime/core/log/tiles.ts';
import { createFrontier } from '../../../runtime/core/log/tree.ts';
import { verifyConsistency, verifyInclusion } from '../../../runtime/core/log/verify.ts';
import { parseVkey } from '../../../runtime/core/log/vkey.ts';
import { naiveRoot, someLeaves } from './naive.ts';
import { skipVectors, vectorBytes, vectorPath } from './vectors.ts';

test('the paths that C2SP tlog-tiles gives as examples', () => {
  const examples: readonly (readonly [string, Tile])[] = [
    ['tile/0/x001/x234/067', { level: 0, index: 1234067, width: 256 }],
    ['tile/0/x001/x234/067.p/12', { level: 0, index: 1234067, width: 12 }],
    ['tile/entries/x001/x234/067.p/255', { level: 'entries', index: 1234067, width: 255 }],
    ['tile/63/000', { level: 63, index: 0, width: 256 }],
    ['tile/1/999', { level: 1, index: 999, width: 256 }],
    ['tile/1/x001/000.p/1', { level: 1, index: 1000, width: 1 }],
    ['tile/0/x009/x007/x199/x254/x740/991', { level: 0, index: Number.MAX_SAFE_INTEGER, width: 256 }],
  ];
  for (const [path, tile] of examples) {
    assert.equal(formatTilePath(tile), path);
    assert.deepEqual(parseTilePath(path), tile);
  }
});

test('a tile has one path', () => {
  const level = fc.oneof(fc.nat(63), fc.constant('entries' as const));
  const index = fc.oneof(fc.nat(2000), fc.maxSafeNat());
  fc.assert(
    fc.property(level, index, fc.integer({ min: 1, max: 256 }), (l, i, w) => {
      const tile: Tile = { level: l, index: i, width: w };
      assert.deepEqual(parseTilePath(formatTilePath(tile)), tile);
    }),
  );
  const nearPath = fc.string({ unit: fc.constantFrom(...'0127x/.p-'), maxLength: 18 });
  fc.assert(
    fc.property(fc.constantFrom('tile/0/', 'tile/entries/', 'tile/', 'tile/1/x'), nearPath, (head, tail) => {
      const tile = parseTilePath(head + tail);
      if (tile !== undefined) assert.equal(formatTilePath(tile), head + tail);
    }),
    { numRuns: 3000 },
  );
});

test('paths that name no tile', () => {
  const bad = [
    '',
    'tile',
    'tile/',
    'tile/0',
    'tile/0/',
    '/tile/0/000',
    'tile/0/000/',
    'tile/00/000',
    'tile/64/000',
    'tile/-1/000',
    'tile/0/00',
    'tile/0/0000',
    'tile/0/x000/001',
    'tile/0/x000/x001/001',
    'tile/0/001/002',
    'tile/0/x001',
    'tile/0/x001/x002',
    'tile/0/001.p',
    'tile/0/001.p/',
    'tile/0/001.p/0',
    'tile/0/001.p/01',
    'tile/0/001.p/256',
    'tile/0/001.p/257',
    'tile/0/001.p/-1',
    'tile/0/001.P/1',
    'tile/0/001.p/1/',
    'tile/0/001.p/1\n',
    'tile/0/001\n',
    'tile/Entries/000',
    'tile/data/000',
    'tile/8/0/000',
    'tile/0/x009/x007/x199/x254/x740/992',
    'tile/0/x001/x000/x000/x000/x000/x000/000',
    'tile/0/٠٠٠',
    'tile/0/../000',
    'tile/ 0/000',
  ];
  for (const path of bad) assert.equal(parseTilePath(path), undefined, path);
  for (const tile of [
    { level: 0, index: -1, width: 256 },
    { level: 64, index: 0, width: 1 },
    { level: 0, index: 0, width: 0 },
    { level: 0, index: 0, width: 257 },
    { level: 0.5, index: 0, width: 1 },
    { level: 0, index: 2 ** 53, width: 1 },
  ]) {
    assert.throws(() => formatTilePath(tile), RangeError);
  }
});

test('the tiles that C2SP tlog-tiles counts for 70,000 and for 256 leaves', () => {
  const tiles = [...tilesOf(70_000)];
  const of = (level: number, full: boolean) =>
    tiles.filter((t) => t.level === level && (t.width === TILE_WIDTH) === full);
  assert.equal(of(0, true).length, 273);
  assert.deepEqual(of(0, false), [{ level: 0, index: 273, width: 112 }]);
  assert.deepEqual(of(1, true), [{ level: 1, index: 0, width: 256 }]);
  assert.deepEqual(of(1, false), [{ level: 1, index: 1, width: 17 }]);
  assert.deepEqual(of(2, false), [{ level: 2, index: 0, width: 1 }]);
  assert.equal(tiles.length, 277);
  assert.deepEqual(
    [...tilesOf(256)],
    [
      { level: 0, index: 0, width: 256 },
      { level: 1, index: 0, width: 1 },
    ],
  );
  assert.deepEqual([...tilesOf(0)], []);
});

test('new tiles are those of the larger tree that the smaller has not', () => {
  const names = (size: number) => new Set([...tilesOf(size)].map(formatTilePath));
  fc.assert(
    fc.property(fc.nat(140_000), fc.nat(2000), (old, more) => {
      const before = names(old);
      const expected = [...names(old + more)].filter((path) => !before.has(path));
      assert.deepEqual([...newTiles(old, old + more)].map(formatTilePath), expected);
    }),
    { numRuns: 60 },
  );
  assert.deepEqual([...newTiles(10, 5)], []);
});

test('the width of a tile in a tree', () => {
  assert.equal(tileWidth(0, 273, 70_000), 112);
  assert.equal(tileWidth('entries', 273, 70_000), 112);
  assert.equal(tileWidth(0, 274, 70_000), 0);
  assert.equal(tileWidth(0, 0, 70_000), 256);
  assert.equal(tileWidth(2, 0, 70_000), 1);
  assert.equal(tileWidth(3, 0, 70_000), 0);
  assert.equal(tileWidth(63, 0, Number.MAX_SAFE_INTEGER), 0);
});

/** The tiles of a growing tree, made from the complete subtrees that a frontier tells of. */
function tilesFor(leaves: readonly Uint8Array[]) {
  const rows = new Map<number, Uint8Array[]>();
  const frontier = createFrontier();
  for (const leaf of leaves) {
    frontier.append(leaf, (level, _index, hash) => {
      if (level % 8 !== 0) return;
      const row = rows.get(level / 8) ?? [];
      rows.set(level / 8, row);
      row.push(hash);
    });
  }
  return (level: number, index: number, width: number): Uint8Array => {
    const hashes = rows.get(level)?.slice(index * TILE_WIDTH, index * TILE_WIDTH + width) ?? [];
    assert.equal(hashes.length, width, `${level}/${index} of width ${width}`);
    return new Uint8Array(Buffer.concat(hashes));
  };
}

test('proofs over tiles are proofs over leaf hashes', async () => {
  const leaves = someLeaves(70_000);
  const source = tilesFor(leaves);
  const memory = readerOf(leaves);
  for (const size of [1, 2, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537, 70_000]) {
    const reader = hashReaderFromTiles(size, source);
    const later = hashReaderFromTiles(size, async (level, index, width) => source(level, index, width));
    const root = await readRoot(size, later);
    assert.equal(toHex(root), toHex(await readRoot(size, memory)));
    for (const index of [0, 1, 254, 255, 256, 300, 65_535, 65_536, size - 1].filter((i) => i < size)) {
      const proof = inclusionProofSync(index, size, reader);
      assert.deepEqual(proof.map(toHex), (await inclusionProof(index, size, memory)).map(toHex));
      assert.ok(verifyInclusion(leaves[index]!, index, size, proof, root));
      if (index === 0) continue;
      const growth = await consistencyProof(index, size, later);
      assert.ok(verifyConsistency(index, size, growth, await readRoot(index, memory), root));
    }
  }
});

test('a tile of the wrong length and a subtree that is not there are refused', async () => {
  const reader = hashReaderFromTiles(300, (_level, _index, width) => new Uint8Array(width * 32 + 32));
  assert.throws(() => reader(0, 299), /tile\/0\/001\.p\/44 has 1440 bytes, not 1408/);
  assert.throws(() => reader(0, 300), /no complete subtree 0\/300/);
  assert.throws(() => reader(8, 1), /no complete subtree 8\/1/);
  const later = hashReaderFromTiles(300, async () => new Uint8Array(0));
  await assert.rejects(async () => later(3, 0), /tile\/0\/000 has 0 bytes/);
});

test('the hash of a full tile is that of its subtree', () => {
  const leaves = someLeaves(256);
  assert.equal(toHex(tileHash(new Uint8Array(Buffer.concat(leaves)))), toHex(naiveRoot(leaves)));
  assert.equal(toHex(tileHash(leaves[0]!)), toHex(leaves[0]!));
  for (const length of [0, 31, 96, 33]) assert.throws(() => tileHash(new Uint8Array(length)), RangeError);
});

test('bundles come back as they went in', () => {
  const entries = fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(entries, (list) => {
      const bytes = encodeBundle(list);
      assert.deepEqual(decodeBundle(bytes, list.length), list);
      assert.throws(() => decodeBundle(bytes, list.length + 1), /malformed bundle/);
      assert.throws(() => decodeBundle(bytes, list.length - 1), /malformed bundle/);
      assert.throws(() => decodeBundle(bytes.subarray(0, -1), list.length), /malformed bundle/);
      assert.throws(() => decodeBundle(Uint8Array.of(...bytes, 0), list.length), /malformed bundle/);
    }),
  );
  const longest = new Uint8Array(MAX_ENTRY_BYTES);
  assert.deepEqual(decodeBundle(encodeBundle([longest]), 1), [longest]);
  assert.throws(() => encodeBundle([new Uint8Array(MAX_ENTRY_BYTES + 1)]), RangeError);
  assert.throws(() => encodeBundle([]), RangeError);
  assert.throws(() => encodeBundle(Array.from({ length: 257 }, () => new Uint8Array(1))), RangeError);
});

test('a log that Tessera wrote: tiles, bundles, checkpoints and the proofs between them', {
  skip: skipVectors,
}, async () => {
  const log = createNoteVerifier(
    parseVkey('example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx'),
  );
  const words = 'one two three four five six seven eit nain ten ileven twelf threeten fourten fivten'.split(
    ' ',
  );
  const leaves = words.map((word) => leafHash(new TextEncoder().encode(word)));
  const folder = 'tessera-log/testdata/log';
  const source = (level: number, index: number, width: number) =>
    vectorBytes(`${folder}/${formatTilePath({ level, index, width })}`);
  const roots: Uint8Array[] = [];
  for (let size = 0; size <= words.length; size++) {
    const { checkpoint } = openCheckpoint(vectorBytes(`${folder}/checkpoint.${size}`), log);
    assert.equal(checkpoint.size, size);
    const reader = hashReaderFromTiles(size, source);
    assert.equal(toHex(checkpoint.root), toHex(await readRoot(size, reader)));
    assert.equal(toHex(checkpoint.root), toHex(naiveRoot(leaves.slice(0, size))));
    roots.push(checkpoint.root);
    if (size === 0) continue;
    for (const tile of tilesOf(size)) {
      assert.ok(existsSync(vectorPath(`${folder}/${formatTilePath(tile)}`)), formatTilePath(tile));
    }
    const bundle = vectorBytes(`${folder}/${formatTilePath({ level: 'entries', index: 0, width: size })}`);
    const entries = decodeBundle(bundle, size);
    assert.deepEqual(
      entries.map((entry) => new TextDecoder().decode(entry)),
      words.slice(0, size),
    );
    assert.deepEqual(encodeBundle(entries), bundle);
    for (let index = 0; index < size; index++) {
      const proof = await inclusionProof(index, size, reader);
      assert.ok(verifyInclusion(leaves[index]!, index, size, proof, checkpoint.root));
      if (index === 0) continue;
      const growth = await consistencyProof(index, size, reader);
      assert.ok(verifyConsistency(index, size, growth, roots[index]!, checkpoint.root));
    }
  }
  const latest = openCheckpoint(vectorBytes(`${folder}/checkpoint`), log).checkpoint;
  assert.equal(latest.size, words.length);
});
