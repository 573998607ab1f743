/**
 * A block as it is stored: `[opening, [entry, entry, ...]]`, openings and entries as byte strings; small blocks
 * deflated (RFC 1951), which spares a memory card a third of what it would have to take several times over.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { createCborWriter, decodeCbor, decodeError, equalBytes } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, list } from '../../core/encoding/fields.ts';
import { MAX_BLOCK_ENTRIES } from '../../core/log/block.ts';

export interface BlockRecord {
  /** Encoded; its digest is the block's log leaf. */
  readonly opening: Uint8Array;
  readonly entries: readonly Uint8Array[];
}

/** Opens a deflated record; no array of CBOR begins so. */
const DEFLATED = 1;
/** Smaller ones gain nothing; larger ones come from streams so fast that the time for it is not there. */
const DEFLATE_FROM = 512;
const DEFLATE_TO = 512 << 10;
const MAX_INFLATED = 128 << 20;

const writer = createCborWriter(1 << 16);

export function encodeBlockRecord(record: BlockRecord): Uint8Array {
  const plain = encodePlain(record);
  if (plain.length < DEFLATE_FROM || plain.length > DEFLATE_TO) return plain;
  const deflated = deflateRawSync(plain, { level: 1 });
  if (deflated.length + 1 >= plain.length) return plain;
  const stored = new Uint8Array(deflated.length + 1);
  stored[0] = DEFLATED;
  stored.set(deflated, 1);
  return stored;
}

function encodePlain({ opening, entries }: BlockRecord): Uint8Array {
  writer.array(2);
  writer.bytes(opening);
  writer.array(entries.length);
  for (const entry of entries) writer.bytes(entry);
  return writer.take();
}

/** @throws DecodeError when `bytes` are not an encoding of a record. */
export function decodeBlockRecord(bytes: Uint8Array): BlockRecord {
  const plain = bytes[0] === DEFLATED ? inflate(bytes.subarray(1)) : bytes;
  const fields = fieldsOf(decodeCbor(plain), 2, 'block record');
  const record: BlockRecord = {
    opening: byteString(fields[0], 'block record: opening'),
    entries: list(fields[1], MAX_BLOCK_ENTRIES, 'block record: entries').map((entry, index) =>
      byteString(entry, `block record: entry ${index}`),
    ),
  };
  if (!equalBytes(encodePlain(record), plain)) throw decodeError('block record: not in canonical form');
  return record;
}

function inflate(bytes: Uint8Array): Uint8Array {
  try {
    const plain = inflateRawSync(bytes, { maxOutputLength: MAX_INFLATED });
    return new Uint8Array(plain.buffer, plain.byteOffset, plain.length);
  } catch (error) {
    throw decodeError(`block record: it cannot be inflated: ${(error as Error).message}`);
  }
}
