/** A gateway's part in rounds that others lead: promising, training, holding shares, signing, voting. */
import { randomBytes } from '#random';
import {
  type AcceptedSet,
  acceptedSetHash,
  encodeAggregateShare,
} from '../../core/aggregation/aggregate-share.ts';
import { Field64 } from '../../core/aggregation/field64.ts';
import { encodeFixedPoint } from '../../core/aggregation/fixed-point.ts';
import {
  decodeReportShare,
  encodeReportShare,
  type ReportShare,
  reportHash,
  reportShares,
} from '../../core/aggregation/report.ts';
import { expand, share, sum } from '../../core/aggregation/shares.ts';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { parameterCount } from '../../core/learning/model.ts';
import { sleep } from '../../state/pause.ts';
import { type Manifest, type ModelHead, manifestHash, messages } from './messages.ts';
import { type FederationOptions, TIMING } from './options.ts';
import { leaderOf, MAX_LEAP, membersAmong } from './parties.ts';
import { checkManifest, checkSetSignatures, holdersFor, resolveRecord, signersOf } from './record.ts';
import { decodeBallot, decodeRelease, decodeSet, encodeRelease, PATH, type SetBody } from './wire.ts';

/** A request that cannot be granted; `status` and the text go to the peer. */
export interface Refusal extends Error {
  readonly name: 'Refusal';
  readonly status: number;
}

export function refuse(status: number, why: string): Refusal {
  return Object.assign(new Error(why), { name: 'Refusal' as const, status });
}

/** The round that this gateway takes part in. */
interface Current {
  readonly manifest: Manifest;
  readonly hash: Uint8Array;
  readonly shares: Map<string, ReportShare>;
  readonly abort: AbortController;
  ownReport: Uint8Array | undefined;
}

export interface Participant {
  prepare(from: string, body: Uint8Array): Promise<Uint8Array>;
  manifest(from: string, body: Uint8Array): Promise<void>;
  share(from: string, body: Uint8Array): Promise<void>;
  /** Signs the accepted set. */
  set(from: string, body: Uint8Array): Promise<Uint8Array>;
  /** Opens the aggregate share. */
  open(from: string, body: Uint8Array): Promise<Uint8Array>;
  /** Votes for a record. */
  vote(from: string, body: Uint8Array): Promise<Uint8Array>;
  /** The leader of the round in hand gives it up. */
  release(from: string, body: Uint8Array): void;
  /** What it does at present, for people. */
  phase(): string;
  /** When it last heard of a round, on the monotonic clock. */
  lastActivity(): number;
  /** Forgets the round in hand: it is given up. */
  leave(): void;
  /** Model `version` is there: forgets the round in hand if it is about an earlier one. */
  decided(version: number): void;
}

const RETRIES = 20;
/** Answers that another try may change: the manifest has not reached that peer yet. */
const TOO_EARLY = 425;

/** `behind` is called with a peer that has a newer model. */
export function createParticipant(options: FederationOptions, behind: (peer: string) => void): Participant {
  const { parties, memory, signer, learner, log } = options;
  const { terms, hash: agreement } = parties.agreement;
  const { updateBound, fractionBits, minimumBatch } = terms.federation;
  const timing = options.timing ?? TIMING;
  let current: Current | undefined;
  /** The last round that was left: a late or repeated message does not open it again. */
  let closed = 0;
  let phase = 'idle';
  let lastActivity = performance.now();

  function active(what: string): void {
    lastActivity = performance.now();
    phase = what;
  }

  function leave(): void {
    current?.abort.abort();
    closed = Math.max(closed, current?.manifest.round ?? 0);
    current = undefined;
    active('idle');
  }

  function inRound(round: number, from?: string): Current {
    if (!current || current.manifest.round !== round || memory.promised() !== round) {
      throw refuse(409, `round ${round} is not the one this gateway is in`);
    }
    if (from !== undefined && from !== current.manifest.leader)
      throw refuse(403, `${from} does not lead round ${round}`);
    return current;
  }

  function checkHead(head: ModelHead, from: string): void {
    const mine = memory.model().head;
    if (head.version > mine.version) {
      behind(from);
      throw refuse(409, `still at model ${mine.version}, catching up`);
    }
    if (head.version < mine.version) throw refuse(410, `model ${mine.version} is known here already`);
    if (!equalBytes(head.hash, mine.hash)) throw refuse(409, `model ${head.version} has another hash here`);
  }

  /** The leader of a round in which things go on: nobody else may end that round by asking for another. */
  function busyWith(): string | undefined {
    const leader = current?.manifest.leader;
    if (leader === undefined || performance.now() - lastActivity > 2 * terms.federation.phaseLimit)
      return undefined;
    return leader === parties.self || options.connected(leader) ? leader : undefined;
  }

  async function contribute(round: Current): Promise<void> {
    const { manifest } = round;
    active('training');
    const started = performance.now();
    const update = await learner.update(
      manifest.round,
      manifest.head.version,
      memory.model().parameters,
      round.abort.signal,
    );
    if (round.abort.signal.aborted) throw new Error('the round was given up meanwhile');
    const vector = encodeFixedPoint(update, { bound: updateBound, fractionBits }, randomBytes);
    // Durable before its first share leaves: after that, only this very vector may be tried again.
    await memory.storeVector(manifest.round, Field64.encodeVec(vector));
    active('sharing');
    const context = { agreement, round: manifest.round, attempt: 0, contributor: parties.self };
    const holders = holdersFor(manifest, parties.self);
    const reports = reportShares(share(vector, holders, context), holders, Field64.lengthOf(vector), context);
    await Promise.all(reports.map((report, index) => deliver(holders[index]!, report, round)));
    round.ownReport = reportHash(reports[0]!);
    active('waiting for the others');
    const word = messages.contributed.seal(signer, { manifest: round.hash, report: round.ownReport });
    await send(manifest.leader, PATH.contributed, word, round);
    log(
      'info',
      `round ${manifest.round}: contributed after ${((performance.now() - started) / 1000).toFixed(1)} s`,
    );
  }

  /** Tells the leader not to wait; why is nobody else's business. */
  function decline({ manifest }: Current): void {
    options
      .request(manifest.leader, PATH.decline, encodeRelease(manifest.round))
      .catch((error: Error) =>
        log('warn', `round ${manifest.round}: cannot tell its leader: ${error.message}`),
      );
  }

  async function deliver(holder: string, report: ReportShare, round: Current): Promise<void> {
    await send(holder, PATH.share, encodeReportShare(report), round);
  }

  /** Sends until it has arrived, while the round goes on: a connection that breaks must not cost a contribution. */
  async function send(peer: string, path: string, body: Uint8Array, round: Current): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const { status, text } = await options.request(peer, path, body).then(
        (answer) => ({ status: answer.status, text: new TextDecoder().decode(answer.body) }),
        (error: Error) => ({ status: 0, text: error.message }),
      );
      if (status === 200) return;
      if ((status !== 0 && status !== TOO_EARLY) || attempt === RETRIES || round.abort.signal.aborted) {
        throw new Error(`${peer} did not take ${path}: ${text || status}`);
      }
      await sleep(timing.retry, round.abort.signal);
    }
  }

  /** The set of a request, after checking that it is made of what this gateway sent and holds. */
  function checkSet(body: SetBody, round: Current): AcceptedSet {
    const { manifest } = round;
    const set: AcceptedSet = {
      context: { agreement, round: manifest.round, attempt: 0 },
      reports: body.reports,
    };
    const names = body.reports.map((report) => report.contributor);
    if (!signersOf(manifest, names).includes(parties.self))
      throw refuse(403, 'this gateway is not in the set');
    // Gateways of one company are one hand: with fewer members than this a sum would tell what one of them added.
    if (membersAmong(parties, names) < minimumBatch)
      throw refuse(409, `the set has fewer than ${minimumBatch} members`);
    for (const { contributor, reportHash: hash } of body.reports) {
      if (!manifest.cohort.includes(contributor)) throw refuse(409, `${contributor} is not in the cohort`);
      const known = contributor === parties.self ? round.ownReport : reportOf(round.shares.get(contributor));
      const holds = contributor === parties.self || manifest.committee.includes(parties.self);
      if (holds && !(known && equalBytes(known, hash))) {
        throw refuse(409, `the report of ${contributor} is not the one known here`);
      }
    }
    return set;
  }

  return {
    async prepare(from, body) {
      const { round, head } = messages.prepare.open(body, parties, from);
      if (from !== leaderOf(parties, round)) throw refuse(403, `${from} does not lead round ${round}`);
      checkHead(head, from);
      if (round <= memory.promised()) throw refuse(412, `${memory.promised()}`);
      if (round > memory.promised() + MAX_LEAP) throw refuse(409, `round ${round} is too far ahead`);
      const busy = busyWith();
      if (busy !== undefined && busy !== from) throw refuse(503, `in a round that ${busy} leads`);
      leave();
      // Told before it is durable: this gateway must not begin a round of its own meanwhile.
      active('promised');
      await memory.promise(round);
      // What is said below is about this model: another one may have come meanwhile.
      checkHead(head, from);
      const readiness = learner.readiness();
      return messages.promise.seal(signer, {
        round,
        unready: readiness.kind === 'ready' ? '' : readiness.why,
        waiting: readiness.kind === 'waiting',
        accepted: memory.accepted(),
      });
    },
    async manifest(from, body) {
      const manifest = messages.manifest.open(body, parties, from);
      if (from !== manifest.leader) throw refuse(403, `${from} does not lead round ${manifest.round}`);
      if (manifest.round !== memory.promised()) throw refuse(412, `${memory.promised()}`);
      checkManifest(manifest, parties);
      checkHead(manifest.head, from);
      const hash = manifestHash(manifest);
      if (current) {
        if (equalBytes(current.hash, hash)) return;
        throw refuse(409, `round ${manifest.round} has another manifest here already`);
      }
      if (manifest.round <= closed) throw refuse(409, `round ${manifest.round} is over here`);
      const round: Current = {
        manifest,
        hash,
        shares: new Map(),
        abort: new AbortController(),
        ownReport: undefined,
      };
      current = round;
      active('in a round');
      if (!manifest.cohort.includes(parties.self)) return;
      // Another vector of the same round, after a restart, would be a second sum that this gateway is in.
      if (memory.contributed() >= manifest.round) return decline(round);
      contribute(round).catch((error: Error) => {
        if (!round.abort.signal.aborted) {
          log('warn', `round ${manifest.round}: cannot contribute: ${error.message}`);
          phase = `could not contribute to round ${manifest.round}`;
          decline(round);
        }
      });
    },
    async share(from, body) {
      const message = decodeReportShare(body);
      const { context } = message;
      if (context.contributor !== from) throw refuse(403, `${from} sent a share of ${context.contributor}`);
      if (!equalBytes(context.agreement, agreement) || context.attempt !== 0)
        throw refuse(409, 'another agreement or attempt');
      if (context.round > memory.promised() || (context.round === memory.promised() && !current)) {
        throw refuse(TOO_EARLY, `round ${context.round} has not begun here`);
      }
      const round = inRound(context.round);
      const holders = message.holders.map((commitment) => commitment.holder);
      if (!round.manifest.cohort.includes(from)) throw refuse(403, `${from} is not in the cohort`);
      if (holders.join('\n') !== holdersFor(round.manifest, from).join('\n'))
        throw refuse(409, 'the holders are not the committee');
      if (holders[message.holderIndex] !== parties.self)
        throw refuse(409, 'this share is for another gateway');
      if (message.length !== parameterCount(options.model))
        throw refuse(409, `${message.length} values do not fit the model`);
      const before = round.shares.get(from);
      if (before && !equalBytes(reportHash(before), reportHash(message)))
        throw refuse(409, `${from} sent another report before`);
      round.shares.set(from, message);
      lastActivity = performance.now();
    },
    async set(from, body) {
      const proposed = decodeSet(body);
      const round = inRound(proposed.round, from);
      const hash = acceptedSetHash(checkSet(proposed, round));
      const signed = memory.signedSet();
      if (signed && signed.round >= proposed.round && !equalBytes(signed.set, hash)) {
        throw refuse(409, `another set of round ${proposed.round} is signed already`);
      }
      await memory.signSet(proposed.round, hash);
      active('signed the set');
      return messages.set.seal(signer, { round: proposed.round, set: hash });
    },
    async open(from, body) {
      const proposed = decodeSet(body);
      const round = inRound(proposed.round, from);
      const set = checkSet(proposed, round);
      const hash = acceptedSetHash(set);
      const signed = memory.signedSet();
      if (signed?.round !== proposed.round || !equalBytes(signed.set, hash)) {
        throw refuse(409, 'this is not the set that was signed here');
      }
      if (!round.manifest.committee.includes(parties.self))
        throw refuse(403, 'this gateway is not on the committee');
      const contributors = set.reports.map((report) => report.contributor);
      checkSetSignatures(proposed, round.manifest, hash, contributors, parties);
      active('adding up');
      const vectors = contributors
        .filter((name) => name !== parties.self)
        .map((contributor) => {
          const message = round.shares.get(contributor)!;
          const holder = parties.self;
          return expand(message.share, message.length, { ...message.context, contributor, holder });
        });
      const bytes = Field64.encodeVec(sum(vectors));
      return messages.aggregate.seal(signer, encodeAggregateShare({ set, holder: parties.self, bytes }));
    },
    async vote(from, body) {
      const { round, record } = decodeBallot(body);
      if (from !== leaderOf(parties, round)) throw refuse(403, `${from} does not lead round ${round}`);
      if (round !== memory.promised()) throw refuse(412, `${memory.promised()}`);
      const model = memory.model();
      const outcome = resolveRecord(record, model.parameters, options.model, parties);
      if (outcome.manifest.head.version !== model.head.version)
        throw refuse(410, `model ${model.head.version} is known here already`);
      await memory.accept({ round, record });
      active('voted');
      return messages.vote.seal(signer, { agreement, round, head: outcome.head, record: outcome.recordHash });
    },
    release(from, body) {
      const round = decodeRelease(body);
      if (round !== memory.promised() || from !== leaderOf(parties, round)) return;
      closed = Math.max(closed, round);
      leave();
    },
    phase: () => phase,
    lastActivity: () => lastActivity,
    leave,
    decided(version) {
      if (!current || current.manifest.head.version < version) leave();
    },
  };
}

function reportOf(message: ReportShare | undefined): Uint8Array | undefined {
  return message && reportHash(message);
}
