/** Another gateway's log, kept beside the journal's own: its tiles and leaves, and how far they reach. */
import { decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, list, safeInteger } from '../../core/encoding/fields.ts';
import { TILE_WIDTH } from '../../core/log/tiles.ts';
import type { FrontierState } from '../../core/log/tree.ts';
import { behind, type LogKeys, logKeys } from './keys.ts';
import { createRefillable, type Refillable } from './refill.ts';
import type { DamagedRecord, Store, Write } from './store.ts';
import { openTreeLog, type TreeLog } from './tree-log.ts';

export interface MirrorLog {
  /** The right edge of what is durable. */
  frontier(): FrontierState;
  /** What was kept with the leaves when last something was. */
  note(): Uint8Array | undefined;
  /**
   * Resolves when the leaves are durable, and `note` with them. What they lead to has been verified before: a
   * mirror never takes a leaf back. One call at a time.
   */
  append(leaves: readonly Uint8Array[], note?: Uint8Array): Promise<void>;
  /** As TreeLog's. */
  tile(level: number, index: number, width: number): Promise<Uint8Array>;
  leaves(index: number, width: number): Promise<readonly Uint8Array[]>;
  /** Takes back what damage has taken. */
  readonly refillable: Refillable;
}

const MIRRORS = 'mirror/';
const EMPTY: FrontierState = { size: 0, hashes: [] };

/**
 * @param write makes records durable, at once when `urgent`, or rejects and has written none of them. Where the
 *   record of how far the mirror reaches is damaged, it begins anew: the owner still has what is in it.
 */
export async function openMirrorLog(
  store: Store,
  name: string,
  write: (writes: readonly Write[], urgent: boolean) => Promise<void>,
): Promise<MirrorLog> {
  const keys = logKeys(`${MIRRORS}${name}/`);
  const stateKey = `${keys.prefix}state`;
  const noteKey = `${keys.prefix}note`;
  const stored = await getUndamaged(store, stateKey);
  let durable = stored ? decodeFrontier(stored) : EMPTY;
  let note = stored ? await getUndamaged(store, noteKey) : undefined;
  let log: TreeLog = await openTreeLog(store, keys, durable);

  return {
    frontier: () => durable,
    note: () => note,
    async append(leaves, newNote) {
      const writes = collapse(leaves.flatMap((leaf) => log.append(leaf)));
      const frontier = log.frontier();
      writes.push({ type: 'put', key: stateKey, value: encodeFrontier(frontier) });
      if (newNote) writes.push({ type: 'put', key: noteKey, value: newNote });
      try {
        // A few leaves wait for the next commit, so that they cost no write of their own.
        await write(writes, leaves.length >= TILE_WIDTH);
      } catch (error) {
        // What is in memory is ahead of what is durable: back to that.
        log = await openTreeLog(store, keys, durable);
        throw error;
      }
      log.settle();
      durable = frontier;
      note = newNote ?? note;
    },
    tile: (level, index, width) => log.tile(level, index, width),
    leaves: (index, width) => log.leaves(index, width),
    refillable: createRefillable({
      store,
      log: () => log,
      frontier: () => durable,
      mark: markOf(keys),
      write: (writes) => write(writes, true),
    }),
  };
}

const markOf = ({ prefix }: LogKeys) => `${prefix}holes`;

/** Marks the mirrors in a store that lack records, so that these are fetched again. */
export async function markMirrors(store: Store): Promise<readonly Write[]> {
  const writes: Write[] = [];
  for (let from = MIRRORS; ; ) {
    const key = await store.firstKey({ from, to: behind(MIRRORS) });
    if (key === undefined) return writes;
    const keys = logKeys(`${MIRRORS}${key.split('/')[1]}/`);
    from = behind(keys.prefix);
    const stored = await getUndamaged(store, `${keys.prefix}state`);
    if (!stored) continue;
    const holes = await (await openTreeLog(store, keys, decodeFrontier(stored))).holes();
    const value = new TextEncoder().encode(holes.map(({ level, index }) => `${level}/${index}`).join('\n'));
    if (holes.length > 0) writes.push({ type: 'put', key: markOf(keys), value });
  }
}

async function getUndamaged(store: Store, key: string): Promise<Uint8Array | undefined> {
  try {
    return await store.get(key);
  } catch (error) {
    if ((error as DamagedRecord).name !== 'DamagedRecord') throw error;
    return undefined;
  }
}

/** Leaves whose bundle fills up in the same batch need no records of their own. */
function collapse(writes: readonly Write[]): Write[] {
  const last = new Map<string, Write>();
  for (const write of writes) {
    if (write.type === 'del' && last.has(write.key)) last.delete(write.key);
    else last.set(write.key, write);
  }
  return [...last.values()];
}

function encodeFrontier({ size, hashes }: FrontierState): Uint8Array {
  return encodeCbor([size, [...hashes]]);
}

/** @throws DecodeError for bytes that are no right edge. */
export function decodeFrontier(bytes: Uint8Array): FrontierState {
  const what = 'frontier of a mirror';
  const fields = fieldsOf(decodeCbor(bytes), 2, what);
  return {
    size: safeInteger(fields[0], what),
    hashes: list(fields[1], 64, what).map((hash) => byteString(hash, what, 32)),
  };
}
