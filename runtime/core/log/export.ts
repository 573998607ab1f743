/**
 * The bundle that a gateway exports: entries with everything that somebody who was not there needs to check
 * them, in one file. Deterministic CBOR:
 *
 *     [ 'kosmos/bundle/v1',
 *       agreement document | null, note of its signatures | null,
 *       policy (C2SP tlog-policy),
 *       [statement...],                              endorsements and revocations
 *       signed checkpoint,
 *       [hash...],                                   multiproof of the blocks in the log
 *       [ [log index, opening, [position...], [entry...], [hash...]]... ],
 *       [ [digest, opening]... ] ]                   openings of maintenance entries
 *
 * A block's hashes are the multiproof of the entries shown. Blocks, positions and digests ascend, so that one
 * choice of entries makes one file. Agreement, statements and maintenance openings are carried, not judged.
 */
import { type CborValue, compareBytes, createCborWriter, decodeCbor, decodeError } from '../encoding/cbor.ts';
import { byteString, fieldsOf, list, safeInteger, text } from '../encoding/fields.ts';
import { MAX_BLOCK_ENTRIES } from './block.ts';
import { HASH_LENGTH, leafHash } from './hash.ts';
import { planMultiproof } from './multiproof.ts';
import { MAX_NOTE_BYTES } from './note.ts';
import { MAX_POLICY_BYTES } from './policy.ts';
import { readerOf, readProofSync } from './proof.ts';
import { encodeUtf8 } from './text.ts';

const TAG = 'kosmos/bundle/v1';
const FIELDS = 9;

/** The longest bundle that is read or written, in bytes. */
export const MAX_EXPORT_BYTES = 256 * 2 ** 20;
/** The most blocks of a bundle, and the most entries in all of them together: a longer range takes more bundles. */
export const MAX_EXPORT_BLOCKS = 65_536;
export const MAX_EXPORT_ENTRIES = 2 ** 20;
const MAX_STATEMENTS = 4096;
const MAX_OPENINGS = 65_536;
const MAX_DOCUMENT_BYTES = 2 ** 20;
/** A statement, an opening. */
const MAX_PART_BYTES = 65_536;
/** The proof of one leaf has at most 53 hashes, and proofs of more than one share some. */
const MAX_LOG_HASHES = 53 * MAX_EXPORT_BLOCKS;

/** Some entries of one block. */
export interface ExportedBlock {
  /** Of its leaf in the log. */
  readonly index: number;
  /** What the leaf is a digest of, as encodeOpening wrote it. */
  readonly opening: Uint8Array;
  /** Of `entries` in the block, ascending. */
  readonly positions: readonly number[];
  readonly entries: readonly Uint8Array[];
  /** Multiproof of `entries` in the block. */
  readonly hashes: readonly Uint8Array[];
}

/** A bundle as it was read: nothing about it is verified. */
export interface ExportBundle {
  readonly document: Uint8Array | undefined;
  readonly signatures: string | undefined;
  readonly policy: string;
  readonly statements: readonly Uint8Array[];
  readonly checkpoint: string;
  /** Multiproof of the leaves of `blocks` in the checkpoint's tree. */
  readonly proof: readonly Uint8Array[];
  /** By ascending index. */
  readonly blocks: readonly ExportedBlock[];
  /** By ascending digest (32 bytes). */
  readonly openings: readonly MaintenanceOpening[];
}

export interface MaintenanceOpening {
  readonly digest: Uint8Array;
  readonly opening: Uint8Array;
}

/** The entries at `positions` (ascending) of a block that is there as a whole. */
export function showBlock(
  index: number,
  opening: Uint8Array,
  block: readonly Uint8Array[],
  positions: readonly number[],
): ExportedBlock {
  const plan = planMultiproof(positions, block.length);
  const hashes = plan.length === 0 ? [] : readProofSync(plan, readerOf(block.map(leafHash)));
  return { index, opening, positions, entries: positions.map((at) => block[at]!), hashes };
}

/** The file. @throws RangeError for a bundle that would not be read back. */
export function encodeExport(bundle: ExportBundle): Uint8Array {
  const fault = faultOf(bundle);
  if (fault !== undefined) throw new RangeError(fault);
  for (const part of [bundle.signatures ?? '', bundle.policy, bundle.checkpoint]) encodeUtf8(part);
  const writer = createCborWriter(1 << 16);
  const all = (items: readonly Uint8Array[]) => {
    writer.array(items.length);
    for (const item of items) writer.bytes(item);
  };
  writer.array(FIELDS);
  writer.text(TAG);
  if (bundle.document === undefined) writer.simple(0xf6);
  else writer.bytes(bundle.document);
  if (bundle.signatures === undefined) writer.simple(0xf6);
  else writer.text(bundle.signatures);
  writer.text(bundle.policy);
  all(bundle.statements);
  writer.text(bundle.checkpoint);
  all(bundle.proof);
  writer.array(bundle.blocks.length);
  for (const block of bundle.blocks) {
    writer.array(5);
    writer.integer(block.index);
    writer.bytes(block.opening);
    writer.array(block.positions.length);
    for (const position of block.positions) writer.integer(position);
    all(block.entries);
    all(block.hashes);
  }
  writer.array(bundle.openings.length);
  for (const { digest, opening } of bundle.openings) all([digest, opening]);
  const bytes = writer.take();
  if (bytes.length > MAX_EXPORT_BYTES) {
    throw new RangeError(`bundle: ${bytes.length} bytes, at most ${MAX_EXPORT_BYTES} are allowed`);
  }
  return bytes;
}

const OPENING_BYTES = encodeUtf8(TAG);

/** Whether a file says of itself that it is such a bundle, by its first bytes. */
export function isExport(file: Uint8Array): boolean {
  // An array of nine, a text of sixteen bytes.
  return file[0] === 0x89 && file[1] === 0x70 && OPENING_BYTES.every((byte, at) => file[2 + at] === byte);
}

/** @throws DecodeError when `bytes` are not the one encoding of a bundle; what it is worth, a verifier says. */
export function decodeExport(bytes: Uint8Array): ExportBundle {
  if (bytes.length > MAX_EXPORT_BYTES) {
    throw decodeError(`bundle: ${bytes.length} bytes, at most ${MAX_EXPORT_BYTES} are allowed`);
  }
  // Every item has one encoding alone (decodeCbor) and is kept as it is, so encoding again gives these bytes:
  // it need not be done with a file of this size.
  const fields = fieldsOf(decodeCbor(bytes), FIELDS, 'bundle');
  if (fields[0] !== TAG) throw decodeError(`bundle: it does not open with ${TAG}`);
  const bundle: ExportBundle = {
    document: fields[1] === null ? undefined : byteString(fields[1], 'bundle: agreement'),
    signatures: fields[2] === null ? undefined : text(fields[2], 'bundle: signatures of the agreement'),
    policy: text(fields[3], 'bundle: policy'),
    statements: byteStrings(fields[4], MAX_STATEMENTS, 'bundle: statements'),
    checkpoint: text(fields[5], 'bundle: checkpoint'),
    proof: byteStrings(fields[6], MAX_LOG_HASHES, 'bundle: log proof'),
    blocks: list(fields[7], MAX_EXPORT_BLOCKS, 'bundle: blocks').map(readBlock),
    openings: list(fields[8], MAX_OPENINGS, 'bundle: openings').map(readOpening),
  };
  const fault = faultOf(bundle);
  if (fault !== undefined) throw decodeError(fault);
  return bundle;
}

function readBlock(value: CborValue, at: number): ExportedBlock {
  const what = `bundle: block ${at + 1}`;
  const fields = fieldsOf(value, 5, what);
  return {
    index: safeInteger(fields[0], `${what}: log index`),
    opening: byteString(fields[1], `${what}: opening`),
    positions: list(fields[2], MAX_BLOCK_ENTRIES, `${what}: positions`).map((position) =>
      safeInteger(position, `${what}: position`),
    ),
    entries: byteStrings(fields[3], MAX_BLOCK_ENTRIES, `${what}: entries`),
    hashes: byteStrings(fields[4], MAX_BLOCK_ENTRIES, `${what}: hashes`),
  };
}

function readOpening(value: CborValue, at: number): MaintenanceOpening {
  const what = `bundle: opening ${at + 1}`;
  const fields = fieldsOf(value, 2, what);
  return { digest: byteString(fields[0], `${what}: digest`), opening: byteString(fields[1], what) };
}

function byteStrings(value: CborValue | undefined, limit: number, what: string): Uint8Array[] {
  return list(value, limit, what).map((item) => byteString(item, `${what}: an item`));
}

/** The rules that types do not hold: what both encoding and decoding refuse. */
function faultOf(bundle: ExportBundle): string | undefined {
  const { document, signatures, policy, statements, checkpoint, proof, blocks, openings } = bundle;
  if (document === undefined && signatures !== undefined) {
    return 'bundle: signatures of an agreement that is not in it';
  }
  return (
    tooMany(document?.length ?? 0, MAX_DOCUMENT_BYTES, 'bytes of agreement') ??
    tooMany(signatures?.length ?? 0, MAX_NOTE_BYTES, 'characters of signatures') ??
    tooMany(policy.length, MAX_POLICY_BYTES, 'characters of policy') ??
    tooMany(checkpoint.length, MAX_NOTE_BYTES, 'characters of checkpoint') ??
    tooMany(statements.length, MAX_STATEMENTS, 'statements') ??
    tooMany(proof.length, MAX_LOG_HASHES, 'hashes of log proof') ??
    tooMany(blocks.length, MAX_EXPORT_BLOCKS, 'blocks') ??
    tooMany(openings.length, MAX_OPENINGS, 'openings') ??
    tooMany(longest(statements), MAX_PART_BYTES, 'bytes of one statement') ??
    hashFault(proof, 'bundle: log proof') ??
    blocksFault(blocks) ??
    openingsFault(openings)
  );
}

function blocksFault(blocks: readonly ExportedBlock[]): string | undefined {
  let entries = 0;
  let previous = -1;
  for (const { index, opening, positions, entries: shown, hashes } of blocks) {
    const what = `bundle: block ${index}`;
    if (!Number.isSafeInteger(index) || index <= previous) return `${what} comes behind block ${previous}`;
    if (positions.length !== shown.length) {
      return `${what}: ${positions.length} positions, but ${shown.length} entries`;
    }
    if (!isAscending(positions)) return `${what}: positions are not ascending`;
    entries += shown.length;
    const fault =
      tooMany(opening.length, MAX_PART_BYTES, `bytes of the opening of block ${index}`) ??
      tooMany(shown.length, MAX_BLOCK_ENTRIES, `entries of block ${index}`) ??
      tooMany(entries, MAX_EXPORT_ENTRIES, 'entries') ??
      tooMany(hashes.length, MAX_BLOCK_ENTRIES, `hashes of block ${index}`) ??
      hashFault(hashes, what);
    if (fault !== undefined) return fault;
    previous = index;
  }
  return undefined;
}

function openingsFault(openings: readonly MaintenanceOpening[]): string | undefined {
  const fault = hashFault(
    openings.map(({ digest }) => digest),
    'bundle: openings',
  );
  if (fault !== undefined) return fault;
  const tooLong = tooMany(
    longest(openings.map(({ opening }) => opening)),
    MAX_PART_BYTES,
    'bytes of one opening',
  );
  if (tooLong !== undefined) return tooLong;
  const unordered = openings.findIndex(
    ({ digest }, at) => at > 0 && compareBytes(openings[at - 1]!.digest, digest) >= 0,
  );
  return unordered === -1 ? undefined : `bundle: opening ${unordered + 1} is not in the order of digests`;
}

function isAscending(numbers: readonly number[]): boolean {
  return numbers.every(
    (number, at) => Number.isSafeInteger(number) && number > (at === 0 ? -1 : numbers[at - 1]!),
  );
}

function hashFault(hashes: readonly Uint8Array[], what: string): string | undefined {
  const at = hashes.findIndex((hash) => hash.length !== HASH_LENGTH);
  return at === -1 ? undefined : `${what}: hash ${at + 1} has ${hashes[at]?.length} bytes, not 32`;
}

function longest(items: readonly Uint8Array[]): number {
  return items.reduce((most, { length }) => Math.max(most, length), 0);
}

function tooMany(count: number, limit: number, what: string): string | undefined {
  return count <= limit ? undefined : `bundle: ${count} ${what}, at most ${limit} are allowed`;
}
