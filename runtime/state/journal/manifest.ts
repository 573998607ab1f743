/**
 * Which tables belong to a LevelDB: those that its MANIFEST names. A table that is still being written, or that
 * was when the process ended, lies beside them and is nobody's; LevelDB takes it away when it opens.
 * Format: LevelDB, doc/log_format.md, and the tags of db/version_edit.cc.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { damagedAt } from './write-ahead.ts';

const BLOCK = 32_768;
const HEADER = 7;
const FULL = 1;
const FIRST = 2;
const LAST = 4;

/** File numbers of the tables in use; undefined when the MANIFEST cannot be read as one. */
export async function liveTables(directory: string): Promise<ReadonlySet<number> | undefined> {
  try {
    const current = await readFile(join(directory, 'CURRENT'), 'latin1');
    const manifest = /^(MANIFEST-\d+)\n$/.exec(current)?.[1];
    if (!manifest) return undefined;
    const file = await readFile(join(directory, manifest));
    if (damagedAt(file) !== undefined) return undefined;
    const live = new Set<number>();
    for (const edit of recordsIn(file)) applyEdit(edit, live);
    return live;
  } catch {
    // Whatever is wrong with it, others look for; here nothing can be told then.
    return undefined;
  }
}

/** The records of a log file; one that its end cuts off is left out. */
function* recordsIn(file: Buffer): Iterable<Buffer> {
  let parts: Buffer[] = [];
  for (let at = 0; at + HEADER <= file.length; ) {
    const left = BLOCK - (at % BLOCK);
    const length = left < HEADER ? 0 : file.readUInt16LE(at + 4);
    const type = left < HEADER ? 0 : file[at + 6]!;
    if (type === 0 && length === 0) {
      at += left;
      continue;
    }
    const end = at + HEADER + length;
    if (end > file.length) return;
    if (type === FULL || type === FIRST) parts = [];
    parts.push(file.subarray(at + HEADER, end));
    if (type === FULL || type === LAST) yield Buffer.concat(parts);
    at = end;
  }
}

/** @throws RangeError for a record that is no version edit. */
function applyEdit(edit: Buffer, live: Set<number>): void {
  let at = 0;
  const number = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = edit.readUInt8(at++);
      value += (byte % 128) * factor;
      if (byte < 128) return value;
    }
  };
  const skip = () => {
    const length = number();
    at += length;
  };
  const deleted: number[] = [];
  const added: number[] = [];
  while (at < edit.length) {
    const tag = number();
    if (tag === 1) skip();
    else if (tag === 2 || tag === 3 || tag === 4 || tag === 9) number();
    else if (tag === 5) {
      number();
      skip();
    } else if (tag === 6) {
      number();
      deleted.push(number());
    } else if (tag === 7) {
      number();
      added.push(number());
      number();
      skip();
      skip();
    } else throw new RangeError(`version edit: tag ${tag} is unknown`);
  }
  if (at !== edit.length) throw new RangeError('version edit: it is cut short');
  // A table that moves to another level is deleted there and added here in one edit.
  for (const table of deleted) live.delete(table);
  for (const table of added) live.add(table);
}
