/** The way back for a directory that is older than what its gateway has published: the log is taken from its mirrors. */
import { join } from 'node:path';
import { equalBytes } from './core/encoding/cbor.ts';
import { formatNote, type NoteSignature, parseNote } from './core/log/note.ts';
import { foldRight } from './core/log/tree.ts';
import type { GatewayOptions } from './gateway-options.ts';
import { openKeys } from './log-rooms.ts';
import { textResponse } from './services/peering/message.ts';
import { createPeering, type Peering } from './services/peering/peering.ts';
import { mirrorsOf } from './services/witnessing/assignment.ts';
import { MIRROR } from './services/witnessing/mirrors.ts';
import { type LogParty, logParties, openStored, witnessName } from './services/witnessing/names.ts';
import { type HeldHead, type Survey, surveyPeers, verbOf } from './services/witnessing/recovery.ts';
import { compareTrees, type Fetch, type Head, verifiedLeaves } from './services/witnessing/tree-source.ts';
import { readBounded } from './state/files.ts';
import { beginAdoption, edgeAt } from './state/journal/adopt.ts';
import { type Journal, openJournal } from './state/journal/journal.ts';
import { ordered, unordered } from './state/journal/keys.ts';
import type { Write } from './state/journal/store.ts';
import { sleep } from './state/pause.ts';
import { certificatePath } from './state/provenance/certificate.ts';
import { GATEWAY, raiseIncarnation, readDoubt, storeWithout } from './state/provenance/incarnation.ts';
import { keyPath } from './state/provenance/keys.ts';
import type { Roster } from './state/provenance/roster.ts';
import { createTlsTrust } from './state/provenance/tls-trust.ts';

export interface RecoverOptions extends GatewayOptions {
  /** Told of each step, a line each. */
  readonly tell: (line: string) => void;
  /** How long peers are waited for, milliseconds. */
  readonly limitMs: number;
  /** Only look. */
  readonly dryRun?: boolean;
  /** Gateways that are gone for good: nobody waits for their answers. */
  readonly without?: readonly string[];
}

export interface Recovered {
  /** `nothing`: the directory is as new as what others have seen. `possible`: a dry run that would have gone well. */
  readonly outcome: 'nothing' | 'possible' | 'recovered';
  /** Blocks of the log that was found. */
  readonly size: number;
  /** Blocks of the newest checkpoint that anybody has cosigned. */
  readonly published: number;
  /** Blocks that both have in common. */
  readonly fork: number;
  /** Blocks recorded here since, which lie behind the published ones now. */
  readonly moved: number;
  readonly answered: readonly string[];
  readonly silent: readonly { readonly gateway: string; readonly reason: string }[];
  /** Why the gateway will not yet cosign, publish or train. */
  readonly doubt: string | null;
}

/** The log cannot be made whole: what was found, what is safe, and the ways back. */
export interface CannotRecover extends Error {
  readonly name: 'CannotRecover';
  readonly todo: string;
}

const MAX_PEM = 16_384;
const REQUEST_LIMIT_MS = 10_000;
const POLL_MS = 50;

/** A mirror with what can be read from it. */
interface Source {
  readonly head: HeldHead;
  readonly fetch: Fetch;
}

/**
 * Asks the peers what they hold of this gateway's log, and takes over what is missing here.
 * @throws CannotRecover; Error when the journal is in use or cannot be opened.
 */
export async function recoverDirectory(options: RecoverOptions): Promise<Recovered> {
  const { settings, tell } = options;
  const path = join(settings.gateway.directory, 'journal');
  const journal = await openJournal(path, settings.journal);
  const found = await lookAround(options, journal).finally(() => journal.close());
  if (found.outcome !== 'recovered') return found;
  // What was laid aside goes into its place when the journal is opened, now or after a cut-off.
  const after = await openJournal(path, settings.journal);
  const { blocks } = after.state();
  await after.close();
  tell(
    `the log has ${blocks} blocks now: ${found.published} published ones, ${found.moved} recorded since behind them`,
  );
  return found;
}

async function lookAround(options: RecoverOptions, journal: Journal): Promise<Recovered> {
  const roster = await openKeys(options, journal);
  const peering = await openPeering(options, roster);
  try {
    await peering.start();
    return await recover(options, journal, peering, roster);
  } finally {
    await peering.stop();
  }
}

/** A connection to the peers, over which nothing is served. */
async function openPeering({ settings, agreement, log }: RecoverOptions, roster: Roster): Promise<Peering> {
  const { name, directory } = settings.gateway;
  const trust = createTlsTrust(roster, (message) => log('keys')('warn', message));
  return createPeering({
    name,
    reachable: agreement.gateways.some((gateway) => gateway.name === name && gateway.host !== undefined),
    settings: settings.peering,
    key: await readBounded(keyPath(directory, 'tls'), MAX_PEM),
    certificate: await readBounded(certificatePath(directory), MAX_PEM),
    peers: agreement.gateways
      .filter((gateway) => gateway.name !== name)
      .map(({ name: peer, host, port }) => ({ name: peer, host, port, tlsKeys: () => trust.keysOf(peer) })),
    stranger: trust.learn,
    handler: async () => textResponse(503, 'this gateway is being recovered\n'),
    log: (level, message) => level !== 'info' && log('peering')(level, message),
  });
}

async function recover(
  options: RecoverOptions,
  journal: Journal,
  peering: Peering,
  roster: Roster,
): Promise<Recovered> {
  const { agreement, settings, without = [], dryRun = false, tell } = options;
  const { name } = settings.gateway;
  const parties = logParties(agreement, roster);
  const own = parties.find(({ gateway }) => gateway === name)!;
  const others = parties.filter((party) => party !== own);
  const section = journal.section(GATEWAY);
  if (without.length > 0 && !dryRun) {
    await journal.write([storeWithout(section, without)]);
    tell(`not waited for any longer: ${without.join(', ')}; what only they know is not covered`);
  }
  await untilConnected(
    peering,
    others.map(({ gateway }) => gateway).filter((gateway) => !without.includes(gateway)),
    options.limitMs,
  );
  const asked = others.filter(({ gateway }) => peering.connected(gateway));
  const ask = (peer: string, path: string, body: Uint8Array) =>
    peering.request(peer, path, body, REQUEST_LIMIT_MS);
  const survey = await surveyPeers({ own, parties, ask }, asked);
  const unreachable = peering
    .status()
    .filter(({ connected }) => !connected)
    .map((peer) => ({ gateway: peer.name, reason: peer.trouble ?? 'it cannot be reached' }));
  const silent = [...unreachable, ...survey.silent];
  const size = journal.state().blocks;
  const signed = await ownCheckpoints(journal, own, parties);
  const all = [...survey.heads, ...survey.mirrors, ...signed.slice(-1)].sort((a, b) => b.size - a.size);
  const newest = all[0];
  describeSurvey(survey, silent, size, tell);
  const report: Recovered = {
    outcome: 'nothing',
    size,
    published: newest?.size ?? 0,
    fork: size,
    moved: 0,
    answered: asked
      .map(({ gateway }) => gateway)
      .filter((one) => !silent.some(({ gateway }) => gateway === one)),
    silent,
    doubt: (await readDoubt(section))?.reason ?? null,
  };
  const other = await firstOther(journal, all);
  if (!newest || !other) return report;

  const sources = survey.mirrors.map((head): Source => ({ head, fetch: fetchFrom(ask, head.gateway, name) }));
  const failures: string[] = [];
  const taken = await takeOver({ journal, sources, wanted: newest, failures, dryRun });
  const best = taken?.source.head.size ?? 0;
  if (!taken || best < newest.size) {
    const mirrors = mirrorsOf(agreement.hash, parties, own);
    throw cannotRecover({
      directory: settings.gateway.directory,
      size,
      newest,
      best,
      mirrors,
      survey,
      silent,
      failures,
    });
  }
  const { source, fork } = taken;
  await assertOneStory([...survey.heads, ...survey.mirrors, ...signed], own, source);
  const moved = size - fork;
  tell(`${source.head.gateway} mirrors ${best} blocks; the first ${fork} of them are here too`);
  if (dryRun) return { ...report, outcome: 'possible', fork, moved };
  const { keep, gone } = await sortOut(signed, fork, source);
  if (gone.length > 0)
    tell(`${gone.length} checkpoints signed here are not of the published log; they are taken away`);
  const kept = keep.some((head) => head.size === best);
  const reason = `the directory was older than what was published (${other.gateway} had seen ${other.size} blocks)`;
  const checkpoints = journal.section('checkpoint');
  const writes: Write[] = [
    ...(await raiseIncarnation(
      section,
      { reason, sizeBefore: size, sizeAdopted: best, lost: [fork, best] },
      options.keys.witness.publicKey,
    )),
    ...gone.map((head) => checkpoints.del(ordered(head.size))),
    ...(kept ? [] : [checkpoints.put(ordered(best), cleanNote(source.head.note, own, parties))]),
  ];
  await taken.commit(writes);
  tell(
    `${best - fork} blocks of the log are taken over; their entries are gone from this directory, and the log says so`,
  );
  tell('numbers go on in a higher incarnation');
  return { ...report, outcome: 'recovered', fork, moved, doubt: reason };
}

async function untilConnected(peering: Peering, peers: readonly string[], limitMs: number): Promise<void> {
  const end = performance.now() + limitMs;
  while (performance.now() < end && !peers.every((peer) => peering.connected(peer))) await sleep(POLL_MS);
}

function describeSurvey(
  { heads, mirrors }: Survey,
  silent: Recovered['silent'],
  size: number,
  tell: (line: string) => void,
): void {
  tell(`the log in this directory has ${size} blocks`);
  for (const head of heads) tell(`${head.gateway} has ${verbOf(head)} ${head.size} blocks of it`);
  for (const mirror of mirrors) tell(`${mirror.gateway} mirrors ${mirror.size} blocks of it`);
  for (const { gateway, reason } of silent) tell(`${gateway} does not answer: ${reason}`);
}

/** Checkpoints that are stored here, the oldest first. */
async function ownCheckpoints(
  journal: Journal,
  own: LogParty,
  parties: readonly LogParty[],
): Promise<readonly HeldHead[]> {
  const heads: HeldHead[] = [];
  for await (const [key, value] of journal.section('checkpoint').entries()) {
    const { root } = openStored(value, own, parties).checkpoint;
    heads.push({ gateway: own.gateway, size: unordered(key), root, note: new TextDecoder().decode(value) });
  }
  return heads;
}

/** The largest head that is not how the log in this journal begins. */
async function firstOther(journal: Journal, heads: readonly HeldHead[]): Promise<HeldHead | undefined> {
  const size = journal.state().blocks;
  for (const head of heads) {
    if (head.size > size) return head;
    if (!equalBytes(foldRight((await edgeAt(journal, head.size)).hashes), head.root)) return head;
  }
  return undefined;
}

type Ask = (peer: string, path: string, body: Uint8Array) => Promise<{ status: number; body: Uint8Array }>;

function fetchFrom(ask: Ask, peer: string, gateway: string): Fetch {
  return async (path) => {
    const { status, body } = await ask(peer, `${MIRROR}${gateway}/${path}`, new Uint8Array(0));
    if (status === 200) return body;
    throw new Error(`${peer} answers ${path} with status ${status}`);
  };
}

interface TakeOver {
  readonly journal: Journal;
  /** The one that reaches furthest first. */
  readonly sources: readonly Source[];
  readonly wanted: Head;
  readonly failures: string[];
  readonly dryRun: boolean;
}

interface Taken {
  readonly source: Source;
  readonly fork: number;
  readonly commit: (writes: readonly Write[]) => Promise<void>;
}

/** Lays the leaves of the first mirror aside that gives all of them; undefined when none does. */
async function takeOver({
  journal,
  sources,
  wanted,
  failures,
  dryRun,
}: TakeOver): Promise<Taken | undefined> {
  for (const source of sources) {
    const { head, fetch } = source;
    if (head.size < wanted.size) continue;
    try {
      const fork = await findFork(journal, head, fetch);
      if (dryRun) return { source, fork, commit: async () => undefined };
      const adoption = await beginAdoption(journal, fork);
      for await (const { leaves } of verifiedLeaves({ from: adoption.frontier(), target: head, fetch }))
        await adoption.stage(leaves);
      return { source, fork, commit: (writes) => adoption.commit(writes) };
    } catch (error) {
      failures.push(`${head.gateway}: ${(error as Error).message}`);
    }
  }
  return undefined;
}

/** How many leaves the journal's log and a mirrored one begin with in common. */
export async function findFork(
  journal: Pick<Journal, 'head' | 'tile'>,
  remote: Head,
  fetch: Fetch,
): Promise<number> {
  let common = 0;
  let most = Math.min(journal.head()?.size ?? 0, remote.size);
  // The most first: an older copy on which nothing was recorded is a beginning.
  for (let size = most; common < most; size = Math.ceil((common + most) / 2)) {
    const root = foldRight((await edgeAt(journal, size)).hashes);
    const comparison = await compareTrees({ size, root }, remote, fetch);
    if (comparison.kind === 'unknown') throw new Error(comparison.reason);
    if (comparison.kind === 'consistent') common = size;
    else most = size - 1;
  }
  return common;
}

/** @throws Error when this log has signed two stories: then no directory can be made to fit. */
async function assertOneStory(
  heads: readonly HeldHead[],
  own: LogParty,
  { head: mirror, fetch }: Source,
): Promise<void> {
  for (const head of heads) {
    // A checkpoint that nobody else has cosigned was shown to nobody who counts, and is taken away.
    const isOwn = ({ name }: NoteSignature) => name === own.origin || name === witnessName(own.origin);
    if (head.size > mirror.size || parseNote(head.note).signatures.every(isOwn)) continue;
    if ((await compareTrees(head, mirror, fetch)).kind !== 'contradiction') continue;
    throw new Error(
      `${head.gateway} (${head.size} blocks) and ${mirror.gateway} (${mirror.size} blocks) hold checkpoints of this log that contradict each other: this log cannot go on; make a new directory with kosmos init, and have the next epoch of the agreement name it`,
    );
  }
}

/** Which checkpoints that were signed here are of the published log. */
async function sortOut(
  signed: readonly HeldHead[],
  fork: number,
  { head: mirror, fetch }: Source,
): Promise<{ readonly keep: readonly HeldHead[]; readonly gone: readonly HeldHead[] }> {
  const keep: HeldHead[] = [];
  const gone: HeldHead[] = [];
  for (const head of signed) {
    const fits = head.size <= fork || (await compareTrees(head, mirror, fetch)).kind === 'consistent';
    (fits && head.size <= mirror.size ? keep : gone).push(head);
  }
  return { keep, gone };
}

/** A peer may have put anything under the note; what is stored has verified signatures alone. */
function cleanNote(note: string, own: LogParty, parties: readonly LogParty[]): Uint8Array {
  const { verified } = openStored(note, own, parties);
  return new TextEncoder().encode(formatNote({ text: parseNote(note).text, signatures: verified }));
}

function cannotRecover(found: {
  readonly directory: string;
  readonly size: number;
  readonly newest: HeldHead;
  /** How far the mirrors that answered and gave what they have reach. */
  readonly best: number;
  readonly mirrors: readonly string[];
  readonly survey: Survey;
  readonly silent: Recovered['silent'];
  readonly failures: readonly string[];
}): CannotRecover {
  const { size, newest, mirrors, survey, silent, failures } = found;
  const stateOf = (gateway: string) => {
    const mirror = survey.mirrors.find((one) => one.gateway === gateway);
    const away = silent.find((one) => one.gateway === gateway);
    if (mirror) return `${gateway} has ${mirror.size}`;
    return away ? `${gateway} does not answer (${away.reason})` : `${gateway} has none`;
  };
  const message = [
    `this directory is older than what was published, and no mirror gives the rest.`,
    `Found: its log has ${size} blocks; ${newest.gateway} has a checkpoint of ${newest.size}, signed with this log’s own key.`,
    `Blocks of this log at its mirrors: ${mirrors.map(stateOf).join('; ')}.`,
    ...(failures.length > 0 ? [`Tried in vain: ${failures.join('; ')}.`] : []),
    `Safe: all that is in this directory, and what others have cosigned. Nothing was recorded or signed.`,
  ].join('\n  ');
  const todo = [
    `one of these, then start the gateway or run kosmos recover:`,
    `1. wait until a mirror answers that has ${newest.size} blocks: ${mirrors.join(', ')}`,
    `2. put a newer copy of the directory in its place`,
    `3. close this log and begin another: kosmos init makes a new directory with new keys, and the next epoch of the agreement names it instead`,
  ].join('\n  ');
  return Object.assign(new Error(message), { name: 'CannotRecover' as const, todo });
}

export function isCannotRecover(error: unknown): error is CannotRecover {
  return error instanceof Error && error.name === 'CannotRecover';
}
