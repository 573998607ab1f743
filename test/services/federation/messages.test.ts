import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Field64 } from '../../../runtime/core/aggregation/field64.ts';
import {
  decodeReportShare,
  encodeReportShare,
  reportShares,
} from '../../../runtime/core/aggregation/report.ts';
import { share } from '../../../runtime/core/aggregation/shares.ts';
import { parameterCount } from '../../../runtime/core/learning/model.ts';
import { type Manifest, messages } from '../../../runtime/services/federation/messages.ts';
import { drawCommittee, MAX_LEAP } from '../../../runtime/services/federation/parties.ts';
import { encodeRecord, type Signed } from '../../../runtime/services/federation/record.ts';
import { encodeCommit, encodeRelease, encodeSet, PATH } from '../../../runtime/services/federation/wire.ts';
import { until } from '../consortium.ts';

import { ledByHand } from './by-hand.ts';

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
      length = parameterCount({ kind: 'dense', inputs: 3, hidden: [2], activation: 'tanh' }),
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
