/**
 * Deterministic CBOR (RFC 8949, section 4.2), the subset that the house's formats use: integers, byte and
 * text strings, arrays, maps, tags, booleans, null, and floats always as binary64 (section 4.2.2 lets an
 * application fix one width). One value has one encoding, and the decoder takes no other.
 */

import { CANONICAL_NAN, type CborWriter, createCborWriter, FLOAT64, MAJOR } from './cbor-writer.ts';

export { type CborWriter, createCborWriter } from './cbor-writer.ts';

/** A floating-point number; plain `number` means an integer. */
export interface CborFloat {
  readonly float: number;
}

/** A tagged value (RFC 8949, section 3.4). */
export interface CborTag {
  readonly tag: number;
  readonly value: CborValue;
}

export type CborKey = number | string;
export type CborMap = ReadonlyMap<CborKey, CborValue>;
export type CborValue =
  | number
  | bigint
  | string
  | boolean
  | null
  | Uint8Array
  | CborFloat
  | CborTag
  | readonly CborValue[]
  | CborMap;

/** Bytes that are not what they should be; the message names the place and the rule. */
export interface DecodeError extends Error {
  readonly name: 'DecodeError';
}

export function decodeError(message: string): DecodeError {
  return Object.assign(new Error(message), { name: 'DecodeError' as const });
}

const FALSE = 0xf4;
const TRUE = 0xf5;
const NULL = 0xf6;

/** Deeper nesting than any format of the house needs; a bound on the decoder's stack. */
const MAX_DEPTH = 32;
/** A byte can stand for an array of its own, which takes a hundred times that in memory; room for a million entries. */
const MAX_ITEMS = 2 ** 22;

const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** For whoever comes next: making a writer takes longer than writing most values. */
let idleWriter: CborWriter | undefined;
/** A writer that wrote more has a buffer too large to keep. */
const MOST_KEPT = 1 << 16;

/**
 * The deterministic encoding of `value`.
 * @throws RangeError for a number that is neither a safe integer nor wrapped as `{float}`, and for nesting
 *   deeper than 32.
 */
export function encodeCbor(value: CborValue): Uint8Array {
  const writer = idleWriter ?? createCborWriter();
  // Not idle while it writes, since a map's keys come back here; nor after an error, with half a value in it.
  idleWriter = undefined;
  writeValue(writer, value, 0);
  const encoded = writer.take();
  if (encoded.length <= MOST_KEPT) idleWriter = writer;
  return encoded;
}

function writeValue(writer: CborWriter, value: CborValue, depth: number): void {
  if (depth > MAX_DEPTH) throw new RangeError(`CBOR is nested deeper than ${MAX_DEPTH}`);
  if (typeof value === 'number' || typeof value === 'bigint') writer.integer(value);
  else if (typeof value === 'string') writer.text(value);
  else if (value === null) writer.simple(NULL);
  else if (typeof value === 'boolean') writer.simple(value ? TRUE : FALSE);
  else if (value instanceof Uint8Array) writer.bytes(value);
  else if (value instanceof Map) writeMap(writer, value, depth);
  else if (isArray(value)) {
    writer.array(value.length);
    for (const item of value) writeValue(writer, item, depth + 1);
  } else if ('float' in value) writer.float(value.float);
  else if ('tag' in value) {
    writer.head(MAJOR.tag, value.tag);
    writeValue(writer, value.value, depth + 1);
  }
}

function isArray(value: CborValue): value is readonly CborValue[] {
  return Array.isArray(value);
}

function writeMap(writer: CborWriter, map: CborMap, depth: number): void {
  const entries = [...map].map(([key, value]) => ({ key: encodeCbor(key), value }));
  entries.sort((a, b) => compareBytes(a.key, b.key));
  writer.head(MAJOR.map, entries.length);
  for (const { key, value } of entries) {
    writer.raw(key);
    writeValue(writer, value, depth + 1);
  }
}

/** Bytewise order, the shorter first where one is the start of the other. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let index = 0; index < shared; index++) {
    const difference = a[index]! - b[index]!;
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareBytes(a, b) === 0;
}

/**
 * The value of exactly one deterministically encoded item.
 * @throws DecodeError for anything else: bytes after it, a longer form than needed, indefinite lengths, a
 *   float that is not binary64, map keys out of order or twice, text that is not UTF-8; for nesting deeper
 *   than 32, and for more than 2^22 items.
 */
export function decodeCbor(bytes: Uint8Array): CborValue {
  const reader: Reader = {
    bytes,
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
    offset: 0,
    items: 0,
  };
  const value = readValue(reader, 0);
  if (reader.offset !== bytes.length) {
    throw decodeError(`CBOR: ${bytes.length - reader.offset} bytes after the end of the item`);
  }
  return value;
}

interface Reader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  offset: number;
  items: number;
}

function need(reader: Reader, count: number): void {
  if (reader.bytes.length - reader.offset < count) {
    throw decodeError(
      `CBOR: cut off at byte ${reader.bytes.length}, ${count} more needed from ${reader.offset}`,
    );
  }
}

function readArgument(reader: Reader, info: number): number | bigint {
  if (info < 24) return info;
  if (info > 27) throw decodeError(`CBOR: indefinite or reserved length at byte ${reader.offset - 1}`);
  const width = 1 << (info - 24);
  need(reader, width);
  const at = reader.offset;
  reader.offset += width;
  if (width === 8) {
    const value = reader.view.getBigUint64(at);
    if (value < 0x100000000n) throw decodeError(`CBOR: integer longer than needed at byte ${at}`);
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
  }
  const value =
    width === 1
      ? reader.view.getUint8(at)
      : width === 2
        ? reader.view.getUint16(at)
        : reader.view.getUint32(at);
  if (value < (width === 1 ? 24 : width === 2 ? 0x100 : 0x10000)) {
    throw decodeError(`CBOR: integer longer than needed at byte ${at}`);
  }
  return value;
}

function readLength(reader: Reader, info: number): number {
  const length = readArgument(reader, info);
  // Every item takes a byte at least, so a length past the end is a lie; refused before anything is allocated.
  if (length > reader.bytes.length - reader.offset) {
    throw decodeError(`CBOR: length ${length} at byte ${reader.offset} reaches past the end`);
  }
  return Number(length);
}

function readValue(reader: Reader, depth: number): CborValue {
  if (depth > MAX_DEPTH) throw decodeError(`CBOR: nested deeper than ${MAX_DEPTH}`);
  if (++reader.items > MAX_ITEMS) throw decodeError(`CBOR: more than ${MAX_ITEMS} items`);
  need(reader, 1);
  const initial = reader.bytes[reader.offset++]!;
  const info = initial & 31;
  switch (initial >> 5) {
    case MAJOR.unsigned:
      return readArgument(reader, info);
    case MAJOR.negative: {
      const argument = readArgument(reader, info);
      const value = -1n - BigInt(argument);
      return value >= BigInt(Number.MIN_SAFE_INTEGER) ? Number(value) : value;
    }
    case MAJOR.bytes:
      // Not slice(), which shares the memory when the input is a Buffer.
      return new Uint8Array(readBytes(reader, info));
    case MAJOR.text:
      return readText(reader, info);
    case MAJOR.array: {
      const length = readLength(reader, info);
      const items: CborValue[] = [];
      for (let index = 0; index < length; index++) items.push(readValue(reader, depth + 1));
      return items;
    }
    case MAJOR.map:
      return readMap(reader, info, depth);
    case MAJOR.tag: {
      const tag = readArgument(reader, info);
      if (typeof tag === 'bigint') throw decodeError(`CBOR: tag ${tag} is not known`);
      return { tag, value: readValue(reader, depth + 1) };
    }
    default:
      return readSimple(reader, initial);
  }
}

function readBytes(reader: Reader, info: number): Uint8Array {
  const length = readLength(reader, info);
  const start = reader.offset;
  reader.offset += length;
  return reader.bytes.subarray(start, reader.offset);
}

function readText(reader: Reader, info: number): string {
  const at = reader.offset;
  try {
    return textDecoder.decode(readBytes(reader, info));
  } catch (error) {
    if (error instanceof TypeError) throw decodeError(`CBOR: text at byte ${at} is not UTF-8`);
    throw error;
  }
}

function readMap(reader: Reader, info: number, depth: number): CborMap {
  const length = readLength(reader, info);
  const map = new Map<CborKey, CborValue>();
  let previous: Uint8Array | undefined;
  for (let index = 0; index < length; index++) {
    const start = reader.offset;
    const key = readValue(reader, depth + 1);
    if (typeof key !== 'number' && typeof key !== 'string') {
      throw decodeError(`CBOR: map key at byte ${start} is neither an integer nor text`);
    }
    const encoded = reader.bytes.subarray(start, reader.offset);
    if (previous && compareBytes(previous, encoded) >= 0) {
      throw decodeError(`CBOR: map keys at byte ${start} out of order or twice`);
    }
    previous = encoded;
    map.set(key, readValue(reader, depth + 1));
  }
  return map;
}

function readSimple(reader: Reader, initial: number): CborValue {
  if (initial === FALSE) return false;
  if (initial === TRUE) return true;
  if (initial === NULL) return null;
  if (initial !== FLOAT64) {
    throw decodeError(`CBOR: simple value or float width 0x${initial.toString(16)} has no place here`);
  }
  need(reader, 8);
  const at = reader.offset;
  reader.offset += 8;
  const float = reader.view.getFloat64(at);
  if (Number.isNaN(float) && reader.view.getBigUint64(at) !== CANONICAL_NAN) {
    throw decodeError(`CBOR: NaN at byte ${at} is not the canonical one`);
  }
  return { float };
}
