/**
 * The journal: blocks in arrival order, the log over them, durable cursors for those who read it, and sections
 * for other rooms, so that all of it commits in one batch.
 */
import type { z } from 'zod';
import type { Sign1Signer } from '../../core/encoding/cose.ts';
import { encodeBundle } from '../../core/log/bundle.ts';
import { finishAdoption } from './adopt.ts';
import { type BlockRecord, decodeBlockRecord } from './block-record.ts';
import { createCommitter, journalFull } from './commit.ts';
import { createCursors, type Position } from './cursors.ts';
import type { DamageReport } from './damage-report.ts';
import { createDiskKeeper } from './disk.ts';
import { keys, unordered } from './keys.ts';
import { askForMending, isDamage, openMended } from './mend.ts';
import { type MirrorLog, openMirrorLog } from './mirror-log.ts';
import { createRefillable, type Refillable } from './refill.ts';
import { bytesOf, chooseDropped, RETENTIONS, type Retention } from './retention.ts';
import { bytesOfWrites, type Late, type Sealed, seal, type Work } from './seal.ts';
import { createSection, type Section } from './section.ts';
import type { journalSettings } from './settings.ts';
import { findDamagedTables } from './signs.ts';
import { decodeState, encodeState, type JournalState, NEW_STATE, stateOf } from './state.ts';
import type { Store, Write } from './store.ts';
import { openTreeLog } from './tree-log.ts';

export type JournalSettings = z.output<typeof journalSettings>;
export type { Position } from './cursors.ts';

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
  /** Called when entries that were taken are given up for newer ones, before the answer rejects. */
  readonly gone?: () => void;
  /** Called when the commit begins, for more entries and records; they count nothing towards what may wait. */
  readonly late?: () => Late;
  /** What may happen to the entries when the journal is full; `drop-oldest` when absent. */
  readonly rule?: Retention;
  /** The entries have no signature of their own: the block is signed. */
  readonly blockSigned?: boolean;
}

export interface Journal {
  /**
   * Resolves when the entries are durable. @throws JournalFull when they were given up for newer ones while the
   * disk took nothing, or when the journal is full and their rule lets nothing be dropped.
   */
  append(entries: readonly Uint8Array[], options?: AppendOptions): Promise<void>;
  /** Adds empty blocks, so that the log's growth tells nobody how much was recorded. */
  pad(blocks: number): Promise<void>;
  /** As `pad`, up to the next size that is a multiple of `step` and above `above`; the head stands there when it resolves. */
  padTo(step: number, above: number): Promise<void>;
  /** Makes sections' records durable, without a block. */
  write(writes: readonly Write[], options?: { readonly urgent?: boolean }): Promise<void>;
  section(name: string): Section;
  /** The entries of a block, or undefined when it was dropped, is lost or is not there yet. */
  block(index: number): Promise<readonly Uint8Array[] | undefined>;
  /** As `block`, with the opening that leads to the log. */
  record(index: number): Promise<BlockRecord | undefined>;
  /** The first block from `index` on that is held. */
  nextHeld(index: number): Promise<number | undefined>;
  /** The durable tree head, or undefined for an empty log. */
  head(): TreeHead | undefined;
  tile(level: number, index: number, width: number): Promise<Uint8Array>;
  /** An entry bundle (C2SP tlog-tiles): the data of the first `width` leaves of the index-th 256. */
  bundle(index: number, width: number): Promise<Uint8Array>;
  /** The log of another gateway as far as it is mirrored here; to be opened once. */
  mirror(gateway: string): Promise<MirrorLog>;
  /** The own log, where it takes back records that damage has taken. */
  readonly refillable: Refillable;
  state(): JournalState;
  /** What was found damaged when it was opened, or before and not told of in the log yet. */
  damage(): DamageReport | undefined;
  /**
   * Reads all tables and checks them; what is damaged, one line each. It is mended when the journal is opened next.
   * @param pause is called after each part with its bytes; reading waits for its answer.
   */
  scrub(pause?: (bytes: number) => Promise<void> | undefined): Promise<readonly string[]>;
  /** The record to take away in the commit that tells of the damage. */
  damageTold(): readonly Write[];
  /** Bytes of the files, when last looked at. */
  diskBytes(): number;
  /** The first block that a consumer has not finished with. */
  cursor(name: string): Promise<Position>;
  moveCursor(name: string, position: Position): Promise<void>;
  /** Calls `listener` after each commit that made a block; the answer takes it off again. */
  onCommit(listener: (state: JournalState) => void): () => void;
  trouble(): string | undefined;
  close(): Promise<void>;
}

const CLOSE_LIMIT_MS = 3000;
const DAMAGED = 'the journal is damaged';
/** In one commit. */
const MAX_PADDING = 4096;

/**
 * Opens the journal in `directory` and makes it when there is none.
 * @param signer signs blocks of entries that have no signature of their own.
 * @throws Error naming the directory and what to do when it cannot be opened.
 */
export async function openJournal(
  directory: string,
  settings: JournalSettings,
  signer?: Sign1Signer,
): Promise<Journal> {
  const { store, damage } = await openMended(directory, settings.maxDiskBytes, examine);
  try {
    return await journalOver(directory, store, settings, signer, damage);
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** A quick look for damage: the state, and the right edge of the log. */
async function examine(store: Store): Promise<string | undefined> {
  await finishAdoption(store);
  const stored = await store.get(keys.state);
  if (!stored) {
    const block = await store.firstKey(keys.blocks);
    return block === undefined ? undefined : 'the record of the journal’s own state is gone';
  }
  const log = await openTreeLog(store, keys.log, decodeState(stored).frontier);
  if (!log.follows) return 'the right edge of the log does not follow from its leaves';
  if (log.missing.length === 0) return undefined;
  const holes = new TextDecoder().decode(await store.get(keys.holes)).split('\n');
  const missing = log.missing.find((key) => !holes.includes(key));
  return missing && `the record ${missing} is gone`;
}

async function journalOver(
  directory: string,
  store: Store,
  settings: JournalSettings,
  signer: Sign1Signer | undefined,
  damage: DamageReport | undefined,
): Promise<Journal> {
  const stored = await store.get(keys.state);
  let durable = stored ? decodeState(stored) : NEW_STATE;
  const log = await openTreeLog(store, keys.log, durable.frontier);
  let head: TreeHead | undefined = headOf(durable, log.root());
  const cursors = createCursors(store);
  const listeners = new Set<(state: JournalState) => void>();
  let complaint: string | undefined;
  const disk = await createDiskKeeper(store, settings.maxDiskBytes, (error) => {
    complaint = `compacting failed: ${error.message}`;
  });
  /** Over the bound, and nothing may be dropped. */
  let full = false;

  /** Everything that follows from a batch is worked out once; only the write is tried again. */
  function prepare(batch: readonly Work[]): () => Promise<void> {
    const sealed = seal(batch, durable, log, signer);
    let retained: Retained | undefined;
    return async () => {
      await disk.room(sealed.bytes);
      retained ??= await retain(store, durable, sealed, {
        maxBytes: Math.max(settings.maxBytes / 4, settings.maxBytes - disk.excess()),
        drained: cursors.drained(),
        urge: full,
      });
      await store.write(retained.writes);
      const grew = retained.state.blocks > durable.blocks;
      durable = retained.state;
      full = retained.full;
      disk.note(sealed.bytes, retained.dropped, durable.held);
      if (!grew) return;
      log.settle();
      head = headOf(durable, log.root());
      for (const listener of listeners) listener(durable);
    };
  }

  const committer = createCommitter<Work>(
    { intervalMs: settings.commitIntervalMs, maxPendingBytes: settings.maxPendingBytes },
    prepare,
    () => store.reopen(),
  );

  function submit(work: Partial<Work>, urgent: boolean, taken?: () => void): Promise<void> {
    const { entries = [], writes = [], rule = 'drop-oldest' } = work;
    if (work.blockSigned && !signer)
      return Promise.reject(new Error('the journal has no key to sign blocks with'));
    const droppable = entries.length > 0 && rule !== 'keep';
    if (full && droppable && rule !== 'drop-oldest') {
      return Promise.reject(
        journalFull(
          `the journal has used up its ${settings.maxDiskBytes} bytes, and samples of this stream may not be dropped (${rule}); give it more room, or let subscribers catch up`,
        ),
      );
    }
    const bytes = sizeOf(entries, writes);
    const whole = {
      entries,
      writes,
      rule,
      blockSigned: false,
      padding: 0,
      padTo: undefined,
      ...work,
      bytes,
      droppable,
    };
    return committer.submit(whole, urgent, taken);
  }

  async function record(index: number): Promise<BlockRecord | undefined> {
    if (index >= durable.blocks) return undefined;
    try {
      const found = await store.getMany(RETENTIONS.map((rule) => keys.block(rule, index)));
      const bytes = found.find((value) => value !== undefined);
      return bytes && decodeBlockRecord(bytes);
    } catch (error) {
      if (!isDamage(error)) throw error;
      await found([`block ${index} cannot be read: ${error.message}`]);
      return undefined;
    }
  }

  /** A record of the log that cannot be read is a hole for whoever asks, and is mended like any other. */
  async function noticing<T>(reading: Promise<T>): Promise<T> {
    try {
      return await reading;
    } catch (error) {
      if (isDamage(error)) await found([error.message]);
      throw error;
    }
  }

  /** Goes on without what is damaged; only an open store cannot be mended. */
  async function found(damaged: readonly string[]): Promise<void> {
    if (damaged.length === 0 || complaint?.startsWith(DAMAGED)) return;
    complaint = `${DAMAGED}: ${damaged[0]}; it is mended when the gateway starts again`;
    await askForMending(directory, damaged.join('; '));
  }

  return {
    append: (entries, { urgent = false, writes = [], taken, gone, late, rule, blockSigned = false } = {}) =>
      submit({ entries, writes, gone, late, blockSigned, ...(rule ? { rule } : {}) }, urgent, taken),
    pad(padding) {
      if (!Number.isInteger(padding) || padding < 0 || padding > MAX_PADDING)
        return Promise.reject(
          new RangeError(`between 0 and ${MAX_PADDING} blocks of padding, not ${padding}`),
        );
      return submit({ padding }, true);
    },
    padTo(step, above) {
      if (!Number.isInteger(step) || step < 1 || step > MAX_PADDING)
        return Promise.reject(new RangeError(`steps of 1 to ${MAX_PADDING} blocks, not ${step}`));
      return submit({ padTo: { step, above } }, true);
    },
    write: (writes, { urgent = true } = {}) => submit({ writes }, urgent),
    section: (name) => createSection(store, name),
    record,
    block: async (index) => (await record(index))?.entries,
    async nextHeld(index) {
      const found = await Promise.all(
        RETENTIONS.map(async (rule) => {
          const key = await store.firstKey({
            from: keys.block(rule, index),
            to: keys.block(rule, durable.blocks),
          });
          return key === undefined ? [] : [unordered(key.slice(key.lastIndexOf('/') + 1))];
        }),
      );
      const held = found.flat();
      return held.length > 0 ? Math.min(...held) : undefined;
    },
    head: () => head,
    tile: (level, index, width) => noticing(log.tile(level, index, width)),
    bundle: async (index, width) => encodeBundle(await noticing(log.leaves(index, width))),
    mirror: (gateway) => openMirrorLog(store, gateway, (writes, urgent) => submit({ writes }, urgent)),
    refillable: createRefillable({
      store,
      log: () => log,
      frontier: () => durable.frontier,
      mark: keys.holes,
      write: (writes) => submit({ writes }, true),
    }),
    state: () => durable,
    damage: () => damage,
    async scrub(pause) {
      const tables = await findDamagedTables(directory, pause);
      const damaged = tables.map(({ file, damage: what }) => `${file}: ${what}`);
      await found(damaged);
      return damaged;
    },
    damageTold: () => [{ type: 'del', key: keys.damage }],
    diskBytes: () => disk.bytes(),
    cursor: (name) => cursors.read(name, durable.first),
    async moveCursor(name, position) {
      await submit({ writes: [cursors.move(name, position)] }, false);
    },
    onCommit(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    trouble: () =>
      committer.trouble() ??
      complaint ??
      (full ? `its ${settings.maxDiskBytes} bytes are used up, and nothing may be dropped` : undefined),
    async close() {
      await committer.close(CLOSE_LIMIT_MS);
      await disk.idle();
      await store.close();
    },
  };
}

function headOf({ blocks }: JournalState, root: Uint8Array): TreeHead | undefined {
  return blocks > 0 ? { size: blocks, root } : undefined;
}

interface Retained {
  readonly writes: readonly Write[];
  readonly state: JournalState;
  /** Bytes of blocks dropped. */
  readonly dropped: number;
  /** Over the bound, and nothing more may be dropped. */
  readonly full: boolean;
}

/** Drops the oldest blocks of a journal that is over its bound, and adds the state to what is written. */
async function retain(
  store: Store,
  before: JournalState,
  sealed: Sealed,
  {
    maxBytes,
    drained,
    urge,
  }: { readonly maxBytes: number; readonly drained: number; readonly urge: boolean },
): Promise<Retained> {
  const grew = sealed.state.blocks > before.blocks;
  if (!grew && !urge) return { ...sealed, dropped: 0, full: false };
  const excess = sealed.state.bytes - maxBytes;
  const dropped =
    excess > 0
      ? await chooseDropped(store, keys, sealed.state.held, {
          excess,
          least: 2 * (sealed.state.bytes - before.bytes),
          until: before.blocks,
          drained,
        })
      : undefined;
  const { entries, droppedUnread, frontier, lost } = sealed.state;
  const held = dropped?.held ?? sealed.state.held;
  const unread = droppedUnread + (dropped?.unread ?? 0);
  const state = stateOf({ held, entries, droppedUnread: unread, frontier, lost });
  const writes: Write[] = [
    ...sealed.writes,
    ...(dropped?.writes ?? []),
    { type: 'put', key: keys.state, value: encodeState(state) },
  ];
  const full = (dropped?.exhausted ?? false) && bytesOf(held) > maxBytes;
  return { writes, state, dropped: dropped?.bytes ?? 0, full };
}

function sizeOf(entries: readonly Uint8Array[], writes: readonly Write[]): number {
  return entries.reduce((sum, entry) => sum + entry.length, bytesOfWrites(writes));
}
