import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { test } from 'node:test';
import { quorum } from '../../../runtime/core/log/policy.ts';
import { answersNeeded } from '../../../runtime/services/witnessing/own-head.ts';
import { createNetwork, type Network, unanswered } from './exchanges.ts';

const equal = (members: number) => Array.from({ length: members }, () => 1);

/** gateway-0 published more than its directory holds after the restore. */
async function restore(net: Network, before: number, after: number) {
  await net.node('gateway-0').exchange.askOwn();
  await net.node('gateway-0').grow(before);
  await net.node('gateway-0').publish();
  await net.restart('gateway-0', (directory) => cp(directory, `${directory}-copy`, { recursive: true }));
  await net.node('gateway-0').exchange.askOwn();
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
    const needed = answersNeeded(members);
    assert.ok(needed >= 1 && needed <= quorum(members) - 1, `${members}: ${needed}`);
    assert.ok(needed > members - quorum(members) || needed === members - 1);
  }
});

for (const members of [3, 4, 7]) {
  for (const grown of [0, 2, 9]) {
    test(`a restored directory signs nothing, also after ${grown} more leaves, and nobody is convicted (${members} members)`, async (t) => {
      const net = await createNetwork(t, { fleets: equal(members), heldBack: true });
      const node = await restore(net, 4, 5);
      await node.grow(grown);
      await node.publish();
      assert.equal(node.publisher.status().published, 4);
      assert.match(node.exchange.heldBack()!, /^0 of \d members have said/);
      await node.exchange.askOwn();
      await node.publish();
      assert.equal(node.publisher.status().published, 4);
      assert.match(node.exchange.heldBack()!, /has seen (9 leaves|other leaves).*kosmos recover/);
      assert.equal(node.exchange.status().heldBack, node.exchange.heldBack());
      await net.gossip(2);
      for (const one of net.nodes()) assert.deepEqual(one.exchange.status().evidence, [], one.name);
    });
  }
}

test('an ordinary start goes on as soon as enough peers have answered', async (t) => {
  const net = await createNetwork(t, { fleets: equal(4), heldBack: true });
  const first = net.node('gateway-0');
  await first.exchange.askOwn();
  await first.grow(3);
  await first.publish();
  const again = await net.restart('gateway-0');
  await again.grow(3);
  let willing = ['gateway-1'];
  net.onRequest((from, to, path) =>
    from === again && path === '/witnessed' && !willing.includes(to) ? unanswered() : undefined,
  );
  await again.exchange.askOwn();
  await again.publish();
  assert.equal(again.exchange.heldBack(), '1 of 2 members have said how far they have seen this log');
  assert.equal(again.publisher.status().published, 3);
  willing = ['gateway-1', 'gateway-3'];
  await again.exchange.askOwn();
  await again.publish();
  assert.equal(again.exchange.heldBack(), undefined);
  assert.equal(again.publisher.status().finalSize, 6);
});

test('what a liar says of this log counts only with this log’s own signature', async (t) => {
  const net = await createNetwork(t, { fleets: equal(3), heldBack: true });
  const node = net.node('gateway-0');
  const other = net.node('gateway-1');
  await other.exchange.askOwn();
  await other.grow(50);
  await other.publish();
  const lie = new TextEncoder().encode(other.publisher.newest()!);
  net.onRequest((from, to, path) =>
    from === node && to === 'gateway-1' && path === '/witnessed'
      ? Promise.resolve({ status: 200, body: lie })
      : undefined,
  );
  await node.exchange.askOwn();
  await node.grow(1);
  await node.publish();
  assert.equal(node.exchange.heldBack(), undefined, 'the other member’s answer is enough');
  assert.equal(node.publisher.status().published, 1);
});
