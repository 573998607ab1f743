/**
 * The journal: blocks in arrival order, the log over them, durable cursors for those who read it, and sections
 * for other rooms, so that all of it commits in one batch.
 */
import type { z } from 'zod';
import { decodeBlock, encodeBlock, encodeLeaf, leafOf, MAX_BLOCK_ENTRIES } from '../../core/log/block.ts';
import { createCommitter } from './commit.ts';
import { keys } from './keys.ts';
import { createSection, type Section } from './section.ts';
import type { journalSettings } from './settings.ts';
import { decodeState, encodeState, type JournalState, NEW_STATE } from './state.ts';
import { openStore, type Store, type Write } from './store.ts';
import { type OwnLog, openOwnLog } from './tiles.ts';

export type JournalSettings = z.output<typeof journalSettings>;

/** Where an entry lies. Positions are compared by block, then by entry. */
export interface Position {
  readonly block: number;
  readonly entry: number;
}

/** A durable tree head, not yet signed. */
export interface TreeHead {
  readonly size: number;
  readonly root: Uint8Array;
}

export interface AppendOptions {
  /** Commit at once, not at the next interval: faults and maintenance entries. */
  readonly urgent?: boolean;
  /** Sections' records that belong to the entries. */
  readonly writes?: readonly Write[];
  /** Called before `append` returns when the entries were taken, not refused for want of room. */
  readonly taken?: () => void;
}

export interface Journal {
  /** Resolves when the entries are durable. @throws JournalFull when a full disk has used up the memory set aside. */
  append(entries: readonly Uint8Array[], options?: AppendOptions): Promise<void>;
  /** Makes sections' records durable, without a block. */
  write(writes: readonly Write[], options?: { readonly urgent?: boolean }): Promise<void>;
  section(name: string): Section;
  /** The entries of a block, or undefined when it was dropped or is not there yet. */
  block(index: number): Promise<readonly Uint8Array[] | undefined>;
  /** The durable tree head, or undefined for an empty log. */
  head(): TreeHead | undefined;
  tile(level: number, index: number, width: number): Promise<Uint8Array>;
  state(): JournalState;
  /** The first block that a consumer has not finished with. */
  cursor(name: string): Promise<Position>;
  moveCursor(name: string, position: Position): Promise<void>;
  /** Calls `listener` after each commit that made a block; the answer takes it off again. */
  onCommit(listener: (state: JournalState) => void): () => void;
  trouble(): string | undefined;
  close(): Promise<void>;
}

interface Work {
  readonly entries: readonly Uint8Array[];
  readonly writes: readonly Write[];
  readonly bytes: number;
}

const CLOSE_LIMIT_MS = 3000;

/**
 * Opens the journal in `directory` and makes it when there is none.
 * @throws Error naming the directory and what to do when it cannot be opened.
 */
export async function openJournal(directory: string, settings: JournalSettings): Promise<Journal> {
  const store = await openStore(directory, 'create');
  try {
    return await journalOver(store, settings);
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function journalOver(store: Store, settings: JournalSettings): Promise<Journal> {
  const stored = await store.get(keys.state);
  let durable = stored ? decodeState(stored) : NEW_STATE;
  const log = await openOwnLog(store, durable.blocks);
  let head: TreeHead | undefined =
    durable.blocks > 0 ? { size: durable.blocks, root: log.root() } : undefined;
  const cursors = new Map<string, Position>();
  const listeners = new Set<(state: JournalState) => void>();

  /** Everything that follows from a batch is worked out once; only the write is tried again. */
  function prepare(batch: readonly Work[]): () => Promise<void> {
    const sealed = seal(batch, durable, log);
    let retained: Sealed | undefined;
    return async () => {
      retained ??= await retain(store, durable, sealed, settings.maxBytes, drainedUpTo(cursors));
      await store.write(retained.writes);
      const grew = retained.state.blocks > durable.blocks;
      durable = retained.state;
      if (!grew) return;
      log.settle();
      head = retained.head;
      for (const listener of listeners) listener(durable);
    };
  }

  const committer = createCommitter<Work>(
    { intervalMs: settings.commitIntervalMs, maxPendingBytes: settings.maxPendingBytes },
    prepare,
    () => store.reopen(),
  );
  const submit = (
    entries: readonly Uint8Array[],
    writes: readonly Write[],
    urgent: boolean,
    taken?: () => void,
  ) => committer.submit({ entries, writes, bytes: sizeOf(entries, writes) }, urgent, taken);

  return {
    append: (entries, { urgent = false, writes = [], taken } = {}) => submit(entries, writes, urgent, taken),
    write: (writes, { urgent = true } = {}) => submit([], writes, urgent),
    section: (name) => createSection(store, name),
    async block(index) {
      if (index >= durable.blocks) return undefined;
      const bytes = await store.get(keys.block(index));
      return bytes && decodeBlock(bytes);
    },
    head: () => head,
    tile: (level, index, width) => log.tile(level, index, width),
    state: () => durable,
    async cursor(name) {
      const known = cursors.get(name) ?? decodeCursor(await store.get(keys.cursor(name)));
      const position = known.block < durable.first ? { block: durable.first, entry: 0 } : known;
      cursors.set(name, position);
      return position;
    },
    async moveCursor(name, position) {
      cursors.set(name, position);
      await submit([], [{ type: 'put', key: keys.cursor(name), value: encodeCursor(position) }], false);
    },
    onCommit(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    trouble: () => committer.trouble(),
    async close() {
      await committer.close(CLOSE_LIMIT_MS);
      await store.close();
    },
  };
}

interface Sealed {
  readonly writes: readonly Write[];
  readonly state: JournalState;
  readonly head: TreeHead | undefined;
}

/** Turns a batch into its blocks, their leaves and the records beside them. */
function seal(batch: readonly Work[], before: JournalState, log: OwnLog): Sealed {
  const records = new Map<string, Write>();
  for (const work of batch) for (const write of work.writes) records.set(write.key, write);
  const entries = batch.flatMap((work) => work.entries);
  if (entries.length === 0) return { writes: [...records.values()], state: before, head: undefined };
  const writes: Write[] = [];
  let { blocks, bytes } = before;
  for (let start = 0; start < entries.length; start += MAX_BLOCK_ENTRIES) {
    const part = entries.slice(start, start + MAX_BLOCK_ENTRIES);
    const block = encodeBlock(part);
    writes.push({ type: 'put', key: keys.block(blocks), value: block });
    writes.push(...log.append(encodeLeaf(leafOf(part))));
    blocks += 1;
    bytes += block.length;
  }
  writes.push(...records.values());
  const state = { ...before, blocks, bytes, entries: before.entries + entries.length };
  return { writes, state, head: { size: blocks, root: log.root() } };
}

/** One commit drops no more blocks than this, unless that would let the journal grow. */
const MAX_DROPPED = 4096;

/**
 * Drops the oldest blocks of a journal that is over its bound, and adds the state to what is written. Blocks
 * that a consumer has not read are dropped all the same, and counted.
 */
async function retain(
  store: Store,
  before: JournalState,
  sealed: Sealed,
  maxBytes: number,
  drained: number,
): Promise<Sealed> {
  if (!sealed.head) return sealed;
  const writes = [...sealed.writes];
  let { first, bytes, droppedUnread } = sealed.state;
  if (bytes > maxBytes) {
    const enough = bytes - 2 * (bytes - before.bytes);
    for await (const [key, length] of store.lengths({
      from: keys.block(first),
      to: keys.block(before.blocks),
    })) {
      writes.push({ type: 'del', key });
      if (first >= drained) droppedUnread += 1;
      first += 1;
      bytes -= length;
      if (bytes <= maxBytes || (first - before.first >= MAX_DROPPED && bytes <= enough)) break;
    }
  }
  const state = { ...sealed.state, first, bytes, droppedUnread };
  writes.push({ type: 'put', key: keys.state, value: encodeState(state) });
  return { writes, state, head: sealed.head };
}

function drainedUpTo(cursors: ReadonlyMap<string, Position>): number {
  return Math.min(Number.MAX_SAFE_INTEGER, ...[...cursors.values()].map((position) => position.block));
}

function sizeOf(entries: readonly Uint8Array[], writes: readonly Write[]): number {
  const inWrites = writes.reduce(
    (sum, write) => sum + write.key.length + (write.type === 'put' ? write.value.length : 0),
    0,
  );
  return entries.reduce((sum, entry) => sum + entry.length, inWrites);
}

function encodeCursor(position: Position): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(position.block));
  view.setBigUint64(8, BigInt(position.entry));
  return bytes;
}

function decodeCursor(bytes: Uint8Array | undefined): Position {
  if (!bytes) return { block: 0, entry: 0 };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return { block: Number(view.getBigUint64(0)), entry: Number(view.getBigUint64(8)) };
}
