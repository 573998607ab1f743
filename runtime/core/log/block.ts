/**
 * A block: the entries that one group commit made durable together. The Merkle root over them is what its
 * log leaf commits to, so that one entry can be proved without showing its neighbours.
 */
import { createCborWriter, decodeCbor, decodeError, encodeCbor, equalBytes } from '../encoding/cbor.ts';
import { byteString, fieldsOf, list, safeInteger } from '../encoding/fields.ts';
import { leafHash } from './hash.ts';
import { treeRoot } from './tree.ts';

/** The most entries of one block; a larger commit makes more than one. */
export const MAX_BLOCK_ENTRIES = 8192;

const LEAF_VERSION = 1;

/** What a log leaf says of its block. */
export interface BlockLeaf {
  readonly entries: number;
  /** RFC 6962 root over the block's entries, 32 bytes. */
  readonly root: Uint8Array;
}

/** The data of a block's log leaf: `[1, entries, root]`; the count is in it so that nobody can lie about the tree's size. */
export function encodeLeaf(leaf: BlockLeaf): Uint8Array {
  return encodeCbor([LEAF_VERSION, leaf.entries, leaf.root]);
}

/** @throws DecodeError when `bytes` are not the one encoding of a leaf. */
export function decodeLeaf(bytes: Uint8Array): BlockLeaf {
  const fields = fieldsOf(decodeCbor(bytes), 3, 'log leaf');
  if (fields[0] !== LEAF_VERSION) throw decodeError(`log leaf: version ${String(fields[0])} is unknown`);
  return {
    entries: safeInteger(fields[1], 'log leaf: count of entries'),
    root: byteString(fields[2], 'log leaf: root', 32),
  };
}

/** The leaf of the block made of `entries`. */
export function leafOf(entries: readonly Uint8Array[]): BlockLeaf {
  return { entries: entries.length, root: treeRoot(entries.map(leafHash)) };
}

const writer = createCborWriter(1 << 16);

/** A block's bytes: `[entry, entry, ...]`, each a byte string. */
export function encodeBlock(entries: readonly Uint8Array[]): Uint8Array {
  writer.array(entries.length);
  for (const entry of entries) writer.bytes(entry);
  return writer.take();
}

/** @throws DecodeError when `bytes` are not the one encoding of a block. */
export function decodeBlock(bytes: Uint8Array): readonly Uint8Array[] {
  const entries = list(decodeCbor(bytes), MAX_BLOCK_ENTRIES, 'block').map((entry, index) =>
    byteString(entry, `block: entry ${index}`),
  );
  if (!equalBytes(encodeBlock(entries), bytes)) throw decodeError('block: not in canonical form');
  return entries;
}
