import { TILE_WIDTH } from './tiles.ts';

/** The longest entry that a bundle can hold, in bytes: its length is a uint16. */
export const MAX_ENTRY_BYTES = 65_535;

const LENGTH_BYTES = 2;

/** An entry bundle (C2SP tlog-tiles, "Log entries"): each entry behind its length as a big-endian uint16. */
export function encodeBundle(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.length < 1 || entries.length > TILE_WIDTH) {
    throw new RangeError(`a bundle has 1 to ${TILE_WIDTH} entries, not ${entries.length}`);
  }
  const bytes = new Uint8Array(entries.reduce((sum, entry) => sum + LENGTH_BYTES + entry.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const entry of entries) {
    if (entry.length > MAX_ENTRY_BYTES) {
      throw new RangeError(`an entry of ${entry.length} bytes does not fit: the limit is ${MAX_ENTRY_BYTES}`);
    }
    view.setUint16(at, entry.length);
    bytes.set(entry, at + LENGTH_BYTES);
    at += LENGTH_BYTES + entry.length;
  }
  return bytes;
}

/** The `width` entries of a bundle. Throws unless the bytes are exactly that many entries. */
export function decodeBundle(bytes: Uint8Array, width: number): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (entries.length === width) throw new Error(`malformed bundle: more than ${width} entries`);
    if (at + LENGTH_BYTES > bytes.length)
      throw new Error(`malformed bundle: entry ${entries.length} is cut short`);
    const end = at + LENGTH_BYTES + view.getUint16(at);
    if (end > bytes.length) throw new Error(`malformed bundle: entry ${entries.length} is cut short`);
    entries.push(new Uint8Array(bytes.subarray(at + LENGTH_BYTES, end)));
    at = end;
  }
  if (entries.length !== width) throw new Error(`malformed bundle: ${entries.length} entries, not ${width}`);
  return entries;
}
