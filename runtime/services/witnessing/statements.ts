/**
 * Statements about keys (endorsements, revocations) on their way: what this gateway knows goes to every peer that
 * is connected, and what a peer tells that is new goes on to the others, so that a peer that could not be reached
 * learns it through a third. Each statement is also entered once into this gateway's own log, which gives it a
 * cosigned time that nobody can move.
 */
import { sha256 } from '#sha256';
import { toHex } from '../../core/encoding/base64.ts';
import { decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { byteString, list } from '../../core/encoding/fields.ts';
import type { Section } from '../../state/journal/section.ts';
import type { Write } from '../../state/journal/store.ts';
import type { Roster } from '../../state/provenance/roster.ts';
import type { Answer } from './witnessing.ts';

export interface StatementsOptions {
  readonly roster: Roster;
  /** Names of the other gateways. */
  readonly peers: readonly string[];
  /** Sends a request to a peer; it has a time limit of its own. */
  readonly request: (
    peer: string,
    path: string,
    body: Uint8Array,
  ) => Promise<{ readonly status: number; readonly body: Uint8Array }>;
  readonly connected: (peer: string) => boolean;
  /** Which statements have been entered into the log. */
  readonly section: Section;
  /** Enters a statement into the log, with a section's record in the same batch. */
  readonly enter: (statement: Uint8Array, writes: readonly Write[]) => Promise<unknown>;
  /** How often peers are looked at for what they have not been told. */
  readonly intervalMs?: number;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface Statements {
  /** Begins to relay, and enters into the log what is not there yet. */
  start(): void;
  stop(): Promise<void>;
  /** Answers a peer's request, or undefined when the path is not this service's. */
  handle(peer: string, path: string, body: Uint8Array): Promise<Answer> | undefined;
}

export const STATEMENTS = '/statements';

/** One message carries at most so many; more follow in the next. */
const MAX_BATCH = 64;
const INTERVAL_MS = 5000;
const STOP_LIMIT_MS = 500;
const MAX_COMPLAINTS = 256;

export function createStatements(options: StatementsOptions): Statements {
  const { roster, peers, section, log } = options;
  /** What each connected peer has been sent, or has sent itself. */
  const told = new Map<string, Set<string>>();
  const inFlight = new Map<string, Promise<void>>();
  const complaints = new Set<string>();
  /** What is known to be in this gateway's log; the section remembers it beyond a restart. */
  const entered = new Set<string>();
  let entering: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  let unsubscribe: (() => void) | undefined;

  function complain(message: string): void {
    // A liar must not fill the log: each complaint once, and a bound on their number.
    if (complaints.has(message) || complaints.size >= MAX_COMPLAINTS) return;
    complaints.add(message);
    log('warn', message);
  }

  function relay(): void {
    for (const peer of peers) {
      // One that comes back is told everything again: it may have been restored from a backup.
      if (!options.connected(peer)) told.delete(peer);
      else if (!inFlight.has(peer)) {
        const work = tell(peer)
          .catch((error: Error) => complain(`statements about keys do not reach ${peer}: ${error.message}`))
          .finally(() => inFlight.delete(peer));
        inFlight.set(peer, work);
      }
    }
  }

  async function tell(peer: string): Promise<void> {
    const known = toldTo(peer);
    for (;;) {
      const batch = roster
        .statements()
        .filter((statement) => !known.has(nameOf(statement)))
        .slice(0, MAX_BATCH);
      if (batch.length === 0) return;
      const { status, body } = await options.request(peer, STATEMENTS, encodeCbor(batch));
      if (status !== 200)
        throw new Error(`status ${status}: ${new TextDecoder().decode(body.subarray(0, 200)).trim()}`);
      for (const statement of batch) known.add(nameOf(statement));
    }
  }

  function toldTo(peer: string): Set<string> {
    const known = told.get(peer) ?? new Set<string>();
    told.set(peer, known);
    return known;
  }

  async function take(peer: string, body: Uint8Array): Promise<Answer> {
    let statements: readonly Uint8Array[];
    try {
      statements = list(decodeCbor(body), MAX_BATCH, 'statements').map((one) => byteString(one, 'statement'));
    } catch (error) {
      return text(400, `${(error as Error).message}\n`);
    }
    const refused: string[] = [];
    for (const statement of statements) {
      try {
        // Before it is added, or it would be relayed back at once.
        toldTo(peer).add(nameOf(statement));
        await roster.add(statement);
      } catch (error) {
        toldTo(peer).delete(nameOf(statement));
        refused.push((error as Error).message);
        complain(`a statement about keys from ${peer} is refused: ${(error as Error).message}`);
      }
    }
    // Refusing is an answer too: the sender has told it, and need not again.
    return text(200, refused.map((reason) => `${reason}\n`).join(''));
  }

  /** Enters what is not in the log yet, one after the other. */
  function enterAll(): void {
    entering = entering
      .then(async () => {
        for (const statement of roster.statements()) {
          const name = nameOf(statement);
          if (entered.has(name)) continue;
          if (!(await section.get(name)))
            await options.enter(statement, [section.put(name, encodeCbor([1]))]);
          entered.add(name);
        }
      })
      .catch((error: Error) => log('error', `a statement about keys cannot be entered: ${error.message}`));
  }

  return {
    start() {
      unsubscribe = roster.onChange((gateway) => {
        log('info', `the keys of ${gateway} have changed: endorsement ${roster.current(gateway).serial}`);
        enterAll();
        relay();
      });
      timer = setInterval(() => {
        enterAll();
        relay();
      }, options.intervalMs ?? INTERVAL_MS);
      enterAll();
      relay();
    },
    async stop() {
      unsubscribe?.();
      clearInterval(timer);
      // A peer that hangs must not hold up the stop; what is being entered is short and worth waiting for.
      await entering;
      const limit = new Promise((resolve) => setTimeout(resolve, STOP_LIMIT_MS).unref());
      await Promise.race([Promise.all(inFlight.values()), limit]);
    },
    handle(peer, path, body) {
      return path === STATEMENTS ? take(peer, body) : undefined;
    },
  };
}

function nameOf(statement: Uint8Array): string {
  return toHex(sha256(statement));
}

function text(status: number, content: string): Answer {
  return { status, body: new TextEncoder().encode(content), contentType: 'text/plain; charset=utf-8' };
}
