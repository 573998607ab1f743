/**
 * What keeps a log honest besides its witnesses' cosignatures: copies of it elsewhere, talk about what it has
 * signed, and evidence when it has signed two stories.
 */
import { encodeCbor } from '../../core/encoding/cbor.ts';
import { parseCheckpoint } from '../../core/log/checkpoint.ts';
import { parseNote } from '../../core/log/note.ts';
import { parseTilePath } from '../../core/log/tiles.ts';
import type { Journal } from '../../state/journal/journal.ts';
import { mirrorsOf } from './assignment.ts';
import { createEvidenceBook, type EvidenceBook } from './evidence.ts';
import { type AskPeer, createGossip, SEEN, summaryOf, WITNESSED } from './gossip.ts';
import { within } from './limits.ts';
import { answerText, type Mirror, type SignedHead } from './mirror.ts';
import type { MirrorSettings } from './mirror-settings.ts';
import { MIRROR, type Mirrors, openMirrors } from './mirrors.ts';
import type { LogParty } from './names.ts';
import { createOrigins, type Origins } from './origins.ts';
import { surveyPeers } from './recovery.ts';
import type { Source } from './refill.ts';
import { createRefilling, type Damaged, type RefillStatus } from './refilling.ts';
import type { Fetch } from './tree-source.ts';
import type { SignedCheckpoint } from './witness.ts';
import type { Answer } from './witnessing.ts';

export interface ExchangeOptions {
  readonly journal: Journal;
  /** SHA-256 of the agreement. */
  readonly agreement: Uint8Array;
  readonly parties: readonly LogParty[];
  /** This gateway's name. */
  readonly self: string;
  /** This gateway's own newest checkpoint, with its cosignatures. */
  readonly newest: () => string | undefined;
  /** The newest that another gateway has cosigned, beyond which nothing is told. */
  readonly cosigned: () => string | undefined;
  /** The newest checkpoint of a log that this gateway has cosigned, with both signatures: the witness's `newest`. */
  readonly witnessed: (origin: string) => Promise<string | undefined>;
  /** The same as its log has signed it, without a cosignature: the witness's `held`. */
  readonly held: (origin: string) => Promise<string | undefined>;
  readonly request: (
    peer: string,
    path: string,
    body: Uint8Array,
    limitMs: number,
    /** The longest answer that is wanted: whoever can should read no further. */
    maxBytes: number,
  ) => Promise<{ readonly status: number; readonly body: Uint8Array }>;
  readonly connected: (peer: string) => boolean;
  /** Writes an evidence file. */
  readonly save: (name: string, text: string) => Promise<void>;
  readonly settings: MirrorSettings;
  readonly now?: () => number;
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface Exchange {
  /** Reads what is stored: before the publisher's `open`, which asks whose cosignatures count. */
  open(): Promise<void>;
  start(): void;
  stop(): Promise<void>;
  /** Mirrors what is new, once. */
  pull(): Promise<void>;
  /** Gossips once. */
  gossip(): Promise<void>;
  /** Takes back records of the own log and of mirrors that damage has taken, unless that was tried too recently. */
  refill(): Promise<void>;
  /** Answers a peer's request, or undefined when the path is not this service's. */
  handle(peer: string, path: string, body: Uint8Array): Promise<Answer> | undefined;
  /** Answers anybody's request for a mirrored checkpoint or tile; undefined for other paths. */
  read(path: string): Promise<Answer> | undefined;
  /** Told by the witness of every checkpoint whose log has signed it. */
  signed(checkpoint: SignedCheckpoint): void;
  /** Why this gateway's witness cosigns nothing of a log. */
  frozen(origin: string): string | undefined;
  /** Whether a member's cosignatures count for nothing, because one of its witnesses cosigned two views. */
  isDisgraced(member: string): boolean;
  readonly evidence: EvidenceBook;
  readonly origins: Origins;
  status(): ReturnType<typeof statusOf>;
}

const REFILL_EVERY_MS = 2000;
const STOP_LIMIT_MS = 500;
/** More than a tile or a bundle of leaves ever has. */
const MAX_TILE_BYTES = 65_536;
const MAX_ANSWER_BYTES = 1_048_576;
const MAX_ORIGIN_BYTES = 1024;
const NOTHING = new Uint8Array(0);

/** Nothing is read until `open`, and nothing runs until `start`. */
export function createExchange(options: ExchangeOptions): Exchange {
  const { journal, agreement, parties, self, settings, connected, report } = options;
  const own = parties.find(({ gateway }) => gateway === self)!;
  const evidence = createEvidenceBook({ journal, parties, save: options.save, report });
  let mirrors: Mirrors | undefined;

  async function askWithin(peer: string, path: string, body: Uint8Array, maxBytes: number) {
    const { requestLimitMs } = settings;
    const work = options.request(peer, path, body, requestLimitMs, maxBytes);
    const answer = await within(work, requestLimitMs, `${peer} has not answered ${path}`);
    if (answer.body.length <= maxBytes) return answer;
    throw new Error(`${peer} answers ${path} with ${answer.body.length} bytes, more than ${maxBytes}`);
  }

  const ask: AskPeer = (peer, path, body) => askWithin(peer, path, body, MAX_ANSWER_BYTES);

  const fetchFrom =
    (peer: string, base: string): Fetch =>
    async (path) => {
      const { status, body } = await askWithin(peer, `${base}${path}`, NOTHING, MAX_TILE_BYTES);
      if (status === 200) return body;
      throw new Error(`${peer} answers ${path} with status ${status}`);
    };

  /** Own storage first, then who told of it, then the other copies, then the owner. */
  function sources(origin: string, from: string | undefined): readonly Fetch[] {
    const party = parties.find((candidate) => candidate.origin === origin)!;
    const mirror = mirrors?.of(origin);
    const peers = [from ?? party.gateway, ...mirrorsOf(agreement, parties, party), party.gateway];
    return [
      ...(party === own ? [readOwn(journal)] : []),
      ...(mirror ? [mirror.fetch] : []),
      ...[...new Set(peers)]
        .filter((peer) => peer !== self && connected(peer))
        .map((peer) => fetchFrom(peer, peer === party.gateway ? '/' : `${MIRROR}${party.gateway}/`)),
    ];
  }

  const origins = createOrigins({ journal, parties, evidence, sources, report });

  /** A checkpoint that nobody else has cosigned is told to nobody: see the publisher's `cosigned`. */
  const isByOthers = (note: string): boolean =>
    parseNote(note).signatures.some(({ name }) => name !== own.origin && name !== own.witness.name);

  function passOver(what: string): (error: Error) => void {
    return (error) => report('warn', `the stored checkpoint of ${what} is passed over: ${error.message}`);
  }

  /** Own checkpoints are made from the own tree, and known to belong to it. */
  async function lookAtOwn(): Promise<void> {
    const note = options.newest();
    if (note !== undefined) await origins.examine(note, self).catch(passOver(own.origin));
  }

  const gossip = createGossip({
    peers: parties.filter(({ gateway }) => gateway !== self).map(({ gateway }) => gateway),
    ask,
    connected,
    notes: () => {
      const cosigned = options.cosigned();
      const all = parties.flatMap((party) =>
        party === own ? origins.notes(party.origin).filter(isByOthers) : origins.notes(party.origin),
      );
      return cosigned === undefined ? all : [cosigned, ...all];
    },
    origins,
    evidence,
    leastGapMs: settings.gossipIntervalMs / 4,
    report,
  });
  evidence.onNew(() => void gossip.relay());

  async function answerWitnessed(body: Uint8Array): Promise<Answer> {
    if (body.length > MAX_ORIGIN_BYTES) return answerText(400, 'too long for an origin\n');
    const note = await options.witnessed(new TextDecoder().decode(body));
    return note === undefined ? answerText(404, 'nothing cosigned of this log\n') : answerText(200, note);
  }

  function answerSeen(body: Uint8Array): Answer {
    if (body.length > MAX_ORIGIN_BYTES) return answerText(400, 'too long for an origin\n');
    const notes = origins.notes(new TextDecoder().decode(body)).map((note) => new TextEncoder().encode(note));
    return { status: 200, body: encodeCbor(notes), contentType: 'application/cbor' };
  }

  /** Who has a copy of a log, itself first, as far as it can be asked. */
  function copiesOf(party: LogParty): readonly LogParty[] {
    const names = [party.gateway, ...mirrorsOf(agreement, parties, party)];
    return parties.filter(({ gateway }) => gateway !== self && names.includes(gateway) && connected(gateway));
  }

  async function ownSources(): Promise<readonly Source[]> {
    const { mirrors: held } = await surveyPeers({ own, parties, ask }, copiesOf(own));
    return held
      .filter(({ revoked }) => !revoked)
      .map((head) => ({ gateway: head.gateway, head, fetch: fetchFrom(head.gateway, `${MIRROR}${self}/`) }));
  }

  function mirrorSources(party: LogParty, mirror: Mirror): readonly Source[] {
    const head = mirror.head();
    if (!head) return [];
    return copiesOf(party).map(({ gateway }) => ({
      gateway,
      head,
      fetch: fetchFrom(gateway, gateway === party.gateway ? '/' : `${MIRROR}${party.gateway}/`),
    }));
  }

  const refilling = createRefilling({
    logs: () => [
      { gateway: self, log: journal.refillable, sources: ownSources },
      ...[...(mirrors?.all() ?? [])].map(([gateway, mirror]): Damaged => {
        const party = parties.find((candidate) => candidate.gateway === gateway)!;
        return { gateway, log: mirror.refillable, sources: async () => mirrorSources(party, mirror) };
      }),
    ],
    now: options.now ?? (() => performance.now()),
    report,
  });

  const timers: NodeJS.Timeout[] = [];
  const running = new Map<string, Promise<void>>();

  function once(what: string, task: () => Promise<void>): Promise<void> {
    const present = running.get(what);
    if (present) return present;
    const work = task()
      .catch((error: Error) => report('error', `${what} failed: ${error.message}`))
      .finally(() => running.delete(what));
    running.set(what, work);
    return work;
  }

  const pull = () => once('mirroring', () => mirrors?.pull() ?? Promise.resolve());
  const talk = () =>
    once('gossip', async () => {
      await lookAtOwn();
      await gossip.round();
    });

  const refill = () => once('putting records of logs back', () => refilling.round());

  return {
    async open() {
      await evidence.open();
      mirrors = await openMirrors({
        journal,
        agreement,
        parties,
        self,
        witnessed: async (origin) => headOf(await options.witnessed(origin)),
        fetchOf: ({ gateway }) => fetchFrom(gateway, '/'),
        connected,
        maxBytes: settings.maxBytes,
        ...(options.now ? { now: options.now } : {}),
        report,
      });
      for (const { origin } of parties) {
        // Not `witnessed`, which would cosign it before it is known whether the log is frozen.
        const note = await options.held(origin);
        if (note !== undefined) await origins.examine(note).catch(passOver(origin));
      }
      await lookAtOwn();
      await origins.open();
    },
    start() {
      const looking = setInterval(() => {
        if (refilling.done()) clearInterval(looking);
        else void refill();
      }, REFILL_EVERY_MS);
      timers.push(looking);
      timers.push(setInterval(() => void pull(), settings.intervalMs));
      timers.push(setInterval(() => void talk(), settings.gossipIntervalMs));
    },
    async stop() {
      for (const timer of timers.splice(0)) clearInterval(timer);
      refilling.stop();
      // A peer that hangs must not hold up the stop.
      const limit = new Promise((resolve) => setTimeout(resolve, STOP_LIMIT_MS).unref());
      await Promise.race([Promise.all(running.values()), limit]);
    },
    pull,
    gossip: talk,
    refill,
    handle(peer, path, body) {
      if (path === WITNESSED) return answerWitnessed(body);
      if (path === SEEN) return Promise.resolve(answerSeen(body));
      return gossip.handle(peer, path, body) ?? mirrors?.handle(path);
    },
    read: (path) => mirrors?.handle(path),
    signed({ note, grownFrom }) {
      // Logs from outside the consortium are witnessed too; what they sign is nobody's here to judge.
      if (!parties.some(({ origin }) => note.startsWith(`${origin}\n`))) return;
      const work = grownFrom === undefined ? origins.examine(note) : origins.linked(note, grownFrom);
      void work.catch((error: Error) =>
        report('warn', `a checkpoint shown to the witness: ${error.message}`),
      );
    },
    frozen(origin) {
      // Its own log it cosigns when it publishes; whoever else shows it one has its key, and perhaps another story.
      if (origin === own.origin) return 'a gateway cosigns its own log for nobody else';
      const reason = origins.frozen(origin);
      // Who asks for a cosignature is there to be asked, and may show now what was withheld.
      if (reason !== undefined && evidence.frozen(origin) === undefined)
        void once('linking checkpoints', () => origins.settle());
      return reason;
    },
    isDisgraced: (member) => evidence.isDisgraced(member),
    evidence,
    origins,
    status: () =>
      statusOf({
        evidence,
        origins,
        mirrors: mirrors?.status() ?? [],
        mirroredBy: mirrorsOf(agreement, parties, own),
        members: [...new Set(parties.map(({ member }) => member))],
        ownSize: journal.head()?.size ?? 0,
        own: own.origin,
        incomplete: refilling.status(),
      }),
  };
}

interface Rooms {
  readonly evidence: EvidenceBook;
  readonly origins: Origins;
  readonly mirrors: ReturnType<Mirrors['status']>;
  readonly mirroredBy: readonly string[];
  readonly members: readonly string[];
  readonly own: string;
  readonly ownSize: number;
  readonly incomplete: readonly RefillStatus[];
}

function statusOf({ evidence, origins, mirrors, mirroredBy, members, own, ownSize, incomplete }: Rooms) {
  const logs = origins.status();
  const shown = logs.find(({ origin }) => origin === own)?.size ?? 0;
  return {
    mirrors,
    mirroredBy,
    evidence: evidence.convictions().map(summaryOf),
    frozen: logs.flatMap(({ origin, frozen }) => (frozen === undefined ? [] : [{ origin, reason: frozen }])),
    disgraced: members.filter((member) => evidence.isDisgraced(member)),
    unlinked: logs.flatMap(({ origin, unlinked }) =>
      unlinked.length > 0 ? [{ origin, sizes: unlinked }] : [],
    ),
    /** Logs, the own one and mirrors, that lack records since the journal was damaged. */
    incomplete,
    /** Peers hold a checkpoint of this gateway's own log beyond its end: the directory is older than what was published. */
    behindOwnLog: shown > ownSize ? { size: ownSize, shown } : null,
  };
}

function headOf(note: string | undefined): SignedHead | undefined {
  if (note === undefined) return undefined;
  const { size, root } = parseCheckpoint(parseNote(note).text);
  return { size, root, note };
}

/** The gateway's own tree, as somebody else would fetch it. */
export function readOwn(journal: Pick<Journal, 'tile' | 'bundle'>): Fetch {
  return async (path) => {
    const tile = parseTilePath(path);
    if (!tile) throw new Error(`${path} is no tile`);
    return tile.level === 'entries'
      ? journal.bundle(tile.index, tile.width)
      : journal.tile(tile.level, tile.index, tile.width);
  };
}
