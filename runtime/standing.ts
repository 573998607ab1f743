/**
 * Whether this directory is what its gateway has told others. A copy or a backup does not know what was signed and
 * spent since it was made, and its peers do: they are asked, and until enough have answered the gateway records on,
 * in a higher incarnation, and signs no checkpoint, cosigns nothing and takes part in no round.
 *
 * Enough are k = n - q + f + 1 other members. A final checkpoint that this gateway has cosigned bears the
 * cosignatures of q - 1 others, of which at most f lie; so n - 1 - (q - 1 - f) = n - q + f others may not know
 * of it, and among one more there is an honest one that does. The same holds for its own final checkpoints and for
 * charges, which lie with q - 1 others. What nobody else has cosigned is not covered: a log that lies may keep back
 * what only it was given, and have it cosigned twice. Who fears that gives the witness a new key.
 */
import { toHex } from './core/encoding/base64.ts';
import { equalBytes } from './core/encoding/cbor.ts';
import { formatNote, type NoteSignature, parseNote } from './core/log/note.ts';
import { faults, quorum } from './core/log/policy.ts';
import { readRoot } from './core/log/proof.ts';
import { hashReaderFromTiles } from './core/log/tiles.ts';
import type { GatewayOptions } from './gateway-options.ts';
import type { LogRooms } from './log-rooms.ts';
import type { Deposits } from './services/federation/deposits.ts';
import type { Peering } from './services/peering/peering.ts';
import { SEEN, WITNESSED } from './services/witnessing/gossip.ts';
import { type LogParty, logParties, openStored } from './services/witnessing/names.ts';
import type { Origins } from './services/witnessing/origins.ts';
import { type HeldHead, surveyPeers, verbOf } from './services/witnessing/recovery.ts';
import type { RestoredHead, Witness } from './services/witnessing/witness.ts';
import { ADD_CHECKPOINT } from './services/witnessing/witnessing.ts';
import type { Journal } from './state/journal/journal.ts';
import { sleep } from './state/pause.ts';
import { clearDoubt, type Doubt, GATEWAY, readDoubt, readWithout } from './state/provenance/incarnation.ts';
import type { Roster } from './state/provenance/roster.ts';

export interface StandingOptions {
  readonly journal: Journal;
  readonly parties: readonly LogParty[];
  /** This gateway's name. */
  readonly self: string;
  readonly doubt: Doubt | undefined;
  /** Gateways whose answers are not waited for: the operator has said that they are gone for good. */
  readonly without: readonly string[];
  /** The public key that it cosigns with. */
  readonly witnessKey: Uint8Array;
  readonly witness: Pick<Witness, 'restore'>;
  readonly origins: Pick<Origins, 'examine' | 'settleForGood' | 'status'>;
  /** What peers keep of charges and rounds. */
  readonly deposits: Pick<Deposits, 'learn' | 'settle'>;
  readonly request: (
    peer: string,
    path: string,
    body: Uint8Array,
    limitMs: number,
  ) => Promise<{ readonly status: number; readonly body: Uint8Array }>;
  readonly connected: (peer: string) => boolean;
  /** Whether a peer could not be reached when last tried. */
  readonly unreachable: (peer: string) => boolean;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

/** The directory is older than what was published. */
export interface Behind extends Error {
  readonly name: 'Behind';
}

export function isBehind(error: unknown): error is Behind {
  return error instanceof Error && error.name === 'Behind';
}

export function behindError(why: string): Behind {
  return Object.assign(new Error(why), { name: 'Behind' as const });
}

export interface StandingStatus {
  /** Why nothing is cosigned, and no round is taken part in. */
  readonly doubt: string | null;
  /** What shows that the directory is older than what was published: stop, and run kosmos recover. */
  readonly behind: string | null;
  /** Peers that have said how far they have seen this gateway's log, since the start. */
  readonly answered: readonly string[];
  /** Other members that must have answered to end a doubt. */
  readonly needed: number;
  /** Why no new checkpoint is signed. */
  readonly heldBack: string | null;
}

export interface Standing {
  /** Asks all peers at once, for `limitMs` at most; peers that are not there stop nothing. @throws Behind. */
  confirm(limitMs?: number): Promise<void>;
  /** Asks those that have not answered as soon as they are there. */
  start(): void;
  stop(): Promise<void>;
  /** Why no round is taken part in. */
  doubt(): string | undefined;
  /** Why nothing is cosigned for others: the doubt, unless the witness has a new key since. */
  unsure(): string | undefined;
  /** Why no checkpoint is signed: a doubt, or that too few have said yet how far they have seen this log. */
  heldBack(): string | undefined;
  /** The answer to requests that are not served while there is a doubt. */
  refusal(path: string): { readonly status: number; readonly body: Uint8Array } | undefined;
  status(): StandingStatus;
}

const CONFIRM_LIMIT_MS = 10_000;
/** Peers that have refused a connection by then are not waited for any longer. */
const LEAST_MS = 1000;
const REQUEST_LIMIT_MS = 3000;
const POLL_MS = 50;
const STOP_LIMIT_MS = 500;
const WATCH_MS = 500;

/** Other members whose answers end a doubt; see above. */
export function answersForDoubt(members: number): number {
  return Math.min(members - 1, members - quorum(members) + faults(members) + 1);
}

/**
 * Other members who must have said since the start how far they have seen this log, before a checkpoint is signed
 * where there is no doubt: a whole disk put back shows no sign of it. Of any n - q + 1 one has cosigned the newest
 * final checkpoint, so a start waits for fewer than finality does; one that lies can hide what only it has seen.
 */
export function answersToSign(members: number): number {
  return Math.min(members - 1, members - quorum(members) + 1);
}

/** Puts the part together with the rooms that it asks. */
export async function openStanding(
  { agreement, settings, keys, log }: GatewayOptions,
  rooms: {
    readonly journal: Journal;
    readonly roster: Roster;
    readonly peering: Peering;
    readonly logRooms: LogRooms;
    readonly deposits: Deposits;
  },
): Promise<Standing> {
  const { journal, roster, peering, logRooms, deposits } = rooms;
  const section = journal.section(GATEWAY);
  return createStanding({
    journal,
    parties: logParties(agreement, roster),
    self: settings.gateway.name,
    doubt: await readDoubt(section),
    without: await readWithout(section),
    witnessKey: keys.witness.publicKey,
    witness: logRooms.witness,
    origins: logRooms.exchange.origins,
    deposits,
    request: (peer, path, body, limitMs) => peering.request(peer, path, body, limitMs),
    connected: (peer) => peering.connected(peer),
    unreachable: (peer) =>
      peering.status().some(({ name, trouble }) => name === peer && trouble !== undefined),
    log: log('recovery'),
  });
}

export function createStanding(options: StandingOptions): Standing {
  const { journal, parties, self, witnessKey, origins, deposits, connected, log } = options;
  const own = parties.find(({ gateway }) => gateway === self)!;
  const others = parties.filter((party) => party !== own);
  const membersOf = (some: readonly LogParty[]) => new Set(some.map(({ member }) => member)).size;
  const present = others.filter(
    ({ gateway, member }) => member !== own.member && !options.without.includes(gateway),
  );
  const needed = Math.min(answersForDoubt(membersOf(parties)), membersOf(present));
  const neededToSign = Math.min(answersToSign(membersOf(parties)), membersOf(present));
  const answered = new Set<string>();
  /** Members that show a head beyond this log's under a revoked key. */
  const underRevoked = new Set<string>();
  const complaints = new Map<string, string>();
  const asking = new Map<string, Promise<void>>();
  /** Heads that peers have told of, of all logs. */
  const heads: RestoredHead[] = [];
  /** Heads whose log key has been revoked since. */
  const underOldKeys: { readonly member: string; readonly head: RestoredHead }[] = [];
  let doubt = options.doubt;
  let behind: string | undefined;
  let settling: Promise<void> | undefined;
  let watch: NodeJS.Timeout | undefined;

  const request = (peer: string, path: string, body: Uint8Array) =>
    options.request(peer, path, body, REQUEST_LIMIT_MS);

  async function judge(head: HeldHead): Promise<string | undefined> {
    const size = journal.head()?.size ?? 0;
    if (head.size > size)
      return `${head.gateway} has ${verbOf(head)} ${head.size} blocks of this log, and it ends at ${size}`;
    const reader = hashReaderFromTiles(size, (level, index, width) => journal.tile(level, index, width));
    if (equalBytes(await readRoot(head.size, reader), head.root)) return undefined;
    return `${head.gateway} has ${verbOf(head)} ${head.size} blocks of this log that are not its first ${head.size} here`;
  }

  async function ask(peer: LogParty): Promise<void> {
    const { heads: found, silent } = await surveyPeers({ own, parties, ask: request }, [peer]);
    if (silent[0]) throw new Error(silent[0].reason);
    for (const head of found) {
      const why = await judge(head);
      if (why === undefined) continue;
      if (head.revoked && underRevoked.add(peer.member).size <= faults(membersOf(parties))) continue;
      behind ??= why;
    }
    if (doubt) {
      for (const party of others) await learnHead(peer, party);
      await deposits.learn(peer.gateway);
    }
    answered.add(peer.gateway);
    complaints.delete(peer.gateway);
  }

  /** The newest checkpoint of a log that the peer has cosigned. */
  async function learnHead(peer: LogParty, of: LogParty): Promise<void> {
    const { status, body } = await request(peer.gateway, WITNESSED, new TextEncoder().encode(of.origin));
    if (status === 404) return;
    if (status !== 200) throw new Error(`status ${status} for ${of.origin}`);
    const { checkpoint, verified } = openStored(body, of, parties);
    const isLogs = ({ name }: NoteSignature) => name === of.origin;
    const note = formatNote({ text: parseNote(body).text, signatures: verified.filter(isLogs) });
    const { origin, size, root } = checkpoint;
    const head: RestoredHead = { origin, size, root, note };
    const isOfKeysInForce = await origins.examine(body, peer.gateway).then(
      () => true,
      () => false,
    );
    // A peer cannot help it that a log has taken its key back: that must not cost its answer.
    if (isOfKeysInForce) heads.push(head);
    else underOldKeys.push({ member: peer.member, head });
  }

  function askOnce(peer: LogParty): Promise<void> {
    const running = asking.get(peer.gateway);
    if (running) return running;
    const work = ask(peer)
      .catch((error: Error) => {
        if (complaints.get(peer.gateway) === error.message) return;
        complaints.set(peer.gateway, error.message);
        log('warn', `${peer.gateway} does not say what it knows of this gateway: ${error.message}`);
      })
      .finally(() => asking.delete(peer.gateway));
    asking.set(peer.gateway, work);
    return work;
  }

  function members(): number {
    return membersOf(others.filter(({ gateway, member }) => answered.has(gateway) && member !== own.member));
  }

  async function settle(): Promise<void> {
    if (!doubt || behind !== undefined || members() < needed) return;
    await origins.settleForGood();
    await deposits.settle();
    // Only what is known to be of one tree: the rest stays withheld, and freezes its log until somebody links it.
    const open = new Map(origins.status().map(({ origin, unlinked }) => [origin, unlinked]));
    const known = [...heads, ...believedUnderOldKeys()]
      .filter(({ origin, size }) => !open.get(origin)?.includes(size))
      .sort((a, b) => a.size - b.size);
    const largest = new Map(known.map((head) => [head.origin, head]));
    await options.witness.restore([...largest.values()], clearDoubt(journal.section(GATEWAY)));
    log(
      'info',
      `${members()} members have told what they know of this gateway: it cosigns, publishes and trains`,
    );
    doubt = undefined;
  }

  /** A revoked key may be a thief's: its heads count when more members have told of some than may lie. */
  function believedUnderOldKeys(): readonly RestoredHead[] {
    return underOldKeys
      .filter(({ head }) => {
        const same = underOldKeys.filter((other) => other.head.origin === head.origin);
        return new Set(same.map(({ member }) => member)).size > faults(membersOf(parties));
      })
      .map(({ head }) => head);
  }

  async function round(): Promise<void> {
    const waiting = others.filter(({ gateway }) => !answered.has(gateway) && connected(gateway));
    await Promise.all(waiting.map(askOnce));
    settling ??= settle()
      .catch((error: Error) => log('error', `what peers told cannot be taken over: ${error.message}`))
      .finally(() => {
        settling = undefined;
      });
    await settling;
  }

  function why(): string | undefined {
    if (behind !== undefined) return `this directory is older than what was published: ${behind}`;
    return (
      doubt && `${doubt.reason}; ${members()} of ${needed} members have told what they know of this gateway`
    );
  }

  function heldBack(): string | undefined {
    const reason = why();
    if (reason !== undefined || members() >= neededToSign) return reason;
    return `${members()} of ${neededToSign} members have said how far they have seen this log`;
  }

  function unsure(): string | undefined {
    if (behind === undefined && doubt?.witnessKey !== toHex(witnessKey)) return undefined;
    return `${why()}; or give the witness a new key: kosmos keys rotate --purpose witness`;
  }

  return {
    async confirm(limitMs = CONFIRM_LIMIT_MS) {
      const end = performance.now() + limitMs;
      const limit = new AbortController();
      const timer = setTimeout(() => limit.abort(), limitMs);
      const over = new Promise<void>((resolve) => limit.signal.addEventListener('abort', () => resolve()));
      const isGone = ({ gateway }: LogParty) => answered.has(gateway) || options.unreachable(gateway);
      while (answered.size < others.length && behind === undefined && performance.now() < end) {
        if (performance.now() > end - limitMs + LEAST_MS && others.every(isGone)) break;
        await Promise.race([round(), over]);
        if (answered.size < others.length) await sleep(POLL_MS, limit.signal);
      }
      clearTimeout(timer);
      if (behind !== undefined) throw behindError(behind);
    },
    start() {
      watch = setInterval(() => {
        const before = behind;
        if (doubt === undefined && answered.size === others.length) return clearInterval(watch);
        void round().then(() => {
          if (behind === undefined || behind === before) return;
          log('error', `${why()}; no checkpoint is signed any more: stop the gateway and run kosmos recover`);
        });
      }, WATCH_MS);
    },
    async stop() {
      clearInterval(watch);
      const limit = new Promise((resolve) => setTimeout(resolve, STOP_LIMIT_MS).unref());
      await Promise.race([Promise.all(asking.values()), limit]);
    },
    doubt: why,
    unsure,
    heldBack,
    refusal(path) {
      const reason = isWitness(path) ? unsure() : path.startsWith('/federation/') ? why() : undefined;
      return reason === undefined
        ? undefined
        : { status: 503, body: new TextEncoder().encode(`${reason}\n`) };
    },
    status: () => ({
      doubt: doubt ? why()! : null,
      behind: behind ?? null,
      answered: [...answered],
      needed,
      heldBack: heldBack() ?? null,
    }),
  };
}

const isWitness = (path: string) => path === WITNESSED || path === SEEN || path === ADD_CHECKPOINT;
