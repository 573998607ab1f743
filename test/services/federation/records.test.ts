import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  acceptedSetHash,
  decodeAggregateShare,
  encodeAggregateShare,
} from '../../../runtime/core/aggregation/aggregate-share.ts';
import { encodeCertifiedModel } from '../../../runtime/services/federation/memory.ts';
import { manifestHash, messages } from '../../../runtime/services/federation/messages.ts';
import { checkVotes, encodeRecord, type Signed } from '../../../runtime/services/federation/record.ts';
import {
  encodeBallot,
  encodeCommit,
  encodeRelease,
  PATH,
} from '../../../runtime/services/federation/wire.ts';
import { until } from '../consortium.ts';

import { ledByHand } from './by-hand.ts';

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
