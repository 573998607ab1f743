/**
 * What a block is made of. A sample is an entry of its own form (sample.ts); every other entry is
 * `[kind, incarnation, sequence, time, clock, body]`, its sequence counted in the gateway's one notebook.
 * Both are payloads of a COSE_Sign1 under the gateway's sample key; a sample may also be signed with its block
 * (log/block.ts).
 */
import { type CborValue, decodeCbor, decodeError, encodeCbor, equalBytes } from './cbor.ts';
import { fieldsOf, safeInteger } from './fields.ts';
import { CLOCK_STATES, type ClockState, KIND } from './kind.ts';

/** The kinds that stand in the notebook. */
export type EntryKind = Exclude<
  keyof typeof KIND,
  'sample' | 'endorsement' | 'federation' | 'block' | 'revocation' | 'possession'
>;

/** An entry of the gateway's notebook: whatever is not a sample. */
export interface Entry {
  readonly kind: EntryKind;
  readonly incarnation: number;
  readonly sequence: number;
  readonly time: number;
  readonly clock: ClockState;
  readonly body: CborValue;
}

const ENTRY_KINDS: readonly EntryKind[] = [
  'start',
  'stream',
  'maintenance',
  'agreement',
  'gap',
  'charge',
  'round',
  'loss',
  'keys',
  'recovery',
  'training',
  'adoption',
];

/**
 * The bytes that are signed for `entry`.
 * @throws RangeError when it is none that decodeEntry would take.
 */
export function encodeEntry(entry: Entry): Uint8Array {
  for (const number of [entry.incarnation, entry.sequence, entry.time]) {
    if (!Number.isSafeInteger(number) || number < 0) {
      throw new RangeError(`entry: ${number} is not a whole number between 0 and 2^53-1`);
    }
  }
  return encodeCbor([
    KIND[entry.kind],
    entry.incarnation,
    entry.sequence,
    entry.time,
    CLOCK_STATES.indexOf(entry.clock),
    entry.body,
  ]);
}

/**
 * The entry that `bytes` encode; its body is judged by the room that owns the kind.
 * @throws DecodeError when they are not the one encoding of an entry.
 */
export function decodeEntry(bytes: Uint8Array): Entry {
  const fields = fieldsOf(decodeCbor(bytes), 6, 'entry');
  const kind = ENTRY_KINDS.find((name) => KIND[name] === fields[0]);
  if (!kind) throw decodeError(`entry: kind ${String(fields[0])} is unknown`);
  const clock = CLOCK_STATES[safeInteger(fields[4], 'entry: clock state')];
  if (!clock) throw decodeError('entry: clock state is unknown');
  const entry: Entry = {
    kind,
    incarnation: safeInteger(fields[1], 'entry: incarnation'),
    sequence: safeInteger(fields[2], 'entry: sequence'),
    time: safeInteger(fields[3], 'entry: time'),
    clock,
    body: fields[5]!,
  };
  if (!equalBytes(encodeEntry(entry), bytes)) throw decodeError('entry: not in canonical form');
  return entry;
}
