/**
 * Rounds without a server. Leading goes round among the voters; who leads decides nothing. A model is the
 * federation's when a quorum of members has voted for the record it follows from, and a quorum that has
 * promised a later round votes for no earlier one, so that no two models of one version can be.
 */
import type { CborValue } from '../../core/encoding/cbor.ts';
import { decodeCbor, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { fieldsOf, safeInteger } from '../../core/encoding/fields.ts';
import { createLeader, type LeadResult } from './leader.ts';
import { type CertifiedModel, decodeCertifiedModel, encodeCertifiedModel } from './memory.ts';
import { type FederationOptions, TIMING } from './options.ts';
import { createParticipant, type Refusal } from './participant.ts';
import { leaderOf } from './parties.ts';
import { checkVotes, type Outcome, resolveRecord, type Signed } from './record.ts';
import { decodeCommit, PATH } from './wire.ts';

export interface RoundSummary {
  readonly round: number;
  readonly version: number;
  readonly contributors: readonly string[];
  readonly time: number;
}

export interface FederationStatus {
  readonly version: number;
  readonly plannedRounds: number;
  readonly promised: number;
  readonly phase: string;
  /** Why no round can be made at present. */
  readonly waiting: string | undefined;
  readonly lastRound: RoundSummary | undefined;
  /** Rounds that this gateway led and gave up. */
  readonly voids: number;
  readonly lastVoid: string | undefined;
}

export interface Federation {
  start(): void;
  stop(): Promise<void>;
  /** Answers a peer's request; undefined for a path that is not this room's. */
  handle(
    peer: string,
    path: string,
    body: Uint8Array,
  ): Promise<{ status: number; body: Uint8Array }> | undefined;
  status(): FederationStatus;
}

export function createFederation(given: FederationOptions): Federation {
  const { parties, memory, log } = given;
  const { terms } = parties.agreement;
  const timing = given.timing ?? TIMING;
  const stopping = new AbortController();
  /** A leader speaks to itself as to the others, without the detour over the network. */
  const options: FederationOptions = {
    ...given,
    request: (peer, path, body, limitMs) =>
      peer === parties.self ? handle(parties.self, path, body)! : given.request(peer, path, body, limitMs),
  };
  const participant = createParticipant(options, (peer) => void catchUp(peer));
  const leader = createLeader(options);
  let leading: Promise<void> | undefined;
  let waiting: string | undefined;
  let lastRound: RoundSummary | undefined;
  let voids = 0;
  let lastVoid: string | undefined;
  let notBefore = 0;
  let retryMs = timing.firstRetry;
  let seen = 0;
  let lastGossip = performance.now();
  let adopting: Promise<unknown> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;

  /** One adoption after the other, or two messages about one model would log it twice. */
  function adopt(model: CertifiedModel, outcome: Outcome | undefined): Promise<void> {
    const mine = adopting.then(async () => {
      if (model.head.version <= memory.model().head.version) return;
      const durable = memory.adopt(model, (writes) => given.logRound(roundBody(model, outcome), writes));
      participant.decided(model.head.version);
      await durable;
      lastRound = {
        round: outcome?.manifest.round ?? memory.promised(),
        version: model.head.version,
        contributors: outcome?.contributors ?? [],
        time: Date.now(),
      };
      waiting = undefined;
      retryMs = timing.firstRetry;
      log(
        'info',
        outcome
          ? `round ${outcome.manifest.round}: model ${model.head.version} from ${outcome.contributors.length} gateways`
          : `caught up with model ${model.head.version}`,
      );
      given.onModel(memory.recent());
    });
    adopting = mine.catch(() => undefined);
    return mine;
  }

  async function commit(peer: string, body: Uint8Array): Promise<void> {
    const { record, votes } = decodeCommit(body);
    const { head, record: recordHash } = checkVotes(votes, parties);
    const model = memory.model();
    if (head.version <= model.head.version) return;
    if (head.version > model.head.version + 1) return catchUp(peer);
    const outcome = resolveRecord(record, model.parameters, given.model, parties);
    if (!equalBytes(outcome.recordHash, recordHash) || !equalBytes(outcome.head.hash, head.hash)) {
      throw new Error('the votes are for another record');
    }
    await adopt({ head: outcome.head, parameters: outcome.parameters, votes }, outcome);
  }

  /** Takes over the newest model of a peer, which a quorum's votes prove. */
  async function catchUp(peer: string): Promise<void> {
    try {
      const mine = memory.model().head.version;
      const { status, body } = await given.request(peer, PATH.model, encodeCbor([mine]));
      if (status !== 200) return;
      const model = decodeCertifiedModel(body, given.model);
      const { head } = checkVotes(model.votes, parties);
      if (head.version !== model.head.version || !equalBytes(head.hash, model.head.hash)) {
        throw new Error('the votes are for another model');
      }
      await adopt(model, undefined);
    } catch (error) {
      log('warn', `cannot take over the model of ${peer}: ${(error as Error).message}`);
    }
  }

  async function lead(round: number): Promise<void> {
    const result: LeadResult = await leader.lead(round, stopping.signal);
    notBefore = performance.now() + timing.firstRetry;
    seen = Math.max(seen, leader.highest());
    if (result.kind === 'waiting' || result.kind === 'void') {
      retryMs = Math.min(timing.lastRetry, retryMs * 1.5);
      await leader.release(round);
      participant.leave();
    }
    if (result.kind === 'waiting') {
      if (result.why !== waiting) log('info', `rounds wait: ${result.why}`);
      waiting = result.why;
    } else if (result.kind === 'void') {
      voids += 1;
      lastVoid = `round ${round}: ${result.why}`;
      log('warn', `round ${round} is void: ${result.why}`);
    } else if (result.kind === 'outrun') {
      if (result.newerAt !== undefined) await catchUp(result.newerAt);
    } else {
      waiting = undefined;
      notBefore = performance.now() + terms.federation.interval;
    }
  }

  /** How long this gateway keeps still before it leads `round`: the voters before it in the turn go first. */
  function patience(round: number): number {
    let wait =
      waiting === undefined ? terms.federation.interval : Math.max(terms.federation.interval, retryMs);
    for (let before = leastRound(); before < round; before++) {
      wait += given.connected(leaderOf(parties, before)) ? timing.takeoverIdle : timing.takeoverGone;
    }
    return wait;
  }

  function leastRound(): number {
    return Math.max(memory.promised(), seen) + 1;
  }

  function nextOwnRound(): number | undefined {
    const place = parties.voters.findIndex((voter) => voter.name === parties.self);
    if (place < 0) return undefined;
    const count = parties.voters.length;
    const least = leastRound();
    return least + ((place - (least % count) + count) % count);
  }

  function tick(): void {
    const now = performance.now();
    if (now - lastGossip > timing.gossip) {
      lastGossip = now;
      const connected = parties.all.filter(
        (party) => party.name !== parties.self && given.connected(party.name),
      );
      const peer = connected[Math.floor(Math.random() * connected.length)];
      if (peer) void catchUp(peer.name);
    }
    if (leading || now < notBefore || memory.model().head.version >= terms.federation.rounds) return;
    const round = nextOwnRound();
    if (round === undefined) return;
    if (now - participant.lastActivity() < stillness(patience(round))) return;
    leading = lead(round)
      .catch((error: Error) => log('error', `leading round ${round} failed: ${error.message}`))
      .finally(() => {
        leading = undefined;
      });
  }

  /** A round that others are in the middle of is left alone for as long as its phases may take. */
  function stillness(wait: number): number {
    const leaderNow = leaderOf(parties, memory.promised());
    if (leaderNow !== parties.self && !given.connected(leaderNow)) return Math.max(wait, timing.takeoverGone);
    if (participant.phase() === 'idle') return wait;
    if (participant.phase() === 'promised') return Math.max(wait, timing.promisePatience);
    return Math.max(wait, 2 * terms.federation.phaseLimit);
  }

  const handlers: Readonly<
    Record<string, (peer: string, body: Uint8Array) => Promise<Uint8Array | undefined>>
  > = {
    [PATH.prepare]: (peer, body) => participant.prepare(peer, body),
    [PATH.manifest]: async (peer, body) => {
      await participant.manifest(peer, body);
      waiting = undefined;
      return undefined;
    },
    [PATH.share]: async (peer, body) => void (await participant.share(peer, body)),
    [PATH.contributed]: async (peer, body) => void leader.contributed(peer, body),
    [PATH.decline]: async (peer, body) => void leader.declined(peer, body),
    [PATH.set]: (peer, body) => participant.set(peer, body),
    [PATH.open]: (peer, body) => participant.open(peer, body),
    [PATH.record]: (peer, body) => participant.vote(peer, body),
    [PATH.commit]: async (peer, body) => void (await commit(peer, body)),
    [PATH.release]: async (peer, body) => void participant.release(peer, body),
    [PATH.model]: async (_peer, body) => newerModel(body),
  };

  function newerModel(body: Uint8Array): Uint8Array {
    const known = safeInteger(fieldsOf(decodeCbor(body), 1, 'model request')[0], 'model request: version');
    const model = memory.model();
    if (model.head.version <= known) throw Object.assign(new Error('nothing newer'), { status: 404 });
    return encodeCertifiedModel(model);
  }

  function handle(peer: string, path: string, body: Uint8Array) {
    const handler = handlers[path];
    return handler?.(peer, body).then(
      (answer) => ({ status: 200, body: answer ?? new Uint8Array(0) }),
      (error: Error & Partial<Refusal>) => ({
        // Anything but a refusal is a message that does not decode or verify.
        status: error.status ?? 400,
        body: new TextEncoder().encode(error.message),
      }),
    );
  }

  return {
    start() {
      given.onModel(memory.recent());
      timer = setInterval(tick, timing.tick);
    },
    async stop() {
      clearInterval(timer);
      stopping.abort();
      participant.leave();
      await Promise.race([leading, new Promise((resolve) => setTimeout(resolve, 1000).unref())]);
    },
    handle,
    status: () => ({
      version: memory.model().head.version,
      plannedRounds: terms.federation.rounds,
      promised: memory.promised(),
      phase: leader.progress() || participant.phase(),
      waiting: waiting ?? undefined,
      lastRound,
      voids,
      lastVoid,
    }),
  };
}

/** What the log is told of a round: which model came out, from which record, by whose votes. */
function roundBody(model: CertifiedModel, outcome: Outcome | undefined): CborValue {
  return [
    outcome?.manifest.round ?? 0,
    model.head.version,
    model.head.hash,
    outcome?.recordHash ?? null,
    outcome ? [...outcome.contributors] : null,
    model.votes.map(({ from }: Signed) => from),
  ];
}
