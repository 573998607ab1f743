/**
 * The one LevelDB of a gateway. Every value carries a checksum, because LevelDB 1.20 hands out a flipped byte
 * without a word. A failed write leaves LevelDB refusing all others, so it is opened anew before the same
 * batch is tried again.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Level } from 'level';
import { sha256 } from '#sha256';
import { equalBytes } from '../../core/encoding/cbor.ts';

const CHECKSUM_BYTES = 8;
const encoder = new TextEncoder();

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
  /** The keys in the range, in order. */
  names(range: KeyRange): AsyncIterable<string>;
  /** Every record as it is stored, checksum unchecked, in order of the keys. */
  raw(): AsyncIterable<readonly [Uint8Array, Uint8Array]>;
  /** Takes records away whose keys may be no text. */
  removeRaw(keys: readonly Uint8Array[]): Promise<void>;
  /** Durable (fsync) when it resolves. */
  write(writes: readonly Write[]): Promise<void>;
  /** Closes and opens LevelDB, after a write that failed. */
  reopen(): Promise<void>;
  /** The first key of the range, or the last one in `reverse`. */
  firstKey(range: KeyRange): Promise<string | undefined>;
  /** Rewrites the files of the range, so that what was deleted there takes no room any more. */
  compact(range: KeyRange): Promise<void>;
  /** Bytes on disk of all files. */
  size(): Promise<number>;
  close(): Promise<void>;
}

export function damagedRecord(key: string, why: string): DamagedRecord {
  const message = `journal record ${key} is damaged: ${why}`;
  return Object.assign(new Error(message), { name: 'DamagedRecord' as const, key });
}

/** `value` with its checksum behind it, as it is stored. The key counts, so that no record passes for another. */
export function withChecksum(key: string, value: Uint8Array): Uint8Array {
  const stored = new Uint8Array(value.length + CHECKSUM_BYTES);
  stored.set(value);
  stored.set(checksum(key, value), value.length);
  return stored;
}

function checksum(key: string, value: Uint8Array): Uint8Array {
  const name = encoder.encode(key);
  const both = new Uint8Array(value.length + name.length);
  both.set(value);
  both.set(name, value.length);
  return sha256(both).subarray(0, CHECKSUM_BYTES);
}

/** The value within `stored`. @throws DamagedRecord when the checksum is not its own. */
export function withoutChecksum(key: string, stored: Uint8Array): Uint8Array {
  const end = stored.length - CHECKSUM_BYTES;
  if (end < 0) throw damagedRecord(key, `${stored.length} bytes, too few to hold a checksum`);
  // A plain Uint8Array: a Buffer's slice() would share its memory with whoever takes a part of it.
  const value = new Uint8Array(stored.buffer, stored.byteOffset, end);
  if (!equalBytes(checksum(key, value), stored.subarray(end)))
    throw damagedRecord(key, 'its checksum does not match');
  return value;
}

/**
 * Opens the LevelDB in `directory`.
 * @param mode `create` makes it when absent; `existing` refuses instead.
 * @param maxDiskBytes what its files may take: a small one has small files, since each is rewritten as a whole.
 * @throws Error naming the directory and what to do: locked by another process, not permitted, damaged.
 */
export async function openStore(
  directory: string,
  mode: 'create' | 'existing',
  maxDiskBytes = Number.POSITIVE_INFINITY,
): Promise<Store> {
  const shape = shapeFor(maxDiskBytes);
  let level = await openLevel(directory, mode, shape);
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
    async *names({ from, to, reverse = false, limit = -1 }) {
      yield* level.keys({ gte: from, lt: to, reverse, limit });
    },
    async *raw() {
      yield* level.iterator<Uint8Array, Uint8Array>({ keyEncoding: 'view' });
    },
    async removeRaw(keys) {
      const gone = keys.map((key) => ({ type: 'del' as const, key }));
      await level.batch<Uint8Array, Uint8Array>(gone, { sync: true, keyEncoding: 'view' });
    },
    async write(writes) {
      await level.batch(
        writes.map((write) =>
          write.type === 'put'
            ? { type: 'put' as const, key: write.key, value: withChecksum(write.key, write.value) }
            : { type: 'del' as const, key: write.key },
        ),
        { sync: true },
      );
    },
    async reopen() {
      await level.close();
      level = await openLevel(directory, 'existing', shape);
    },
    async firstKey({ from, to, reverse = false }) {
      for await (const key of level.keys({ gte: from, lt: to, reverse, limit: 1 })) return key;
      return undefined;
    },
    compact: ({ from, to }) => compact(level, from, to),
    size: () => sizeOf(directory),
    close: () => level.close(),
  };
}

type Database = Level<string, Uint8Array>;

/**
 * LevelDB's own repair: a new MANIFEST from the tables that can be read. Others it moves to a directory `lost`.
 * @throws Error naming the directory when that fails too.
 */
export async function repairStore(directory: string): Promise<void> {
  // As with compactRange: level is classic-level under Node.
  if (!('repair' in Level) || typeof Level.repair !== 'function')
    throw new Error('LevelDB cannot repair here');
  try {
    await Level.repair(directory);
  } catch (error) {
    throw explainOpen(directory, error);
  }
}

/** Sizes of LevelDB's write buffer (and so of a write-ahead file) and of its tables, in bytes. */
export interface Shape {
  readonly writeBufferSize: number;
  readonly maxFileSize: number;
}

const LARGEST: Shape = { writeBufferSize: 4 << 20, maxFileSize: 2 << 20 };
const SMALLEST = 256 << 10;

export function shapeFor(maxDiskBytes: number): Shape {
  const share = Math.max(SMALLEST, Math.floor(maxDiskBytes / 128));
  return {
    writeBufferSize: Math.min(LARGEST.writeBufferSize, share),
    maxFileSize: Math.min(LARGEST.maxFileSize, share),
  };
}

async function openLevel(directory: string, mode: 'create' | 'existing', shape: Shape): Promise<Database> {
  const options = { valueEncoding: 'view', createIfMissing: mode === 'create', ...shape };
  const level: Database = new Level(directory, options);
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
  const refused = new Error(`the journal in ${directory} cannot be opened: ${text}`, because);
  const damaged = /corrupt|missing files|not an sstable|no such file|bad |CURRENT|truncated/i.test(text);
  return damaged ? Object.assign(refused, { name: 'DamagedStore' }) : refused;
}

async function compact(level: Database, from: string, to: string): Promise<void> {
  // The root database is a classic-level under Node; level's type covers browsers, which have nothing to compact.
  if ('compactRange' in level && typeof level.compactRange === 'function') await level.compactRange(from, to);
}

async function sizeOf(directory: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(directory)) {
    // LevelDB takes files away while they are counted.
    bytes += await stat(join(directory, name)).then(
      (found) => found.size,
      () => 0,
    );
  }
  return bytes;
}
