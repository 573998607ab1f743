/**
 * The number that tells one life of a gateway's directory from another. Who goes on from a copy or a backup counts
 * from numbers that were given since; a higher incarnation keeps what is new apart from what was.
 */
import { open, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { randomBytes } from '#random';
import { toHex } from '../../core/encoding/base64.ts';
import { type CborValue, decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { fieldsOf, list, safeInteger, text } from '../../core/encoding/fields.ts';
import { decodeCounter, encodeCounter } from '../journal/counter.ts';
import type { Journal } from '../journal/journal.ts';
import type { Section } from '../journal/section.ts';
import type { Write } from '../journal/store.ts';
import { lossBody } from './losses.ts';
import type { Recorder } from './recorder.ts';

/** The section that holds what a gateway knows of itself. */
export const GATEWAY = 'gateway';

const INCARNATION = 'incarnation';
const INSTANCE = 'instance';
const DOUBT = 'doubt';
const WITHOUT = 'without';
const MAX_NAMES = 1000;
/** Sections whose records bind this gateway towards others: where some may be gone, others know better. */
const IN_DOUBT: readonly string[] = ['witness', 'checkpoint', 'ledger', 'federation'];
/** Raises that the log does not tell of yet. */
const RAISED = 'raised';
const RANDOM_BITS = 20;
const MAX_RAISED = 64;

/** Why a higher incarnation was begun. */
export interface Raise {
  readonly reason: string;
  /** Blocks of the log that was found. */
  readonly sizeBefore: number;
  /** Blocks up to which the published log was taken over; as before where nothing was. */
  readonly sizeAdopted: number;
  /** Blocks that are in the log, and whose entries are gone: from, and the first one behind. */
  readonly lost?: readonly [number, number];
}

export async function readIncarnation(section: Pick<Section, 'get'>): Promise<number> {
  const stored = await section.get(INCARNATION);
  return stored ? decodeCounter(stored) : 0;
}

/**
 * The incarnation after `stored`: the time with random bits behind it, so that two restores of one backup never
 * meet. It fits 2^53 until the year 2242.
 * @param nowMs milliseconds since 1970.
 */
export function nextIncarnation(stored: number, nowMs: number, random: Uint8Array = randomBytes(3)): number {
  const bits = (random[0]! | (random[1]! << 8) | (random[2]! << 16)) % 2 ** RANDOM_BITS;
  return Math.max(stored + 1, Math.floor(nowMs / 1000) * 2 ** RANDOM_BITS + bits);
}

/**
 * Begins a higher incarnation: from now on nothing is known for certain that others may know better. The log is
 * told of it by `enterRaised`.
 * @param witnessKey the public key that this gateway cosigns with: another one clears the doubt about cosigning.
 */
export async function raiseIncarnation(
  section: Section,
  { reason, sizeBefore, sizeAdopted, lost }: Raise,
  witnessKey: Uint8Array,
  nowMs: number = Date.now(),
): Promise<readonly Write[]> {
  const before = await readIncarnation(section);
  const after = nextIncarnation(before, nowMs);
  const waiting = await readRaised(section);
  const row: CborValue = [before, after, reason, sizeBefore, sizeAdopted, lost ? [...lost] : null];
  return [
    section.put(INCARNATION, encodeCounter(after)),
    section.put(RAISED, encodeCbor([...waiting.slice(-MAX_RAISED), row])),
    section.put(DOUBT, encodeDoubt(reason, witnessKey)),
  ];
}

async function readRaised(section: Pick<Section, 'get'>): Promise<readonly CborValue[]> {
  const stored = await section.get(RAISED);
  return stored ? list(decodeCbor(stored), MAX_RAISED + 1, 'raised incarnations') : [];
}

/**
 * Tells the log of every raise that it has not been told of: a `recovery` entry with the body `[old incarnation,
 * new one, reason, size of the log before, size adopted]`, and a `loss` entry where blocks are gone.
 * @returns how many there were.
 */
export async function enterRaised(section: Section, recorder: Recorder): Promise<number> {
  let rows = await readRaised(section);
  const count = rows.length;
  while (rows.length > 0) {
    const [from, to, reason, before, adopted, lost] = fieldsOf(rows[0], 6, 'raised incarnation');
    if (lost !== null) {
      const [first, end] = fieldsOf(lost, 2, 'raised incarnation: lost').map((one) =>
        safeInteger(one, 'lost'),
      );
      const cause = 'blocks of the published log that an older copy of the directory does not hold';
      await recorder.entry('loss', lossBody(cause, [[first!, end!]], []));
    }
    rows = rows.slice(1);
    const rest = rows.length > 0 ? section.put(RAISED, encodeCbor([...rows])) : section.del(RAISED);
    await recorder.entry('recovery', [from!, to!, reason!, before!, adopted!], [rest]);
  }
  return count;
}

/** What others may know better, until enough of them have been asked. */
export interface Doubt {
  readonly reason: string;
  /** Hexadecimal: the witness key that may have signed more than is known here. */
  readonly witnessKey: string;
}

function encodeDoubt(reason: string, witnessKey: Uint8Array): Uint8Array {
  return encodeCbor([reason, toHex(witnessKey)]);
}

export async function readDoubt(section: Pick<Section, 'get'>): Promise<Doubt | undefined> {
  const stored = await section.get(DOUBT);
  if (!stored) return undefined;
  const fields = fieldsOf(decodeCbor(stored), 2, 'doubt');
  return { reason: text(fields[0], 'doubt: reason'), witnessKey: text(fields[1], 'doubt: key') };
}

export function clearDoubt(section: Pick<Section, 'del'>): readonly Write[] {
  return [section.del(DOUBT), section.del(WITHOUT)];
}

/** Gateways that a doubt is not to wait for any longer, since its operator has said so. */
export async function readWithout(section: Pick<Section, 'get'>): Promise<readonly string[]> {
  const stored = await section.get(WITHOUT);
  return stored ? list(decodeCbor(stored), MAX_NAMES, 'without').map((one) => text(one, 'without')) : [];
}

export function storeWithout(section: Pick<Section, 'put'>, names: readonly string[]): Write {
  return section.put(WITHOUT, encodeCbor([...names]));
}

/** Where the file lies that a copy of the directory cannot have. */
export function instancePath(directory: string): string {
  return join(directory, 'instance');
}

export type InstanceVerdict = 'new' | 'same' | 'copied';

/**
 * Tells whether this journal was last opened beside the very file `<directory>/instance`: whoever copies or
 * restores a directory makes another file, and whoever restores the journal alone restores an older record. The
 * device's number is not looked at, since it changes with the order in which disks are found. A copied directory
 * begins a higher incarnation. A journal whose damage has cost records that bind the gateway begins a doubt, its
 * incarnation is raised already. Copies of a whole disk, block by block, are not noticed here: peers tell of them.
 */
export async function markInstance(
  directory: string,
  journal: Journal,
  witnessKey: Uint8Array,
): Promise<InstanceVerdict> {
  const section = journal.section(GATEWAY);
  const stored = await section.get(INSTANCE);
  const known = stored ? list(decodeCbor(stored), 2, 'instance').map((one) => text(one, 'instance')) : [];
  const present = await identityOf(instancePath(directory));
  const isNew = !stored;
  const verdict = isNew ? 'new' : present !== undefined && known.includes(present) ? 'same' : 'copied';
  const size = journal.state().blocks;
  const raise =
    verdict === 'copied'
      ? await raiseIncarnation(section, { reason: COPIED, sizeBefore: size, sizeAdopted: size }, witnessKey)
      : [];
  const weighty = (journal.damage()?.sections ?? []).filter((name) => IN_DOUBT.includes(name));
  const damaged = `records of ${weighty.join(', ')} were damaged`;
  const doubt =
    raise.length === 0 && weighty.length > 0 ? [section.put(DOUBT, encodeDoubt(damaged, witnessKey))] : [];
  const temporary = `${instancePath(directory)}.tmp`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(`${toHex(randomBytes(16))}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  // Both are right until the new file has its name; a cut-off in between must not look like a copy.
  const fresh = await identityOf(temporary);
  const accepted = verdict === 'same' ? [present!, fresh!] : [fresh!];
  await journal.write([...raise, ...doubt, section.put(INSTANCE, encodeCbor(accepted))]);
  await rename(temporary, instancePath(directory));
  return verdict;
}

const COPIED = 'the directory is a copy, or was restored from one';

async function identityOf(path: string): Promise<string | undefined> {
  const found = await stat(path, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return found && `${found.ino}/${found.birthtimeNs}`;
}
