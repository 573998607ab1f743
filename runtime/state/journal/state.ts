/** What the journal knows of itself; written in the batch of every block. */
import { decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { fieldsOf, safeInteger } from '../../core/encoding/fields.ts';

export interface JournalState {
  /** Blocks ever committed: the size of the log. */
  readonly blocks: number;
  /** The first block that is still held. */
  readonly first: number;
  /** Bytes of the held blocks. */
  readonly bytes: number;
  /** Entries ever committed. */
  readonly entries: number;
  /** Blocks dropped before every consumer had read them. */
  readonly droppedUnread: number;
}

export const NEW_STATE: JournalState = { blocks: 0, first: 0, bytes: 0, entries: 0, droppedUnread: 0 };

export function encodeState(state: JournalState): Uint8Array {
  return encodeCbor([state.blocks, state.first, state.bytes, state.entries, state.droppedUnread]);
}

/** @throws DecodeError for bytes that are not a state. */
export function decodeState(bytes: Uint8Array): JournalState {
  const fields = fieldsOf(decodeCbor(bytes), 5, 'journal state');
  const at = (index: number) => safeInteger(fields[index], `journal state: field ${index}`);
  return { blocks: at(0), first: at(1), bytes: at(2), entries: at(3), droppedUnread: at(4) };
}
