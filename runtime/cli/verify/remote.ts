/** Checks a log over HTTP: its checkpoint, the whole of its tree, and that it grew out of an older checkpoint. */
import { toHex } from '../../core/encoding/base64.ts';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { type Checkpoint, parseCheckpoint } from '../../core/log/checkpoint.ts';
import { createCheckpointVerifier } from '../../core/log/cosignature.ts';
import { createEvidence, formatEvidence, planEvidence } from '../../core/log/evidence.ts';
import { emptyRoot } from '../../core/log/hash.ts';
import { judgeNote, MAX_NOTE_BYTES, parseNote } from '../../core/log/note.ts';
import { readProof } from '../../core/log/proof.ts';
import { decodeUtf8 } from '../../core/log/text.ts';
import { hashReaderFromTiles } from '../../core/log/tiles.ts';
import { rebuildPrefix } from '../../core/log/verify.ts';
import type { Vkey } from '../../core/log/vkey.ts';
import { broken } from './broken.ts';
import { type ClientOptions, createLogClient, type LogClient } from './fetch.ts';
import { describeCosigned, type JudgedBy, judgedByOf, type Seen, seenBy } from './report.ts';
import { createCheckpointJudge, type Trust } from './trust.ts';
import { checkWholeLog, tile } from './whole-log.ts';

/** More leaves than this are not read. */
const MAX_LEAVES = 2 ** 30;

export interface RemoteOptions {
  readonly trust: Trust;
  /** An older checkpoint of the same log, as a note. */
  readonly since: Uint8Array | undefined;
  readonly client?: ClientOptions;
  progress(done: number, of: number): void;
}

export interface RemoteReport {
  readonly kind: 'log';
  readonly judged_by: JudgedBy;
  readonly origin: string;
  readonly size: number;
  readonly root: string;
  readonly cosigned: readonly Seen[];
  readonly cosigned_time: string | null;
  readonly leaves: number;
  readonly tiles: number;
  readonly bytes: number;
  /** The size that it was consistent with; null when no older checkpoint was given. */
  readonly since: number | null;
}

/** The log showed what cannot be true together with what it showed before. */
export interface Equivocation extends Error {
  readonly name: 'Equivocation';
  /** The file that convicts a key; undefined when no key signed both. */
  readonly evidence: string | undefined;
}

/**
 * @returns what holds, and the checkpoint for next time.
 * @throws Equivocation; Broken naming the first thing that does not fit; Problem when something cannot be had.
 */
export async function verifyRemote(
  url: string,
  options: RemoteOptions,
): Promise<{ readonly report: RemoteReport; readonly note: string }> {
  const client = createLogClient(url, options.client);
  try {
    return await verifyWith(client, options);
  } finally {
    client.close();
  }
}

async function verifyWith(client: LogClient, { trust, since, progress }: RemoteOptions) {
  const note = decodeUtf8(await client.get('checkpoint', MAX_NOTE_BYTES));
  if (note === undefined) throw broken('checkpoint: it is not UTF-8');
  const { checkpoint, cosigned, time } = createCheckpointJudge(trust)(note);
  const { origin, size, root } = checkpoint;
  if (size > MAX_LEAVES) throw broken(`checkpoint: ${size} leaves are more than are read (${MAX_LEAVES})`);
  const older = since && readOlder(since, origin, trust);
  if (older) {
    await checkGrowth(
      older,
      { note, checkpoint },
      trust,
      hashReaderFromTiles(size, (level, index, width) => tile(client, { level, index, width })),
    );
  }
  const { leaves, tiles } = await checkWholeLog(client, checkpoint, (done) => progress(done, size));
  const report: RemoteReport = {
    kind: 'log',
    judged_by: judgedByOf(trust, trust.kind === 'agreement' ? trust : undefined, false),
    origin,
    size,
    root: toHex(root),
    cosigned: seenBy(trust, cosigned),
    cosigned_time: time === undefined ? null : new Date(time * 1000).toISOString(),
    leaves,
    tiles,
    bytes: client.bytes(),
    since: older ? older.checkpoint.size : null,
  };
  return { report, note };
}

interface Shown {
  readonly note: string;
  readonly checkpoint: Checkpoint;
}

/** A checkpoint that the log signed; whether it was final then does not matter for a contradiction. */
function readOlder(since: Uint8Array, origin: string, trust: Trust): Shown {
  const note = decodeUtf8(since);
  if (note === undefined) throw broken('the older checkpoint: it is not UTF-8');
  let checkpoint: Checkpoint;
  try {
    checkpoint = parseCheckpoint(parseNote(note).text);
  } catch (error) {
    throw broken(`the older checkpoint: ${(error as Error).message}`);
  }
  if (checkpoint.origin !== origin)
    throw broken(`the older checkpoint is of ${checkpoint.origin}, not of ${origin}`);
  if (!logKeys(trust, origin).some((vkey) => hasSigned(vkey, note))) {
    throw broken(`the older checkpoint: the log ${origin} has not signed it`);
  }
  return { note, checkpoint };
}

async function checkGrowth(
  older: Shown,
  newer: Shown,
  trust: Trust,
  reader: ReturnType<typeof hashReaderFromTiles>,
): Promise<void> {
  const [a, b] = [older.checkpoint, newer.checkpoint];
  if (a.size > b.size) {
    throw broken(
      `the log shows ${b.size} leaves and has shown ${a.size} before: what is served is old, or the log was cut; ask again later`,
    );
  }
  if (a.size === b.size) {
    if (!equalBytes(a.root, b.root)) throw equivocation(older, newer, trust, []);
    return;
  }
  if (a.size === 0) {
    if (!equalBytes(a.root, emptyRoot)) throw equivocation(older, newer, trust, []);
    return;
  }
  const lines = await readProof(planEvidence(a.size, b.size), reader);
  const rebuilt = rebuildPrefix(a.size, b.size, lines);
  if ('fault' in rebuilt) throw broken(`growth since size ${a.size}: ${rebuilt.fault}`);
  if (!equalBytes(rebuilt.root, b.root)) {
    throw broken(`growth since size ${a.size}: the tiles do not lead to the root of the checkpoint`);
  }
  if (!equalBytes(rebuilt.subtreeRoot, a.root)) throw equivocation(older, newer, trust, lines);
}

function equivocation(older: Shown, newer: Shown, trust: Trust, lines: readonly Uint8Array[]): Equivocation {
  const { origin } = newer.checkpoint;
  const keys = [...logKeys(trust, origin), ...trust.policy.witnesses.map(({ vkey }) => vkey)];
  const guilty = keys.find((vkey) => hasSigned(vkey, older.note) && hasSigned(vkey, newer.note));
  const evidence = guilty && formatEvidence(createEvidence(guilty, [older.note, newer.note], lines));
  const sizes = `size ${newer.checkpoint.size} contradicts size ${older.checkpoint.size}, which it showed before`;
  return Object.assign(new Error(`equivocation of ${origin}: ${sizes}`), {
    name: 'Equivocation' as const,
    evidence,
  });
}

function logKeys({ policy }: Trust, origin: string): readonly Vkey[] {
  return policy.logs.map(({ vkey }) => vkey).filter(({ name }) => name === origin);
}

/** Whether the key can be verified here and has signed the note. */
function hasSigned(vkey: Vkey, note: string): boolean {
  try {
    return judgeNote(parseNote(note), [createCheckpointVerifier(vkey)]).kind === 'verified';
  } catch {
    // A signature type that is not verified here convicts nobody.
    return false;
  }
}

export function describeRemote(report: RemoteReport): readonly string[] {
  const { origin, size, leaves, tiles, since } = report;
  return [
    `holds: the log ${origin}, checkpoint of size ${size}: ${leaves} leaves and ${tiles} tiles lead to its root`,
    ...(since === null ? [] : [`it grew out of the checkpoint of size ${since}`]),
    ...describeCosigned(report.cosigned, report.cosigned_time),
    ...report.judged_by.words,
  ];
}
