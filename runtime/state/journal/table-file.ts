/**
 * Checks LevelDB's tables: each block of one carries a CRC-32C that LevelDB itself does not look at when it reads,
 * so that a changed byte in a key would make a record vanish without a word.
 * Format: LevelDB, doc/table_format.md; a block may be compressed with Snappy (google/snappy, format_description.txt).
 */
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { crc32c, masked, updateCrc } from './crc32c.ts';

const FOOTER = 48;
const TRAILER = 5;
const MAGIC = 0xdb4775248b80fb57n;
const MAX_BLOCK = 64 << 20;
const INTERNAL_KEY_TAIL = 8;

/** A damaged part of a table. The keys that it may have held lie after `after`, and not after `upTo`. */
export interface KeySpan {
  readonly after: string;
  readonly upTo: string;
  /** Where the block lies; absent when the whole table cannot be read. */
  readonly block?: Handle;
}

export interface TableCheck {
  /** What is wrong, the first thing only; undefined for a table as it was written. */
  readonly damage: string | undefined;
  /** Where records may be changed or missing. */
  readonly spans: readonly KeySpan[];
  /** Bytes of the file. */
  readonly bytes: number;
}

const ALL: KeySpan = { after: '', upTo: '\uffff' };

export interface Handle {
  readonly offset: number;
  readonly size: number;
}

/**
 * Reads a whole table and checks it.
 * @param pause is called after each block with its bytes; a slow reader waits there.
 */
export async function checkTable(
  path: string,
  pause?: (bytes: number) => Promise<void> | undefined,
): Promise<TableCheck> {
  const file = await open(path, 'r');
  try {
    const { size: bytes } = await file.stat();
    const unreadable = (damage: string): TableCheck => ({ damage, spans: [ALL], bytes });
    if (bytes < FOOTER) return unreadable('it is cut short');
    const footer = await read(file, { offset: bytes - FOOTER, size: FOOTER });
    if (footer.readBigUInt64LE(FOOTER - 8) !== MAGIC) return unreadable('its end is not that of a table');
    const reader = { bytes: footer, at: 0 };
    const meta = readHandle(reader);
    const index = readHandle(reader);
    const padded = footer.subarray(reader.at, FOOTER - 8).every((byte) => byte === 0);
    if (!isWithin(meta, bytes) || !isWithin(index, bytes)) return unreadable('its footer is damaged');
    const entries = await readBlock(file, index);
    if (!entries) return unreadable(`its index at byte ${index.offset} is damaged`);
    const spans: KeySpan[] = [];
    let damage = padded ? undefined : 'its footer is damaged';
    let end = 0;
    let after = '';
    for (const { key, value } of blockEntries(entries)) {
      const handle = readHandle({ bytes: value, at: 0 });
      const upTo = key.subarray(0, -INTERNAL_KEY_TAIL).toString();
      if (handle.offset !== end || !isWithin(handle, bytes)) return unreadable('its index is damaged');
      end = handle.offset + handle.size + TRAILER;
      if (!(await isIntact(file, handle))) {
        damage ??= `the block at byte ${handle.offset} does not match its checksum`;
        spans.push({ after, upTo, block: handle });
      }
      after = upTo;
      await pause?.(handle.size);
    }
    // The filter is there too: changed, it would hide records.
    for (const handle of [meta, ...(await handlesIn(file, meta))])
      if (!(await isIntact(file, handle)))
        damage ??= `the block at byte ${handle.offset} does not match its checksum`;
    return { damage, spans, bytes };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { damage: `its index is damaged: ${error.message}`, spans: [ALL], bytes: 0 };
  } finally {
    await file.close();
  }
}

function isWithin({ offset, size }: Handle, bytes: number): boolean {
  return size <= MAX_BLOCK && offset + size + TRAILER <= bytes - FOOTER;
}

async function read(file: FileHandle, { offset, size }: Handle): Promise<Buffer> {
  const bytes = Buffer.alloc(size);
  const { bytesRead } = await file.read(bytes, 0, size, offset);
  if (bytesRead !== size) throw new RangeError(`${bytesRead} bytes at ${offset} instead of ${size}`);
  return bytes;
}

async function isIntact(file: FileHandle, { offset, size }: Handle): Promise<boolean> {
  return holds(await read(file, { offset, size: size + TRAILER }));
}

async function handlesIn(file: FileHandle, meta: Handle): Promise<readonly Handle[]> {
  const entries = await readBlock(file, meta);
  return entries ? [...blockEntries(entries)].map(({ value }) => readHandle({ bytes: value, at: 0 })) : [];
}

function holds(block: Buffer): boolean {
  const end = block.length - 4;
  return block.readUInt32LE(end) === masked(crc32c(block, 0, end));
}

/** The contents of a block, or undefined when its checksum is not its own. */
async function readBlock(file: FileHandle, { offset, size }: Handle): Promise<Buffer | undefined> {
  const block = await read(file, { offset, size: size + TRAILER });
  if (!holds(block)) return undefined;
  const contents = block.subarray(0, size);
  return block[size] === 1 ? unsnappy(contents) : contents;
}

/**
 * Makes a damaged block one that LevelDB refuses, so that none of it is believed; what can be read of it before.
 * The records may be changed: whoever takes one must check it by other means.
 */
export async function neutralise(path: string, { offset, size }: Handle): Promise<readonly RawRecord[]> {
  const file = await open(path, 'r+');
  try {
    const block = await read(file, { offset, size: size + TRAILER });
    await file.write(Uint8Array.of(NO_TYPE), 0, 1, offset + size);
    await file.sync();
    return readable(block.subarray(0, size), block[size]);
  } finally {
    await file.close();
  }
}

/** No compression has this number. */
const NO_TYPE = 0xff;

/** A record as it lies in a table. */
export interface RawRecord {
  readonly key: Buffer;
  /** With the checksum of the store; undefined says that the key was deleted. */
  readonly value: Buffer | undefined;
  /** The greater, the later it was written. */
  readonly order: bigint;
}

function readable(block: Buffer, type: number | undefined): readonly RawRecord[] {
  const records: RawRecord[] = [];
  try {
    for (const { key, value } of blockEntries(type === 1 ? unsnappy(block) : block)) {
      const order = key.readBigUInt64LE(key.length - INTERNAL_KEY_TAIL);
      records.push({
        key: Buffer.from(key.subarray(0, -INTERNAL_KEY_TAIL)),
        value: (order & 0xffn) === 1n ? Buffer.from(value) : undefined,
        order,
      });
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return records;
}

/** The records of a table whose index is gone: its blocks are where a checksum fits what stands before it. */
export async function recordsWithoutIndex(path: string): Promise<readonly RawRecord[]> {
  const file = await readFile(path);
  const records: RawRecord[] = [];
  let crc = -1;
  for (let at = 0, from = 0; at + TRAILER <= file.length; at++) {
    crc = updateCrc(crc, file, at, at + 1);
    if (file.readUInt32LE(at + 1) !== masked((crc ^ -1) >>> 0)) continue;
    records.push(...readable(file.subarray(from, at), file[at]));
    crc = -1;
    from = at + TRAILER;
    at = from - 1;
  }
  return records;
}

interface Reader {
  readonly bytes: Buffer;
  at: number;
}

function readVarint(reader: Reader): number {
  let value = 0;
  for (let factor = 1; factor < 2 ** 49; factor *= 128) {
    const byte = reader.bytes[reader.at++];
    if (byte === undefined) break;
    value += (byte & 127) * factor;
    if (byte === 0 && factor > 1) throw new RangeError('a number in it is longer than it has to be');
    if (byte < 128) return value;
  }
  throw new RangeError('a number in it does not end');
}

function readHandle(reader: Reader): Handle {
  return { offset: readVarint(reader), size: readVarint(reader) };
}

/** The records of a block: each key shares a beginning with the one before. */
function* blockEntries(block: Buffer): Generator<{ readonly key: Buffer; readonly value: Buffer }> {
  const restarts = block.readUInt32LE(block.length - 4);
  const end = block.length - 4 * (restarts + 1);
  const reader: Reader = { bytes: block, at: 0 };
  let key = Buffer.alloc(0);
  while (reader.at < end) {
    const shared = readVarint(reader);
    const fresh = readVarint(reader);
    const length = readVarint(reader);
    if (shared > key.length || reader.at + fresh + length > end)
      throw new RangeError('a record in it is too long');
    key = Buffer.concat([key.subarray(0, shared), block.subarray(reader.at, reader.at + fresh)]);
    reader.at += fresh;
    yield { key, value: block.subarray(reader.at, reader.at + length) };
    reader.at += length;
  }
}

/** @throws RangeError for bytes that are no Snappy stream. */
export function unsnappy(bytes: Buffer): Buffer {
  const reader: Reader = { bytes, at: 0 };
  const length = readVarint(reader);
  if (length > MAX_BLOCK) throw new RangeError(`${length} bytes are too many`);
  const out = Buffer.alloc(length);
  let end = 0;
  const little = (count: number) => {
    const value = bytes.readUIntLE(reader.at, count);
    reader.at += count;
    return value;
  };
  while (reader.at < bytes.length) {
    const tag = bytes[reader.at++]!;
    if ((tag & 3) === 0) {
      const code = tag >> 2;
      const size = (code < 60 ? code : little(code - 59)) + 1;
      if (reader.at + size > bytes.length || end + size > length)
        throw new RangeError('a literal is too long');
      bytes.copy(out, end, reader.at, reader.at + size);
      reader.at += size;
      end += size;
      continue;
    }
    const kind = tag & 3;
    const size = kind === 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
    const back = kind === 1 ? ((tag >> 5) << 8) + little(1) : little(kind === 2 ? 2 : 4);
    if (back === 0 || back > end || end + size > length) throw new RangeError('a copy goes out of bounds');
    // Byte by byte: a copy may overlap with what it makes.
    for (let count = 0; count < size; count++, end++) out[end] = out[end - back]!;
  }
  if (end !== length) throw new RangeError(`${end} bytes instead of ${length}`);
  return out;
}
