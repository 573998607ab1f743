import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { decodeBundle } from '../../../runtime/core/log/bundle.ts';
import { leafHash } from '../../../runtime/core/log/hash.ts';
import { tileWidth } from '../../../runtime/core/log/tiles.ts';
import { createFrontier, treeRoot } from '../../../runtime/core/log/tree.ts';
import { formatAddCheckpoint } from '../../../runtime/core/log/witness.ts';
import { recoverFromMirrors, surveyPeers } from '../../../runtime/services/witnessing/recovery.ts';
import { ADD_CHECKPOINT } from '../../../runtime/services/witnessing/witnessing.ts';
import { createNetwork, type Network, type Node, unanswered } from './exchanges.ts';

const NOTHING = new Uint8Array(0);

/** gateway-0 with `before` leaves, copied; then it goes on, is witnessed and mirrored, and is put back. */
async function restored(t: TestContext, before: number, after: number, members = 4) {
  const net = await createNetwork(t, { fleets: Array.from({ length: members }, () => 1) });
  await net.node('gateway-0').grow(before);
  await net.restart('gateway-0', (directory) => cp(directory, `${directory}-copy`, { recursive: true }));
  await net.node('gateway-0').grow(after);
  await net.publishAll();
  await net.pullAll();
  const published = net.node('gateway-0').journal.head()!;
  const leaves = await leavesOf(net.node('gateway-0'), before + after);
  const node = await net.restart('gateway-0', async (directory) => {
    await rm(directory, { recursive: true });
    await cp(`${directory}-copy`, directory, { recursive: true });
  });
  assert.equal(node.journal.head()?.size ?? 0, before);
  return { net, node, published, leaves };
}

async function leavesOf(node: Node, size: number): Promise<Uint8Array[]> {
  const leaves: Uint8Array[] = [];
  for (let index = 0; index * 256 < size; index++) {
    const width = tileWidth('entries', index, size);
    leaves.push(...decodeBundle(await node.journal.bundle(index, width), width));
  }
  return leaves;
}

function peersOf(net: Network, node: Node) {
  return {
    own: node.self,
    parties: node.parties,
    ask: (peer: string, path: string, body: Uint8Array) => net.request(node, peer, path, body),
  };
}

async function recover(net: Network, node: Node, survey = surveyPeers(peersOf(net, node))) {
  const kept: Uint8Array[] = [];
  const recovery = await recoverFromMirrors({
    ...peersOf(net, node),
    from: node.journal.state().frontier,
    survey: await survey,
    keep: async (leaves) => void kept.push(...leaves),
  });
  return { recovery, kept };
}

for (const [before, after] of [
  [0, 5],
  [3, 4],
  [256, 256],
  [300, 900],
  [5, 16 * 256 + 100],
] as const) {
  test(`a directory of ${before} leaves is brought up to the ${after} published since`, async (t) => {
    const { net, node, published, leaves } = await restored(t, before, after, 3);
    const { recovery, kept } = await recover(net, node);
    assert.equal(recovery.kind, 'complete');
    assert.equal(recovery.newest!.size, published.size);
    assert.deepEqual(createFrontier(recovery.frontier).root(), published.root);
    assert.deepEqual(
      kept.map((leaf) => Buffer.from(leaf)),
      leaves.slice(before).map((leaf) => Buffer.from(leaf)),
    );
  });
}

test('mirrors that lie, or are gone in the middle: the next one takes over', async (t) => {
  const { net, node, published, leaves } = await restored(t, 10, 16 * 256 + 700);
  const survey = await surveyPeers(peersOf(net, node));
  assert.deepEqual([survey.heads.length, survey.mirrors.length], [3, 3]);
  const [first, second] = survey.mirrors;
  let given = 0;
  net.onRequest((_from, to, path, _body, pass) => {
    if (!path.includes('/entries/')) return undefined;
    if (to === first!.gateway)
      return pass().then(({ status, body }) => ({ status, body: body.map((byte) => byte ^ 1) }));
    return to === second!.gateway && ++given > 16 ? unanswered() : undefined;
  });
  const { recovery, kept } = await recover(net, node, Promise.resolve(survey));
  assert.equal(recovery.kind, 'complete');
  assert.deepEqual(
    recovery.failures.map(({ gateway }) => gateway),
    [first!.gateway, second!.gateway],
  );
  assert.deepEqual(treeRoot([...leaves.slice(0, 10), ...kept].map(leafHash)), published.root);
});

test('no mirror has all that was cosigned: what there is, and that it is not all', async (t) => {
  const net = await createNetwork(t, { fleets: [1, 1, 1] });
  const node = net.node('gateway-0');
  await node.grow(20);
  await net.publishAll();
  await net.pullAll();
  await node.grow(5);
  await node.publish();
  const empty = await net.open('gateway-0', 'empty');
  t.after(() => empty.journal.close());
  const { recovery, kept } = await recover(net, empty);
  assert.equal(recovery.kind, 'partial');
  assert.deepEqual([recovery.newest!.size, recovery.frontier.size, kept.length], [25, 20, 20]);
});

test('a checkpoint that nobody has cosigned is told to nobody', async (t) => {
  const net = await createNetwork(t, { fleets: [1, 1, 1] });
  const node = net.node('gateway-0');
  await node.grow(20);
  await net.publishAll();
  await node.grow(5);
  // Signed and stored, and the requests to the witnesses are lost.
  net.onRequest((from, _to, path) => (from === node && path === ADD_CHECKPOINT ? unanswered() : undefined));
  await node.publish();
  assert.equal(node.publisher.status().published, 25);
  await net.gossip(3);
  const { heads } = await surveyPeers(peersOf(net, node));
  assert.deepEqual(
    heads.map(({ size, seen }) => [size, seen]),
    [
      [20, undefined],
      [20, undefined],
    ],
  );
});

test('a checkpoint that a peer has only seen counts too: no other may be signed in its place', async (t) => {
  const net = await createNetwork(t, { fleets: [1, 1, 1] });
  const node = net.node('gateway-0');
  await node.grow(20);
  await net.publishAll();
  await net.pullAll();
  await node.grow(5);
  net.onRequest((from, _to, path) => (from === node && path === ADD_CHECKPOINT ? unanswered() : undefined));
  await node.publish();
  // A request that reaches a witness, which answers that it knows another size; nobody lives to ask again.
  const request = formatAddCheckpoint(0, [], node.publisher.newest()!);
  assert.equal((await net.node('gateway-1').witness.addCheckpoint(request)).status, 409);
  const empty = await net.open('gateway-0', 'empty');
  t.after(() => empty.journal.close());
  const survey = await surveyPeers(peersOf(net, empty));
  assert.deepEqual(
    survey.heads.map(({ size, seen }) => [size, seen]),
    [
      [25, true],
      [20, undefined],
      [20, undefined],
    ],
  );
  const { recovery } = await recover(net, empty, Promise.resolve(survey));
  assert.equal(recovery.kind, 'partial');
});

test('a log that has gone on otherwise is not joined to what was published', async (t) => {
  const { net, node } = await restored(t, 10, 300);
  await node.grow(7);
  const { recovery, kept } = await recover(net, node);
  assert.equal(recovery.kind, 'diverged');
  assert.equal(kept.length, 0);
});

test('a log that is ahead of its peers has nothing to recover', async (t) => {
  const { net, node } = await restored(t, 10, 0);
  await node.grow(1);
  assert.equal((await recover(net, node)).recovery.kind, 'current');
});

test('what a peer has not cosigned itself, or the own key has not signed, is not believed', async (t) => {
  const { net, node } = await restored(t, 1, 30, 3);
  const others = ['gateway-1', 'gateway-2'];
  const survey = await surveyPeers(peersOf(net, node));
  const cross: Parameters<Network['onRequest']>[0] = (_from, to, path, _body) => {
    const other = survey.heads.find(({ gateway }) => gateway !== to)!;
    if (path !== '/witnessed' && !path.endsWith('/checkpoint')) return undefined;
    return Promise.resolve({ status: 200, body: new TextEncoder().encode(other.note) });
  };
  net.onRequest(cross);
  const crossed = await surveyPeers(peersOf(net, node));
  assert.deepEqual([crossed.heads, crossed.mirrors], [[], []]);
  assert.deepEqual(crossed.silent.map(({ gateway }) => gateway).sort(), others);
  assert.match(crossed.silent[0]!.reason, /has not cosigned the checkpoint that it gives/);
  for (const body of [NOTHING, new TextEncoder().encode('nonsense'), new Uint8Array(2_000_000)]) {
    net.onRequest(() => Promise.resolve({ status: 200, body }));
    const lied = await surveyPeers(peersOf(net, node));
    assert.deepEqual([lied.heads.length, lied.mirrors.length, lied.silent.length], [0, 0, 2]);
  }
  net.onRequest(() => unanswered());
  assert.equal((await surveyPeers(peersOf(net, node))).silent.length, 2);
});

test('a whole directory that is lost: the mirrors’ leaves make the same log again', async (t) => {
  const { net, published, leaves } = await restored(t, 0, 700, 7);
  const fresh = await net.open('gateway-0', 'new');
  t.after(() => fresh.journal.close());
  const { recovery, kept } = await recover(net, fresh);
  assert.equal(recovery.kind, 'complete');
  assert.deepEqual(treeRoot(kept.map(leafHash)), published.root);
  assert.equal(kept.length, leaves.length);
});
