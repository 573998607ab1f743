import { Field64 } from './field64.ts';
import { checkHolders, type ReportContext, type Share } from './shares.ts';
import { createWireReader, createWireWriter, hashOf, type WireReader, type WireWriter } from './wire.ts';
import { XofTurboShake128 } from './xof.ts';

/**
 * A report is what one contributor hands out in one attempt: a share to each holder. Every holder gets
 * the hashes of all the shares, so that holders who compare report hashes know that they were dealt from
 * one hand. Layout (version 1, after RFC 8446, section 3; numbers big-endian, elements as in the VDAF draft):
 *
 *     uint8 version = 1; uint8 type = 1;
 *     opaque agreement[32]; uint64 round; uint32 attempt; opaque contributor<1..255>;
 *     uint32 length;                                  elements of the shared vector
 *     uint8 count; { opaque holder<1..255>; opaque shareHash[32]; } holders[count];
 *     uint8 holder;                                   whose share this is: a place in holders
 *     uint8 kind;                                     0 explicit, 1 seed
 *     opaque share[kind = 0 ? 8 * length : 32];
 */
export interface ReportShare {
  readonly context: ReportContext;
  readonly length: number;
  /** In the order in which the vector was shared. */
  readonly holders: readonly HolderCommitment[];
  /** The place in `holders` of the one this share is for. */
  readonly holderIndex: number;
  readonly share: Share;
}

/** One holder of a report, and the hash of what it was given. */
export interface HolderCommitment {
  readonly holder: string;
  readonly shareHash: Uint8Array;
}

/** What the hash of a report is taken over. */
export type ReportHead = Pick<ReportShare, 'context' | 'length' | 'holders'>;

/** The version of both messages of this room. */
export const WIRE_VERSION = 1;
const REPORT_SHARE = 1;
const HASH_SIZE = 32;
/** 2^24 elements, 128 MiB: room for any model that fits a gateway, and a bound on what a peer can ask for. */
export const MAX_LENGTH = 2 ** 24;

const SHARE_DOMAIN = new TextEncoder().encode('kosmos share hash v1\0');
const REPORT_DOMAIN = new TextEncoder().encode('kosmos report hash v1\0');

/** The hash that commits to one share; a seed and an explicit share are random, so it hides what it covers. */
export function shareHash(share: Share): Uint8Array {
  return share.kind === 'explicit'
    ? hashOf([SHARE_DOMAIN, Uint8Array.of(0), share.bytes])
    : hashOf([SHARE_DOMAIN, Uint8Array.of(1), share.seed]);
}

/** SHA-256 over the context, the vector's length and the ordered list of holders and share hashes. */
export function reportHash(head: ReportHead): Uint8Array {
  return hashOf([REPORT_DOMAIN, writeHead(createWireWriter(), head).finish()]);
}

/**
 * The messages of a report, one a holder and in their order. `shares` is what `share(vector, holders,
 * context)` gave for a vector of `length` elements.
 */
export function reportShares(
  shares: readonly Share[],
  holders: readonly string[],
  length: number,
  context: ReportContext,
): ReportShare[] {
  if (shares.length !== holders.length)
    throw new RangeError(`${shares.length} shares for ${holders.length} holders`);
  const commitments = shares.map((share, i) => ({ holder: holders[i]!, shareHash: shareHash(share) }));
  return shares.map((share, holderIndex) => ({ context, length, holders: commitments, holderIndex, share }));
}

/** The bytes of a report share message; throws a RangeError for one that `decodeReportShare` would refuse. */
export function encodeReportShare(message: ReportShare): Uint8Array {
  checkReportShare(message);
  const { share } = message;
  const writer = createWireWriter().uint8(WIRE_VERSION).uint8(REPORT_SHARE);
  writeHead(writer, message).uint8(message.holderIndex);
  if (share.kind === 'explicit') return writer.uint8(0).fixed(share.bytes).finish();
  return writer.uint8(1).fixed(share.seed).finish();
}

/**
 * Reads a report share message and checks all that can be checked without the other shares: form, lengths,
 * holders, that every element is below the modulus and that the share is the one its hash commits to. Throws
 * a RangeError that says what is wrong. The caller compares context, length and holders with the round's.
 */
export function decodeReportShare(bytes: Uint8Array): ReportShare {
  const reader = createWireReader(bytes);
  readType(reader, REPORT_SHARE, 'report share');
  const head = readHead(reader);
  const holderIndex = reader.uint8('holder index');
  const share = readShare(reader, head.length);
  reader.finish();
  const message: ReportShare = { ...head, holderIndex, share };
  checkReportShare(message);
  return message;
}

/** Reads version and type, and throws a RangeError unless they are these. */
export function readType(reader: WireReader, type: number, name: string): void {
  const version = reader.uint8('version');
  if (version !== WIRE_VERSION)
    throw new RangeError(`${name}: version ${version} is unknown, this gateway speaks ${WIRE_VERSION}`);
  const found = reader.uint8('type');
  if (found !== type) throw new RangeError(`${name}: the message is of type ${found} instead of ${type}`);
}

/** Reads the number of elements, within bounds. */
export function readLength(reader: WireReader): number {
  const length = reader.uint32('length');
  checkLength(length);
  return length;
}

/** Throws a RangeError for a number of elements that no message may have. */
export function checkLength(length: number): void {
  if (!Number.isSafeInteger(length) || length < 1 || length > MAX_LENGTH) {
    throw new RangeError(`length: a vector of ${length} elements; 1 to ${MAX_LENGTH} are allowed`);
  }
}

function checkReportShare(message: ReportShare): void {
  const { context, holders, holderIndex, share, length } = message;
  checkLength(length);
  checkHolders(
    holders.map(({ holder }) => holder),
    context.contributor,
  );
  const own = holders[holderIndex];
  if (own === undefined) throw new RangeError(`holder index: ${holderIndex} of ${holders.length} holders`);
  // The first holder's share is the explicit one: a seed there would mean that nobody holds the vector.
  if ((share.kind === 'explicit') !== (holderIndex === 0)) {
    throw new RangeError(`share: holder ${holderIndex} got the wrong kind, ${share.kind}`);
  }
  if (share.kind === 'explicit' && share.bytes.length !== length * Field64.encodedSize) {
    throw new RangeError(`share: ${share.bytes.length} bytes cannot hold ${length} elements`);
  }
  if (share.kind === 'explicit') Field64.decodeVec(share.bytes);
  else if (share.seed.length !== XofTurboShake128.seedSize) {
    throw new RangeError(
      `share: a seed of ${share.seed.length} bytes instead of ${XofTurboShake128.seedSize}`,
    );
  }
  if (!equal(shareHash(share), own.shareHash))
    throw new RangeError('share: is not the one that its hash commits to');
}

function writeHead(writer: WireWriter, { context, length, holders }: ReportHead): WireWriter {
  writer.fixed(hashSized(context.agreement, 'agreement')).uint64(context.round).uint32(context.attempt);
  writer.text(context.contributor).uint32(length).uint8(holders.length);
  for (const { holder, shareHash } of holders) writer.text(holder).fixed(hashSized(shareHash, 'share hash'));
  return writer;
}

function readHead(reader: WireReader): ReportHead {
  const context = {
    agreement: reader.fixed(HASH_SIZE, 'agreement'),
    round: reader.uint64('round'),
    attempt: reader.uint32('attempt'),
    contributor: reader.text('contributor'),
  };
  const length = readLength(reader);
  const holders = Array.from({ length: reader.uint8('holder count') }, () => ({
    holder: reader.text('holder'),
    shareHash: reader.fixed(HASH_SIZE, 'share hash'),
  }));
  return { context, length, holders };
}

function readShare(reader: WireReader, length: number): Share {
  const kind = reader.uint8('share kind');
  if (kind === 0)
    return { kind: 'explicit', bytes: reader.fixed(length * Field64.encodedSize, 'explicit share') };
  if (kind === 1) return { kind: 'seed', seed: reader.fixed(XofTurboShake128.seedSize, 'seed share') };
  throw new RangeError(`share kind: ${kind} is unknown`);
}

/** `hash` itself; throws a RangeError unless it has the 32 bytes of a SHA-256. */
export function hashSized(hash: Uint8Array, what: string): Uint8Array {
  if (hash.length !== HASH_SIZE)
    throw new RangeError(`${what}: ${hash.length} bytes instead of ${HASH_SIZE}`);
  return hash;
}

/** Whether two byte strings are the same. What is compared is public, so time does not matter. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
