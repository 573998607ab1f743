/** The bodies of requests that need no signature of their own: who sends them is known from the connection. */
import type { AcceptedReport } from '../../core/aggregation/aggregate-share.ts';
import { type CborValue, decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, list, safeInteger, text } from '../../core/encoding/fields.ts';
import { decodeSigned, encodeSigned, type Signed } from './record.ts';

/** Paths of the room's requests. */
export const PATH = {
  prepare: '/federation/prepare',
  manifest: '/federation/manifest',
  share: '/federation/share',
  contributed: '/federation/contributed',
  decline: '/federation/decline',
  set: '/federation/set',
  open: '/federation/open',
  record: '/federation/record',
  commit: '/federation/commit',
  release: '/federation/release',
  model: '/federation/model',
} as const;

const MAX_GATEWAYS = 2000;

/** The reports a leader proposes to add up, with the signatures once they are there. */
export interface SetBody {
  readonly round: number;
  readonly reports: readonly AcceptedReport[];
  readonly signatures: readonly Signed[];
}

export function encodeSet({ round, reports, signatures }: SetBody): Uint8Array {
  const rows = reports.map(({ contributor, reportHash }): CborValue => [contributor, reportHash]);
  return encodeCbor([round, rows, signatures.map(encodeSigned)]);
}

export function decodeSet(bytes: Uint8Array): SetBody {
  const fields = fieldsOf(decodeCbor(bytes), 3, 'set');
  return {
    round: safeInteger(fields[0], 'set: round'),
    reports: list(fields[1], MAX_GATEWAYS, 'set: reports').map((row) => {
      const [contributor, hash] = fieldsOf(row, 2, 'set: report');
      return {
        contributor: text(contributor, 'set: contributor'),
        reportHash: byteString(hash, 'set: report hash', 32),
      };
    }),
    signatures: list(fields[2], MAX_GATEWAYS, 'set: signatures').map(decodeSigned),
  };
}

/** A record put to the vote in a round, which may be a later one than the record's own. */
export function encodeBallot(round: number, record: Uint8Array): Uint8Array {
  return encodeCbor([round, record]);
}

export function decodeBallot(bytes: Uint8Array): { readonly round: number; readonly record: Uint8Array } {
  const fields = fieldsOf(decodeCbor(bytes), 2, 'ballot');
  return { round: safeInteger(fields[0], 'ballot: round'), record: byteString(fields[1], 'ballot: record') };
}

export function encodeCommit(record: Uint8Array, votes: readonly Signed[]): Uint8Array {
  return encodeCbor([record, votes.map(encodeSigned)]);
}

export function decodeCommit(bytes: Uint8Array): {
  readonly record: Uint8Array;
  readonly votes: readonly Signed[];
} {
  const fields = fieldsOf(decodeCbor(bytes), 2, 'commit');
  return {
    record: byteString(fields[0], 'commit: record'),
    votes: list(fields[1], MAX_GATEWAYS, 'commit: votes').map(decodeSigned),
  };
}

/** A leader gives a round up. */
export function encodeRelease(round: number): Uint8Array {
  return encodeCbor([round]);
}

export function decodeRelease(bytes: Uint8Array): number {
  return safeInteger(fieldsOf(decodeCbor(bytes), 1, 'release')[0], 'release: round');
}
