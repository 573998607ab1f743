/** What an export is made from: a journal that runs, or the records of one that does not. */
import { toHex } from '../../core/encoding/base64.ts';
import { type BlockRecord, decodeBlockRecord } from '../../state/journal/block-record.ts';
import type { Journal } from '../../state/journal/journal.ts';
import { keys, unordered } from '../../state/journal/keys.ts';
import { RETENTIONS } from '../../state/journal/retention.ts';
import { decodeState } from '../../state/journal/state.ts';
import type { Store } from '../../state/journal/store.ts';
import { openTreeLog } from '../../state/journal/tree-log.ts';

export interface ExportReader {
  /** Leaves of the log. */
  blocks(): number;
  /** Undefined when the block was dropped or lost. @throws DamagedRecord */
  record(index: number): Promise<BlockRecord | undefined>;
  /** The first block from `index` on that is held. */
  nextHeld(index: number): Promise<number | undefined>;
  tile(level: number, index: number, width: number): Promise<Uint8Array>;
  /** The log's own signed checkpoints, the newest first. */
  checkpoints(): AsyncIterable<string>;
  /** What opens a maintenance entry, by the digest of its body. */
  opening(digest: Uint8Array): Promise<Uint8Array | undefined>;
}

const CHECKPOINTS = 'checkpoint';
const MAINTENANCE = 'maintenance';
const openingKey = (digest: Uint8Array) => `opening/${toHex(digest)}`;

export function readerOverJournal(journal: Journal): ExportReader {
  return {
    blocks: () => journal.state().blocks,
    record: (index) => journal.record(index),
    nextHeld: (index) => journal.nextHeld(index),
    tile: (level, index, width) => journal.tile(level, index, width),
    async *checkpoints() {
      for await (const [, note] of journal.section(CHECKPOINTS).entries({ reverse: true }))
        yield textOf(note);
    },
    opening: (digest) => journal.section(MAINTENANCE).get(openingKey(digest)),
  };
}

/** @throws Error when the store holds no journal. */
export async function readerOverStore(store: Store): Promise<ExportReader> {
  const stored = await store.get(keys.state);
  if (!stored) throw new Error('the journal is empty');
  const { blocks, frontier } = decodeState(stored);
  const log = await openTreeLog(store, keys.log, frontier);
  return {
    blocks: () => blocks,
    async record(index) {
      const found = await store.getMany(RETENTIONS.map((rule) => keys.block(rule, index)));
      const bytes = found.find((value) => value !== undefined);
      return bytes && decodeBlockRecord(bytes);
    },
    async nextHeld(index) {
      const held: number[] = [];
      for (const rule of RETENTIONS) {
        const key = await store.firstKey({ from: keys.block(rule, index), to: keys.block(rule, blocks) });
        if (key !== undefined) held.push(unordered(key.slice(key.lastIndexOf('/') + 1)));
      }
      return held.length > 0 ? Math.min(...held) : undefined;
    },
    tile: (level, index, width) => log.tile(level, index, width),
    async *checkpoints() {
      const base = keys.section(CHECKPOINTS, '');
      for await (const [, note] of store.entries({ from: base, to: `${base}\uffff`, reverse: true }))
        yield textOf(note);
    },
    opening: (digest) => store.get(keys.section(MAINTENANCE, openingKey(digest))),
  };
}

function textOf(note: Uint8Array): string {
  return new TextDecoder().decode(note);
}
