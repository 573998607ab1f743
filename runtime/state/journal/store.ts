/**
 * The one LevelDB of a gateway. Every value carries a checksum, because LevelDB 1.20 hands out a flipped byte
 * without a word. A failed write leaves LevelDB refusing all others, so it is opened anew before the same
 * batch is tried again.
 */
import { Level } from 'level';
import { sha256 } from '#sha256';
import { equalBytes } from '../../core/encoding/cbor.ts';

const CHECKSUM_BYTES = 8;

/** One change of the store; a list of them is written as a whole or not at all. */
export type Write =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: string };

/** A record whose bytes are not those that were written. */
export interface DamagedRecord extends Error {
  readonly name: 'DamagedRecord';
  readonly key: string;
}

export interface KeyRange {
  readonly from: string;
  /** Not included. */
  readonly to: string;
  readonly reverse?: boolean;
  readonly limit?: number;
}

export interface Store {
  get(key: string): Promise<Uint8Array | undefined>;
  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]>;
  entries(range: KeyRange): AsyncIterable<readonly [string, Uint8Array]>;
  /** Bytes of each value in the range, in order; checksums are left unchecked, since what is dropped may be damaged. */
  lengths(range: KeyRange): AsyncIterable<readonly [string, number]>;
  /** Durable (fsync) when it resolves. */
  write(writes: readonly Write[]): Promise<void>;
  /** Closes and opens LevelDB, after a write that failed. */
  reopen(): Promise<void>;
  /** Bytes on disk of all files, roughly. */
  size(): Promise<number>;
  close(): Promise<void>;
}

export function damagedRecord(key: string, why: string): DamagedRecord {
  const message = `journal record ${key} is damaged: ${why}`;
  return Object.assign(new Error(message), { name: 'DamagedRecord' as const, key });
}

/** `value` with its checksum behind it, as it is stored. */
export function withChecksum(value: Uint8Array): Uint8Array {
  const stored = new Uint8Array(value.length + CHECKSUM_BYTES);
  stored.set(value);
  stored.set(sha256(value).subarray(0, CHECKSUM_BYTES), value.length);
  return stored;
}

/** The value within `stored`. @throws DamagedRecord when the checksum is not its own. */
export function withoutChecksum(key: string, stored: Uint8Array): Uint8Array {
  const end = stored.length - CHECKSUM_BYTES;
  if (end < 0) throw damagedRecord(key, `${stored.length} bytes, too few to hold a checksum`);
  // A plain Uint8Array: a Buffer's slice() would share its memory with whoever takes a part of it.
  const value = new Uint8Array(stored.buffer, stored.byteOffset, end);
  if (!equalBytes(sha256(value).subarray(0, CHECKSUM_BYTES), stored.subarray(end))) {
    throw damagedRecord(key, 'its checksum does not match');
  }
  return value;
}

/**
 * Opens the LevelDB in `directory`.
 * @param mode `create` makes it when absent; `existing` refuses instead.
 * @throws Error naming the directory and what to do: locked by another process, not permitted, damaged.
 */
export async function openStore(directory: string, mode: 'create' | 'existing'): Promise<Store> {
  let level = await openLevel(directory, mode);
  return {
    async get(key) {
      const stored = await level.get(key);
      return stored === undefined ? undefined : withoutChecksum(key, stored);
    },
    async getMany(keys) {
      const stored = await level.getMany([...keys]);
      return stored.map((value, index) =>
        value === undefined ? undefined : withoutChecksum(keys[index]!, value),
      );
    },
    async *entries({ from, to, reverse = false, limit = -1 }) {
      for await (const [key, stored] of level.iterator({ gte: from, lt: to, reverse, limit })) {
        yield [key, withoutChecksum(key, stored)] as const;
      }
    },
    async *lengths({ from, to, reverse = false, limit = -1 }) {
      for await (const [key, stored] of level.iterator({ gte: from, lt: to, reverse, limit })) {
        yield [key, Math.max(0, stored.length - CHECKSUM_BYTES)] as const;
      }
    },
    async write(writes) {
      await level.batch(
        writes.map((write) =>
          write.type === 'put'
            ? { type: 'put' as const, key: write.key, value: withChecksum(write.value) }
            : { type: 'del' as const, key: write.key },
        ),
        { sync: true },
      );
    },
    async reopen() {
      await level.close();
      level = await openLevel(directory, 'existing');
    },
    size: () => sizeOf(level),
    close: () => level.close(),
  };
}

type Database = Level<string, Uint8Array>;

async function openLevel(directory: string, mode: 'create' | 'existing'): Promise<Database> {
  const level: Database = new Level(directory, { valueEncoding: 'view', createIfMissing: mode === 'create' });
  try {
    await level.open();
    return level;
  } catch (error) {
    throw explainOpen(directory, error);
  }
}

function explainOpen(directory: string, error: unknown): Error {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const text = cause instanceof Error ? cause.message : String(cause);
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const because = { cause: error };
  if (code === 'LEVEL_LOCKED') {
    return new Error(
      `the journal in ${directory} is in use by another kosmos process; stop that one, or give this one a directory of its own`,
      because,
    );
  }
  if (/permission denied/i.test(text)) {
    return new Error(
      `the journal in ${directory} belongs to another user (permission denied); run as that user, or change the owner of the directory`,
      because,
    );
  }
  if (/does not exist/i.test(text)) return new Error(`there is no journal in ${directory}`, because);
  return new Error(`the journal in ${directory} cannot be opened: ${text}`, because);
}

async function sizeOf(level: Database): Promise<number> {
  // The root database is a classic-level under Node; level's type covers browsers, which lack approximateSize.
  if ('approximateSize' in level && typeof level.approximateSize === 'function') {
    return Number(await level.approximateSize('', '\uffff'));
  }
  return 0;
}
