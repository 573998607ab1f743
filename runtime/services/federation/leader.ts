/** The leader's part of a round: it proposes, gathers and relays. Nobody has to trust it; it can only waste time. */
import { type AcceptedReport, sortReports } from '../../core/aggregation/aggregate-share.ts';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { sleep } from '../../state/pause.ts';
import { type Contributed, type Manifest, manifestHash, messages, type Promised } from './messages.ts';
import { type FederationOptions, TIMING } from './options.ts';
import { drawCommittee, MAX_LEAP, membersAmong } from './parties.ts';
import { encodeRecord, type Outcome, resolveRecord, type Signed, signersOf } from './record.ts';
import { decodeRelease, encodeBallot, encodeCommit, encodeRelease, encodeSet, PATH } from './wire.ts';

/** How leading a round ended. */
export type LeadResult =
  | { readonly kind: 'committed' }
  /** Nothing was begun: too few members, or too little data; `why` is for people. */
  | { readonly kind: 'waiting'; readonly why: string }
  /** Something was begun and given up. */
  | { readonly kind: 'void'; readonly why: string }
  /** Somebody knows a newer model or promised a higher round. */
  | { readonly kind: 'outrun'; readonly newerAt: string | undefined };

export interface Leader {
  lead(round: number, signal: AbortSignal): Promise<LeadResult>;
  /** Tells the others that a round goes no further, so that the next leader need not wait. */
  release(round: number): Promise<void>;
  /** A contributor of the round in hand has delivered its shares. */
  contributed(from: string, body: Uint8Array): void;
  /** One of the cohort will not contribute. */
  declined(from: string, body: Uint8Array): void;
  /** The highest round that somebody says it has promised. */
  highest(): number;
  /** Where the round in hand stands, for people. */
  progress(): string;
}

type Answer = { readonly from: string } & (
  | { readonly kind: 'ok'; readonly body: Uint8Array }
  | { readonly kind: 'no'; readonly status: number; readonly why: string }
);

export function createLeader(options: FederationOptions): Leader {
  const { parties, memory, signer, log } = options;
  const { terms, hash: agreement } = parties.agreement;
  const phaseLimitMs = terms.federation.phaseLimit;
  let gathering:
    | {
        readonly manifest: Manifest;
        readonly hash: Uint8Array;
        readonly reports: Map<string, Uint8Array>;
        readonly declined: Set<string>;
      }
    | undefined;
  const timing = options.timing ?? TIMING;
  /** Since when a gateway says that it only needs more time; it is not believed for ever. */
  const waitingSince = new Map<string, number>();
  let highest = 0;
  let progress = '';

  /** Asks all of `names` at once. An answer that is not 200 is an answer all the same. */
  function ask(names: readonly string[], path: string, body: Uint8Array, limitMs: number): Promise<Answer[]> {
    return Promise.all(names.map((from) => askOne(from, path, body, limitMs)));
  }

  async function askOne(from: string, path: string, body: Uint8Array, limitMs: number): Promise<Answer> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      try {
        const answer = await options.request(from, path, body, limitMs);
        if (answer.status === 200) return { from, kind: 'ok', body: answer.body };
        return { from, kind: 'no', status: answer.status, why: new TextDecoder().decode(answer.body) };
      } catch (error) {
        // Every request but this one may come twice; one that a broken connection ate costs no round.
        const again = path !== PATH.prepare && options.connected(from);
        if (!again || performance.now() + timing.retry > deadline) {
          return { from, kind: 'no', status: 0, why: (error as Error).message };
        }
        await sleep(timing.retry);
      }
    }
  }

  async function prepare(
    round: number,
  ): Promise<{ readonly promises: ReadonlyMap<string, Promised> } | LeadResult> {
    const message = messages.prepare.seal(signer, { round, head: memory.model().head });
    const names = parties.all.map((party) => party.name);
    const answers = (await ask(names, PATH.prepare, message, timing.shortLimit)).map((answer) =>
      readPromise(answer, round),
    );
    const promises = new Map(
      answers.flatMap((answer) => (answer.kind === 'yes' ? [[answer.from, answer.promise]] : [])),
    );
    const votes = parties.voters.filter((voter) => promises.has(voter.name)).length;
    // With a quorum it goes on, whatever a few say: what they know and the quorum does not, decides nothing.
    if (votes >= parties.quorum) return { promises };
    const refusals = answers.flatMap((answer) => (answer.kind === 'no' ? [answer] : []));
    const newerAt = refusals.find((answer) => answer.status === 410)?.from;
    if (newerAt !== undefined || highest >= round) return { kind: 'outrun', newerAt };
    const missing = refusals.map((answer) => `${answer.from} (${shorten(answer.why)})`).join(', ');
    const why = `${votes} of ${parties.voters.length} members answer, ${parties.quorum} are needed; missing: ${missing}`;
    return { kind: 'waiting', why };
  }

  function readPromise(answer: Answer, round: number) {
    if (answer.kind === 'no') {
      const promised = answer.status === 412 ? Number(answer.why) : 0;
      if (Number.isSafeInteger(promised) && promised <= round + MAX_LEAP)
        highest = Math.max(highest, promised);
      return answer;
    }
    try {
      const promise = messages.promise.open(answer.body, parties, answer.from);
      if (promise.round !== round) throw new Error(`it promised round ${promise.round}`);
      return { from: answer.from, kind: 'yes', promise } as const;
    } catch (error) {
      return { from: answer.from, kind: 'no', status: 200, why: (error as Error).message } as const;
    }
  }

  /** The record that has to be finished first: of those voted for already the one of the highest round. */
  function leftOver(promises: ReadonlyMap<string, Promised>) {
    const all = [...promises].flatMap(([from, { accepted }]) => (accepted ? [{ from, ...accepted }] : []));
    return all
      .sort((a, b) => b.round - a.round)
      .find(({ from, record }) => {
        try {
          return outcomeOf(record);
        } catch (error) {
          log('warn', `${from} names a record that does not hold: ${(error as Error).message}`);
          return false;
        }
      });
  }

  function outcomeOf(record: Uint8Array): Outcome {
    return resolveRecord(record, memory.model().parameters, options.model, parties);
  }

  /** The cohort, or why there is none yet. */
  function assemble(promises: ReadonlyMap<string, Promised>): readonly string[] | LeadResult {
    const unready = [...promises].filter(([, promise]) => promise.unready !== '');
    const reasons = unready.map(([name, promise]) => `${name}: ${promise.unready}`).join('; ');
    const cohort = parties.all
      .map((party) => party.name)
      .filter((name) => promises.get(name)?.unready === '');
    const members = membersAmong(parties, cohort);
    const enough = members >= terms.federation.minimumBatch;
    const patient = unready.filter(([name, promise]) => promise.waiting && isPatientWith(name));
    for (const name of [...waitingSince.keys()]) if (!promises.get(name)?.waiting) waitingSince.delete(name);
    if (patient.length > 0) return { kind: 'waiting', why: reasons };
    if (enough) return cohort;
    const why = `${members} members can contribute, ${terms.federation.minimumBatch} are needed`;
    return { kind: 'waiting', why: reasons ? `${why} (${reasons})` : why };
  }

  function isPatientWith(name: string): boolean {
    const since = waitingSince.get(name) ?? performance.now();
    waitingSince.set(name, since);
    return performance.now() - since < 2 * phaseLimitMs;
  }

  /** Waits for the reports of the cohort, not for ever and not for those who are gone. */
  async function gather(manifest: Manifest, signal: AbortSignal): Promise<readonly AcceptedReport[]> {
    const { reports, declined } = gathering!;
    const deadline = performance.now() + phaseLimitMs;
    const goneSince = new Map<string, number>();
    const lost = (name: string): boolean => {
      if (name === parties.self || options.connected(name)) {
        goneSince.delete(name);
        return false;
      }
      const since = goneSince.get(name) ?? performance.now();
      goneSince.set(name, since);
      return performance.now() - since > timing.lostPatience;
    };
    for (;;) {
      const missing = manifest.cohort.filter((name) => !reports.has(name) && !declined.has(name));
      progress = `${reports.size} of ${manifest.cohort.length} contributed`;
      const lostHolder = manifest.committee.find(lost);
      if (lostHolder !== undefined) throw new Error(`${lostHolder}, which holds shares, is gone`);
      if (
        missing.filter((name) => !lost(name)).length === 0 ||
        performance.now() > deadline ||
        signal.aborted
      )
        break;
      await sleep(timing.poll, signal);
    }
    // Whoever is gone by now cannot sign the set any more, and one signature that is missing ends the round.
    const present = [...reports].filter(([name]) => name === parties.self || options.connected(name));
    return sortReports(present.map(([contributor, reportHash]) => ({ contributor, reportHash })));
  }

  async function collect(
    names: readonly string[],
    path: string,
    body: Uint8Array,
    what: string,
  ): Promise<readonly Signed[]> {
    const answers = await ask(names, path, body, Math.min(phaseLimitMs, 20_000));
    return answers.map((answer) => {
      if (answer.kind === 'ok') return { from: answer.from, bytes: answer.body };
      throw new Error(`${what} of ${answer.from} is missing: ${answer.why}`);
    });
  }

  /** From a cohort to the round's record. @throws Error that says why the round is void. */
  async function run(round: number, cohort: readonly string[], signal: AbortSignal): Promise<Uint8Array> {
    const manifest: Manifest = {
      agreement,
      round,
      head: memory.model().head,
      leader: parties.self,
      cohort,
      committee: drawCommittee(parties, round, cohort),
    };
    const sealed = messages.manifest.seal(signer, manifest);
    gathering = { manifest, hash: manifestHash(manifest), reports: new Map(), declined: new Set() };
    await collect(manifest.committee, PATH.manifest, sealed, 'the word on the manifest');
    await ask(
      cohort.filter((name) => !manifest.committee.includes(name)),
      PATH.manifest,
      sealed,
      timing.shortLimit,
    );
    const reports = await gather(manifest, signal);
    const contributors = reports.map((report) => report.contributor);
    if (membersAmong(parties, contributors) < terms.federation.minimumBatch) {
      throw new Error(`${contributors.join(', ') || 'nobody'} contributed, which is too few`);
    }
    progress = 'signing the set';
    const unsigned = encodeSet({ round, reports, signatures: [] });
    const signatures = await collect(
      signersOf(manifest, contributors),
      PATH.set,
      unsigned,
      'the signature of the set',
    );
    progress = 'adding up';
    const opened = encodeSet({ round, reports, signatures });
    const aggregates = await collect(manifest.committee, PATH.open, opened, 'the aggregate share');
    return encodeRecord({ manifest: { from: parties.self, bytes: sealed }, signatures, aggregates });
  }

  async function decide(round: number, record: Uint8Array): Promise<LeadResult> {
    progress = 'voting';
    const names = parties.voters.map((voter) => voter.name);
    const expected = outcomeOf(record);
    const answers = (await ask(names, PATH.record, encodeBallot(round, record), timing.shortLimit * 2)).map(
      (answer) => readVote(answer, round, expected),
    );
    const votes = answers.flatMap((answer) =>
      answer.kind === 'ok' ? [{ from: answer.from, bytes: answer.body }] : [],
    );
    if (votes.length < parties.quorum) {
      const why = answers.flatMap((answer) =>
        answer.kind === 'no' ? [`${answer.from}: ${shorten(answer.why)}`] : [],
      );
      return { kind: 'void', why: `${votes.length} of ${parties.quorum} votes (${why.join('; ')})` };
    }
    const commit = encodeCommit(record, votes);
    // Itself first: if it falls over now, its own restart knows the model, and the others ask for it.
    const own = await options.request(parties.self, PATH.commit, commit);
    if (own.status !== 200) return { kind: 'void', why: new TextDecoder().decode(own.body) };
    await ask(
      parties.all.map((party) => party.name).filter((name) => name !== parties.self),
      PATH.commit,
      commit,
      timing.shortLimit * 2,
    );
    return { kind: 'committed' };
  }

  /** One false vote would make a certificate of all the others' worthless. */
  function readVote(answer: Answer, round: number, expected: Outcome): Answer {
    if (answer.kind === 'no') return answer;
    try {
      const vote = messages.vote.open(answer.body, parties, answer.from);
      const same =
        vote.round === round &&
        vote.head.version === expected.head.version &&
        equalBytes(vote.agreement, agreement) &&
        equalBytes(vote.head.hash, expected.head.hash) &&
        equalBytes(vote.record, expected.recordHash);
      if (same) return answer;
      throw new Error('it voted for something else');
    } catch (error) {
      return { from: answer.from, kind: 'no', status: 200, why: (error as Error).message };
    }
  }

  return {
    async lead(round, signal) {
      try {
        progress = 'asking who is there';
        const prepared = await prepare(round);
        if ('kind' in prepared) return prepared;
        const accepted = leftOver(prepared.promises);
        if (accepted) {
          log('info', `round ${round}: finishing the record that round ${accepted.round} left`);
          return await decide(round, accepted.record);
        }
        const cohort = assemble(prepared.promises);
        if ('kind' in cohort) return cohort;
        return await decide(round, await run(round, cohort, signal));
      } catch (error) {
        return { kind: 'void', why: (error as Error).message };
      } finally {
        gathering = undefined;
        progress = '';
      }
    },
    async release(round) {
      const others = parties.all.map((party) => party.name).filter((name) => name !== parties.self);
      await ask(others, PATH.release, encodeRelease(round), timing.shortLimit);
    },
    contributed(from, body) {
      const word: Contributed = messages.contributed.open(body, parties, from);
      if (!gathering || !equalBytes(word.manifest, gathering.hash))
        throw new Error(`${from} contributed to no round in hand`);
      if (!gathering.manifest.cohort.includes(from)) throw new Error(`${from} is not in the cohort`);
      if (!gathering.reports.has(from)) gathering.reports.set(from, word.report);
    },
    declined(from, body) {
      const round = decodeRelease(body);
      if (gathering?.manifest.round === round && gathering.manifest.cohort.includes(from))
        gathering.declined.add(from);
    },
    highest: () => highest,
    progress: () => progress,
  };
}

function shorten(text: string): string {
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}
