/**
 * Every tree of 1 to 300 leaves: past one full tile and its partial neighbour, past every shape of the right
 * edge up to there. The trees to compare with are made by the definition of RFC 6962, section 2.1, each
 * range hashed once.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { decodeBundle, encodeBundle } from '../../../runtime/core/log/bundle.ts';
import { formatCheckpoint, openCheckpoint, parseCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { cosign, createCosignatureVerifier } from '../../../runtime/core/log/cosignature.ts';
import { leafHash } from '../../../runtime/core/log/hash.ts';
import { planMultiproof, rootFromMultiproof } from '../../../runtime/core/log/multiproof.ts';
import { createNoteVerifier, formatNote, signNote } from '../../../runtime/core/log/note.ts';
import {
  consistencyProofSync,
  inclusionProofSync,
  planPrefix,
  readerOf,
  readProofSync,
} from '../../../runtime/core/log/proof.ts';
import {
  formatTilePath,
  hashReaderFromTiles,
  newTiles,
  parseTilePath,
  TILE_WIDTH,
  tilesOf,
} from '../../../runtime/core/log/tiles.ts';
import { createFrontier, treeRoot } from '../../../runtime/core/log/tree.ts';
import { consistencyFault, inclusionFault, rebuildPrefix } from '../../../runtime/core/log/verify.ts';
import { cosignerOf, logOf } from './keys.ts';

const SIZES = 300;
const ENTRIES = Array.from({ length: SIZES }, (_, i) =>
  new TextEncoder().encode(`entry ${i} ${'x'.repeat(i % 50)}`),
);

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

const ranges = new Map<number, Uint8Array>();

/** MTH(D[begin:end]). */
function mth(begin: number, end: number): Uint8Array {
  const key = begin * 1024 + end;
  const known = ranges.get(key);
  if (known !== undefined) return known;
  const k = split(end - begin);
  const hash =
    end - begin === 1
      ? sha256(Uint8Array.of(0), ENTRIES[begin]!)
      : sha256(Uint8Array.of(1), mth(begin, begin + k), mth(begin + k, end));
  ranges.set(key, hash);
  return hash;
}

/** The greatest power of two below n. */
function split(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** PATH(m, D[begin:end]). */
function path(m: number, begin: number, end: number): Uint8Array[] {
  if (end - begin === 1) return [];
  const middle = begin + split(end - begin);
  if (m < middle) return [...path(m, begin, middle), mth(middle, end)];
  return [...path(m, middle, end), mth(begin, middle)];
}

/** SUBPROOF(m, D[begin:end], known). */
function subproof(m: number, begin: number, end: number, known: boolean): Uint8Array[] {
  if (m === end) return known ? [] : [mth(begin, end)];
  const middle = begin + split(end - begin);
  if (m <= middle) return [...subproof(m, begin, middle, known), mth(middle, end)];
  return [...subproof(m, middle, end, false), mth(begin, middle)];
}

const LEAVES = ENTRIES.map((_, i) => mth(i, i + 1));
const ROOTS = [sha256(), ...ENTRIES.map((_, i) => mth(0, i + 1))];
const READER = readerOf(LEAVES);

function assertSame(
  actual: readonly Uint8Array[],
  expected: readonly Uint8Array[],
  what: () => string,
): void {
  const same =
    actual.length === expected.length && actual.every((one, i) => Buffer.compare(one, expected[i]!) === 0);
  assert.ok(same, what());
}

/** A proof with one thing wrong; which, goes round with `turn`. */
function spoilt(proof: readonly Uint8Array[], turn: number): readonly Uint8Array[] {
  const at = turn % Math.max(1, proof.length);
  const line = proof[at];
  if (line === undefined) return [LEAVES[0]!];
  const kind = turn % 5;
  if (kind === 0) return proof.toSpliced(at, 1);
  if (kind === 1) return proof.toSpliced(at, 0, line);
  if (kind === 2) return [...proof, line];
  return proof.with(at, line.with(turn % 32, line[turn % 32]! ^ (1 << (turn % 8))));
}

test('roots and frontiers', () => {
  const frontier = createFrontier();
  for (let size = 0; size <= SIZES; size++) {
    assert.equal(toHex(treeRoot(LEAVES.slice(0, size))), toHex(ROOTS[size]!), `${size}`);
    assert.equal(toHex(frontier.root()), toHex(ROOTS[size]!), `${size}`);
    const { hashes } = frontier;
    assert.equal(toHex(createFrontier({ size, hashes }).root()), toHex(ROOTS[size]!), `restored at ${size}`);
    if (size < SIZES) {
      assert.equal(toHex(leafHash(ENTRIES[size]!)), toHex(LEAVES[size]!));
      frontier.append(LEAVES[size]!);
    }
  }
});

test('every inclusion proof, and each with something wrong', () => {
  let turn = 0;
  for (let size = 1; size <= SIZES; size++) {
    const root = ROOTS[size]!;
    for (let index = 0; index < size; index++) {
      const what = () => `${index} in ${size}`;
      const proof = inclusionProofSync(index, size, READER);
      assertSame(proof, path(index, 0, size), what);
      assert.equal(inclusionFault(LEAVES[index]!, index, size, proof, root), undefined, what());
      turn++;
      assert.notEqual(
        inclusionFault(LEAVES[index]!, index, size, spoilt(proof, turn), root),
        undefined,
        what(),
      );
      if (size > 1) {
        const other = (index + 1 + (turn % (size - 1))) % size;
        assert.notEqual(inclusionFault(LEAVES[index]!, other, size, proof, root), undefined, what());
        assert.notEqual(inclusionFault(LEAVES[other]!, index, size, proof, root), undefined, what());
      }
    }
  }
});

test('every consistency proof, and each with something wrong', () => {
  let turn = 0;
  for (let size = 1; size <= SIZES; size++) {
    for (let old = 1; old <= size; old++) {
      const what = () => `${old} to ${size}`;
      const proof = consistencyProofSync(old, size, READER);
      assertSame(proof, subproof(old, 0, size, true), what);
      const fault = (lines = proof, from = ROOTS[old]!, to = ROOTS[size]!) =>
        consistencyFault(old, size, lines, from, to);
      assert.equal(fault(), undefined, what());
      turn++;
      assert.notEqual(fault([...spoilt(proof, turn)]), undefined, what());
      assert.notEqual(fault(proof, ROOTS[old - 1]), undefined, what());
      assert.notEqual(fault(proof, undefined, ROOTS[size - 1]), undefined, what());
    }
  }
});

test('the lines of evidence between every two sizes', () => {
  for (let size = 2; size <= SIZES; size++) {
    for (let old = 1; old < size; old++) {
      const what = () => `${old} to ${size}`;
      const lines = readProofSync(planPrefix(old, size), READER);
      assertSame(lines, subproof(old, 0, size, false), what);
      const rebuilt = rebuildPrefix(old, size, lines);
      assert.ok('root' in rebuilt, what());
      assertSame([rebuilt.subtreeRoot, rebuilt.root], [ROOTS[old]!, ROOTS[size]!], what);
    }
  }
});

test('multiproofs of the leaves between every two places, of every tree', () => {
  let turn = 0;
  for (let size = 1; size <= SIZES; size++) {
    for (let from = 0; from < size; from += 1 + (size % 7)) {
      const to = from + 1 + ((turn * 13) % (size - from));
      const indexes = Array.from({ length: to - from }, (_, i) => from + i).filter((i) => i % 3 !== turn % 4);
      const shown = indexes.map((i) => LEAVES[i]!);
      const proof = readProofSync(planMultiproof(indexes, size), READER);
      const rebuilt = rootFromMultiproof(indexes, shown, size, proof);
      assert.ok('root' in rebuilt);
      assertSame([rebuilt.root], [ROOTS[size]!], () => `${indexes} of ${size}`);
      turn++;
      const other = rootFromMultiproof(indexes, shown, size, spoilt(proof, turn));
      assert.ok('fault' in other || toHex(other.root) !== toHex(ROOTS[size]!));
    }
  }
});

test('tiles and entry bundles of every tree, written as it grows, give it back', () => {
  const written = new Map<string, Uint8Array>();
  const hashesOf = (level: number, index: number, width: number) =>
    Array.from({ length: width }, (_, i) => {
      const span = TILE_WIDTH ** level;
      const begin = (index * TILE_WIDTH + i) * span;
      return mth(begin, begin + span);
    });
  for (let size = 1; size <= SIZES; size++) {
    for (const tile of newTiles(size - 1, size)) {
      const path = formatTilePath(tile);
      assert.deepEqual(parseTilePath(path), tile);
      assert.equal(written.has(path), false, `${path} is written twice`);
      written.set(path, new Uint8Array(Buffer.concat(hashesOf(tile.level, tile.index, tile.width))));
      if (tile.level !== 0) continue;
      const first = tile.index * TILE_WIDTH;
      const entries = ENTRIES.slice(first, first + tile.width);
      const bundle = encodeBundle(entries);
      assertSame(decodeBundle(bundle, tile.width), entries, () => `bundle ${path}`);
      assert.throws(() => decodeBundle(bundle, tile.width - 1), /more than/);
      assert.throws(() => decodeBundle(bundle, tile.width + 1), /malformed bundle/);
      assert.throws(() => decodeBundle(bundle.subarray(0, -1), tile.width), /cut short/);
      const path2 = formatTilePath({ ...tile, level: 'entries' });
      assert.deepEqual(parseTilePath(path2), { ...tile, level: 'entries' });
    }
    for (const tile of tilesOf(size)) assert.ok(written.has(formatTilePath(tile)), formatTilePath(tile));
    const read: string[] = [];
    const reader = hashReaderFromTiles(size, (level, index, width) => {
      const path = formatTilePath({ level, index, width });
      read.push(path);
      return written.get(path) ?? assert.fail(`${path} was never written`);
    });
    for (const index of [0, size >> 1, size - 1]) {
      assertSame(inclusionProofSync(index, size, reader), path(index, 0, size), () => `${index} in ${size}`);
    }
    for (const old of [1, (size >> 1) + 1, size]) {
      assertSame(
        consistencyProofSync(old, size, reader),
        subproof(old, 0, size, true),
        () => `${old} to ${size}`,
      );
    }
    assert.ok(size < 3 || read.length > 0);
  }
  assert.ok(written.has('tile/0/000') && written.has('tile/0/001.p/44') && written.has('tile/1/000.p/1'));
});

test('checkpoints of every size, signed and cosigned', () => {
  const log = logOf('example.com/log', 1);
  const witness = cosignerOf('witness.example/w', 2);
  const logKey = createNoteVerifier(log.vkey);
  const witnessKey = createCosignatureVerifier(witness.vkey);
  let previous = '';
  for (let size = 0; size <= SIZES; size++) {
    const text = formatCheckpoint({ origin: log.name, size, root: ROOTS[size]!, extensions: [] });
    assert.deepEqual(parseCheckpoint(text).size, size);
    const { signatures } = signNote(text, [log]);
    const cosignature = cosign(witness, text, 1_700_000_000 + size);
    const note = formatNote({ text, signatures: [...signatures, cosignature] });
    const opened = openCheckpoint(note, logKey, [witnessKey]);
    assert.equal(opened.verified.length, 2);
    assert.equal(toHex(opened.checkpoint.root), toHex(ROOTS[size]!));
    // The signatures of one size are worth nothing under another.
    if (previous !== '') {
      const swapped = formatNote({ text: previous, signatures: [...signatures, cosignature] });
      assert.throws(() => openCheckpoint(swapped, logKey, [witnessKey]), /invalid signature/);
    }
    previous = text;
  }
});
