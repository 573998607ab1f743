/** Somebody else's tree: tiles and leaves that are fetched, bounded, and believed only as far as a root confirms. */

import { equalBytes } from '../../core/encoding/cbor.ts';
import { decodeBundle } from '../../core/log/bundle.ts';
import { planEvidence } from '../../core/log/evidence.ts';
import { emptyRoot, HASH_LENGTH, leafHash } from '../../core/log/hash.ts';
import { consistencyProof, type HashReader, readProof } from '../../core/log/proof.ts';
import { formatTilePath, hashReaderFromTiles, TILE_WIDTH, tileWidth } from '../../core/log/tiles.ts';
import { createFrontier, type FrontierState } from '../../core/log/tree.ts';
import { consistencyFault, rebuildPrefix } from '../../core/log/verify.ts';
import { eachOf } from './limits.ts';

/** A tree that somebody has signed. */
export interface Head {
  readonly size: number;
  readonly root: Uint8Array;
}

/** Gives what lies at a path of C2SP tlog-tiles, without a leading slash; rejects when it does not get it in time. */
export type Fetch = (path: string) => Promise<Uint8Array>;

/** The longest leaf that is taken from another log, in bytes: leaf data has a fixed, small form. */
export const MAX_LEAF_BYTES = 64;
const MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_LEAF_BYTES);

/** Tiles of one tree that are kept while it is worked on: its right edge is needed again and again. */
const CACHED_TILES = 32;

/** Reads hashes of the tree of `size` leaves from fetched tiles. */
export function fetchedHashes(size: number, fetch: Fetch): HashReader {
  const cache = new Map<string, Promise<Uint8Array>>();
  return hashReaderFromTiles(size, (level, index, width) => {
    const path = formatTilePath({ level, index, width });
    const known = cache.get(path);
    if (known) return known;
    if (cache.size >= CACHED_TILES) cache.delete(cache.keys().next().value!);
    const tile = fetchCut(fetch, { level, index, width }).then((bytes) => {
      if (bytes.length !== width * HASH_LENGTH)
        throw new Error(`${path} has ${bytes.length} bytes, not ${width * HASH_LENGTH}`);
      return bytes;
    });
    cache.set(path, tile);
    return tile;
  });
}

/** A partial tile may be gone where the full one is: then its beginning will do (C2SP tlog-tiles, "Partial Tiles"). */
async function fetchCut(
  fetch: Fetch,
  tile: { readonly level: number; readonly index: number; readonly width: number },
): Promise<Uint8Array> {
  if (tile.width === TILE_WIDTH) return fetch(formatTilePath(tile));
  try {
    return await fetch(formatTilePath(tile));
  } catch (error) {
    const full = await fetch(formatTilePath({ ...tile, width: TILE_WIDTH })).catch(() => undefined);
    if (full?.length !== TILE_WIDTH * HASH_LENGTH) throw error;
    return full.subarray(0, tile.width * HASH_LENGTH);
  }
}

/** The first `width` leaves of the index-th 256, as they were sent: nothing about them is verified. */
export async function fetchLeaves(fetch: Fetch, index: number, width: number): Promise<Uint8Array[]> {
  const path = (w: number) => formatTilePath({ level: 'entries', index, width: w });
  const get = async (w: number) => {
    const bytes = await fetch(path(w));
    if (bytes.length > MAX_BUNDLE_BYTES)
      throw new Error(`${path(w)} has ${bytes.length} bytes, more than ${MAX_BUNDLE_BYTES}`);
    const leaves = decodeBundle(bytes, w);
    const long = leaves.find((leaf) => leaf.length > MAX_LEAF_BYTES);
    if (long) throw new Error(`${path(w)} has a leaf of ${long.length} bytes`);
    return leaves;
  };
  if (width === TILE_WIDTH) return get(width);
  try {
    return await get(width);
  } catch (error) {
    const full = await get(TILE_WIDTH).catch(() => undefined);
    if (!full) throw error;
    return full.slice(0, width);
  }
}

export interface Wanted {
  /** The right edge of what is there already. */
  readonly from: FrontierState;
  readonly target: Head;
  readonly fetch: Fetch;
  /** Bundles a batch: what is in memory at a time, and durable in one write. */
  readonly batch?: number;
  /** Requests at a time. */
  readonly inFlight?: number;
}

/** Leaves that stand in the target's tree, and the right edge behind them. */
export interface Verified {
  readonly leaves: readonly Uint8Array[];
  readonly frontier: FrontierState;
}

const BATCH = 16;
const IN_FLIGHT = 4;

/**
 * The leaves from `from` to the target, batch by batch, each verified before it is handed out: the tree that
 * ends with it begins the target's. @throws Error when something is not given, or is not what the root covers.
 */
export async function* verifiedLeaves(wanted: Wanted): AsyncGenerator<Verified> {
  const { target, fetch, batch = BATCH, inFlight = IN_FLIGHT } = wanted;
  const frontier = createFrontier(wanted.from);
  const hashes = fetchedHashes(target.size, fetch);
  while (frontier.size < target.size) {
    const first = Math.floor(frontier.size / TILE_WIDTH);
    const last = Math.min(first + batch, Math.ceil(target.size / TILE_WIDTH));
    const indices = Array.from({ length: last - first }, (_, offset) => first + offset);
    const bundles = await eachOf(indices, inFlight, (index) =>
      fetchLeaves(fetch, index, tileWidth('entries', index, target.size)),
    );
    const leaves = bundles.flat().slice(frontier.size - first * TILE_WIDTH);
    for (const leaf of leaves) frontier.append(leafHash(leaf));
    const fault = await prefixFault({ size: frontier.size, root: frontier.root() }, target, hashes);
    if (fault) throw new Error(`the leaves up to ${frontier.size} are not those of the checkpoint: ${fault}`);
    yield { leaves, frontier: { size: frontier.size, hashes: frontier.hashes } };
  }
}

async function prefixFault(prefix: Head, target: Head, hashes: HashReader): Promise<string | undefined> {
  if (prefix.size === target.size)
    return equalBytes(prefix.root, target.root) ? undefined : 'they lead to another root';
  const proof = await consistencyProof(prefix.size, target.size, hashes);
  return consistencyFault(prefix.size, target.size, proof, prefix.root, target.root);
}

/** What two signed trees of one log are to each other. */
export type Comparison =
  | { readonly kind: 'consistent' }
  /** With the hashes that evidence needs. */
  | { readonly kind: 'contradiction'; readonly lines: readonly Uint8Array[] }
  /** The larger tree's nodes were not given. */
  | { readonly kind: 'unknown'; readonly reason: string };

/** Compares trees of two sizes by the larger one's nodes, of which nothing is believed but what leads to its root. */
export async function compareTrees(a: Head, b: Head, fetch: Fetch): Promise<Comparison> {
  const [smaller, larger] = a.size <= b.size ? [a, b] : [b, a];
  if (smaller.size === larger.size || smaller.size === 0) {
    const expected = smaller.size === larger.size ? larger.root : emptyRoot;
    if (equalBytes(smaller.root, expected)) return { kind: 'consistent' };
    return { kind: 'contradiction', lines: [] };
  }
  try {
    const hashes = fetchedHashes(larger.size, fetch);
    const lines = await readProof(planEvidence(smaller.size, larger.size), hashes);
    const rebuilt = rebuildPrefix(smaller.size, larger.size, lines);
    if ('fault' in rebuilt) return { kind: 'unknown', reason: rebuilt.fault };
    if (!equalBytes(rebuilt.root, larger.root))
      return { kind: 'unknown', reason: 'the tiles are of another tree' };
    if (equalBytes(rebuilt.subtreeRoot, smaller.root)) return { kind: 'consistent' };
    return { kind: 'contradiction', lines };
  } catch (error) {
    return { kind: 'unknown', reason: (error as Error).message };
  }
}
