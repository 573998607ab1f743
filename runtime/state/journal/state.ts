/** What the journal knows of itself: one record, written with every block. */
import { type CborValue, decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, list, safeInteger } from '../../core/encoding/fields.ts';
import type { FrontierState } from '../../core/log/tree.ts';
import { bytesOf, type Held, type HeldByRule, NOTHING_HELD, RETENTIONS } from './retention.ts';

/** Blocks that are gone without having been dropped: from, and the first one behind. */
export type BlockRange = readonly [number, number];

export interface JournalState {
  /** Blocks ever committed: the size of the log. */
  readonly blocks: number;
  /** The first block that may still be held. */
  readonly first: number;
  /** Bytes of the held blocks. */
  readonly bytes: number;
  readonly held: HeldByRule;
  /** Entries ever committed. */
  readonly entries: number;
  /** Blocks dropped before every consumer had read them. */
  readonly droppedUnread: number;
  /** The log's right edge: with it the log goes on even where a leaf's record has been damaged. */
  readonly frontier: FrontierState;
  /** Blocks lost to damage, or to a restore from an older copy. */
  readonly lost: readonly BlockRange[];
}

export const NEW_STATE: JournalState = {
  blocks: 0,
  first: 0,
  bytes: 0,
  held: NOTHING_HELD,
  entries: 0,
  droppedUnread: 0,
  frontier: { size: 0, hashes: [] },
  lost: [],
};

/** More holes than this are joined. */
const MAX_LOST = 256;

/** What the fields that can be told from others come to. */
export function stateOf(fields: Omit<JournalState, 'blocks' | 'first' | 'bytes'>): JournalState {
  const { held, frontier } = fields;
  const firsts = RETENTIONS.filter((rule) => held[rule].bytes > 0).map((rule) => held[rule].first);
  return {
    ...fields,
    blocks: frontier.size,
    first: Math.min(frontier.size, ...firsts),
    bytes: bytesOf(held),
  };
}

export function encodeState({ held, entries, droppedUnread, frontier, lost }: JournalState): Uint8Array {
  return encodeCbor([
    frontier.size,
    [...frontier.hashes],
    RETENTIONS.map((rule): CborValue => [held[rule].first, held[rule].dropped, held[rule].bytes]),
    entries,
    droppedUnread,
    lost.map((range): CborValue => [...range]),
  ]);
}

/** @throws DecodeError for bytes that are not a state. */
export function decodeState(bytes: Uint8Array): JournalState {
  const what = 'journal state';
  const fields = fieldsOf(decodeCbor(bytes), 6, what);
  const pair = (value: CborValue | undefined): BlockRange => {
    const [a, b] = fieldsOf(value, 2, what);
    return [safeInteger(a, what), safeInteger(b, what)];
  };
  const rows = fieldsOf(fields[2], RETENTIONS.length, what).map((row): Held => {
    const [first, dropped, bytes] = fieldsOf(row, 3, what).map((field) => safeInteger(field, what));
    return { first: first!, dropped: dropped!, bytes: bytes! };
  });
  const held = Object.fromEntries(
    RETENTIONS.map((rule, index) => [rule, rows[index]]),
  ) as unknown as HeldByRule;
  return stateOf({
    frontier: {
      size: safeInteger(fields[0], what),
      hashes: list(fields[1], 64, what).map((hash) => byteString(hash, what, 32)),
    },
    held,
    entries: safeInteger(fields[3], what),
    droppedUnread: safeInteger(fields[4], what),
    lost: list(fields[5], MAX_LOST, what).map(pair),
  });
}

/** `lost` with another range, in order and joined where they touch. */
export function addLost(lost: readonly BlockRange[], added: BlockRange): readonly BlockRange[] {
  const joined: [number, number][] = [];
  for (const [from, to] of [...lost, added].sort((a, b) => a[0] - b[0])) {
    const last = joined.at(-1);
    if (last && (from <= last[1] || joined.length >= MAX_LOST)) last[1] = Math.max(last[1], to);
    else if (to > from) joined.push([from, to]);
  }
  return joined;
}

/** Whether `block` is among the lost ones. */
export function isLost(lost: readonly BlockRange[], block: number): boolean {
  return lost.some(([from, to]) => block >= from && block < to);
}
