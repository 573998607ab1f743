/**
 * A Merkle log as records: tiles of 256 hashes and bundles of 256 leaves (C2SP tlog-tiles). Full ones are
 * records; what is newer lives in memory, and on disk only as leaf data, since hashes follow from it.
 *
 * The right edge is kept by whoever owns the log, in the batch that appends. So the log goes on consistently
 * where a leaf's record is damaged; such a leaf is a hole until a mirror has filled it.
 */
import { equalBytes } from '../../core/encoding/cbor.ts';
import { decodeBundle, encodeBundle } from '../../core/log/bundle.ts';
import { HASH_LENGTH, leafHash } from '../../core/log/hash.ts';
import { joinHashes, TILE_WIDTH, tileHash } from '../../core/log/tiles.ts';
import { createFrontier, type FrontierState } from '../../core/log/tree.ts';
import { type LogKeys, unordered } from './keys.ts';
import type { DamagedRecord, Store, Write } from './store.ts';

export interface TreeLog {
  /** Leaves appended so far, durable or not. */
  size(): number;
  /** Appends a leaf; the writes go into the same batch as what it stands for. */
  append(leafData: Uint8Array): readonly Write[];
  /** The root over all leaves appended so far. */
  root(): Uint8Array;
  /** The right edge over all leaves appended so far; to be stored in the same batch. */
  frontier(): FrontierState;
  /** Records of the right edge that were absent or damaged when the log was opened. */
  readonly missing: readonly string[];
  /** Whether the right edge follows from the records, as far as they are there. */
  readonly follows: boolean;
  /** All that was appended is durable now. */
  settle(): void;
  /** The first `width` hashes of a tile. @throws Error when the durable log does not reach that far, or has a hole there. */
  tile(level: number, index: number, width: number): Promise<Uint8Array>;
  /** The data of the first `width` leaves of a bundle. @throws Error as `tile` does. */
  leaves(index: number, width: number): Promise<readonly Uint8Array[]>;
  /** As `leaves`, as far as they are there; undefined is a hole. */
  parts(index: number, width: number): Promise<readonly (Uint8Array | undefined)[]>;
  /** What is absent of the durable log: bundles first, then tiles, the lowest level first. */
  holes(): Promise<readonly Hole[]>;
  /** Puts a hole's data back, which has been verified; what is there already stays. */
  fill(hole: Hole, data: readonly (Uint8Array | undefined)[]): Filling;
}

/** A bundle of leaves, or a tile of hashes, of which something is absent. */
export interface Hole {
  readonly level: 'entries' | number;
  readonly index: number;
  /** Below 256 for the newest bundle only. */
  readonly width: number;
}

/** Records that fill a hole, and what is to be called when they are durable. */
export interface Filling {
  readonly writes: readonly Write[];
  settle(): void;
}

/** What of the newest tiles is in memory: hashes by level, and the newest leaves' data; undefined is a hole. */
interface Edge {
  readonly missing: readonly string[];
  readonly hashes: (Uint8Array | undefined)[][];
  leaves: (Uint8Array | undefined)[];
}

/** Opens the log whose right edge is `state`. */
export async function openTreeLog(store: Store, keys: LogKeys, state: FrontierState): Promise<TreeLog> {
  const frontier = createFrontier(state);
  const edge = await readEdge(store, keys, state.size);
  let durable = state.size;
  /** Records that are not stored yet, by key. */
  const pending = new Map<string, Uint8Array>();

  function complete(
    writes: Write[],
    key: string,
    parts: readonly (Uint8Array | undefined)[],
    join: Join,
  ): void {
    // A tile with a hole is no record: it is absent until somebody fills it.
    if (!isWhole(parts)) return;
    const value = join(parts);
    writes.push({ type: 'put', key, value });
    pending.set(key, value);
  }

  /** A hash that was a hole of the newest tiles, if it still is. */
  function enter(level: number, position: number, hash: Uint8Array): void {
    const row = edge.hashes[level];
    const at = position % TILE_WIDTH;
    const current =
      Math.floor(frontier.size / TILE_WIDTH ** (level + 1)) === Math.floor(position / TILE_WIDTH);
    if (row && current && at < row.length) row[at] ??= hash;
  }

  async function read(key: string): Promise<Uint8Array> {
    const value = pending.get(key) ?? (await store.get(key));
    if (!value) throw new Error(`the log's record ${key} is absent; a mirror may have it`);
    return value;
  }

  return {
    missing: edge.missing,
    follows: followsFrom(edge.hashes, state),
    size: () => frontier.size,
    append(leafData) {
      const index = frontier.size;
      const writes: Write[] = [{ type: 'put', key: keys.leaf(index), value: leafData }];
      edge.leaves.push(leafData);
      frontier.append(leafHash(leafData), (exponent, position, hash) => {
        if (exponent % 8 !== 0) return;
        const level = exponent / 8;
        edge.hashes[level] ??= [];
        const row = edge.hashes[level];
        row.push(hash);
        if (row.length < TILE_WIDTH) return;
        complete(writes, keys.tile(level, Math.floor(position / TILE_WIDTH)), row, joinHashes);
        edge.hashes[level] = [];
      });
      if (edge.leaves.length === TILE_WIDTH) {
        const whole = isWhole(edge.leaves);
        complete(writes, keys.bundle(Math.floor(index / TILE_WIDTH)), edge.leaves, encodeBundle);
        if (whole)
          writes.push(
            ...leafKeys(keys, index + 1 - TILE_WIDTH).map((key) => ({ type: 'del' as const, key })),
          );
        edge.leaves = [];
      }
      return writes;
    },
    settle() {
      durable = frontier.size;
      pending.clear();
    },
    root: () => frontier.root(),
    frontier: () => ({ size: frontier.size, hashes: frontier.hashes }),
    async tile(level, index, width) {
      assertReached(durable, level, index, width);
      const rows = Math.floor(frontier.size / TILE_WIDTH ** level);
      if (index === Math.floor(rows / TILE_WIDTH)) {
        const row = (edge.hashes[level] ?? []).slice(0, width);
        if (isWhole(row)) return joinHashes(row);
        throw new Error(`tile ${level}/${index} has a hole: a record was damaged`);
      }
      return (await read(keys.tile(level, index))).subarray(0, width * HASH_LENGTH);
    },
    async leaves(index, width) {
      assertReached(durable, 0, index, width);
      if (index === Math.floor(frontier.size / TILE_WIDTH)) {
        const part = edge.leaves.slice(0, width);
        if (isWhole(part)) return part;
        throw new Error(`bundle ${index} has a hole: a record was damaged`);
      }
      return decodeBundle(await read(keys.bundle(index)), TILE_WIDTH).slice(0, width);
    },
    async parts(index, width) {
      assertReached(durable, 0, index, width);
      if (index === Math.floor(frontier.size / TILE_WIDTH)) return edge.leaves.slice(0, width);
      const bundle = pending.get(keys.bundle(index)) ?? (await readWhole(store, keys.bundle(index)));
      if (bundle) return decodeBundle(bundle, TILE_WIDTH).slice(0, width);
      return Promise.all(leafKeys(keys, index * TILE_WIDTH, width).map((key) => readWhole(store, key)));
    },
    async holes() {
      const size = durable;
      const full = Math.floor(size / TILE_WIDTH);
      const holes: Hole[] = [];
      const note = async (level: Hole['level'], count: number, keyOf: (index: number) => string) => {
        for (const index of await absent(store, count, keyOf))
          holes.push({ level, index, width: TILE_WIDTH });
      };
      await note('entries', full, keys.bundle);
      const newest =
        full === Math.floor(frontier.size / TILE_WIDTH) ? edge.leaves.slice(0, size % TILE_WIDTH) : [];
      if (!isWhole(newest)) holes.push({ level: 'entries', index: full, width: newest.length });
      for (let level = 0, count = full; count > 0; level++, count = Math.floor(count / TILE_WIDTH))
        await note(level, count, (index) => keys.tile(level, index));
      return holes;
    },
    fill(hole, data) {
      const { level, index, width } = hole;
      if (level !== 'entries') {
        if (!isWhole(data) || data.length !== TILE_WIDTH) return NOTHING;
        const value = joinHashes(data);
        const above = tileHash(value);
        return {
          writes: [{ type: 'put', key: keys.tile(level, index), value }],
          // The row above may have known nothing of it.
          settle: () => enter(level + 1, index, above),
        };
      }
      const first = index * TILE_WIDTH;
      if (isWhole(data) && data.length === TILE_WIDTH) {
        const gone = leafKeys(keys, first).map((key) => ({ type: 'del' as const, key }));
        return {
          writes: [{ type: 'put', key: keys.bundle(index), value: encodeBundle(data) }, ...gone],
          settle: () => undefined,
        };
      }
      if (index !== Math.floor(frontier.size / TILE_WIDTH)) return NOTHING;
      const writes: Write[] = [];
      for (const [at, leaf] of data.entries())
        if (leaf && at < width && !edge.leaves[at])
          writes.push({ type: 'put', key: keys.leaf(first + at), value: leaf });
      return {
        writes,
        settle() {
          // Else the bundle has been filled up meanwhile, and is a hole as a whole.
          if (index !== Math.floor(frontier.size / TILE_WIDTH)) return;
          for (const [at, leaf] of data.entries()) {
            if (!leaf || at >= width) continue;
            edge.leaves[at] ??= leaf;
            enter(0, first + at, leafHash(leaf));
          }
        },
      };
    },
  };
}

const NOTHING: Filling = { writes: [], settle: () => undefined };

/** Which of the first `count` records are absent. */
async function absent(
  store: Store,
  count: number,
  keyOf: (index: number) => string,
): Promise<readonly number[]> {
  const found: number[] = [];
  let next = 0;
  for await (const key of store.names({ from: keyOf(0), to: keyOf(count) })) {
    const index = unordered(key.slice(key.lastIndexOf('/') + 1));
    while (next < index) found.push(next++);
    next = index + 1;
  }
  while (next < count) found.push(next++);
  return found;
}

type Join = (parts: readonly Uint8Array[]) => Uint8Array;

function isWhole(parts: readonly (Uint8Array | undefined)[]): parts is readonly Uint8Array[] {
  return parts.every((part) => part !== undefined);
}

function leafKeys(keys: LogKeys, first: number, count = TILE_WIDTH): readonly string[] {
  return Array.from({ length: count }, (_, offset) => keys.leaf(first + offset));
}

function assertReached(durable: number, level: number, index: number, width: number): void {
  if (index * TILE_WIDTH + width <= Math.floor(durable / TILE_WIDTH ** level)) return;
  throw new Error(`the log has no tile ${level}/${index} of width ${width} yet`);
}

async function readEdge(store: Store, keys: LogKeys, size: number): Promise<Edge> {
  const first = size - (size % TILE_WIDTH);
  const leaves: (Uint8Array | undefined)[] = [];
  const missing: string[] = [];
  const readOrHole = async (key: string) => {
    const value = await readWhole(store, key);
    if (!value) missing.push(key);
    return value;
  };
  for (let index = first; index < size; index++) leaves.push(await readOrHole(keys.leaf(index)));
  const hashes: (Uint8Array | undefined)[][] = [leaves.map((data) => data && leafHash(data))];
  for (
    let level = 1, count = first / TILE_WIDTH;
    count > 0;
    level++, count = Math.floor(count / TILE_WIDTH)
  ) {
    const row: (Uint8Array | undefined)[] = [];
    for (let index = count - (count % TILE_WIDTH); index < count; index++) {
      const tile = await readOrHole(keys.tile(level - 1, index));
      row.push(tile && tileHash(tile));
    }
    hashes[level] = row;
  }
  return { missing, hashes, leaves };
}

async function readWhole(store: Store, key: string): Promise<Uint8Array | undefined> {
  try {
    return await store.get(key);
  } catch (error) {
    if ((error as DamagedRecord).name !== 'DamagedRecord') throw error;
    return undefined;
  }
}

/** The complete subtrees that make the edge stand in the rows, the greatest first. */
function followsFrom(
  rows: readonly (readonly (Uint8Array | undefined)[])[],
  { hashes }: FrontierState,
): boolean {
  let at = 0;
  for (const row of [...rows].reverse()) {
    for (let width = TILE_WIDTH / 2, from = 0; width >= 1; width /= 2) {
      if ((row.length & width) === 0) continue;
      const part = row.slice(from, from + width);
      from += width;
      const hash = hashes[at++];
      if (isWhole(part) && !(hash && equalBytes(tileHash(joinHashes(part)), hash))) return false;
    }
  }
  return true;
}
