/**
 * Deterministic CBOR (RFC 8949, section 4.2), the subset that the house's formats use: integers, byte and
 * text strings, arrays, maps, tags, booleans, null, and floats always as binary64 (section 4.2.2 lets an
 * application fix one width). One value has one encoding, and the decoder takes no other.
 */

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

const MAJOR_UNSIGNED = 0;
const MAJOR_NEGATIVE = 1;
const MAJOR_BYTES = 2;
const MAJOR_TEXT = 3;
const MAJOR_ARRAY = 4;
const MAJOR_MAP = 5;
const MAJOR_TAG = 6;

const FALSE = 0xf4;
const TRUE = 0xf5;
const NULL = 0xf6;
const FLOAT64 = 0xfb;

/** Deeper nesting than any format of the house needs; a bound on the decoder's stack. */
const MAX_DEPTH = 32;
const TWO_32 = 2 ** 32;
const MAX_UINT64 = 2n ** 64n - 1n;

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Writes CBOR items one after the other into a buffer that grows. */
export interface CborWriter {
  head(major: number, argument: number | bigint): void;
  integer(value: number | bigint): void;
  float(value: number): void;
  bytes(value: Uint8Array): void;
  text(value: string): void;
  array(length: number): void;
  /** Bytes that are an encoded item already. */
  raw(encoded: Uint8Array): void;
  simple(byte: number): void;
  /** What was written, as a copy of its own; the writer is empty again. */
  take(): Uint8Array;
}

/** A writer whose buffer starts at `capacity` bytes. Made once and used often, it allocates only results. */
export function createCborWriter(capacity = 512): CborWriter {
  let buffer = new Uint8Array(capacity);
  let view = new DataView(buffer.buffer);
  let length = 0;

  function reserve(count: number): void {
    if (length + count <= buffer.length) return;
    const grown = new Uint8Array(Math.max(buffer.length * 2, length + count));
    grown.set(buffer.subarray(0, length));
    buffer = grown;
    view = new DataView(buffer.buffer);
  }

  function head(major: number, argument: number | bigint): void {
    reserve(9);
    const high = major << 5;
    if (typeof argument === 'bigint' || argument >= TWO_32) {
      buffer[length] = high | 27;
      view.setBigUint64(length + 1, BigInt(argument));
      length += 9;
    } else if (argument < 24) {
      buffer[length++] = high | argument;
    } else if (argument < 0x100) {
      buffer[length++] = high | 24;
      buffer[length++] = argument;
    } else if (argument < 0x10000) {
      buffer[length] = high | 25;
      view.setUint16(length + 1, argument);
      length += 3;
    } else {
      buffer[length] = high | 26;
      view.setUint32(length + 1, argument);
      length += 5;
    }
  }

  function raw(encoded: Uint8Array): void {
    reserve(encoded.length);
    buffer.set(encoded, length);
    length += encoded.length;
  }

  return {
    head,
    raw,
    integer(value) {
      if (typeof value === 'number' && !Number.isSafeInteger(value)) {
        throw new RangeError(`${value} is not a safe integer: write it as a float or a bigint`);
      }
      const argument = value < 0 ? -1n - BigInt(value) : BigInt(value);
      if (argument > MAX_UINT64) throw new RangeError(`${value} does not fit in 64 bits`);
      head(value < 0 ? MAJOR_NEGATIVE : MAJOR_UNSIGNED, argument < TWO_32 ? Number(argument) : argument);
    },
    float(value) {
      reserve(9);
      buffer[length] = FLOAT64;
      view.setFloat64(length + 1, value);
      // One NaN, or the same sample would have many encodings (RFC 8949, section 4.2.2).
      if (Number.isNaN(value)) view.setBigUint64(length + 1, 0x7ff8000000000000n);
      length += 9;
    },
    bytes(value) {
      head(MAJOR_BYTES, value.length);
      raw(value);
    },
    text(value) {
      const encoded = textEncoder.encode(value);
      head(MAJOR_TEXT, encoded.length);
      raw(encoded);
    },
    array: (count) => head(MAJOR_ARRAY, count),
    simple(byte) {
      reserve(1);
      buffer[length++] = byte;
    },
    take() {
      const taken = buffer.slice(0, length);
      length = 0;
      return taken;
    },
  };
}

/**
 * The deterministic encoding of `value`.
 * @throws RangeError for a number that is neither a safe integer nor wrapped as `{float}`, and for nesting
 *   deeper than 32.
 */
export function encodeCbor(value: CborValue): Uint8Array {
  const writer = createCborWriter();
  writeValue(writer, value, 0);
  return writer.take();
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
    writer.head(MAJOR_TAG, value.tag);
    writeValue(writer, value.value, depth + 1);
  }
}

function isArray(value: CborValue): value is readonly CborValue[] {
  return Array.isArray(value);
}

function writeMap(writer: CborWriter, map: CborMap, depth: number): void {
  const entries = [...map].map(([key, value]) => ({ key: encodeCbor(key), value }));
  entries.sort((a, b) => compareBytes(a.key, b.key));
  writer.head(MAJOR_MAP, entries.length);
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
 *   float that is not binary64, map keys out of order or twice, text that is not UTF-8.
 */
export function decodeCbor(bytes: Uint8Array): CborValue {
  const reader: Reader = {
    bytes,
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
    offset: 0,
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
  need(reader, 1);
  const initial = reader.bytes[reader.offset++]!;
  const info = initial & 31;
  switch (initial >> 5) {
    case MAJOR_UNSIGNED:
      return readArgument(reader, info);
    case MAJOR_NEGATIVE: {
      const argument = readArgument(reader, info);
      const value = -1n - BigInt(argument);
      return value >= BigInt(Number.MIN_SAFE_INTEGER) ? Number(value) : value;
    }
    case MAJOR_BYTES:
      // Not slice(), which shares the memory when the input is a Buffer.
      return new Uint8Array(readBytes(reader, info));
    case MAJOR_TEXT:
      return readText(reader, info);
    case MAJOR_ARRAY: {
      const length = readLength(reader, info);
      const items: CborValue[] = [];
      for (let index = 0; index < length; index++) items.push(readValue(reader, depth + 1));
      return items;
    }
    case MAJOR_MAP:
      return readMap(reader, info, depth);
    case MAJOR_TAG: {
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
  if (Number.isNaN(float) && reader.view.getBigUint64(at) !== 0x7ff8000000000000n) {
    throw decodeError(`CBOR: NaN at byte ${at} is not the canonical one`);
  }
  return { float };
}
