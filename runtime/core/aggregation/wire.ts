import { sha256 } from '#sha256';

/**
 * The few forms that messages of this room are made of, after the presentation language of RFC 8446,
 * section 3: big-endian numbers, vectors with a length before them.
 */

/** Puts a message together. */
export interface WireWriter {
  uint8(value: number): WireWriter;
  uint16(value: number): WireWriter;
  uint32(value: number): WireWriter;
  /** A safe integer in eight bytes. */
  uint64(value: number): WireWriter;
  /** Bytes whose length the reader knows. */
  fixed(bytes: Uint8Array): WireWriter;
  /** Text of 1 to 255 bytes of UTF-8, its length in one byte before it. */
  text(value: string): WireWriter;
  finish(): Uint8Array;
}

/** Takes a message apart; every method throws a RangeError that says what is wrong and where. */
export interface WireReader {
  uint8(what: string): number;
  uint16(what: string): number;
  uint32(what: string): number;
  uint64(what: string): number;
  fixed(length: number, what: string): Uint8Array;
  text(what: string): string;
  /** Throws if a byte is left over. */
  finish(): void;
}

const MAX_TEXT = 255;

/** Starts a message. Its methods throw a RangeError for a value that does not fit. */
export function createWireWriter(): WireWriter {
  const parts: Uint8Array[] = [];
  const number = (value: number, size: number): WireWriter => {
    if (!Number.isSafeInteger(value) || value < 0 || value >= 256 ** size) {
      throw new RangeError(`${value} does not fit an unsigned number of ${size} bytes`);
    }
    const bytes = new Uint8Array(size);
    for (let i = size - 1, rest = value; i >= 0; i--, rest = Math.floor(rest / 256)) bytes[i] = rest % 256;
    parts.push(bytes);
    return writer;
  };
  const writer: WireWriter = {
    uint8: (value) => number(value, 1),
    uint16: (value) => number(value, 2),
    uint32: (value) => number(value, 4),
    uint64: (value) => number(value, 8),
    fixed(bytes) {
      parts.push(bytes);
      return writer;
    },
    text(value) {
      const bytes = utf8(value);
      return number(bytes.length, 1).fixed(bytes);
    },
    finish: () => concat(parts),
  };
  return writer;
}

/** Starts reading `bytes`; what `fixed` gives is a copy, so that the message may be thrown away. */
export function createWireReader(bytes: Uint8Array): WireReader {
  let offset = 0;
  const take = (length: number, what: string): Uint8Array => {
    if (length > bytes.length - offset) {
      throw new RangeError(`${what}: needs ${length} bytes at ${offset}, the message has ${bytes.length}`);
    }
    offset += length;
    // Not slice: that of a Buffer does not copy.
    return new Uint8Array(bytes.subarray(offset - length, offset));
  };
  const number = (size: number, what: string): number => {
    const value = take(size, what).reduce((sum, byte) => sum * 256 + byte, 0);
    if (!Number.isSafeInteger(value)) throw new RangeError(`${what}: beyond the safe integers`);
    return value;
  };
  return {
    uint8: (what) => number(1, what),
    uint16: (what) => number(2, what),
    uint32: (what) => number(4, what),
    uint64: (what) => number(8, what),
    fixed: take,
    text(what) {
      const length = number(1, what);
      if (length === 0) throw new RangeError(`${what}: is empty`);
      return strictText(take(length, what), what);
    },
    finish() {
      if (offset !== bytes.length)
        throw new RangeError(`${bytes.length - offset} bytes too many at ${offset}`);
    },
  };
}

/** The SHA-256 of `parts` one after the other, always as a plain Uint8Array. */
export function hashOf(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(sha256(concat(parts)));
}

/** `parts` one after the other. */
function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

function utf8(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value);
  // The encoder writes U+FFFD for a lone surrogate: two names would become one.
  if (
    bytes.length < 1 ||
    bytes.length > MAX_TEXT ||
    new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes) !== value
  ) {
    throw new RangeError(`a name must be well-formed text of 1 to ${MAX_TEXT} bytes of UTF-8`);
  }
  return bytes;
}

function strictText(bytes: Uint8Array, what: string): string {
  try {
    // ignoreBOM: a byte order mark is part of the name, or two messages would mean the same.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new RangeError(`${what}: is not UTF-8`);
  }
}
