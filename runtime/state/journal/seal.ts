/** Turns what was handed in into blocks: their records, their log leaves, and the records beside them. */
import { randomBytes } from '#random';
import type { Sign1Signer } from '../../core/encoding/cose.ts';
import { encodeOpening, leafDataOf, MAX_BLOCK_ENTRIES, openingOf } from '../../core/log/block.ts';
import { encodeBlockRecord } from './block-record.ts';
import { keys } from './keys.ts';
import type { Held, Retention } from './retention.ts';
import { type JournalState, stateOf } from './state.ts';
import type { Write } from './store.ts';
import type { TreeLog } from './tree-log.ts';

/** One hand-in. */
export interface Work {
  readonly entries: readonly Uint8Array[];
  /** What may happen to the entries when the journal is full. */
  readonly rule: Retention;
  /** Whether the entries have no signature but their block's. */
  readonly blockSigned: boolean;
  readonly writes: readonly Write[];
  /** Asked for more of both when the commit begins. */
  readonly late?: (() => Late) | undefined;
  readonly gone?: (() => void) | undefined;
  readonly bytes: number;
  /** Whether it may be given up for newer work while nothing can be written. */
  readonly droppable: boolean;
  /** Empty blocks to add: they are there to be counted by nobody. */
  readonly padding: number;
  /** Adds empty blocks until the log has a size that is a multiple of `step` and above `above`. */
  readonly padTo: { readonly step: number; readonly above: number } | undefined;
}

/** What is told of a commit that is about to begin. */
export interface Late {
  readonly entries: readonly Uint8Array[];
  readonly writes: readonly Write[];
}

export interface Sealed {
  readonly writes: readonly Write[];
  /** What the writes take. */
  readonly bytes: number;
  readonly state: JournalState;
}

interface Part {
  readonly rule: Retention;
  entries: Uint8Array[];
  blockSigned: boolean;
}

const SALT_BYTES = 32;
/** Bounds a commit, whatever it is asked for. */
const MAX_PADDED = 16_384;

export function seal(
  handed: readonly Work[],
  before: JournalState,
  log: TreeLog,
  signer: Sign1Signer | undefined,
): Sealed {
  // Before anything is appended to the log: what throws here must not leave it ahead of what is stored.
  const batch = handed.map(withLate);
  const records = new Map<string, Write>();
  for (const work of batch) for (const write of work.writes) records.set(write.key, write);
  const writes: Write[] = [];
  const held: Record<Retention, Held> = { ...before.held };
  let entries = before.entries;

  function add(rule: Retention, part: readonly Uint8Array[], sign: Sign1Signer | undefined): void {
    const opening = encodeOpening(openingOf(part, randomBytes(SALT_BYTES), sign));
    const record = encodeBlockRecord({ opening, entries: part });
    const block = log.size();
    writes.push({ type: 'put', key: keys.block(rule, block), value: record });
    writes.push(...log.append(leafDataOf(opening)));
    const { first, dropped, bytes } = held[rule];
    held[rule] = { first: bytes === 0 ? block : first, dropped, bytes: bytes + record.length };
    entries += part.length;
  }

  for (const { rule, entries: all, blockSigned } of partsOf(batch)) {
    for (let start = 0; start < all.length; start += MAX_BLOCK_ENTRIES) {
      add(rule, all.slice(start, start + MAX_BLOCK_ENTRIES), blockSigned ? signer : undefined);
    }
  }
  const padding = batch.reduce((sum, work) => sum + work.padding, 0);
  for (let block = 0; block < padding; block++) add('drop-oldest', [], undefined);
  for (const { padTo } of batch) {
    while (padTo && (log.size() % padTo.step !== 0 || log.size() <= padTo.above)) {
      if (log.size() - before.blocks > MAX_PADDED) break;
      add('drop-oldest', [], undefined);
    }
  }
  writes.push(...records.values());
  const { droppedUnread, lost } = before;
  const bytes = bytesOfWrites(writes);
  return { writes, bytes, state: stateOf({ held, entries, droppedUnread, lost, frontier: log.frontier() }) };
}

function withLate(work: Work): Work {
  if (!work.late) return work;
  const { entries, writes } = work.late();
  return { ...work, entries: [...work.entries, ...entries], writes: [...work.writes, ...writes] };
}

export function bytesOfWrites(writes: readonly Write[]): number {
  return writes.reduce(
    (sum, write) => sum + write.key.length + (write.type === 'put' ? write.value.length : 0),
    0,
  );
}

/** Entries of one rule share a block, but none is moved past an entry that is no sample. */
function partsOf(batch: readonly Work[]): readonly Part[] {
  const parts: Part[] = [];
  /** The parts since the last one of the notebook. */
  let open = new Map<Retention, Part>();
  for (const { entries, rule, blockSigned } of batch) {
    if (entries.length === 0) continue;
    const isNote = rule === 'keep';
    if (isNote !== open.has('keep')) open = new Map();
    let part = open.get(rule);
    if (!part) {
      part = { rule, entries: [], blockSigned: false };
      parts.push(part);
      open.set(rule, part);
    }
    for (const entry of entries) part.entries.push(entry);
    part.blockSigned ||= blockSigned;
  }
  return parts;
}
