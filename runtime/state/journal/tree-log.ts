/**
 * The gateway's own log: one leaf a block, kept as tiles of 256 hashes (C2SP tlog-tiles). Full tiles are
 * records; the hashes of a tile not yet full live in memory, and on disk only at level 0, since the others
 * follow from the tiles below.
 */
import { emptyRoot, HASH_LENGTH, leafHash, nodeHash } from '../../core/log/hash.ts';
import { TILE_WIDTH, tileHash } from '../../core/log/tiles.ts';
import { keys } from './keys.ts';
import type { Store, Write } from './store.ts';

export interface OwnLog {
  /** Leaves appended so far, durable or not. */
  size(): number;
  /** Appends a leaf; the writes go into the same batch as the block. */
  append(leafData: Uint8Array): readonly Write[];
  /** The root over all leaves appended so far. */
  root(): Uint8Array;
  /** All that was appended is durable now. */
  settle(): void;
  /** The first `width` hashes of a tile. @throws Error when the durable log does not reach that far. */
  tile(level: number, index: number, width: number): Promise<Uint8Array>;
}

/** Rebuilds the log of `size` leaves from its records. @throws Error naming a record that is absent or damaged. */
export async function openOwnLog(store: Store, size: number): Promise<OwnLog> {
  const edges = await readEdges(store, size);
  let leaves = size;
  let durable = size;
  /** Tiles that became full and are not stored yet, by key. */
  const pending = new Map<string, Uint8Array>();
  return {
    size: () => leaves,
    append(leafData) {
      const writes: Write[] = [];
      const hash = leafHash(leafData);
      writes.push({ type: 'put', key: keys.leaf(leaves), value: hash });
      leaves += 1;
      push(edges, hash, leaves, (key, tile) => {
        writes.push({ type: 'put', key, value: tile });
        pending.set(key, tile);
      });
      if (leaves % TILE_WIDTH === 0) {
        for (let back = 1; back <= TILE_WIDTH; back++)
          writes.push({ type: 'del', key: keys.leaf(leaves - back) });
      }
      return writes;
    },
    settle() {
      durable = leaves;
      pending.clear();
    },
    root: () => rootOf(edges),
    async tile(level, index, width) {
      if (index * TILE_WIDTH + width > Math.floor(durable / TILE_WIDTH ** level)) {
        throw new Error(`the log has no tile ${level}/${index} of width ${width} yet`);
      }
      const full = Math.floor(leaves / TILE_WIDTH ** (level + 1));
      if (index === full) return concat((edges[level] ?? []).slice(0, width));
      const tile = pending.get(keys.tile(level, index)) ?? (await readTile(store, level, index));
      return tile.subarray(0, width * HASH_LENGTH);
    },
  };
}

/** Puts a hash at the end of level 0 and moves what became full up a level. */
function push(
  edges: Uint8Array[][],
  leaf: Uint8Array,
  leaves: number,
  keep: (key: string, tile: Uint8Array) => void,
): void {
  let hash = leaf;
  for (let level = 0, count = leaves; ; level++, count /= TILE_WIDTH) {
    edges[level] ??= [];
    const edge = edges[level]!;
    edge.push(hash);
    if (edge.length < TILE_WIDTH) return;
    const tile = concat(edge);
    keep(keys.tile(level, count / TILE_WIDTH - 1), tile);
    hash = tileHash(tile);
    edges[level] = [];
  }
}

async function readEdges(store: Store, size: number): Promise<Uint8Array[][]> {
  const edges: Uint8Array[][] = [[]];
  const first = size - (size % TILE_WIDTH);
  const leafKeys = Array.from({ length: size - first }, (_, offset) => keys.leaf(first + offset));
  edges[0] = (await store.getMany(leafKeys)).map((hash, offset) => present(hash, leafKeys[offset]!));
  for (
    let level = 1, count = first / TILE_WIDTH;
    count > 0;
    level++, count = Math.floor(count / TILE_WIDTH)
  ) {
    const start = count - (count % TILE_WIDTH);
    const edge: Uint8Array[] = [];
    for (let index = start; index < count; index++) {
      edge.push(tileHash(await readTile(store, level - 1, index)));
    }
    edges[level] = edge;
  }
  return edges;
}

async function readTile(store: Store, level: number, index: number): Promise<Uint8Array> {
  const key = keys.tile(level, index);
  return present(await store.get(key), key);
}

function present(value: Uint8Array | undefined, key: string): Uint8Array {
  if (!value)
    throw new Error(`the log's record ${key} is absent; restore the directory, or rebuild it from a mirror`);
  return value;
}

/** RFC 6962 root from the edges: perfect subtrees from the smallest, at the right, to the largest. */
function rootOf(edges: readonly (readonly Uint8Array[])[]): Uint8Array {
  let root: Uint8Array | undefined;
  for (const edge of edges) {
    for (let end = edge.length, width = 1; end > 0; width *= 2) {
      if ((end & width) === 0) continue;
      const subtree = tileHash(concat(edge.slice(end - width, end)));
      root = root ? nodeHash(subtree, root) : subtree;
      end -= width;
    }
  }
  return root ?? emptyRoot;
}

function concat(hashes: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(hashes.length * HASH_LENGTH);
  for (const [index, hash] of hashes.entries()) bytes.set(hash, index * HASH_LENGTH);
  return bytes;
}
