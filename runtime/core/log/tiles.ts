import { HASH_LENGTH, nodeHash } from './hash.ts';
import type { HashReader, SyncHashReader } from './proof.ts';
import { assertSize, isPowerOfTwo, isSize } from './size.ts';
import { quote } from './text.ts';

/** Hashes in a full tile (C2SP tlog-tiles): a tile is a subtree of height 8 without its inner nodes. */
export const TILE_WIDTH = 256;
const TILE_HEIGHT = 8;
const MAX_TILE_LEVEL = 63;

/** A tile of a log, or a bundle of its entries. */
export interface Tile {
  /** 0 for leaf hashes, up to 63; 'entries' for the entries themselves. */
  readonly level: number | 'entries';
  /** Counted from the left of its level. */
  readonly index: number;
  /** 1 to 256; less than 256 makes it a partial tile. */
  readonly width: number;
}

/** `tile/<L>/<N>[.p/<W>]`, where 1234067 is written x001/x234/067. Throws for a tile that cannot be. */
export function formatTilePath(tile: Tile): string {
  assertTile(tile);
  let path = digits(tile.index % 1000);
  for (let rest = Math.floor(tile.index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${digits(rest % 1000)}/${path}`;
  }
  return `tile/${tile.level}/${path}${tile.width === TILE_WIDTH ? '' : `.p/${tile.width}`}`;
}

/** The tile that a path names, without a leading slash. Undefined unless it is the one path of that tile. */
export function parseTilePath(path: string): Tile | undefined {
  const match = /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/.exec(
    path,
  );
  if (match === null) return undefined;
  const [, level, index, width] = match;
  const tile: Tile = {
    level: level === 'entries' ? level : Number(level),
    index: Number(index?.replace(/[x/]/g, '')),
    width: width === undefined ? TILE_WIDTH : Number(width),
  };
  return isTile(tile) && formatTilePath(tile) === path ? tile : undefined;
}

/** How many hashes wide a tile is in the tree of `size` leaves: 0 if that tree does not have it. */
export function tileWidth(level: number | 'entries', index: number, size: number): number {
  const hashes = hashesAt(level === 'entries' ? 0 : level, size) - index * TILE_WIDTH;
  return Math.max(0, Math.min(TILE_WIDTH, hashes));
}

/**
 * The tiles, full and partial, that a tree of `size` leaves has and one of `oldSize` leaves has not: what
 * is to be written when it has grown. From `oldSize` 0, all tiles. Entry bundles are those of level 0.
 */
export function* newTiles(oldSize: number, size: number): Generator<Tile & { readonly level: number }> {
  assertSize(oldSize, 'the old size');
  assertSize(size, 'the size of the tree');
  for (let level = 0; hashesAt(level, size) > 0; level++) {
    const before = hashesAt(level, oldSize);
    const now = hashesAt(level, size);
    if (before >= now) continue;
    for (let index = Math.floor(before / TILE_WIDTH); index * TILE_WIDTH < now; index++) {
      yield { level, index, width: tileWidth(level, index, size) };
    }
  }
}

/** All tiles of a tree of `size` leaves. */
export function tilesOf(size: number): Generator<Tile & { readonly level: number }> {
  return newTiles(0, size);
}

/** Where the root of a complete subtree comes from: `count` hashes of one tile, from `offset` on. */
export interface TileSlice {
  readonly level: number;
  readonly index: number;
  readonly offset: number;
  /** A power of two, 1 to 128. */
  readonly count: number;
}

/** The hashes that fold into the root of the index-th complete subtree of 2^level leaves. */
export function tileSlice(level: number, index: number): TileSlice {
  const tileLevel = Math.floor(level / TILE_HEIGHT);
  const count = 2 ** (level % TILE_HEIGHT);
  const first = index * count;
  return { level: tileLevel, index: Math.floor(first / TILE_WIDTH), offset: first % TILE_WIDTH, count };
}

/** Hashes of 32 bytes side by side, as a tile holds them. */
export function joinHashes(hashes: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(hashes.length * HASH_LENGTH);
  for (const [index, hash] of hashes.entries()) bytes.set(hash, index * HASH_LENGTH);
  return bytes;
}

/** The root over a power of two of hashes, 32 bytes each, side by side: what a full tile is one level up. */
export function tileHash(hashes: Uint8Array): Uint8Array {
  const count = hashes.length / HASH_LENGTH;
  if (!Number.isInteger(count) || !isPowerOfTwo(count)) {
    throw new RangeError(`${hashes.length} bytes are not a power of two of hashes`);
  }
  let level = Array.from({ length: count }, (_, i) =>
    hashes.subarray(i * HASH_LENGTH, (i + 1) * HASH_LENGTH),
  );
  while (level.length > 1) {
    level = Array.from({ length: level.length / 2 }, (_, i) => nodeHash(level[2 * i]!, level[2 * i + 1]!));
  }
  // A copy, so that 32 bytes do not keep a whole tile; a Buffer's own slice would be a view.
  return new Uint8Array(level[0]!);
}

/** Gives the bytes of a tile, `width` x 32 of them; throws if it cannot. */
export type SyncTileSource = (level: number, index: number, width: number) => Uint8Array;
export type TileSource = (level: number, index: number, width: number) => Uint8Array | Promise<Uint8Array>;

/**
 * A hash reader over the tiles of a tree of `size` leaves. Each tile is asked for once for every proof
 * line that needs it; a source over a slow store keeps its own cache. What is read is not verified: a proof
 * made of it is, against a root.
 */
export function hashReaderFromTiles(size: number, source: SyncTileSource): SyncHashReader;
export function hashReaderFromTiles(size: number, source: TileSource): HashReader;
export function hashReaderFromTiles(size: number, source: TileSource): HashReader {
  assertSize(size, 'the size of the tree');
  return (level, index) => {
    const slice = tileSlice(level, index);
    const width = tileWidth(slice.level, slice.index, size);
    if (slice.offset + slice.count > width) {
      throw new RangeError(`a tree of ${size} leaves has no complete subtree ${level}/${index}`);
    }
    const bytes = source(slice.level, slice.index, width);
    return bytes instanceof Uint8Array
      ? foldSlice(slice, width, bytes)
      : bytes.then((b) => foldSlice(slice, width, b));
  };
}

function foldSlice(slice: TileSlice, width: number, bytes: Uint8Array): Uint8Array {
  if (bytes.length !== width * HASH_LENGTH) {
    const path = formatTilePath({ level: slice.level, index: slice.index, width });
    throw new Error(`${path} has ${bytes.length} bytes, not ${width * HASH_LENGTH}`);
  }
  return tileHash(bytes.subarray(slice.offset * HASH_LENGTH, (slice.offset + slice.count) * HASH_LENGTH));
}

/** How many hashes a whole level of tiles has. */
function hashesAt(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** level);
}

function isTile({ level, index, width }: Tile): boolean {
  const levelFits = level === 'entries' || (Number.isInteger(level) && level >= 0 && level <= MAX_TILE_LEVEL);
  return levelFits && isSize(index) && Number.isInteger(width) && width >= 1 && width <= TILE_WIDTH;
}

function assertTile(tile: Tile): void {
  if (isTile(tile)) return;
  throw new RangeError(`there is no tile ${quote(`${tile.level}/${tile.index}`)} of width ${tile.width}`);
}

function digits(n: number): string {
  return n.toString().padStart(3, '0');
}
