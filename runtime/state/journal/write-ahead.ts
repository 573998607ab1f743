/**
 * Checks LevelDB's write-ahead files before LevelDB sees them: it drops a record whose checksum is wrong without
 * a word, and what follows in the same 32 KiB, so that a changed byte would look like samples that never were.
 * Format: LevelDB, doc/log_format.md; its MANIFEST has the same.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c, masked, updateCrc } from './crc32c.ts';

const BLOCK = 32_768;
const HEADER = 7;

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

/** Where the first damaged record of a write-ahead file or MANIFEST begins. */
export function damagedAt(file: Buffer): number | undefined {
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
    if (end > file.length) return isWholeAt(file, at) ? at : undefined;
    if (file.readUInt32LE(at) !== masked(crc32c(file, at + 6, end))) return at;
    at = end;
  }
  return undefined;
}

/** Whether the record was written whole, and only its length changed later: some other length has its checksum. */
function isWholeAt(file: Buffer, at: number): boolean {
  const wanted = file.readUInt32LE(at);
  const most = Math.min(file.length, at - (at % BLOCK) + BLOCK);
  let crc = updateCrc(-1, file, at + 6, at + HEADER);
  for (let end = at + HEADER; end <= most; end++) {
    if (masked((crc ^ -1) >>> 0) === wanted) return true;
    if (end < most) crc = updateCrc(crc, file, end, end + 1);
  }
  return false;
}
