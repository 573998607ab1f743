/**
 * A block: the entries that one group commit made durable together. An entry is either signed by itself, a
 * COSE_Sign1, or signed with its block: `[salt, payload]`, its salt secret until it is shown.
 *
 * What the log holds of a block is a digest of its opening, `[salt, count, root, signature]`. The digest tells
 * nobody how much was produced; the opening, shown with an entry, leads from the entry to the log.
 */
import type { Verifier } from '#ed25519';
import { sha256 } from '#sha256';
import { createCborWriter, decodeCbor, decodeError, encodeCbor, equalBytes } from '../encoding/cbor.ts';
import { parseSign1, type Sign1, type Sign1Signer, verifySign1 } from '../encoding/cose.ts';
import { byteString, fieldsOf, safeInteger } from '../encoding/fields.ts';
import { KIND } from '../encoding/kind.ts';
import { merkleRoot } from './block-root.ts';

/** The most entries of one block; a larger commit makes more than one. */
export const MAX_BLOCK_ENTRIES = 8192;

const LEAF_VERSION = 2;
const OPENING_SALT_BYTES = 32;
const ENTRY_SALT_BYTES = 16;
const TAG_SIGN1_HEAD = 0xd2;

/** What a log leaf is a digest of. */
export interface BlockOpening {
  /** 32 bytes, secret until the opening is shown. */
  readonly salt: Uint8Array;
  /** Entries of the block; without it nobody could be kept from lying about the tree's size. */
  readonly count: number;
  /** RFC 6962 root over the entries, 32 bytes. */
  readonly root: Uint8Array;
  /** A COSE_Sign1 over `[11, count, root]`; it signs the entries that have no signature of their own. */
  readonly signature: Uint8Array | undefined;
}

export function encodeOpening({ salt, count, root, signature }: BlockOpening): Uint8Array {
  return encodeCbor([salt, count, root, signature ?? null]);
}

/** @throws DecodeError when `bytes` are not the one encoding of an opening. */
export function decodeOpening(bytes: Uint8Array): BlockOpening {
  const fields = fieldsOf(decodeCbor(bytes), 4, 'block opening');
  const count = safeInteger(fields[1], 'block opening: count');
  if (count > MAX_BLOCK_ENTRIES) throw decodeError(`block opening: ${count} entries are too many`);
  const opening: BlockOpening = {
    salt: byteString(fields[0], 'block opening: salt', OPENING_SALT_BYTES),
    count,
    root: byteString(fields[2], 'block opening: root', 32),
    signature: fields[3] === null ? undefined : byteString(fields[3], 'block opening: signature'),
  };
  if (!equalBytes(encodeOpening(opening), bytes)) throw decodeError('block opening: not in canonical form');
  return opening;
}

/** The data of a block's log leaf: `[2, SHA-256(opening)]`, 37 bytes whatever the block holds. */
export function leafDataOf(opening: Uint8Array): Uint8Array {
  return encodeCbor([LEAF_VERSION, sha256(opening)]);
}

/** The digest in a leaf. @throws DecodeError when `bytes` are not the one encoding of a leaf. */
export function decodeLeafData(bytes: Uint8Array): Uint8Array {
  const fields = fieldsOf(decodeCbor(bytes), 2, 'log leaf');
  if (fields[0] !== LEAF_VERSION) throw decodeError(`log leaf: version ${String(fields[0])} is unknown`);
  return byteString(fields[1], 'log leaf: digest', 32);
}

/** What a block's signature covers. */
export function blockPayload(count: number, root: Uint8Array): Uint8Array {
  return encodeCbor([KIND.block, count, root]);
}

/**
 * The opening of a block made of `entries`.
 * @param salt 32 fresh random bytes.
 * @param signer signs the block; needed when it holds an entry without a signature of its own.
 */
export function openingOf(
  entries: readonly Uint8Array[],
  salt: Uint8Array,
  signer?: Sign1Signer,
): BlockOpening {
  const root = blockRoot(entries);
  const signature = signer?.sign(blockPayload(entries.length, root));
  return { salt, count: entries.length, root, signature };
}

/** RFC 6962 root over a block's entries. */
export function blockRoot(entries: readonly Uint8Array[]): Uint8Array {
  return merkleRoot(entries);
}

/** The message that signs a block. @throws DecodeError when there is none, or it is over something else. */
export function blockSignature(opening: BlockOpening): Sign1 {
  if (!opening.signature) throw decodeError('block: not signed');
  const message = parseSign1(opening.signature);
  if (!equalBytes(message.payload, blockPayload(opening.count, opening.root))) {
    throw decodeError('block: the signature is over another block');
  }
  return message;
}

/** Whether the block is signed by the verifier's key. */
export function verifyBlock(opening: BlockOpening, verifier: Verifier): boolean {
  return verifySign1(blockSignature(opening), verifier);
}

/** An entry as it stands in a block. */
export type BlockEntry =
  | { readonly form: 'signed'; readonly message: Sign1; readonly payload: Uint8Array }
  /** Its signature is the block's. */
  | { readonly form: 'salted'; readonly payload: Uint8Array };

/** Bytes of one allocation, from which many entries are cut. */
const CHUNK = 1 << 14;
const writer = createCborWriter(CHUNK, 'shared');

/** An entry that is signed with its block. @param salt 16 fresh random bytes: they keep it from being guessed. */
export function encodeSalted(salt: Uint8Array, payload: Uint8Array): Uint8Array {
  writer.array(2);
  writer.bytes(salt);
  writer.bytes(payload);
  return writer.take();
}

/** Whether an entry has no signature of its own. */
export function isSalted(entry: Uint8Array): boolean {
  return entry[0] !== TAG_SIGN1_HEAD;
}

/** @throws DecodeError when `entry` is in neither form, or not in its one encoding. */
export function readEntry(entry: Uint8Array): BlockEntry {
  if (!isSalted(entry)) {
    const message = parseSign1(entry);
    return { form: 'signed', message, payload: message.payload };
  }
  const fields = fieldsOf(decodeCbor(entry), 2, 'block entry');
  byteString(fields[0], 'block entry: salt', ENTRY_SALT_BYTES);
  return { form: 'salted', payload: byteString(fields[1], 'block entry: payload') };
}
