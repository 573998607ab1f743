/**
 * Checks LevelDB's write-ahead files before LevelDB sees them: it drops a record whose checksum is wrong without
 * a word, and what follows in the same 32 KiB, so that a changed byte would look like samples that never were.
 * Format: LevelDB, doc/log_format.md; CRC-32C as in RFC 3720, appendix B.4, masked as in LevelDB's util/crc32c.h.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const BLOCK = 32_768;
const HEADER = 7;
const MASK_DELTA = 0xa282ead8;

/** A record whose checksum is not that of its bytes. */
export interface DamagedWrite {
  readonly file: string;
  /** Where the record begins. */
  readonly offset: number;
}

/** The first damaged record of the write-ahead files in `directory`. One that the end of its file cuts off was never durable, and is none. */
export async function findDamagedWrite(directory: string): Promise<DamagedWrite | undefined> {
  const names = (await readdir(directory)).filter((name) => /^\d+\.log$/.test(name)).sort();
  for (const name of names) {
    const offset = damagedAt(await readFile(join(directory, name)));
    if (offset !== undefined) return { file: name, offset };
  }
  return undefined;
}

function damagedAt(file: Buffer): number | undefined {
  let at = 0;
  while (at + HEADER <= file.length) {
    const left = BLOCK - (at % BLOCK);
    const length = left < HEADER ? 0 : file.readUInt16LE(at + 4);
    const type = left < HEADER ? 0 : file[at + 6]!;
    if (left < HEADER || (type === 0 && length === 0)) {
      // The rest of a block that no record fits into, or that was set aside and not written.
      at += left;
      continue;
    }
    const end = at + HEADER + length;
    if (HEADER + length > left) return at;
    if (end > file.length) return undefined;
    if (file.readUInt32LE(at) !== masked(crc32c(file.subarray(at + 6, end)))) return at;
    at = end;
  }
  return undefined;
}

function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

/** CRC-32C (Castagnoli) of `bytes`. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
