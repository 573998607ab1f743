/** Signs that a journal's files are not as LevelDB left them. What a power cut leaves behind is none. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { liveTables } from './manifest.ts';
import { checkTable, type KeySpan } from './table-file.ts';
import { damagedAt, findDamagedWrite } from './write-ahead.ts';

export interface Sign {
  /** The file's name, where one is to be set aside. */
  readonly file: string | undefined;
  readonly what: string;
  /** Whether LevelDB's bookkeeping has to be made anew. */
  readonly repair: boolean;
}

/** A damaged table. */
export interface DamagedTable {
  readonly file: string;
  readonly damage: string;
  readonly spans: readonly KeySpan[];
}

/** Looks at everything but the tables: that takes no longer than reading a few megabytes. */
export async function findSigns(directory: string): Promise<readonly Sign[]> {
  // One that cannot be read LevelDB refuses itself, and says why.
  const names = await readdir(directory).catch(() => undefined);
  if (!names) return [];
  const current = await signOfCurrent(directory, names);
  if (current) return [current];
  const write = await findDamagedWrite(directory).catch(absent);
  if (!write) return [];
  return [
    { file: write.file, what: `${write.file}: the record at byte ${write.offset} is damaged`, repair: false },
  ];
}

async function signOfCurrent(directory: string, names: readonly string[]): Promise<Sign | undefined> {
  const sign = (file: string | undefined, what: string): Sign => ({ file, what, repair: true });
  if (!names.includes('CURRENT')) {
    // Without it LevelDB would make a new database and take the tables away.
    return (await holdsSomething(directory, names)) ? sign(undefined, 'CURRENT is missing') : undefined;
  }
  const manifest = /^(MANIFEST-\d+)\n$/.exec(await readFile(join(directory, 'CURRENT'), 'latin1'))?.[1];
  if (!manifest) return sign('CURRENT', 'CURRENT is damaged');
  if (!names.includes(manifest)) return sign('CURRENT', `CURRENT names ${manifest}, which is missing`);
  const at = damagedAt(await readFile(join(directory, manifest)));
  return at === undefined ? undefined : sign(manifest, `${manifest}: the record at byte ${at} is damaged`);
}

async function holdsSomething(directory: string, names: readonly string[]): Promise<boolean> {
  if (names.some(isTable)) return true;
  const ahead = names.filter((name) => /^\d+\.log$/.test(name));
  const sizes = await Promise.all(ahead.map(async (name) => (await stat(join(directory, name))).size));
  return sizes.some((size) => size > 0);
}

function isTable(name: string): boolean {
  return /^\d+\.(ldb|sst)$/.test(name);
}

/**
 * Reads all tables that the MANIFEST names and checks them; all that lie there when it cannot be read.
 * @param pause see `checkTable`.
 */
export async function findDamagedTables(
  directory: string,
  pause?: (bytes: number) => Promise<void> | undefined,
): Promise<readonly DamagedTable[]> {
  const damaged: DamagedTable[] = [];
  // Listed first: what the MANIFEST names afterwards was whole by then.
  const names = (await readdir(directory)).filter(isTable).sort();
  const live = await liveTables(directory);
  for (const file of names) {
    if (live && !live.has(Number.parseInt(file, 10))) continue;
    // A compaction may take a table away meanwhile.
    const { damage, spans } = (await checkTable(join(directory, file), pause).catch(absent)) ?? { spans: [] };
    if (damage) damaged.push({ file, damage, spans });
  }
  return damaged;
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
}
