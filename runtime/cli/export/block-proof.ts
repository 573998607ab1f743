/**
 * What stands in the extra line of a sample's tlog-proof: the way from the sample to the log's leaf. CBOR
 *
 *     [ 'kosmos/block-proof/v1', opening, position, entry, [hash...] ]
 *
 * The hashes are the RFC 6962 inclusion proof of leafHash(entry) at `position` among the opening's `count`, from
 * the leaf's sibling up. The log's leaf is the digest of the opening (log/block.ts). Nobody signs the extra line;
 * what is in it leads to the leaf or it does not.
 */
import { decodeCbor, decodeError, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, list, safeInteger } from '../../core/encoding/fields.ts';
import { type BlockOpening, decodeOpening, leafDataOf } from '../../core/log/block.ts';
import { parseCheckpoint } from '../../core/log/checkpoint.ts';
import type { ExportBundle } from '../../core/log/export.ts';
import { leafHash } from '../../core/log/hash.ts';
import { planMultiproof } from '../../core/log/multiproof.ts';
import { parseNote } from '../../core/log/note.ts';
import { type NodeAddress, planInclusion } from '../../core/log/proof.ts';
import { formatTlogProof } from '../../core/log/tlog-proof.ts';
import { inclusionFault } from '../../core/log/verify.ts';

const TAG = 'kosmos/block-proof/v1';
const MAX_HASHES = 14;

export interface BlockProof {
  readonly opening: Uint8Array;
  readonly position: number;
  readonly entry: Uint8Array;
  readonly hashes: readonly Uint8Array[];
}

export function encodeBlockProof({ opening, position, entry, hashes }: BlockProof): Uint8Array {
  return encodeCbor([TAG, opening, position, entry, [...hashes]]);
}

/** Whether extra data say of themselves that they are a block proof. */
export function isBlockProof(extra: Uint8Array): boolean {
  return extra[0] === 0x85 && equalBytes(extra.subarray(1, TAG.length + 2), encodeCbor(TAG));
}

/** @throws DecodeError when `bytes` are not the one encoding of a block proof. */
export function decodeBlockProof(bytes: Uint8Array): BlockProof {
  const fields = fieldsOf(decodeCbor(bytes), 5, 'block proof');
  if (fields[0] !== TAG) throw decodeError(`block proof: it does not open with ${TAG}`);
  return {
    opening: byteString(fields[1], 'block proof: opening'),
    position: safeInteger(fields[2], 'block proof: position'),
    entry: byteString(fields[3], 'block proof: entry'),
    hashes: list(fields[4], MAX_HASHES, 'block proof: hashes').map((hash) =>
      byteString(hash, 'block proof: a hash', 32),
    ),
  };
}

/** The opening, when the entry is in its block. @throws Error that says what is wrong. */
export function openBlockProof({ opening, position, entry, hashes }: BlockProof): BlockOpening {
  const opened = decodeOpening(opening);
  const fault = inclusionFault(leafHash(entry), position, opened.count, hashes, opened.root);
  if (fault !== undefined) throw new Error(`the entry is not in its block: ${fault}`);
  return opened;
}

/** The tlog-proof of a bundle's one entry, and the data of its leaf. @throws Error when it has more than one. */
export function tlogProofOf(bundle: ExportBundle): { readonly file: string; readonly leaf: Uint8Array } {
  const [block, ...more] = bundle.blocks;
  if (block === undefined || more.length > 0 || block.entries.length !== 1) {
    throw new Error('a tlog-proof is of one sample');
  }
  const { index, opening, positions, entries, hashes } = block;
  const note = parseNote(bundle.checkpoint);
  const { size } = parseCheckpoint(note.text);
  const position = positions[0]!;
  const inner = climbing(position, decodeOpening(opening).count, hashes);
  const extra = encodeBlockProof({ opening, position, entry: entries[0]!, hashes: inner });
  const file = formatTlogProof({
    extra,
    index,
    hashes: climbing(index, size, bundle.proof),
    checkpoint: note,
  });
  return { file, leaf: leafDataOf(opening) };
}

/** A multiproof of one leaf holds the hashes of its inclusion proof in the order of the tree; this is the RFC's. */
function climbing(index: number, size: number, hashes: readonly Uint8Array[]): readonly Uint8Array[] {
  const name = (nodes: readonly NodeAddress[]) => nodes.map((node) => `${node.level}/${node.index}`).join();
  const places = new Map(planMultiproof([index], size).map((nodes, at) => [name(nodes), at]));
  return planInclusion(index, size).map((nodes) => hashes[places.get(name(nodes))!]!);
}
