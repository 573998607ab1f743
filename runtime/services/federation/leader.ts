/** The leader's part of a round: it proposes, gathers and relays. Nobody has to trust it; it can only waste time. */
import { type AcceptedReport, sortReports } from '../../core/aggregation/aggregate-share.ts';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { sleep } from '../../state/pause.ts';
import { type Contributed, type Manifest, manifestHash, messages, type Promised } from './messages.ts';
import type { FederationOptions } from './options.ts';
import { drawCommittee, membersAmong } from './parties.ts';
import { encodeRecord, type Signed, signersOf } from './record.ts';
import { decodeRelease, encodeBallot, encodeCommit, encodeRelease, encodeSet, PATH } from './wire.ts';

/** How leading a round ended. */
export type LeadResult =
  | { readonly kind: 'committed' }
  /** Nothing was begun: too few members, or too little data; `why` is for people. */
  | { readonly kind: 'waiting'; readonly why: string }
  /** Something was begun and given up. */
  | { readonly kind: 'void'; readonly why: string }
  /** Somebody knows a newer model or promised a higher round. */
  | { readonly kind: 'outrun'; readonly promised: number; readonly newerAt: string | undefined };

export interface Leader {
  lead(round: number, signal: AbortSignal): Promise<LeadResult>;
  /** Tells the others that a round goes no further, so that the next leader need not wait. */
  release(round: number): Promise<void>;
  /** A contributor of the round in hand has delivered its shares. */
  contributed(from: string, body: Uint8Array): void;
  /** One of the cohort will not contribute. */
  declined(from: string, body: Uint8Array): void;
  /** Where the round in hand stands, for people. */
  progress(): string;
}

const SHORT_LIMIT_MS = 5000;
const POLL_MS = 50;
/** How long a cohort waits for a contributor whose connection is down. */
const LOST_PATIENCE_MS = 2000;

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
  let progress = '';

  /** Asks all of `names` at once. An answer that is not 200 is an answer all the same. */
  function ask(names: readonly string[], path: string, body: Uint8Array, limitMs: number): Promise<Answer[]> {
    return Promise.all(
      names.map((from) =>
        options.request(from, path, body, limitMs).then(
          (answer): Answer =>
            answer.status === 200
              ? { from, kind: 'ok', body: answer.body }
              : { from, kind: 'no', status: answer.status, why: new TextDecoder().decode(answer.body) },
          (error: Error): Answer => ({ from, kind: 'no', status: 0, why: error.message }),
        ),
      ),
    );
  }

  async function prepare(
    round: number,
  ): Promise<{ readonly promises: ReadonlyMap<string, Promised> } | LeadResult> {
    const message = messages.prepare.seal(signer, { round, head: memory.model().head });
    const answers = await ask(
      parties.all.map((party) => party.name),
      PATH.prepare,
      message,
      SHORT_LIMIT_MS,
    );
    const promises = new Map<string, Promised>();
    for (const answer of answers) {
      if (answer.kind === 'ok') {
        const promise = messages.promise.open(answer.body, parties, answer.from);
        if (promise.round === round) promises.set(answer.from, promise);
      } else if (answer.status === 410) return { kind: 'outrun', promised: 0, newerAt: answer.from };
      else if (answer.status === 412) {
        const promised = Number(answer.why);
        if (Number.isSafeInteger(promised) && promised >= round)
          return { kind: 'outrun', promised, newerAt: undefined };
      }
    }
    const votes = parties.voters.filter((voter) => promises.has(voter.name)).length;
    if (votes < parties.quorum) {
      const missing = answers.flatMap((answer) =>
        answer.kind === 'no' ? [`${answer.from} (${shorten(answer.why)})`] : [],
      );
      return {
        kind: 'waiting',
        why: `${votes} of ${parties.voters.length} members answer, ${parties.quorum} are needed; missing: ${missing.join(', ')}`,
      };
    }
    return { promises };
  }

  /** The cohort, or why there is none yet. */
  function assemble(promises: ReadonlyMap<string, Promised>): readonly string[] | LeadResult {
    const unready = [...promises].filter(([, promise]) => promise.unready !== '');
    const reasons = unready.map(([name, promise]) => `${name}: ${promise.unready}`).join('; ');
    if (unready.some(([, promise]) => promise.waiting)) return { kind: 'waiting', why: reasons };
    const cohort = parties.all
      .map((party) => party.name)
      .filter((name) => promises.get(name)?.unready === '');
    const members = membersAmong(parties, cohort);
    if (members < terms.federation.minimumBatch) {
      const why = `${members} members can contribute, ${terms.federation.minimumBatch} are needed`;
      return { kind: 'waiting', why: reasons ? `${why} (${reasons})` : why };
    }
    return cohort;
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
      return performance.now() - since > LOST_PATIENCE_MS;
    };
    for (;;) {
      const missing = manifest.cohort.filter((name) => !reports.has(name) && !declined.has(name));
      progress = `${reports.size} of ${manifest.cohort.length} contributed`;
      const lostHolder = manifest.committee.find(lost);
      if (lostHolder !== undefined) throw new Error(`${lostHolder}, which holds shares, is gone`);
      if (missing.every(lost) || performance.now() > deadline || signal.aborted) break;
      await sleep(POLL_MS, signal);
    }
    return sortReports([...reports].map(([contributor, reportHash]) => ({ contributor, reportHash })));
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
      SHORT_LIMIT_MS,
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
    const answers = await ask(names, PATH.record, encodeBallot(round, record), SHORT_LIMIT_MS * 2);
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
    await options.request(parties.self, PATH.commit, commit);
    await ask(
      parties.all.map((party) => party.name).filter((name) => name !== parties.self),
      PATH.commit,
      commit,
      SHORT_LIMIT_MS * 2,
    );
    return { kind: 'committed' };
  }

  return {
    async lead(round, signal) {
      try {
        progress = 'asking who is there';
        const prepared = await prepare(round);
        if ('kind' in prepared) return prepared;
        const accepted = [...prepared.promises.values()]
          .flatMap((promise) => promise.accepted ?? [])
          .sort((a, b) => b.round - a.round)[0];
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
      await ask(others, PATH.release, encodeRelease(round), SHORT_LIMIT_MS);
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
    progress: () => progress,
  };
}

function shorten(text: string): string {
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}
