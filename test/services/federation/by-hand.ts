import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { sortReports } from '../../../runtime/core/aggregation/aggregate-share.ts';
import { decodeReportShare, reportHash } from '../../../runtime/core/aggregation/report.ts';
import { type Manifest, messages } from '../../../runtime/services/federation/messages.ts';
import { drawCommittee, leaderOf } from '../../../runtime/services/federation/parties.ts';
import { holdersFor, type Signed, signersOf } from '../../../runtime/services/federation/record.ts';
import { encodeBallot, encodeSet, PATH } from '../../../runtime/services/federation/wire.ts';
import { createConsortium, temporaryDirectory, until } from '../consortium.ts';
import { type Answer, createNetwork, HASTY, honest, pause, updateOf } from './network.ts';

/** A network whose members do nothing by themselves: the test leads, well or badly. */
export async function ledByHand(t: TestContext, fleets: readonly number[] = [1, 1, 1, 1]) {
  const directory = await temporaryDirectory(t);
  const trained: string[] = [];
  const network = await createNetwork({
    consortium: createConsortium({ fleets }),
    directory,
    timing: HASTY,
    learner: (name) => ({
      ...honest(name),
      update: async (round, version) => {
        trained.push(`${name} ${round}`);
        return updateOf(name, version);
      },
    }),
  });
  t.after(() => network.stopAll());
  await network.openAll();
  const { parties } = network.member('gateway-0');
  const { hash: agreement } = parties.agreement;
  /** contributor -> hash of its report, as its word to the leader has it. */
  const reports = new Map<string, Uint8Array>();
  const declined: string[] = [];
  /** Shares that were taken, as `contributor holder`. */
  const delivered = new Set<string>();
  network.onRequest(async (from, to, path, body) => {
    if (path === PATH.decline) declined.push(from);
    if (path === PATH.share) {
      const answer = await network.member(to).federation.handle(from, path, body);
      if (answer?.status === 200) {
        reports.set(from, reportHash(decodeReportShare(body)));
        delivered.add(`${from} ${to}`);
      }
      return answer;
    }
    return path === PATH.decline || path === PATH.contributed
      ? { status: 200, body: new Uint8Array(0) }
      : undefined;
  });

  const signerOf = (name: string) => network.member(name).signer;
  async function say(from: string, to: string, path: string, body: Uint8Array): Promise<Answer> {
    const answer = await network.member(to).federation.handle(from, path, body);
    assert.ok(answer);
    return answer;
  }
  async function refused(answer: Promise<Answer>, status: number, why: RegExp): Promise<void> {
    const { status: found, body } = await answer;
    assert.equal(found, status, new TextDecoder().decode(body));
    assert.match(new TextDecoder().decode(body), why);
  }
  async function accepted(answer: Promise<Answer>): Promise<Uint8Array> {
    const { status, body } = await answer;
    assert.equal(status, 200, new TextDecoder().decode(body));
    return body;
  }

  function manifestOf(round: number, changes: Partial<Manifest> = {}): Manifest {
    const cohort = network.names;
    return {
      agreement,
      round,
      head: network.member('gateway-0').memory.model().head,
      leader: leaderOf(parties, round),
      cohort,
      committee: drawCommittee(parties, round, cohort),
      ...changes,
    };
  }
  const sealed = (manifest: Manifest) => messages.manifest.seal(signerOf(manifest.leader), manifest);

  async function prepare(round: number, names = network.names): Promise<void> {
    const leader = leaderOf(parties, round);
    const { head } = network.member(leader).memory.model();
    const message = messages.prepare.seal(signerOf(leader), { round, head });
    for (const name of names) await accepted(say(leader, name, PATH.prepare, message));
  }

  /** A round up to the reports. */
  async function contributed(round: number): Promise<Manifest> {
    reports.clear();
    delivered.clear();
    await prepare(round);
    const manifest = manifestOf(round);
    for (const name of network.names)
      await accepted(say(manifest.leader, name, PATH.manifest, sealed(manifest)));
    const expected = network.names.flatMap((name) =>
      holdersFor(manifest, name).map((holder) => `${name} ${holder}`),
    );
    await until(() => expected.every((pair) => delivered.has(pair)), 'all contribute');
    // The contributors have yet to read the last answer.
    await pause(20);
    return manifest;
  }

  const setOf = (names: readonly string[]) =>
    sortReports(names.map((contributor) => ({ contributor, reportHash: reports.get(contributor)! })));

  async function signatures(manifest: Manifest, names: readonly string[]): Promise<Signed[]> {
    const body = encodeSet({ round: manifest.round, reports: setOf(names), signatures: [] });
    const signed: Signed[] = [];
    for (const from of signersOf(manifest, names)) {
      signed.push({ from, bytes: await accepted(say(manifest.leader, from, PATH.set, body)) });
    }
    return signed;
  }

  /** A round up to its record, and what it is made of. */
  async function recorded(round: number) {
    const manifest = await contributed(round);
    const signed = await signatures(manifest, network.names);
    const body = encodeSet({ round, reports: setOf(network.names), signatures: signed });
    const aggregates: Signed[] = [];
    for (const from of manifest.committee) {
      aggregates.push({ from, bytes: await accepted(say(manifest.leader, from, PATH.open, body)) });
    }
    const record = {
      manifest: { from: manifest.leader, bytes: sealed(manifest) },
      signatures: signed,
      aggregates,
    };
    return { manifest, record };
  }

  async function votes(round: number, record: Uint8Array, names = network.names): Promise<Signed[]> {
    const leader = leaderOf(parties, round);
    const cast: Signed[] = [];
    for (const from of names) {
      cast.push({ from, bytes: await accepted(say(leader, from, PATH.record, encodeBallot(round, record))) });
    }
    return cast;
  }

  return {
    network,
    parties,
    agreement,
    reports,
    declined,
    trained,
    say,
    refused,
    accepted,
    signerOf,
    manifestOf,
    sealed,
    prepare,
    contributed,
    setOf,
    signatures,
    recorded,
    votes,
  };
}
