import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { createSigner } from '#ed25519';
import { randomBytes } from '#random';
import { toHex } from '../runtime/core/encoding/base64.ts';
import { formatCheckpoint } from '../runtime/core/log/checkpoint.ts';
import { cosign } from '../runtime/core/log/cosignature.ts';
import { addSignatures, formatNote, signNote } from '../runtime/core/log/note.ts';
import { quorum } from '../runtime/core/log/policy.ts';
import { createEvidenceBook } from '../runtime/services/witnessing/evidence.ts';
import { logParties, ownSigners } from '../runtime/services/witnessing/names.ts';
import { createOrigins } from '../runtime/services/witnessing/origins.ts';
import {
  answersToSign,
  createStanding,
  isBehind,
  type Standing,
  type StandingOptions,
} from '../runtime/standing.ts';
import { endorse } from '../runtime/state/provenance/endorsement.ts';
import { revoke } from '../runtime/state/provenance/revocation.ts';
import { rosterOf } from '../runtime/state/provenance/roster.ts';
import { createNetwork, type Network, type Node, unanswered } from './services/witnessing/exchanges.ts';

/** A gateway that begins, with all of its peers there. */
function standingOf(net: Network, node: Node, options: Partial<StandingOptions> = {}) {
  return createStanding({
    journal: node.journal,
    parties: node.parties,
    self: node.name,
    doubt: undefined,
    without: [],
    witnessKey: node.keys.witness.publicKey,
    witness: node.witness,
    origins: node.exchange.origins,
    deposits: { learn: async () => {}, settle: async () => {} },
    request: (peer, path, body) => net.request(node, peer, path, body),
    connected: () => true,
    unreachable: () => false,
    log: () => {},
    ...options,
  });
}

const restoredBy = (node: Node) => ({
  reason: 'the directory was restored from a copy',
  witnessKey: toHex(node.keys.witness.publicKey),
});

const isTileOf = (name: string, to: string, path: string) => to === name && /tile/.test(path);

/** gateway-0 with a new log key, the old one revoked as stolen; and `liars` who cosign what the thief signs. */
async function stolenLogKey(t: TestContext, liars: readonly string[]) {
  const net = await createNetwork(t, { fleets: [1, 1, 1, 1] });
  const node = net.node('gateway-0');
  await node.grow(5);
  await node.publish();
  const { keys } = node;
  const revocation = {
    ...{ member: 'member-0', gateway: 'gateway-0', reason: 'stolen' },
    ...{ purpose: 'log' as const, key: keys.log.publicKey, time: 1000 },
  };
  const parties = logParties(
    net.consortium.agreement,
    rosterOf(net.consortium.agreement, [
      endorse({ ...keys, log: createSigner(randomBytes(32)) }, 'member-0', 'gateway-0', 0, 1),
      revoke(keys.identity, revocation),
    ]),
  );
  const { origin } = node.self;
  const text = formatCheckpoint({ origin, size: 2 ** 40, root: randomBytes(32), extensions: [] });
  const forged = signNote(text, [ownSigners(keys, origin).log]);
  let lies = 0;
  const request = async (peer: string, path: string, body: Uint8Array) => {
    if (path !== '/witnessed' || !liars.includes(peer)) return net.request(node, peer, path, body);
    lies += 1;
    const cosignature = cosign(net.node(peer).signers.cosigner, text, 2_000_000_000);
    return {
      status: 200,
      body: new TextEncoder().encode(formatNote(addSignatures(forged, [cosignature]))),
    };
  };
  return { standing: standingOf(net, node, { parties, request }), lies: () => lies };
}

test('one peer that lies with a stolen log key, revoked since, keeps no gateway from starting', async (t) => {
  const { standing, lies } = await stolenLogKey(t, ['gateway-3']);
  assert.match(standing.heldBack()!, /^0 of 2 members have said/);
  await standing.confirm();
  assert.ok(lies() >= 1, 'the lie was told');
  assert.equal(standing.heldBack(), undefined);
  assert.equal(standing.status().behind, null);
  await standing.stop();
});

test('what more members than may lie tell of a log counts, also under a key revoked since', async (t) => {
  const { standing } = await stolenLogKey(t, ['gateway-2', 'gateway-3']);
  await assert.rejects(standing.confirm(), isBehind);
  assert.match(standing.heldBack()!, /older than what was published/);
  await standing.stop();
});

test('a member that has revoked its log key keeps no restored gateway in doubt', async (t) => {
  const net = await createNetwork(t, { fleets: [1, 1, 1, 1] });
  const other = net.node('gateway-3');
  await other.grow(5);
  await other.publish();
  const revocation = {
    ...{ member: 'member-3', gateway: 'gateway-3', reason: 'rotated' },
    ...{ purpose: 'log' as const, key: other.keys.log.publicKey, time: 2_000_000_000_000 },
  };
  const parties = logParties(
    net.consortium.agreement,
    rosterOf(net.consortium.agreement, [
      endorse({ ...other.keys, log: createSigner(randomBytes(32)) }, 'member-3', 'gateway-3', 0, 1),
      revoke(other.keys.identity, revocation),
    ]),
  );
  const node = await net.restart('gateway-1', (directory) => rm(directory, { recursive: true }));
  const { journal } = node;
  const report = () => {};
  const evidence = createEvidenceBook({ journal, parties, save: async () => {}, report });
  const origins = createOrigins({ journal, parties, evidence, sources: () => [], report });
  const standing = standingOf(net, node, { parties, origins, doubt: restoredBy(node) });
  assert.match(standing.unsure()!, /restored from a copy; 0 of 3 members/);
  await standing.confirm();
  assert.equal(standing.doubt(), undefined);
  assert.deepEqual(standing.status().answered.length, 3);
  assert.deepEqual(
    [...node.witness.heads()],
    [[other.self.origin, 5]],
    'what it has cosigned under the revoked key binds it all the same',
  );
  await standing.stop();
});

test('a restored witness that is told two heads of a log which nobody links cosigns neither story on', async (t) => {
  const side: Record<string, 'A' | 'B'> = { 'gateway-1': 'A', 'gateway-2': 'A', 'gateway-3': 'B' };
  const net = await createNetwork(t, {
    fleets: [1, 1, 1, 1],
    liars: ['gateway-0'],
    sideOf: (name) => side[name] ?? 'A',
  });
  const [one, two] = [net.node('gateway-0', 'A'), net.node('gateway-0', 'B')];
  const { origin } = one.self;
  let judged: number[] = [];
  net.onRequest((from, to, path, _body, pass) => {
    // Whoever tells two stories gives no tile: that is withholding, and convicts nobody.
    if (isTileOf('gateway-0', to, path)) return Promise.reject(new Error('no answer'));
    if (from.name !== 'gateway-0' || to !== 'gateway-1') return undefined;
    return pass().then((answer) => {
      judged.push(answer.status);
      return answer;
    });
  });
  await one.grow(5);
  await one.publish();
  await two.grow(9);
  await two.publish();
  assert.equal(one.publisher.status().finalSize, 5);
  assert.deepEqual(two.publisher.status().cosigners, ['member-0', 'member-3']);

  const node = await net.restart('gateway-1', (directory) => rm(directory, { recursive: true }));
  const standing = standingOf(net, node, { doubt: restoredBy(node) });
  assert.notEqual(standing.unsure(), undefined);
  await standing.confirm();
  await standing.stop();
  assert.equal(standing.unsure(), undefined, 'the other logs are cosigned');
  assert.match(node.exchange.frozen(origin)!, /withheld/);

  const again = await net.restart('gateway-1');
  assert.match(again.exchange.frozen(origin)!, /withheld/, 'a restart does not forget it');
  for (const [story, teller] of [
    ['A', one],
    ['B', two],
  ] as const) {
    side['gateway-1'] = story;
    judged = [];
    await teller.grow(1);
    await teller.publish();
    assert.ok(judged.length > 0, 'it was asked');
    assert.ok(!judged.includes(200), `${story}: ${judged}`);
    assert.ok(!teller.publisher.status().cosigners.includes('member-1'), story);
  }
  assert.equal(two.publisher.status().finalSize, 0);
});

/** A network whose gateways sign no checkpoint before their peers have said how far they have seen their logs. */
async function careful(t: TestContext, members: number) {
  const standings = new Map<Node, Standing>();
  const net: Network = await createNetwork(t, {
    fleets: Array.from({ length: members }, () => 1),
    heldBack: (node) => standingFor(node).heldBack(),
  });
  const standingFor = (node: Node): Standing => {
    const known = standings.get(node) ?? standingOf(net, node);
    standings.set(node, known);
    return known;
  };
  /** Peers that do not answer are waited for a moment. */
  const confirm = (node: Node) => standingFor(node).confirm(300);
  return { net, standingFor, confirm };
}

/** gateway-0 published more than its directory holds after the whole disk was put back: nothing there says so. */
async function diskPutBack(
  { net, confirm }: Awaited<ReturnType<typeof careful>>,
  before: number,
  after: number,
) {
  await confirm(net.node('gateway-0'));
  await net.node('gateway-0').grow(before);
  await net.node('gateway-0').publish();
  await net.restart('gateway-0', (directory) => cp(directory, `${directory}-copy`, { recursive: true }));
  await confirm(net.node('gateway-0'));
  await net.node('gateway-0').grow(after);
  await net.node('gateway-0').publish();
  assert.equal(net.node('gateway-0').publisher.status().published, before + after);
  return net.restart('gateway-0', async (directory) => {
    await rm(directory, { recursive: true });
    await cp(`${directory}-copy`, directory, { recursive: true });
  });
}

test('any that answer include one who cosigned the newest final checkpoint, and finality asks for no fewer', () => {
  for (let members = 3; members <= 40; members++) {
    const needed = answersToSign(members);
    assert.ok(needed >= 1 && needed <= quorum(members) - 1, `${members}: ${needed}`);
    assert.ok(needed > members - quorum(members) || needed === members - 1);
  }
});

for (const members of [3, 4, 7]) {
  for (const grown of [0, 2, 9]) {
    test(`a disk put back, then ${grown} more leaves: nothing is signed, and nobody is convicted (${members} members)`, async (t) => {
      const made = await careful(t, members);
      const { net, standingFor, confirm } = made;
      const node = await diskPutBack(made, 4, 5);
      await node.grow(grown);
      await node.publish();
      assert.equal(node.publisher.status().published, 4);
      assert.match(standingFor(node).heldBack()!, /^0 of \d members have said/);
      await assert.rejects(confirm(node), isBehind);
      await node.publish();
      assert.equal(node.publisher.status().published, 4);
      assert.match(standingFor(node).heldBack()!, /has cosigned 9 blocks of this log/);
      assert.equal(standingFor(node).status().heldBack, standingFor(node).heldBack());
      await net.gossip(2);
      for (const one of net.nodes()) assert.deepEqual(one.exchange.status().evidence, [], one.name);
    });
  }
}

test('an ordinary start goes on as soon as enough peers have answered', async (t) => {
  const { net, standingFor, confirm } = await careful(t, 4);
  const first = net.node('gateway-0');
  await confirm(first);
  await first.grow(3);
  await first.publish();
  const again = await net.restart('gateway-0');
  await again.grow(3);
  let willing = ['gateway-1'];
  net.onRequest((from, to, path) =>
    from === again && path === '/witnessed' && !willing.includes(to) ? unanswered() : undefined,
  );
  await confirm(again);
  await again.publish();
  assert.equal(standingFor(again).heldBack(), '1 of 2 members have said how far they have seen this log');
  assert.equal(again.publisher.status().published, 3);
  willing = ['gateway-1', 'gateway-3'];
  await confirm(again);
  await again.publish();
  assert.equal(standingFor(again).heldBack(), undefined);
  assert.equal(standingFor(again).status().heldBack, null);
  assert.equal(again.publisher.status().finalSize, 6);
});

test('what a liar says of this log counts only with this log’s own signature', async (t) => {
  const { net, standingFor, confirm } = await careful(t, 3);
  const node = net.node('gateway-0');
  const other = net.node('gateway-1');
  await confirm(other);
  await other.grow(50);
  await other.publish();
  const lie = new TextEncoder().encode(other.publisher.newest()!);
  net.onRequest((from, to, path) =>
    from === node && to === 'gateway-1' && path === '/witnessed'
      ? Promise.resolve({ status: 200, body: lie })
      : undefined,
  );
  await confirm(node);
  await node.grow(1);
  await node.publish();
  assert.equal(standingFor(node).heldBack(), undefined, 'the other member’s answer is enough');
  assert.equal(node.publisher.status().published, 1);
});
