/** The logs that this gateway keeps copies of, and what it gives others of them. */
import type { Journal } from '../../state/journal/journal.ts';
import { mirrorsOf } from './assignment.ts';
import { eachOf } from './limits.ts';
import { answerText, createMirror, type Mirror, type MirrorStatus, type SignedHead } from './mirror.ts';
import type { LogParty } from './names.ts';
import type { Fetch } from './tree-source.ts';
import type { Answer } from './witnessing.ts';

export interface MirrorsOptions {
  readonly journal: Pick<Journal, 'mirror'>;
  /** SHA-256 of the agreement. */
  readonly agreement: Uint8Array;
  readonly parties: readonly LogParty[];
  /** This gateway's name. */
  readonly self: string;
  /** The newest checkpoint of a log that this gateway has cosigned. */
  readonly witnessed: (origin: string) => Promise<SignedHead | undefined>;
  /** What the owner of a log gives. */
  readonly fetchOf: (party: LogParty) => Fetch;
  readonly connected: (gateway: string) => boolean;
  /** The most that one copy may take, in bytes. */
  readonly maxBytes: number;
  readonly now?: () => number;
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface Mirrors {
  /** Fetches what is missing everywhere; a few logs at a time. */
  pull(): Promise<void>;
  /** The copy of a log, by its origin. */
  of(origin: string): Mirror | undefined;
  /** All copies, by the gateway whose log it is. */
  all(): Iterable<readonly [string, Mirror]>;
  /** Answers `/mirror/<gateway>/checkpoint` and `/mirror/<gateway>/tile/...`; undefined for other paths. */
  handle(path: string): Promise<Answer> | undefined;
  status(): readonly MirrorStatus[];
}

/** Where copies are found. */
export const MIRROR = '/mirror/';
/** Logs that are fetched at a time. */
const AT_A_TIME = 2;

export async function openMirrors(options: MirrorsOptions): Promise<Mirrors> {
  const { journal, agreement, parties, self } = options;
  const own = parties.filter((party) => mirrorsOf(agreement, parties, party).includes(self));
  const mirrors = new Map<string, Mirror>();
  for (const party of own) {
    mirrors.set(
      party.gateway,
      createMirror({
        gateway: party.gateway,
        origin: party.origin,
        log: await journal.mirror(party.gateway),
        target: () => options.witnessed(party.origin),
        fetch: options.fetchOf(party),
        maxBytes: options.maxBytes,
        ...(options.now ? { now: options.now } : {}),
        report: options.report,
      }),
    );
  }
  return {
    async pull() {
      const reachable = [...mirrors].filter(([gateway]) => options.connected(gateway));
      await eachOf(reachable, AT_A_TIME, ([, mirror]) => mirror.pull());
    },
    of: (origin) => [...mirrors.values()].find((mirror) => mirror.origin === origin),
    all: () => mirrors,
    handle(path) {
      if (!path.startsWith(MIRROR)) return undefined;
      const rest = path.slice(MIRROR.length);
      const slash = rest.indexOf('/');
      const mirror = slash > 0 ? mirrors.get(rest.slice(0, slash)) : undefined;
      if (!mirror) return Promise.resolve(answerText(404, 'no such mirror here\n'));
      return mirror.answer(rest.slice(slash + 1));
    },
    status: () => [...mirrors.values()].map((mirror) => mirror.status()),
  };
}
