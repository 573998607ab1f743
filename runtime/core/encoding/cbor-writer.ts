/** Writing the items of RFC 8949, each in its one deterministic form (section 4.2). */

/** Major types (section 3.1). */
export const MAJOR = { unsigned: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5, tag: 6 } as const;
export const FLOAT64 = 0xfb;
/** One NaN, or the same sample would have many encodings (section 4.2.2). */
export const CANONICAL_NAN = 0x7ff8000000000000n;

const TWO_32 = 2 ** 32;
const MAX_UINT64 = 2n ** 64n - 1n;

const textEncoder = new TextEncoder();

/** Writes CBOR items one after the other into a buffer that grows. */
export interface CborWriter {
  head(major: number, argument: number | bigint): void;
  integer(value: number | bigint): void;
  float(value: number): void;
  /** An array of floats. */
  floats(values: readonly number[]): void;
  bytes(value: Uint8Array): void;
  text(value: string): void;
  array(length: number): void;
  /** Bytes that are an encoded item already. */
  raw(encoded: Uint8Array): void;
  simple(byte: number): void;
  /** What was written; the writer is empty again. */
  take(): Uint8Array;
}

/**
 * A writer whose buffer starts at `capacity` bytes. Made once and used often, it allocates only results.
 * @param results `own`: each result has memory of its own. `shared`: results are views side by side in memory
 *   of `capacity` bytes, which lives as long as any of them; a tenth of the cost for small results that live
 *   and die together.
 */
export function createCborWriter(capacity = 512, results: 'own' | 'shared' = 'own'): CborWriter {
  let buffer = new Uint8Array(capacity);
  let view = new DataView(buffer.buffer);
  /** Of the item that is being written: it lies from `start` to `end`. */
  let start = 0;
  let end = 0;

  function reserve(count: number): void {
    if (end + count > buffer.length) grow(count);
  }

  function grow(count: number): void {
    const written = end - start;
    const larger = new Uint8Array(Math.max(capacity, written * 2, written + count));
    larger.set(buffer.subarray(start, end));
    buffer = larger;
    view = new DataView(buffer.buffer);
    start = 0;
    end = written;
  }

  function head(major: number, argument: number | bigint): void {
    reserve(9);
    const high = major << 5;
    if (typeof argument === 'bigint') {
      buffer[end] = high | 27;
      view.setBigUint64(end + 1, argument);
      end += 9;
    } else if (argument < 24) {
      buffer[end++] = high | argument;
    } else if (argument < 0x100) {
      buffer[end++] = high | 24;
      buffer[end++] = argument;
    } else if (argument < 0x10000) {
      buffer[end] = high | 25;
      view.setUint16(end + 1, argument);
      end += 3;
    } else if (argument < TWO_32) {
      buffer[end] = high | 26;
      view.setUint32(end + 1, argument);
      end += 5;
    } else {
      buffer[end] = high | 27;
      view.setUint32(end + 1, Math.floor(argument / TWO_32));
      view.setUint32(end + 5, argument % TWO_32);
      end += 9;
    }
  }

  function raw(encoded: Uint8Array): void {
    reserve(encoded.length);
    buffer.set(encoded, end);
    end += encoded.length;
  }

  /** Room is there for it. */
  function putFloat(value: number): void {
    buffer[end] = FLOAT64;
    if (Number.isNaN(value)) view.setBigUint64(end + 1, CANONICAL_NAN);
    else view.setFloat64(end + 1, value);
    end += 9;
  }

  return {
    head,
    raw,
    integer(value) {
      if (typeof value === 'number') {
        if (!Number.isSafeInteger(value)) {
          throw new RangeError(`${value} is not a safe integer: write it as a float or a bigint`);
        }
        if (value < 0) head(MAJOR.negative, -1 - value);
        else head(MAJOR.unsigned, value);
        return;
      }
      const argument = value < 0n ? -1n - value : value;
      if (argument > MAX_UINT64) throw new RangeError(`${value} does not fit in 64 bits`);
      head(value < 0n ? MAJOR.negative : MAJOR.unsigned, argument < TWO_32 ? Number(argument) : argument);
    },
    float(value) {
      reserve(9);
      putFloat(value);
    },
    floats(values) {
      head(MAJOR.array, values.length);
      reserve(9 * values.length);
      for (const value of values) putFloat(value);
    },
    bytes(value) {
      head(MAJOR.bytes, value.length);
      raw(value);
    },
    text(value) {
      if (isShortAscii(value)) {
        head(MAJOR.text, value.length);
        reserve(value.length);
        for (let index = 0; index < value.length; index++) buffer[end++] = value.charCodeAt(index);
        return;
      }
      const encoded = textEncoder.encode(value);
      head(MAJOR.text, encoded.length);
      raw(encoded);
    },
    array: (count) => head(MAJOR.array, count),
    simple(byte) {
      reserve(1);
      buffer[end++] = byte;
    },
    take() {
      if (results === 'shared') {
        const taken = new Uint8Array(buffer.buffer, start, end - start);
        start = end;
        return taken;
      }
      const taken = buffer.slice(0, end);
      end = 0;
      return taken;
    },
  };
}

/** Text for which a call of TextEncoder takes longer than a loop. */
function isShortAscii(value: string): boolean {
  if (value.length > 32) return false;
  for (let index = 0; index < value.length; index++) if (value.charCodeAt(index) > 0x7f) return false;
  return true;
}
