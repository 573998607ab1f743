import { Field64 } from './field64.ts';
import { checkLength, hashSized, readLength, readType, WIRE_VERSION } from './report.ts';
import type { ReportContext } from './shares.ts';
import { createWireReader, createWireWriter, hashOf, type WireReader, type WireWriter } from './wire.ts';

/** One round's attempt: the context of a report without its contributor. */
export type AttemptContext = Omit<ReportContext, 'contributor'>;

/** A report in an accepted set. */
export interface AcceptedReport {
  readonly contributor: string;
  readonly reportHash: Uint8Array;
}

/** What the committee and every contributor sign: exactly these reports are added up. */
export interface AcceptedSet {
  readonly context: AttemptContext;
  /** Sorted by contributor (UTF-16 order), each once, at least `MINIMUM_BATCH`. */
  readonly reports: readonly AcceptedReport[];
}

/**
 * What one holder opens: the sum of the shares it holds of the accepted set (of its own report it holds none).
 * Layout (version 1; see `ReportShare`):
 *
 *     uint8 version = 1; uint8 type = 2;
 *     opaque agreement[32]; uint64 round; uint32 attempt;
 *     uint16 count; { opaque contributor<1..255>; opaque reportHash[32]; } reports[count];
 *     opaque holder<1..255>; uint32 length; opaque sum[8 * length];
 */
export interface AggregateShare {
  readonly set: AcceptedSet;
  readonly holder: string;
  /** The encoded sum: Field64 elements. */
  readonly bytes: Uint8Array;
}

const AGGREGATE_SHARE = 2;
const HASH_SIZE = 32;
const MAX_REPORTS = 0xffff;
/** Fewer contributors than this and a sum tells one of them what the other added. */
export const MINIMUM_BATCH = 3;

const SET_DOMAIN = new TextEncoder().encode('kosmos accepted set v1\0');
const AGGREGATE_DOMAIN = new TextEncoder().encode('kosmos aggregate share v1\0');

/** `reports` in the order that an accepted set demands. */
export function sortReports(reports: readonly AcceptedReport[]): AcceptedReport[] {
  return [...reports].sort((a, b) =>
    a.contributor < b.contributor ? -1 : Number(a.contributor > b.contributor),
  );
}

/** The hash of an accepted set, for signing. Throws a RangeError for a set that is too small or out of order. */
export function acceptedSetHash(set: AcceptedSet): Uint8Array {
  checkSet(set);
  return hashOf([SET_DOMAIN, writeSet(createWireWriter(), set).finish()]);
}

/**
 * The commitment that a holder publishes before any aggregate share is opened: the hash of the whole
 * message. It hides the sum as long as one report in it is honest, since a share is uniformly random.
 */
export function aggregateShareHash(message: AggregateShare): Uint8Array {
  return hashOf([AGGREGATE_DOMAIN, encodeAggregateShare(message)]);
}

/** The bytes of an aggregate share; throws a RangeError for one that `decodeAggregateShare` would refuse. */
export function encodeAggregateShare(message: AggregateShare): Uint8Array {
  checkAggregateShare(message);
  const { set, holder, bytes } = message;
  const writer = createWireWriter().uint8(WIRE_VERSION).uint8(AGGREGATE_SHARE);
  writeSet(writer, set).text(holder);
  return writer
    .uint32(bytes.length / Field64.encodedSize)
    .fixed(bytes)
    .finish();
}

/** Reads an aggregate share: form, lengths, the set's order, every element below the modulus; else a RangeError. */
export function decodeAggregateShare(bytes: Uint8Array): AggregateShare {
  const reader = createWireReader(bytes);
  readType(reader, AGGREGATE_SHARE, 'aggregate share');
  const set = readSet(reader);
  const holder = reader.text('holder');
  const length = readLength(reader);
  const message = { set, holder, bytes: reader.fixed(length * Field64.encodedSize, 'sum') };
  reader.finish();
  checkAggregateShare(message);
  return message;
}

function checkSet({ reports }: AcceptedSet): void {
  if (reports.length < MINIMUM_BATCH || reports.length > MAX_REPORTS) {
    throw new RangeError(
      `accepted set: ${reports.length} reports; ${MINIMUM_BATCH} to ${MAX_REPORTS} are allowed`,
    );
  }
  for (let i = 1; i < reports.length; i++) {
    if (reports[i - 1]!.contributor >= reports[i]!.contributor) {
      throw new RangeError(`accepted set: contributor ${i} is out of order or there twice`);
    }
  }
}

function checkAggregateShare({ set, bytes }: AggregateShare): void {
  checkSet(set);
  checkLength(bytes.length / Field64.encodedSize);
  Field64.decodeVec(bytes);
}

function writeSet(writer: WireWriter, { context, reports }: AcceptedSet): WireWriter {
  writer.fixed(hashSized(context.agreement, 'agreement')).uint64(context.round).uint32(context.attempt);
  writer.uint16(reports.length);
  for (const { contributor, reportHash } of reports) {
    writer.text(contributor).fixed(hashSized(reportHash, 'report hash'));
  }
  return writer;
}

function readSet(reader: WireReader): AcceptedSet {
  const context = {
    agreement: reader.fixed(HASH_SIZE, 'agreement'),
    round: reader.uint64('round'),
    attempt: reader.uint32('attempt'),
  };
  const reports = Array.from({ length: reader.uint16('report count') }, () => ({
    contributor: reader.text('contributor'),
    reportHash: reader.fixed(HASH_SIZE, 'report hash'),
  }));
  return { context, reports };
}
