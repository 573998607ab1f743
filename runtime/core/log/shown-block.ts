/**
 * Entries of a block on their way to a subscriber: `[log index, opening, [position...], [entry...], [hash...]]`.
 * Samples that are signed with their block need no more than this and the gateway's key to be believed.
 */
import type { Verifier } from '#ed25519';
import { decodeCbor, decodeError, encodeCbor, equalBytes } from '../encoding/cbor.ts';
import { byteString, fieldsOf, list, safeInteger } from '../encoding/fields.ts';
import { decodeOpening, MAX_BLOCK_ENTRIES, readEntry, verifyBlock } from './block.ts';
import type { ExportedBlock } from './export.ts';
import { leafHash } from './hash.ts';
import { rootFromMultiproof } from './multiproof.ts';

export function encodeShownBlock({ index, opening, positions, entries, hashes }: ExportedBlock): Uint8Array {
  return encodeCbor([index, opening, [...positions], [...entries], [...hashes]]);
}

/** @throws DecodeError when `bytes` are not the one encoding of shown entries. */
export function decodeShownBlock(bytes: Uint8Array): ExportedBlock {
  const what = 'shown block';
  const fields = fieldsOf(decodeCbor(bytes), 5, what);
  const strings = (value: (typeof fields)[number] | undefined) =>
    list(value, MAX_BLOCK_ENTRIES, what).map((item) => byteString(item, what));
  const block: ExportedBlock = {
    index: safeInteger(fields[0], `${what}: log index`),
    opening: byteString(fields[1], `${what}: opening`),
    positions: list(fields[2], MAX_BLOCK_ENTRIES, what).map((position) => safeInteger(position, what)),
    entries: strings(fields[3]),
    hashes: strings(fields[4]),
  };
  if (block.positions.length !== block.entries.length) throw decodeError(`${what}: not a position an entry`);
  if (!equalBytes(encodeShownBlock(block), bytes)) throw decodeError(`${what}: not in canonical form`);
  return block;
}

/**
 * The payloads of the shown entries, each signed by the verifier's key with its block.
 * @throws DecodeError that says what is wrong: proof, signature, or an entry of another form.
 */
export function openShownBlock(bytes: Uint8Array, verifier: Verifier): readonly Uint8Array[] {
  const block = decodeShownBlock(bytes);
  const opening = decodeOpening(block.opening);
  const leaves = block.entries.map(leafHash);
  const rebuilt = rootFromMultiproof(block.positions, leaves, opening.count, block.hashes);
  if ('fault' in rebuilt) throw decodeError(`shown block: ${rebuilt.fault}`);
  if (!equalBytes(rebuilt.root, opening.root)) {
    throw decodeError('shown block: its entries and hashes do not lead to the block’s root');
  }
  if (!verifyBlock(opening, verifier))
    throw decodeError('shown block: the block’s signature does not verify');
  return block.entries.map((entry) => {
    const read = readEntry(entry);
    if (read.form !== 'salted') throw decodeError('shown block: an entry has a signature of its own');
    return read.payload;
  });
}
