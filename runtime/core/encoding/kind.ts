/** What every signed payload opens with, and what it says of the clock. */
import { decodeError } from './cbor.ts';

/** The number that opens a payload; one key signs many kinds, so none can be taken for another. */
export const KIND = {
  sample: 1,
  start: 2,
  stream: 3,
  maintenance: 4,
  agreement: 5,
  gap: 6,
  charge: 7,
  round: 8,
  endorsement: 9,
  federation: 10,
  block: 11,
  loss: 12,
  keys: 13,
  recovery: 14,
  revocation: 15,
  possession: 16,
  training: 17,
  adoption: 18,
} as const;

/** What the gateway knew of its clock: set by a time server, running on its own, or moved since the last sample. */
export const CLOCK_STATES = ['synchronised', 'free-running', 'stepped'] as const;
export type ClockState = (typeof CLOCK_STATES)[number];

/** The kind number that a payload opens with, before anything else of it is read. */
export function kindOf(payload: Uint8Array): number {
  // An array head of one byte (fewer than 24 fields), then the kind as an integer below 24.
  const [head, kind] = payload;
  if (head === undefined || kind === undefined || head >> 5 !== 4 || kind > 23) {
    throw decodeError('entry: does not open with a kind');
  }
  return kind;
}
