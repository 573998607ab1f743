import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { createSigner } from '#ed25519';
import { randomBytes } from '#random';
import { toHex } from '../runtime/core/encoding/base64.ts';
import { formatCheckpoint } from '../runtime/core/log/checkpoint.ts';
import { cosign } from '../runtime/core/log/cosignature.ts';
import { addSignatures, formatNote, signNote } from '../runtime/core/log/note.ts';
import { createEvidenceBook } from '../runtime/services/witnessing/evidence.ts';
import { type LogParty, logParties, ownSigners } from '../runtime/services/witnessing/names.ts';
import { createOrigins } from '../runtime/services/witnessing/origins.ts';
import { createOwnHead } from '../runtime/services/witnessing/own-head.ts';
import { createStanding, isBehind, type StandingOptions } from '../runtime/standing.ts';
import { endorse } from '../runtime/state/provenance/endorsement.ts';
import { revoke } from '../runtime/state/provenance/revocation.ts';
import { rosterOf } from '../runtime/state/provenance/roster.ts';
import { createNetwork, type Network, type Node } from './services/witnessing/exchanges.ts';

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
  const own = parties.find(({ gateway }) => gateway === 'gateway-0') as LogParty;
  const ownHead = createOwnHead({ own, parties, journal: node.journal, ask: request, connected: () => true });
  return { ownHead, standing: standingOf(net, node, { parties, request }), lies: () => lies };
}

test('one peer that lies with a stolen log key, revoked since, keeps no gateway from starting', async (t) => {
  const { ownHead, standing, lies } = await stolenLogKey(t, ['gateway-3']);
  await ownHead.ask();
  assert.equal(ownHead.held(), undefined);
  await standing.confirm();
  assert.ok(lies() >= 2, 'the lie was told');
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
