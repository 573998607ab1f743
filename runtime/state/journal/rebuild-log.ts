/** Makes a log whole again from what is left of it: bundles, tiles, single leaves, and the blocks' openings. */
import { equalBytes } from '../../core/encoding/cbor.ts';
import { leafDataOf } from '../../core/log/block.ts';
import { decodeBundle, encodeBundle } from '../../core/log/bundle.ts';
import { HASH_LENGTH, leafHash } from '../../core/log/hash.ts';
import { TILE_WIDTH, tileHash } from '../../core/log/tiles.ts';
import { createFrontier, type FrontierState } from '../../core/log/tree.ts';
import { decodeBlockRecord } from './block-record.ts';
import { keys, unordered } from './keys.ts';
import { RETENTIONS } from './retention.ts';
import type { Store, Write } from './store.ts';

/** What is known of up to 256 leaves; undefined is a hole. */
interface Row {
  readonly data: readonly (Uint8Array | undefined)[];
  readonly hashes: readonly (Uint8Array | undefined)[];
}

export interface RebuiltLog {
  readonly frontier: FrontierState;
  /** The size that records speak of; what lies between could not be brought under the tree. */
  readonly evidence: number;
  /** Whether the right edge is the stored one, not one that was worked out. */
  readonly trusted: boolean;
  /** Records of the log that are gone for good. */
  readonly missing: readonly string[];
  /** What could not be made whole, as a sentence. */
  readonly trouble: string | undefined;
}

/** The hash of a leaf, read in order. */
export type LeafHashes = (index: number) => Promise<Uint8Array | undefined>;

export function createLeafHashes(store: Store, size: number): LeafHashes {
  let at = -1;
  let row: Row | undefined;
  return async (index) => {
    const tile = Math.floor(index / TILE_WIDTH);
    if (tile !== at) {
      row = await readRow(store, tile, Math.min(TILE_WIDTH, size - tile * TILE_WIDTH));
      at = tile;
    }
    return row?.hashes[index % TILE_WIDTH];
  };
}

async function lastNumber(store: Store, prefix: string): Promise<number> {
  const key = await store.firstKey({ from: prefix, to: `${prefix}g`, reverse: true });
  return key === undefined ? -1 : unordered(key.slice(prefix.length));
}

async function sizeInRecords(store: Store): Promise<number> {
  const blocks = await Promise.all(
    RETENTIONS.map((rule) => lastNumber(store, keys.block(rule, 0).slice(0, -14))),
  );
  const leaf = await lastNumber(store, keys.log.leaf(0).slice(0, -14));
  const bundle = await lastNumber(store, keys.log.bundle(0).slice(0, -14));
  const tile = await lastNumber(store, keys.log.tile(0, 0).slice(0, -14));
  return Math.max(
    ...blocks.map((last) => last + 1),
    leaf + 1,
    (bundle + 1) * TILE_WIDTH,
    (tile + 1) * TILE_WIDTH,
  );
}

async function readRow(store: Store, tile: number, width: number): Promise<Row> {
  const first = tile * TILE_WIDTH;
  const [bundle, tileBytes] = await store.getMany([keys.log.bundle(tile), keys.log.tile(0, tile)]);
  const known = (index: number) => tileBytes?.subarray(index * HASH_LENGTH, (index + 1) * HASH_LENGTH);
  if (bundle) {
    const data = decodeBundle(bundle, TILE_WIDTH).slice(0, width);
    return { data, hashes: data.map(leafHash) };
  }
  const data: (Uint8Array | undefined)[] = [];
  const hashes: (Uint8Array | undefined)[] = [];
  for (let index = 0; index < width; index++) {
    const candidate = await leafDataAt(store, first + index);
    const hash = candidate && leafHash(candidate);
    const wanted = known(index);
    const fits = hash && (!wanted || equalBytes(hash, wanted));
    data.push(fits ? candidate : undefined);
    hashes.push(fits ? hash : wanted);
  }
  return { data, hashes };
}

async function leafDataAt(store: Store, index: number): Promise<Uint8Array | undefined> {
  const [leaf, ...blocks] = await store.getMany([
    keys.log.leaf(index),
    ...RETENTIONS.map((rule) => keys.block(rule, index)),
  ]);
  const block = blocks.find((bytes) => bytes !== undefined);
  if (leaf || !block) return leaf;
  try {
    return leafDataOf(decodeBlockRecord(block).opening);
  } catch {
    // It is found again when blocks are checked, and told of there.
    return undefined;
  }
}

/** @param stored the right edge as it was kept, if it is still there. */
export async function rebuildLog(store: Store, stored: FrontierState | undefined): Promise<RebuiltLog> {
  const inRecords = await sizeInRecords(store);
  const evidence = Math.max(inRecords, stored?.size ?? 0);
  const trusted = stored !== undefined && stored.size >= inRecords;
  const { frontier, trouble } = await workOutEdge(store, stored, evidence, trusted);
  const missing = await fillTiles(store, frontier.size);
  return { frontier, evidence, trusted, missing, trouble };
}

async function workOutEdge(
  store: Store,
  stored: FrontierState | undefined,
  evidence: number,
  trusted: boolean,
): Promise<{ readonly frontier: FrontierState; readonly trouble: string | undefined }> {
  const hashOf = createLeafHashes(store, evidence);
  const all = createFrontier();
  const further = stored && createFrontier(stored);
  for (let index = 0; index < evidence; index++) {
    const hash = await hashOf(index);
    if (hash && all.size === index) all.append(hash);
    if (hash && further?.size === index) further.append(hash);
  }
  const best = further && further.size > all.size ? further : all;
  if (trusted) {
    const differs =
      all.size === stored!.size && stored!.hashes.some((hash, at) => !equalBytes(hash, all.hashes[at]!));
    return {
      frontier: stored!,
      trouble: differs ? 'the right edge of the log does not follow from its leaves' : undefined,
    };
  }
  const frontier = { size: best.size, hashes: best.hashes };
  const trouble =
    best.size < evidence
      ? `leaf ${best.size} of the log is gone: its size is ${best.size} instead of ${evidence}`
      : undefined;
  return { frontier, trouble };
}

/** Writes bundles and tiles that follow from what is there; the keys of those that do not. */
async function fillTiles(store: Store, size: number): Promise<readonly string[]> {
  const missing: string[] = [];
  let writes: Write[] = [];
  const put = (key: string, value: Uint8Array) => writes.push({ type: 'put', key, value });
  const rows: (Uint8Array | undefined)[][] = [];

  async function push(level: number, hash: Uint8Array | undefined, index: number): Promise<void> {
    rows[level] ??= [];
    const row = rows[level]!;
    row.push(hash);
    if (row.length < TILE_WIDTH) return;
    rows[level] = [];
    const tile = Math.floor(index / TILE_WIDTH);
    const key = keys.log.tile(level, tile);
    let bytes = await store.get(key);
    if (row.every((one) => one !== undefined)) {
      const made = Buffer.concat(row as Uint8Array[]);
      if (!bytes || !equalBytes(bytes, made)) put(key, made);
      bytes = made;
    }
    if (!bytes) missing.push(key);
    await push(level + 1, bytes && tileHash(bytes), tile);
  }

  for (let first = 0; first < size; first += TILE_WIDTH) {
    const tile = first / TILE_WIDTH;
    const width = Math.min(TILE_WIDTH, size - first);
    const { data, hashes } = await readRow(store, tile, width);
    const whole = data.every((one) => one !== undefined);
    if (width === TILE_WIDTH && whole) {
      if (!(await store.firstKey({ from: keys.log.bundle(tile), to: keys.log.bundle(tile + 1) })))
        put(keys.log.bundle(tile), encodeBundle(data as Uint8Array[]));
    } else {
      if (width === TILE_WIDTH) missing.push(keys.log.bundle(tile));
      const there = await store.getMany(data.map((_, index) => keys.log.leaf(first + index)));
      for (const [index, one] of data.entries()) {
        if (one && !there[index]) put(keys.log.leaf(first + index), one);
        if (!one && width < TILE_WIDTH) missing.push(keys.log.leaf(first + index));
      }
    }
    for (const [index, hash] of hashes.entries()) await push(0, hash, first + index);
    if (writes.length > 0) await store.write(writes);
    writes = [];
  }
  return missing;
}
