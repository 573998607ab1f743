/**
 * A charge is laid down with other members before anything of the training that it pays for leaves, and a gateway
 * whose directory was restored asks for it back before it trains again: so no backup refunds privacy.
 *
 * It is laid down with q - 1 other members, as many as a round needs besides. Of n - 1 others at most f lie, so
 * when n - q + f + 1 of them have told what they hold, one of them is honest and holds the charge.
 */
import { decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, list, safeInteger, text } from '../../core/encoding/fields.ts';
import { type Deposit, type DepositBook, openDeposit } from '../../state/ledger/deposits.ts';
import type { Ledger } from '../../state/ledger/ledger.ts';
import { sleep } from '../../state/pause.ts';
import type { Memory } from './memory.ts';
import type { FederationOptions } from './options.ts';
import { MAX_LEAP, membersAmong, type Parties } from './parties.ts';

/** A signed charge of the gateway that sends it. */
export const DEPOSIT = '/deposit';
/** Asks for the sender's own charges, and for the round promised last. */
export const DEPOSITS = '/deposits';

export interface DepositsOptions {
  readonly parties: Parties;
  readonly book: DepositBook;
  readonly memory: Pick<Memory, 'promised' | 'promise'>;
  readonly ledger: Pick<Ledger, 'adopt'>;
  readonly request: FederationOptions['request'];
  /** How long a contribution waits for the others to have its charge, milliseconds. */
  readonly limitMs?: number;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface Deposits {
  /** Gives up what is on its way. */
  stop(): void;
  /** Resolves when enough other members have the charge durably. @throws Error naming how many have. */
  deposit(entry: Uint8Array): Promise<void>;
  /** Asks a peer what it holds of this gateway's charges, and how far its rounds are. @throws Error when it does not say. */
  learn(peer: string): Promise<void>;
  /** Takes over what peers have told: charges that the ledger does not have, and the round behind the last. */
  settle(): Promise<void>;
  /** Answers a peer's request, or undefined when the path is not this part's. */
  handle(
    peer: string,
    path: string,
    body: Uint8Array,
  ): Promise<{ status: number; body: Uint8Array }> | undefined;
}

const LIMIT_MS = 10_000;
const RETRY_MS = 250;
const MAX_PAGES = 1000;
const MAX_ENTRIES = 100_000;

/** Other members that must hold a charge before anything that it pays for leaves. */
export function depositsNeeded(parties: Parties): number {
  return Math.min(parties.quorum - 1, parties.voters.length - 1);
}

export function createDeposits(options: DepositsOptions): Deposits {
  const { parties, book, memory, request, limitMs = LIMIT_MS, log } = options;
  const others = parties.all.filter(({ name }) => name !== parties.self);
  const ownMember = parties.byName(parties.self)?.member;
  const needed = depositsNeeded(parties);
  const told = new Map<string, Deposit>();
  let promised = 0;
  let before = new AbortController();
  let stopped = false;

  /** Tries again until it is taken, refused or given up. */
  async function sendTo(peer: string, entry: Uint8Array, given: AbortSignal): Promise<void> {
    while (!given.aborted) {
      const { status, why } = await request(peer, DEPOSIT, entry, limitMs).then(
        (answer) => ({ status: answer.status, why: new TextDecoder().decode(answer.body) }),
        (error: Error) => ({ status: 0, why: error.message }),
      );
      if (status === 200) return;
      if (status !== 0 && status !== 503) throw new Error(`${peer} does not take it: ${why.trim()}`);
      await sleep(RETRY_MS, given);
    }
    throw new Error(`${peer} has not taken it in time`);
  }

  async function deposit(entry: Uint8Array): Promise<void> {
    // What was laid down before is with enough of them: who has not got it yet gets this one.
    before.abort();
    if (stopped) throw new Error('the gateway stops');
    const giveUp = new AbortController();
    before = giveUp;
    const holders: string[] = [];
    const refusals: string[] = [];
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        giveUp.abort();
        resolve();
      }, limitMs);
      const sent = others.map(({ name }) =>
        sendTo(name, entry, giveUp.signal).then(
          () => {
            holders.push(name);
            if (othersAmong(holders) >= needed) resolve();
          },
          (error: Error) => void refusals.push(error.message),
        ),
      );
      void Promise.all(sent).then(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    const count = othersAmong(holders);
    if (count >= needed) return;
    const why = refusals.length > 0 ? ` (${refusals.join('; ')})` : '';
    throw new Error(
      `the charge is with ${count} other members, ${needed} must hold it before anything leaves${why}`,
    );
  }

  function othersAmong(names: readonly string[]): number {
    return membersAmong(
      parties,
      names.filter((name) => parties.byName(name)?.member !== ownMember),
    );
  }

  async function learn(peer: string): Promise<void> {
    let after = '';
    for (let page = 0; page < MAX_PAGES; page++) {
      const { status, body } = await request(peer, DEPOSITS, encodeCbor([after]), limitMs);
      if (status !== 200) throw new Error(`${peer} answers ${DEPOSITS} with status ${status}`);
      const fields = fieldsOf(decodeCbor(body), 3, 'deposits');
      promised = Math.max(promised, safeInteger(fields[0], 'deposits: round'));
      for (const value of list(fields[1], MAX_ENTRIES, 'deposits: entries')) {
        const own = parties.byName(parties.self)!;
        const one = openDeposit(byteString(value, 'deposits: entry'), (id) => own.verifierOf(id));
        told.set(`${one.incarnation}/${one.sequence}`, one);
      }
      if (told.size > MAX_ENTRIES) throw new Error('deposits: more than there can be');
      if (fields[2] === null) return;
      const next = text(fields[2], 'deposits: next');
      if (next <= after) throw new Error(`${peer} gives its deposits in no order`);
      after = next;
    }
    throw new Error(`${peer} has no end of deposits`);
  }

  async function take(peer: string, body: Uint8Array): Promise<void> {
    const owner = parties.byName(peer);
    if (!owner) throw new Error(`${peer} is no gateway of the agreement`);
    await book.add(
      peer,
      openDeposit(body, (id) => owner.verifierOf(id)),
    );
  }

  async function give(peer: string, body: Uint8Array): Promise<Uint8Array> {
    const after = text(fieldsOf(decodeCbor(body), 1, 'request for deposits')[0], 'request for deposits');
    const { entries, next } = await book.page(peer, after);
    return encodeCbor([memory.promised(), [...entries], next ?? null]);
  }

  return {
    stop() {
      stopped = true;
      before.abort();
    },
    deposit,
    learn,
    async settle() {
      const added = await options.ledger.adopt([...told.values()].map(({ charge }) => charge));
      if (added > 0)
        log('warn', `${added} charges of the privacy budget were known to peers only; they count again`);
      // A liar cannot take the numbers of all rounds to come; see MAX_LEAP.
      const known = memory.promised();
      await memory.promise(Math.min(Math.max(known, promised), known + MAX_LEAP) + 1);
      told.clear();
    },
    handle(peer, path, body) {
      const answer =
        path === DEPOSIT
          ? take(peer, body).then(() => new Uint8Array(0))
          : path === DEPOSITS
            ? give(peer, body)
            : undefined;
      return answer?.then(
        (bytes) => ({ status: 200, body: bytes }),
        (error: Error) => ({ status: 409, body: new TextEncoder().encode(error.message) }),
      );
    },
  };
}
