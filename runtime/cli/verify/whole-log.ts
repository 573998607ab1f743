/** Reads a whole log and checks it: each leaf against its tile, each tile against those below, the root. */
import { equalBytes } from '../../core/encoding/cbor.ts';
import { decodeBundle, MAX_ENTRY_BYTES } from '../../core/log/bundle.ts';
import type { Checkpoint } from '../../core/log/checkpoint.ts';
import { HASH_LENGTH, leafHash } from '../../core/log/hash.ts';
import { formatTilePath, TILE_WIDTH, type Tile, tileHash, tileWidth } from '../../core/log/tiles.ts';
import { createFrontier } from '../../core/log/tree.ts';
import { broken } from './broken.ts';
import type { LogClient } from './fetch.ts';

/** Requests on their way at a time. */
const AT_ONCE = 8;
const MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES);

export interface WholeLog {
  readonly leaves: number;
  readonly tiles: number;
}

/** @throws Broken naming the first thing that does not fit; Problem when something cannot be had. */
export async function checkWholeLog(
  client: LogClient,
  { size, root }: Checkpoint,
  progress: (done: number) => void,
): Promise<WholeLog> {
  const frontier = createFrontier();
  const rows: Uint8Array[][] = [];
  const bundles = Math.ceil(size / TILE_WIDTH);
  let tiles = 0;

  /** Compares a row of hashes with its tile, and gives its hash to the row above when it is full. */
  async function settle(
    level: number,
    index: number,
    row: readonly Uint8Array[],
    stored: Promise<Uint8Array>,
  ) {
    const path = formatTilePath({ level, index, width: row.length });
    if (!equalBytes(await stored, Buffer.concat(row))) {
      throw broken(`${path}: it is not made of the ${level === 0 ? 'leaves' : 'tiles'} below it`);
    }
    tiles += 1;
    if (row.length < TILE_WIDTH) return;
    rows[level + 1] ??= [];
    const above = rows[level + 1]!;
    above.push(tileHash(Buffer.concat(row)));
    if (above.length < TILE_WIDTH) return;
    rows[level + 1] = [];
    const next = Math.floor(index / TILE_WIDTH);
    await settle(level + 1, next, above, tile(client, { level: level + 1, index: next, width: TILE_WIDTH }));
  }

  const ahead: Promise<readonly [Uint8Array, Uint8Array]>[] = [];
  let asked = 0;
  const ask = () => {
    const index = asked++;
    const width = tileWidth(0, index, size);
    const both = Promise.all([bundle(client, index, width), tile(client, { level: 0, index, width })]);
    // Whoever awaits it hears of a failure; until then it must not count as nobody's.
    both.catch(() => undefined);
    ahead.push(both);
  };
  for (let index = 0; index < bundles; index++) {
    while (asked < bundles && ahead.length < AT_ONCE / 2) ask();
    const [data, hashes] = await ahead.shift()!;
    const width = tileWidth(0, index, size);
    const row = leavesOf(data, index, width).map(leafHash);
    for (const hash of row) frontier.append(hash);
    await settle(0, index, row, Promise.resolve(hashes));
    progress(Math.min(size, (index + 1) * TILE_WIDTH));
  }
  for (const [level, row] of rows.entries()) {
    if (level === 0 || row === undefined || row.length === 0) continue;
    const index = Math.floor(Math.floor(size / TILE_WIDTH ** level) / TILE_WIDTH);
    await settle(level, index, row, tile(client, { level, index, width: row.length }));
  }
  if (!equalBytes(frontier.root(), root))
    throw broken('the leaves do not lead to the root of the checkpoint');
  return { leaves: size, tiles };
}

/** A tile's bytes. @throws Broken when it has another length. */
export async function tile(client: LogClient, wanted: Tile): Promise<Uint8Array> {
  const path = formatTilePath(wanted);
  const length = wanted.width * HASH_LENGTH;
  const bytes = await client.get(path, TILE_WIDTH * HASH_LENGTH);
  if (bytes.length !== length) throw broken(`${path}: ${bytes.length} bytes instead of ${length}`);
  return bytes;
}

function bundle(client: LogClient, index: number, width: number): Promise<Uint8Array> {
  return client.get(formatTilePath({ level: 'entries', index, width }), MAX_BUNDLE_BYTES);
}

function leavesOf(data: Uint8Array, index: number, width: number): readonly Uint8Array[] {
  try {
    return decodeBundle(data, width);
  } catch (error) {
    throw broken(`${formatTilePath({ level: 'entries', index, width })}: ${(error as Error).message}`);
  }
}
