/**
 * Opens the store of a journal that may be damaged. Damaged files are set aside, LevelDB's bookkeeping is made anew
 * where it has to be, every record is checked, and what is gone is worked out. An unclean end is no damage.
 */
import { copyFile, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { exists, readBounded, replaceFile } from '../files.ts';
import { type DamageReport, decodeDamage } from './damage-report.ts';
import { keys } from './keys.ts';
import { rebuild } from './rebuild.ts';
import { scanRecords } from './scan.ts';
import { findDamagedTables, findSigns, type Sign } from './signs.ts';
import { type DamagedRecord, openStore, repairStore, type Store } from './store.ts';
import { type KeySpan, neutralise, type RawRecord, recordsWithoutIndex } from './table-file.ts';

const MAX_REASON = 65_536;

export interface Opened {
  readonly store: Store;
  /** What was found, now or at an earlier start of which the log does not tell yet. */
  readonly damage: DamageReport | undefined;
}

/** While it is there, the journal has to be mended; it says why. */
const CHECK = 'check';
/** While it is there, a mend has begun and not ended: records that it found gone cannot be told from others any more. */
const BEGUN = 'begun';

/** Has the journal examined and mended when it is opened next. */
export async function askForMending(directory: string, why: string): Promise<void> {
  const damaged = join(dirname(directory), 'damaged');
  await mkdir(damaged, { recursive: true });
  await replaceFile(join(damaged, CHECK), `${why}\n`);
}

/**
 * @param examine looks for damage in what the store holds, quickly; what it finds is the sign.
 * @throws Error when the store cannot be opened although it is not damaged, or cannot be mended.
 */
export async function openMended(
  directory: string,
  maxDiskBytes: number,
  examine: (store: Store) => Promise<string | undefined>,
): Promise<Opened> {
  const damaged = join(dirname(directory), 'damaged');
  const signs = [...(await findSigns(directory))];
  const asked = join(damaged, CHECK);
  if (await exists(asked)) {
    const what = (await readBounded(asked, MAX_REASON)).trim();
    signs.push({ file: undefined, what: what || 'it was asked for', repair: false });
  }
  if (signs.length === 0) {
    const store = await openStore(directory, 'create', maxDiskBytes).catch((error: Error) => {
      if (error.name !== 'DamagedStore') throw error;
      signs.push({ file: undefined, what: error.message, repair: true });
      return undefined;
    });
    if (store) {
      const sign = await lookInto(store, examine);
      if (sign === undefined) return { store, damage: await earlier(store) };
      await store.close();
      signs.push({ file: undefined, what: sign, repair: false });
    }
  }
  return mend(directory, damaged, maxDiskBytes, signs, examine);
}

async function lookInto(
  store: Store,
  examine: (store: Store) => Promise<string | undefined>,
): Promise<string | undefined> {
  try {
    return await examine(store);
  } catch (error) {
    if (isDamage(error)) return error.message;
    await store.close();
    throw error;
  }
}

/** Whether an error of the store is one that mending could end. */
export function isDamage(error: unknown): error is Error {
  const { name, message } = error as DamagedRecord;
  return (
    name === 'DamagedRecord' ||
    name === 'DecodeError' ||
    /corrupt|bad block|not an sstable|IO error.*(Invalid argument|No such file)/i.test(message)
  );
}

async function earlier(store: Store): Promise<DamageReport | undefined> {
  const bytes = await store.get(keys.damage);
  return bytes && decodeDamage(bytes);
}

async function mend(
  directory: string,
  damaged: string,
  maxDiskBytes: number,
  signs: readonly Sign[],
  examine: (store: Store) => Promise<string | undefined>,
): Promise<Opened> {
  const time = Date.now();
  const aside = join(damaged, new Date(time).toISOString().replaceAll(':', '-'));
  await mkdir(aside, { recursive: true });
  await askForMending(
    directory,
    signs
      .map(({ what }) => what)
      .join('; ')
      .slice(0, MAX_REASON / 4),
  );
  const cutOff = await exists(join(damaged, BEGUN));
  if (!cutOff) await replaceFile(join(damaged, BEGUN), `${aside}\n`);
  const found = signs.map(({ what }) => what);
  for (const { file } of signs) if (file) await setAside(directory, aside, file);

  const tables = await findDamagedTables(directory);
  const salvaged: RawRecord[] = [];
  for (const { file, damage, spans } of tables) {
    found.push(`${file}: ${damage}`);
    await setAside(directory, aside, file);
    const path = join(directory, file);
    for (const { block } of spans)
      salvaged.push(...(await (block ? neutralise(path, block) : recordsWithoutIndex(path))));
    // LevelDB might read a part of it and take that for the whole.
    if (spans.some(({ block }) => !block)) await rm(path);
  }
  if (tables.length > 0 || signs.some(({ repair }) => repair)) await repairFiles(directory, aside);

  let store = await openStore(directory, 'existing', maxDiskBytes).catch(async (error: Error) => {
    if (error.name !== 'DamagedStore') throw error;
    await repairFiles(directory, aside);
    return openStore(directory, 'existing', maxDiskBytes);
  });
  // What LevelDB reads without a word, it has to write anew: a changed filter, say, hides records.
  if (tables.length > 0 && (await findDamagedTables(directory)).length > 0)
    await store.compact({ from: '', to: '\uffff' });
  let scanned = await scanRecords(store, aside).catch(() => undefined);
  if (!scanned) {
    // A record that LevelDB cannot read at all hides in a block whose checksum is right.
    await store.close();
    await repairFiles(directory, aside);
    store = await openStore(directory, 'existing', maxDiskBytes);
    scanned = await scanRecords(store, aside);
  }
  found.push(...scanned.found);
  // What was begun at another start and can be finished is, or its records would not fit the state.
  await examine(store).catch(() => undefined);
  const spans = tables.flatMap((table) => table.spans);
  const anything = cutOff || signs.some(({ file, repair }) => file !== undefined || repair);
  const damagedKeys = scanned.keys;
  const damage = await rebuild(store, {
    time,
    aside,
    found,
    salvaged,
    suspects: (section) => anything || isSuspect(section, spans, damagedKeys),
  });
  await rm(join(damaged, BEGUN));
  await rm(join(damaged, CHECK));
  return { store, damage };
}

async function repairFiles(directory: string, aside: string): Promise<void> {
  for (const name of await readdir(directory))
    if (/^(CURRENT|MANIFEST-\d+)$/.test(name)) await setAside(directory, aside, name);
  await repairStore(directory);
  const lost = join(directory, 'lost');
  if (!(await exists(lost))) return;
  await mkdir(join(aside, 'lost'), { recursive: true });
  for (const name of await readdir(lost)) await rename(join(lost, name), join(aside, 'lost', name));
  await rm(lost, { recursive: true });
}

/** Copies, so that whoever wants to can look for more in what was there. */
async function setAside(directory: string, aside: string, file: string): Promise<void> {
  const path = join(directory, file);
  if (!(await stat(path).catch(() => undefined))) return;
  await copyFile(path, join(aside, file));
}

function isSuspect(section: string, spans: readonly KeySpan[], damagedKeys: readonly string[]): boolean {
  const from = keys.section(section, '');
  const inSpan = spans.some(({ after, upTo }) => after < `${from}\uffff` && upTo >= from);
  return inSpan || damagedKeys.some((key) => key.startsWith(from));
}
