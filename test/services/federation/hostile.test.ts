import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  acceptedSetHash,
  decodeAggregateShare,
  encodeAggregateShare,
  sortReports,
} from '../../../runtime/core/aggregation/aggregate-share.ts';
import { Field64 } from '../../../runtime/core/aggregation/field64.ts';
import {
  decodeReportShare,
  encodeReportShare,
  reportShares,
} from '../../../runtime/core/aggregation/report.ts';
import { share } from '../../../runtime/core/aggregation/shares.ts';
import { parameterCount } from '../../../runtime/core/learning/model.ts';
import { encodeCertifiedModel } from '../../../runtime/services/federation/memory.ts';
import { type Manifest, manifestHash, messages } from '../../../runtime/services/federation/messages.ts';
import { drawCommittee, leaderOf, MAX_LEAP } from '../../../runtime/services/federation/parties.ts';
import {
  checkVotes,
  encodeRecord,
  type Signed,
  signersOf,
} from '../../../runtime/services/federation/record.ts';
import {
  encodeBallot,
  encodeCommit,
  encodeRelease,
  encodeSet,
  PATH,
} from '../../../runtime/services/federation/wire.ts';
import { createConsortium, temporaryDirectory, until } from '../consortium.ts';
import { type Answer, createNetwork, HASTY, honest, updateOf } from './network.ts';

/** A network whose members do nothing by themselves: the test leads, well or badly. */
async function ledByHand(t: TestContext, fleets: readonly number[] = [1, 1, 1, 1]) {
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
  network.onRequest((from, _to, path, body) => {
    if (path === PATH.contributed) {
      reports.set(from, messages.contributed.open(body, parties, from).report);
      return { status: 200, body: new Uint8Array(0) };
    }
    if (path !== PATH.decline) return undefined;
    declined.push(from);
    return { status: 200, body: new Uint8Array(0) };
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
    await prepare(round);
    const manifest = manifestOf(round);
    for (const name of network.names)
      await accepted(say(manifest.leader, name, PATH.manifest, sealed(manifest)));
    await until(() => reports.size === network.names.length, 'all contribute');
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

test('a round led by hand becomes a model: the honest way, against which the rest is measured', async (t) => {
  const { network, recorded, votes, accepted, say } = await ledByHand(t);
  const { manifest, record } = await recorded(1);
  const bytes = encodeRecord(record);
  const commit = encodeCommit(bytes, await votes(1, bytes));
  for (const name of network.names) await accepted(say(manifest.leader, name, PATH.commit, commit));
  assert.deepEqual(network.names.map(network.version), [1, 1, 1, 1]);
  network.checkModels();
});

test('asking for a round: not in turn, with another model, twice, too far ahead, forged', async (t) => {
  const { network, say, refused, prepare, signerOf } = await ledByHand(t);
  const { head } = network.member('gateway-0').memory.model();
  const ask = (from: string, round: number, changes: Partial<typeof head> = {}, signer = from) =>
    say(
      from,
      'gateway-3',
      PATH.prepare,
      messages.prepare.seal(signerOf(signer), { round, head: { ...head, ...changes } }),
    );
  await refused(ask('gateway-2', 1), 403, /does not lead/);
  await refused(ask('gateway-1', 1, { hash: new Uint8Array(32) }), 409, /another hash/);
  await refused(ask('gateway-1', 1, {}, 'gateway-2'), 400, /not signed by gateway-1/);
  await refused(ask('gateway-1', 4 * MAX_LEAP + 1), 409, /too far ahead/);
  await refused(ask('gateway-1', 2 ** 53 - 3), 409, /too far ahead/);
  assert.equal(network.member('gateway-3').memory.promised(), 0);
  await prepare(1);
  await refused(ask('gateway-1', 1), 412, /^1$/);
  await refused(ask('gateway-0', 0), 412, /^1$/);
  assert.equal((await ask('gateway-1', 5)).status, 200);
});

test('nobody but its leader ends a round in which things go on', async (t) => {
  const { network, contributed, say, refused, signerOf, accepted } = await ledByHand(t);
  await contributed(1);
  const { head } = network.member('gateway-0').memory.model();
  const ask = (round: number, from: string) =>
    say(from, 'gateway-0', PATH.prepare, messages.prepare.seal(signerOf(from), { round, head }));
  await refused(ask(2, 'gateway-2'), 503, /in a round that gateway-1 leads/);
  // A release of somebody else's is nothing.
  await accepted(say('gateway-2', 'gateway-0', PATH.release, encodeRelease(1)));
  await refused(ask(2, 'gateway-2'), 503, /in a round/);
  await accepted(say('gateway-1', 'gateway-0', PATH.release, encodeRelease(1)));
  await accepted(ask(2, 'gateway-2'));
});

test('a manifest that breaks a rule is refused', async (t) => {
  const { prepare, manifestOf, sealed, say, refused, signerOf, network, trained } = await ledByHand(t);
  await prepare(1);
  const { head } = network.member('gateway-0').memory.model();
  const offer = (changes: Partial<Manifest>, from = 'gateway-1') =>
    say(from, 'gateway-0', PATH.manifest, messages.manifest.seal(signerOf(from), manifestOf(1, changes)));
  const three = ['gateway-0', 'gateway-1', 'gateway-2'];
  const drawn = manifestOf(1).committee;
  const swapped = [drawn[1]!, drawn[0]!, drawn[2]!];
  const chosen = network.names.filter((name) => name !== drawn[0]);
  await refused(offer({ committee: swapped }), 400, /committee is not the one that was drawn/);
  await refused(offer({ committee: chosen }), 400, /committee is not the one/);
  await refused(offer({ committee: drawn.slice(0, 2) }), 400, /committee is not the one/);
  await refused(offer({ agreement: new Uint8Array(32) }), 400, /another agreement/);
  await refused(offer({ cohort: ['gateway-0', 'gateway-1'] }), 400, /fewer than 3 members/);
  await refused(offer({ cohort: ['gateway-0'] }), 400, /fewer than 3 members/);
  await refused(offer({ cohort: [...three, 'gateway-0'] }), 400, /named twice/);
  await refused(offer({ cohort: [...three, 'gateway-9'] }), 400, /not in the agreement/);
  await refused(offer({ round: 5 }), 412, /^1$/);
  await refused(offer({ head: { version: 7, hash: head.hash } }), 409, /still at model 0/);
  await refused(offer({ head: { version: 0, hash: new Uint8Array(32) } }), 409, /another hash/);
  await refused(offer({ leader: 'gateway-2' }, 'gateway-2'), 400, /gateway-2 does not lead it/);
  await refused(
    say('gateway-2', 'gateway-0', PATH.manifest, sealed(manifestOf(1))),
    400,
    /not signed by gateway-2/,
  );
  assert.deepEqual(trained, []);
});

test('one manifest a round, and no second contribution: not for another one, a late one, or after a restart', async (t) => {
  const { network, contributed, say, refused, accepted, sealed, manifestOf, trained, declined, signerOf } =
    await ledByHand(t);
  const manifest = await contributed(1);
  await accepted(say('gateway-1', 'gateway-0', PATH.manifest, sealed(manifest)));
  const other = ['gateway-0', 'gateway-1', 'gateway-2'];
  const second = manifestOf(1, {
    cohort: other,
    committee: drawCommittee(network.member('gateway-0').parties, 1, other),
  });
  await refused(
    say('gateway-1', 'gateway-0', PATH.manifest, messages.manifest.seal(signerOf('gateway-1'), second)),
    409,
    /another manifest/,
  );
  await accepted(say('gateway-1', 'gateway-0', PATH.release, encodeRelease(1)));
  await refused(say('gateway-1', 'gateway-0', PATH.manifest, sealed(manifest)), 409, /over here/);
  await network.crash('gateway-3');
  await network.up('gateway-3', false);
  await accepted(say('gateway-1', 'gateway-3', PATH.manifest, sealed(manifest)));
  await until(() => declined.includes('gateway-3'), 'it declines');
  assert.deepEqual(
    [...trained].sort(),
    network.names.map((name) => `${name} 1`),
  );
});

test('a share of another round, sender, holder, length or committee is refused', async (t) => {
  const { network, contributed, agreement, say, refused } = await ledByHand(t);
  const manifest = await contributed(1);
  const holder = manifest.committee[0]!;
  const from = network.names.find((name) => name !== holder)!;
  const vectorOf = (length: number) => Field64.decodeVec(new Uint8Array(8 * length));
  const make = (changes: {
    round?: number;
    attempt?: number;
    agreement?: Uint8Array;
    contributor?: string;
    length?: number;
    holders?: readonly string[];
  }) => {
    const {
      round = 1,
      attempt = 0,
      contributor = from,
      length = parameterCount({ inputs: 3, hidden: [2], activation: 'tanh' }),
    } = changes;
    const holders = changes.holders ?? manifest.committee.filter((name) => name !== contributor);
    const context = { agreement: changes.agreement ?? agreement, round, attempt, contributor };
    const all = reportShares(share(vectorOf(length), holders, context), holders, length, context);
    return (to: string) => encodeReportShare(all[Math.max(0, holders.indexOf(to))]!);
  };
  const offer = (bytes: (to: string) => Uint8Array, sender = from) =>
    say(sender, holder, PATH.share, bytes(holder));
  await refused(offer(make({ round: 2 })), 425, /has not begun/);
  await refused(offer(make({ round: 0 })), 409, /not the one this gateway is in/);
  await refused(offer(make({ attempt: 1 })), 409, /another agreement or attempt/);
  await refused(offer(make({ agreement: new Uint8Array(32) })), 409, /another agreement/);
  await refused(offer(make({ length: 3 })), 409, /3 values do not fit/);
  await refused(
    offer(make({ holders: manifest.committee.filter((name) => name !== from).reverse() })),
    409,
    /not the committee/,
  );
  const third = network.names.find((name) => name !== holder && name !== from)!;
  await refused(offer(make({ contributor: third })), 403, /sent a share of/);
  // A second report of the same contributor.
  await refused(offer(make({})), 409, /sent another report before/);
  const elsewhere = manifest.committee.find((name) => name !== holder && name !== from)!;
  await refused(
    say(from, holder, PATH.share, make({})(elsewhere)),
    409,
    /for another gateway|another report/,
  );
  await refused(say(from, holder, PATH.share, Uint8Array.of(1, 1, 2)), 400, /./);
  const bytes = make({})(holder);
  assert.equal(decodeReportShare(bytes).context.contributor, from);
  bytes[bytes.length - 3]! ^= 1;
  await refused(say(from, holder, PATH.share, bytes), 400, /hash commits to/);
});

test('a set that is not what was sent and held is not signed', async (t) => {
  const { network, contributed, setOf, say, refused, reports } = await ledByHand(t);
  const manifest = await contributed(1);
  const holder = manifest.committee[0]!;
  const propose = (names: readonly string[], changes: Partial<{ round: number; from: string }> = {}) => {
    const body = encodeSet({ round: changes.round ?? 1, reports: setOf(names), signatures: [] });
    return say(changes.from ?? manifest.leader, holder, PATH.set, body);
  };
  await refused(propose(network.names, { from: 'gateway-2' }), 403, /does not lead/);
  await refused(propose(network.names, { round: 2 }), 409, /not the one this gateway is in/);
  await refused(propose(network.names.slice(0, 2)), 409, /fewer than 3 members/);
  const other = network.names.find((name) => name !== holder)!;
  reports.set(other, new Uint8Array(32));
  await refused(propose(network.names), 409, /is not the one known here/);
  const unsorted = encodeSet({ round: 1, reports: [...setOf(network.names)].reverse(), signatures: [] });
  reports.clear();
  await refused(say(manifest.leader, holder, PATH.set, unsorted), 409, /is not the one known here/);
});

test('gateways of one company and one of another are no batch', async (t) => {
  const { network, contributed, setOf, say, refused } = await ledByHand(t, [3, 1, 1]);
  const manifest = await contributed(1);
  const alone = ['gateway-0', 'gateway-0-1', 'gateway-0-2', 'gateway-1'];
  for (const name of alone) {
    const body = encodeSet({ round: 1, reports: setOf(alone), signatures: [] });
    await refused(say(manifest.leader, name, PATH.set, body), 409, /fewer than 3 members/);
  }
  assert.equal(network.member('gateway-1').memory.signedSet(), undefined);
});

test('one set a round, also after a restart; sums are opened only with everybody’s signatures', async (t) => {
  const { network, contributed, signatures, setOf, say, refused, accepted, sealed } = await ledByHand(t);
  const manifest = await contributed(1);
  const holder = manifest.committee[0]!;
  const signed = await signatures(manifest, network.names);
  const others = network.names.filter(
    (name) => name !== network.names.find((one) => !manifest.committee.includes(one)),
  );
  const smaller = encodeSet({ round: 1, reports: setOf(others), signatures: [] });
  await refused(
    say(manifest.leader, holder, PATH.set, smaller),
    409,
    /another set of round 1 is signed already/,
  );
  await refused(say(manifest.leader, holder, PATH.open, smaller), 409, /not the set that was signed here/);
  const open = (given: readonly Signed[]) =>
    say(
      manifest.leader,
      holder,
      PATH.open,
      encodeSet({ round: 1, reports: setOf(network.names), signatures: given }),
    );
  for (const missing of network.names) {
    await refused(
      open(signed.filter(({ from }) => from !== missing)),
      400,
      new RegExp(`${missing} has not signed`),
    );
  }
  const forged = signed.map((one) =>
    one.from === 'gateway-2'
      ? { from: 'gateway-2', bytes: signed[0]!.from === 'gateway-2' ? signed[1]!.bytes : signed[0]!.bytes }
      : one,
  );
  await refused(open(forged), 400, /not signed by gateway-2/);
  await accepted(open(signed));
  const outside = network.names.find((name) => !manifest.committee.includes(name))!;
  const whole = encodeSet({ round: 1, reports: setOf(network.names), signatures: signed });
  await refused(say(manifest.leader, outside, PATH.open, whole), 403, /not on the committee/);
  // After a restart the shares are gone, the signature is not: it is in no other set.
  await network.crash(holder);
  await network.up(holder, false);
  await accepted(say(manifest.leader, holder, PATH.manifest, sealed(manifest)));
  const answer = await say(manifest.leader, holder, PATH.set, smaller);
  assert.equal(answer.status, 409);
  assert.deepEqual(network.member(holder).memory.signedSet()?.round, 1);
});

test('a record with something missing, doubled or exchanged gets no vote', async (t) => {
  const { network, recorded, say, refused, signerOf, manifestOf } = await ledByHand(t);
  const { manifest, record } = await recorded(1);
  const vote = (changes: Partial<typeof record>, from = manifest.leader, round = 1) =>
    say(from, 'gateway-0', PATH.record, encodeBallot(round, encodeRecord({ ...record, ...changes })));
  const { signatures, aggregates } = record;
  await refused(vote({ signatures: signatures.slice(1) }), 400, /has not signed/);
  await refused(vote({ signatures: [] }), 400, /has not signed/);
  await refused(vote({ aggregates: aggregates.slice(1) }), 400, /no aggregate share of/);
  await refused(vote({ aggregates: [...aggregates, aggregates[0]!] }), 400, /too many/);
  const [first, second] = aggregates;
  await refused(
    vote({ aggregates: [{ from: first!.from, bytes: second!.bytes }, ...aggregates.slice(1)] }),
    400,
    /not signed by/,
  );
  const share = decodeAggregateShare(
    messages.aggregate.open(first!.bytes, network.member('gateway-0').parties, first!.from),
  );
  const reseal = (changed: typeof share) => ({
    from: first!.from,
    bytes: messages.aggregate.seal(signerOf(first!.from), encodeAggregateShare(changed)),
  });
  await refused(
    vote({ aggregates: [reseal({ ...share, bytes: share.bytes.slice(8) }), ...aggregates.slice(1)] }),
    400,
    /./,
  );
  await refused(
    vote({ aggregates: [reseal({ ...share, holder: second!.from }), ...aggregates.slice(1)] }),
    400,
    /signed a share of/,
  );
  const later = { ...share.set, context: { ...share.set.context, round: 5 } };
  await refused(
    vote({ aggregates: [reseal({ ...share, set: later }), ...aggregates.slice(1)] }),
    400,
    /different sets/,
  );
  const far = Uint8Array.from(share.bytes);
  far[4]! ^= 0x7f;
  await refused(
    vote({ aggregates: [reseal({ ...share, bytes: far }), ...aggregates.slice(1)] }),
    400,
    /out of bound/,
  );
  const drawn = manifestOf(1).committee;
  const wrong = manifestOf(1, { committee: [drawn[1]!, drawn[0]!, drawn[2]!] });
  await refused(
    vote({
      manifest: { from: manifest.leader, bytes: messages.manifest.seal(signerOf(manifest.leader), wrong) },
    }),
    400,
    /committee/,
  );
  await refused(
    vote({ manifest: { from: 'gateway-2', bytes: record.manifest.bytes } }),
    400,
    /not signed by gateway-2/,
  );
  await refused(vote({}, 'gateway-2'), 403, /does not lead/);
  await refused(vote({}, 'gateway-1', 5), 412, /^1$/);
  assert.notDeepEqual(acceptedSetHash(share.set), acceptedSetHash(later));
  assert.deepEqual(manifestHash(manifest), manifestHash(manifestOf(1)));
  assert.equal((await vote({})).status, 200);
});

test('a certificate needs a quorum of members, of one mind, about this very record', async (t) => {
  const { network, recorded, votes, say, refused, accepted, signerOf, parties, prepare } = await ledByHand(t);
  const { manifest, record } = await recorded(1);
  const bytes = encodeRecord(record);
  const cast = await votes(1, bytes);
  const commit = (given: readonly Signed[], of = bytes) =>
    say(manifest.leader, 'gateway-0', PATH.commit, encodeCommit(of, given));
  await refused(commit([]), 400, /no votes/);
  await refused(commit(cast.slice(0, 2)), 400, /2 votes, 3 are needed/);
  await refused(commit([cast[0]!, cast[0]!, cast[0]!, cast[0]!]), 400, /1 votes, 3 are needed/);
  const vote = messages.vote.open(cast[1]!.bytes, parties, cast[1]!.from);
  const reseal = (changes: Partial<typeof vote>, as = cast[1]!.from) => ({
    from: cast[1]!.from,
    bytes: messages.vote.seal(signerOf(as), { ...vote, ...changes }),
  });
  await refused(commit([cast[0]!, reseal({}, 'gateway-3'), cast[2]!]), 400, /not signed by/);
  for (const other of [
    { round: 2 },
    { record: new Uint8Array(32) },
    { head: { ...vote.head, hash: new Uint8Array(32) } },
    { head: { ...vote.head, version: 2 } },
  ]) {
    await refused(commit([cast[0]!, reseal(other), cast[2]!]), 400, /voted for something else/);
  }
  await refused(
    commit([cast[0]!, { from: 'gateway-9', bytes: cast[1]!.bytes }, cast[2]!]),
    400,
    /has no vote/,
  );
  // A quorum's votes for one record carry no other one, however sound it is.
  const padded = encodeRecord({ ...record, signatures: [...record.signatures, record.signatures[0]!] });
  await refused(commit(cast, padded), 400, /votes are for another record/);
  assert.deepEqual(network.names.map(network.version), [0, 0, 0, 0]);
  assert.equal(checkVotes(cast, parties).head.version, 1);
  await accepted(commit(cast));
  assert.equal(network.version('gateway-0'), 1);
  // A vote on what is decided is not given any more.
  await refused(say('gateway-1', 'gateway-0', PATH.record, encodeBallot(1, bytes)), 400, /another model/);
  await assert.rejects(prepare(5, ['gateway-0']), /model 1 is known here already/);
});

test('votes for one record do not make another sound record of the same version the model', async (t) => {
  const { network, recorded, votes, say, refused, accepted } = await ledByHand(t);
  const first = await recorded(1);
  for (const name of network.names) await accepted(say('gateway-1', name, PATH.release, encodeRelease(1)));
  const second = await recorded(2);
  const cast = await votes(2, encodeRecord(second.record));
  for (const name of network.names) {
    await refused(
      say('gateway-2', name, PATH.commit, encodeCommit(encodeRecord(first.record), cast)),
      400,
      /another record/,
    );
    await accepted(say('gateway-2', name, PATH.commit, encodeCommit(encodeRecord(second.record), cast)));
  }
  network.checkModels();
});

test('a promise tells of the record that was voted for, and no vote is given in a round that was left behind', async (t) => {
  const { network, recorded, votes, say, refused, accepted, parties, signerOf } = await ledByHand(t);
  const { record } = await recorded(1);
  const bytes = encodeRecord(record);
  await votes(1, bytes, ['gateway-0', 'gateway-3']);
  // The vote survives a restart.
  await network.crash('gateway-3');
  await network.up('gateway-3', false);
  const { head } = network.member('gateway-0').memory.model();
  await accepted(say('gateway-1', 'gateway-0', PATH.release, encodeRelease(1)));
  for (const name of ['gateway-0', 'gateway-3']) {
    const message = messages.prepare.seal(signerOf('gateway-2'), { round: 2, head });
    const promise = messages.promise.open(
      await accepted(say('gateway-2', name, PATH.prepare, message)),
      parties,
      name,
    );
    assert.equal(promise.accepted?.round, 1);
    assert.deepEqual(Buffer.from(promise.accepted.record), Buffer.from(bytes));
    await refused(say('gateway-1', name, PATH.record, encodeBallot(1, bytes)), 412, /^2$/);
  }
});

test('a peer’s model is taken over with the votes for it alone', async (t) => {
  const { network, recorded, votes, accepted, say, signerOf } = await ledByHand(t);
  const { record, manifest } = await recorded(1);
  const bytes = encodeRecord(record);
  const cast = await votes(1, bytes);
  await accepted(say(manifest.leader, 'gateway-1', PATH.commit, encodeCommit(bytes, cast)));
  const good = network.member('gateway-1').memory.model();
  const changed = Float64Array.from(good.parameters, (value, index) => (index === 0 ? value + 1 : value));
  const offers = [
    encodeCertifiedModel({ ...good, parameters: changed }),
    encodeCertifiedModel({ ...good, votes: good.votes.slice(0, 2) }),
    encodeCertifiedModel({ ...good, head: { ...good.head, version: 9 } }),
    encodeCertifiedModel({ ...good, parameters: good.parameters.slice(1) }),
    Uint8Array.of(0x80),
  ];
  let served = 0;
  let offered = offers[0]!;
  network.onRequest((_from, _to, path) => {
    if (path !== PATH.model) return undefined;
    served += 1;
    return { status: 200, body: offered };
  });
  const { head } = good;
  const provoke = async () => {
    const before = served;
    const warned = network.logged.length;
    await say(
      'gateway-1',
      'gateway-0',
      PATH.prepare,
      messages.prepare.seal(signerOf('gateway-1'), { round: 5, head }),
    );
    await until(() => served > before, 'the model is asked for');
    await until(() => network.logged.length > warned, 'something is said about it');
  };
  for (const offer of offers) {
    offered = offer;
    await provoke();
    assert.equal(network.version('gateway-0'), 0);
    assert.match(network.logged.at(-1)!, /warn cannot take over the model of gateway-1/);
  }
  offered = encodeCertifiedModel(good);
  await provoke();
  assert.equal(network.version('gateway-0'), 1);
});

/** One member that answers wrongly must not keep four others from making rounds. */
for (const [what, path, answer] of [
  ['nonsense for a promise', PATH.prepare, () => ({ status: 200, body: Uint8Array.of(1, 2, 3) })],
  [
    'that a later round was promised',
    PATH.prepare,
    () => ({ status: 412, body: new TextEncoder().encode('9007199254740990') }),
  ],
  ['that there is a newer model', PATH.prepare, () => ({ status: 410, body: new Uint8Array(0) })],
  ['nonsense for a vote', PATH.record, () => ({ status: 200, body: Uint8Array.of(1, 2, 3) })],
  ['nothing to a vote', PATH.record, () => ({ status: 500, body: new Uint8Array(0) })],
] as const) {
  test(`a member that answers ${what} does not stop the others`, async (t) => {
    const directory = await temporaryDirectory(t);
    const network = await createNetwork({
      consortium: createConsortium({ fleets: [1, 1, 1, 1, 1] }),
      directory,
      timing: HASTY,
    });
    t.after(() => network.stopAll());
    network.onRequest((from, to, asked) =>
      to === 'gateway-4' && from !== to && asked === path ? answer() : undefined,
    );
    await network.startAll();
    const rest = network.names.slice(0, 4);
    await until(
      () => rest.every((name) => network.version(name) >= 3),
      () => network.logged.slice(-30).join('\n'),
    );
    network.checkModels();
  });
}

test('a member that names a record that does not hold, as one it has voted for, does not stop the others', async (t) => {
  const directory = await temporaryDirectory(t);
  const network = await createNetwork({
    consortium: createConsortium({ fleets: [1, 1, 1, 1, 1] }),
    directory,
    timing: HASTY,
  });
  t.after(() => network.stopAll());
  network.onRequest((from, to, path, body) => {
    if (to !== 'gateway-4' || from === to || path !== PATH.prepare) return undefined;
    const { parties, signer } = network.member('gateway-4');
    const { round } = messages.prepare.open(body, parties, from);
    const promise = {
      round,
      unready: '',
      waiting: false,
      accepted: { round: 2 ** 50, record: Uint8Array.of(1) },
    };
    return { status: 200, body: messages.promise.seal(signer, promise) };
  });
  await network.startAll();
  const rest = network.names.slice(0, 4);
  await until(
    () => rest.every((name) => network.version(name) >= 2),
    () => network.logged.slice(-30).join('\n'),
  );
  assert.ok(network.logged.some((line) => line.includes('gateway-4 names a record that does not hold')));
  network.checkModels();
});
