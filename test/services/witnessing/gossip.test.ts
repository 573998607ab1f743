import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSigner } from '#ed25519';
import { randomBytes } from '#random';
import { decodeCbor, encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { formatCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { cosign } from '../../../runtime/core/log/cosignature.ts';
import {
  createEvidence,
  formatEvidence,
  judgeEvidence,
  parseEvidence,
} from '../../../runtime/core/log/evidence.ts';
import {
  addSignatures,
  createNoteSigner,
  formatNote,
  parseNote,
  signNote,
} from '../../../runtime/core/log/note.ts';
import { createNetwork, type Network, type Node, never, type Side } from './exchanges.ts';

const bytesOf = (text: string) => new TextEncoder().encode(text);
const root = (fill: number) => new Uint8Array(32).fill(fill);

function noteOf(node: Node, size: number, hash: Uint8Array, cosigners: readonly Node[] = []): string {
  const text = formatCheckpoint({ origin: node.self.origin, size, root: hash, extensions: [] });
  const cosignatures = cosigners.map(({ signers }) => cosign(signers.cosigner, text, 1_700_000_000));
  return formatNote(addSignatures(signNote(text, [node.signers.log]), cosignatures));
}

function tell(to: Node, from: string, notes: readonly string[]) {
  return to.handle(from, '/gossip', encodeCbor(notes.map(bytesOf)));
}

function convicted(node: Node): string[] {
  return node.exchange.status().evidence.map(({ gateway, role }) => `${gateway} ${role}`);
}

/** Its log for two views; it cosigned both itself, so that its witness may be found guilty as well. Nobody else. */
function assertConvicted(node: Node): void {
  const found = convicted(node);
  assert.ok(found.includes('gateway-0 log'), node.name);
  assert.deepEqual(
    new Set(found),
    new Set(['gateway-0 log', ...found.filter((one) => one === 'gateway-0 witness')]),
  );
  for (const file of node.files.values()) assert.equal(judgeEvidence(parseEvidence(file)).kind, 'proven');
  assert.equal(node.files.size, found.length);
}

const equal = (members: number) => Array.from({ length: members }, () => 1);

/** The first honest half sees A, the others see B. */
function split(members: number): (name: string) => Side {
  return (name) => (Number(name.slice('gateway-'.length)) <= members / 2 ? 'A' : 'B');
}

for (const members of [3, 4, 7]) {
  test(`one size, two roots, ${members} members: every honest member has the evidence after gossip`, async (t) => {
    const net = await createNetwork(t, {
      fleets: equal(members),
      liars: ['gateway-0'],
      sideOf: split(members),
    });
    for (const side of ['A', 'B'] as const) {
      const face = net.node('gateway-0', side);
      await face.grow(3);
      await face.publish();
      assert.ok(face.publisher.status().cosigners.length > 1, `${side} has witnesses`);
    }
    await net.gossip(2);
    for (const node of net.honest()) {
      assertConvicted(node);
    }
    const face = net.node('gateway-0', 'A');
    await face.grow(1);
    await face.publish();
    const others = face.publisher.status().cosigners.filter((member) => member !== 'member-0');
    assert.deepEqual(others, [], 'nobody cosigns any more');
  });

  for (const [sizeA, sizeB] of [
    [3, 5],
    [600, 300],
    [256, 257],
  ] as const) {
    test(`different sizes ${sizeA} and ${sizeB}, ${members} members: the nodes come from a mirror or the owner`, async (t) => {
      const net = await createNetwork(t, {
        fleets: equal(members),
        liars: ['gateway-0'],
        sideOf: split(members),
      });
      for (const [side, size] of [['A', sizeA] as const, ['B', sizeB] as const]) {
        await net.node('gateway-0', side).grow(size);
        await net.node('gateway-0', side).publish();
      }
      await net.pullAll();
      await net.gossip(2);
      for (const node of net.honest()) {
        assertConvicted(node);
        const { file } = node.exchange.evidence.convictions()[0]!;
        assert.ok(parseEvidence(file).lines.length > 0);
        assert.ok(file.length < 4000, `${file.length} bytes`);
      }
    });
  }
}

test('a log that only grew is accused of nothing, whoever saw how much of it', async (t) => {
  const net = await createNetwork(t, { fleets: equal(4) });
  const log = net.node('gateway-0');
  // Each peer misses other checkpoints.
  for (let step = 0; step < 8; step++) {
    net.onRequest((_from, to, path) =>
      path === '/add-checkpoint' && Number(to.slice(-1)) % 3 !== step % 3
        ? Promise.resolve({ status: 404, body: new Uint8Array(0) })
        : undefined,
    );
    await log.grow(1 + step * 40);
    await log.publish();
    await net.gossip(1);
  }
  net.onRequest(() => undefined);
  await net.gossip(2);
  for (const node of net.nodes()) {
    const { evidence, frozen, unlinked } = node.exchange.status();
    assert.deepEqual({ evidence, frozen, unlinked }, { evidence: [], frozen: [], unlinked: [] }, node.name);
    const seen = node.exchange.origins.status().find(({ origin }) => origin === log.self.origin)!;
    assert.equal(seen.size, log.journal.head()!.size);
  }
});

test('nodes that nobody gives: the log is frozen, nobody is convicted, and it goes on once they are shown', async (t) => {
  const net = await createNetwork(t, { fleets: equal(3) });
  const [log, judge] = [net.node('gateway-0'), net.node('gateway-1')];
  await log.grow(3);
  await log.publish();
  await log.grow(4);
  const head = log.journal.head()!;
  // Signed, but kept from its witnesses; and its tiles are kept back.
  const hidden = noteOf(log, head.size, head.root);
  const hide: Parameters<Network['onRequest']>[0] = (_from, to, path) =>
    to === 'gateway-0'
      ? Promise.resolve({ status: path === '/gossip' ? 500 : 404, body: new Uint8Array(0) })
      : undefined;
  net.onRequest(hide);
  assert.equal((await tell(judge, 'gateway-2', [hidden])).status, 200);
  assert.equal(judge.exchange.frozen(log.self.origin), undefined, 'not before it has been asked for');
  for (let round = 0; round < 3; round++) await judge.exchange.gossip();
  assert.match(judge.exchange.frozen(log.self.origin)!, /at 7 leaves is withheld/);
  assert.deepEqual(judge.exchange.status().unlinked, [{ origin: log.self.origin, sizes: [7] }]);
  assert.deepEqual(convicted(judge), []);

  const again = await net.restart('gateway-1');
  assert.match(again.exchange.frozen(log.self.origin)!, /withheld/, 'a restart does not forget it');
  await log.grow(1);
  await log.publish();
  assert.ok(!log.publisher.status().cosigners.includes('member-1'));

  net.onRequest(() => undefined);
  await again.exchange.gossip();
  assert.equal(again.exchange.frozen(log.self.origin), undefined);
  assert.deepEqual(again.exchange.status().unlinked, []);
  await log.publish();
  assert.ok(log.publisher.status().cosigners.includes('member-1'));
});

test('a forged note ends the message it is in; what cannot be judged is passed over', async (t) => {
  const net = await createNetwork(t, { fleets: equal(3) });
  const [log, judge] = [net.node('gateway-0'), net.node('gateway-1')];
  const good = noteOf(log, 3, root(3));
  const flipped = good.replace(/.{6}\n$/, (end) =>
    end.startsWith('A') ? `B${end.slice(1)}` : `A${end.slice(1)}`,
  );
  const stranger = createNoteSigner('nowhere/log', createSigner(randomBytes(32)));
  const unknown = formatNote(
    signNote(formatCheckpoint({ origin: 'nowhere/log', size: 3, root: root(3), extensions: [] }), [stranger]),
  );
  const impostor = formatNote(
    signNote(parseNote(good).text, [createNoteSigner(log.self.origin, createSigner(randomBytes(32)))]),
  );
  const seenSize = () =>
    judge.exchange.origins.status().find(({ origin }) => origin === log.self.origin)!.size;
  assert.equal((await tell(judge, 'gateway-2', [flipped, good])).status, 400);
  assert.equal(seenSize(), 0);
  assert.equal((await tell(judge, 'gateway-2', [unknown, impostor, 'nonsense', ''])).status, 200);
  assert.equal(seenSize(), 0);
  assert.equal((await tell(judge, 'gateway-2', [unknown, good])).status, 200);
  assert.equal(seenSize(), 3);
  for (const body of [bytesOf('nonsense'), encodeCbor(3), encodeCbor([3]), new Uint8Array(2_000_000)])
    assert.equal((await judge.handle('gateway-2', '/gossip', body)).status, 400);
  assert.equal(
    (
      await tell(
        judge,
        'gateway-2',
        Array.from({ length: 257 }, () => good),
      )
    ).status,
    400,
    'too many notes',
  );
  assert.deepEqual(convicted(judge), []);
});

test('a cosignature that is forged under a good note refuses it', async (t) => {
  const net = await createNetwork(t, { fleets: equal(3) });
  const [log, judge, framed] = [net.node('gateway-0'), net.node('gateway-1'), net.node('gateway-2')];
  const notes = [1, 2].map((fill) => {
    const note = parseNote(noteOf(log, 3, root(fill), [framed]));
    const [own, cosignature] = note.signatures;
    const wrong = cosignature!.signature.map((byte, index) => (index === 20 ? byte ^ 1 : byte));
    return formatNote({ text: note.text, signatures: [own!, { ...cosignature!, signature: wrong }] });
  });
  assert.equal((await tell(judge, 'gateway-0', notes)).status, 400);
  assert.deepEqual(convicted(judge), []);
});

test('one message at a time is taken from a peer', async (t) => {
  const net = await createNetwork(t, { fleets: equal(3) });
  const judge = net.node('gateway-1');
  const notes = Array.from({ length: 20 }, (_, index) =>
    noteOf(net.node('gateway-0'), index + 1, root(index)),
  );
  const answers = await Promise.all([tell(judge, 'gateway-2', notes), tell(judge, 'gateway-2', notes)]);
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 429]);
});

test('what a log has signed and nobody can link is bounded', async (t) => {
  const net = await createNetwork(t, { fleets: equal(3) });
  const [log, judge] = [net.node('gateway-0'), net.node('gateway-1')];
  const notes = Array.from({ length: 200 }, (_, index) => noteOf(log, index + 10, root(index)));
  assert.equal((await tell(judge, 'gateway-2', notes)).status, 200);
  for (let round = 0; round < 2; round++) await judge.exchange.gossip();
  const [waiting] = judge.exchange.status().unlinked;
  assert.ok(waiting!.sizes.length <= 16);
  const answer = decodeCbor((await tell(judge, 'gateway-2', [])).body);
  assert.ok((answer as readonly unknown[]).length < 20);
});

test('a witness that cosigned both sides is found, at every order in which the notes come', async (t) => {
  const net = await createNetwork(t, { fleets: equal(4) });
  const [log, liar] = [net.node('gateway-0'), net.node('gateway-1')];
  const both = [noteOf(log, 3, root(1), [liar]), noteOf(log, 3, root(2), [liar])];
  const bare = [noteOf(log, 3, root(1)), noteOf(log, 3, root(2))];
  const orders = [both, [...both].reverse(), [...bare, ...both], [bare[0]!, both[1]!, both[0]!]];
  for (const [index, notes] of orders.entries()) {
    const judge = await net.open('gateway-2', `judge-${index}`);
    t.after(() => judge.journal.close());
    for (const note of notes) await tell(judge, 'gateway-3', [note]);
    assert.deepEqual(convicted(judge).sort(), ['gateway-0 log', 'gateway-1 witness'], `order ${index}`);
    assert.ok(judge.exchange.isDisgraced('member-1'));
    assert.ok(!judge.exchange.isDisgraced('member-0'));
  }
});

test('a witness that cosigned trees of two sizes that contradict each other is found', async (t) => {
  const net = await createNetwork(t, { fleets: equal(3), liars: ['gateway-0'], sideOf: () => 'A' });
  const [face, liar, judge] = [net.node('gateway-0', 'A'), net.node('gateway-1'), net.node('gateway-2')];
  await face.grow(10);
  await face.publish();
  await net.node('gateway-0', 'B').grow(4);
  const other = net.node('gateway-0', 'B').journal.head()!;
  await tell(judge, 'gateway-1', [noteOf(face, other.size, other.root, [liar])]);
  await tell(judge, 'gateway-1', [face.publisher.newest()!]);
  await judge.exchange.gossip();
  assert.deepEqual(convicted(judge).sort(), ['gateway-0 log', 'gateway-1 witness']);
  const witness = judge.exchange.evidence.convictions().find(({ role }) => role === 'witness')!;
  assert.equal(judgeEvidence(parseEvidence(witness.file)).kind, 'proven');
});

test('a directory restored from an older copy learns from its peers that it is behind', async (t) => {
  const net = await createNetwork(t, { fleets: equal(3) });
  const log = net.node('gateway-0');
  await log.grow(7);
  await net.publishAll();
  await net.pullAll();
  const old = await net.open('gateway-0', 'restored');
  t.after(() => old.journal.close());
  assert.equal(old.exchange.status().behindOwnLog, null);
  await old.exchange.gossip();
  await old.exchange.gossip();
  assert.deepEqual(old.exchange.status().behindOwnLog, { size: 0, shown: 7 });
  assert.deepEqual(convicted(old), []);
});

test('a gateway whose keys work in two places is convicted by itself too', async (t) => {
  const net = await createNetwork(t, { fleets: equal(3) });
  const log = net.node('gateway-0');
  await log.grow(7);
  await net.publishAll();
  await net.pullAll();
  const clone = await net.open('gateway-0', 'clone');
  t.after(() => clone.journal.close());
  await clone.grow(3);
  await clone.publisher.publish();
  await clone.exchange.gossip();
  await clone.exchange.gossip();
  assert.deepEqual(convicted(clone), ['gateway-0 log']);
});

test('a peer that never answers holds up no round for good', async (t) => {
  const net = await createNetwork(t, { fleets: equal(3), limitMs: 150 });
  const teller = net.node('gateway-1');
  await teller.grow(1);
  await teller.publish();
  await teller.exchange.evidence.add(evidenceOf(net.node('gateway-0')));
  net.onRequest((from) => (from === teller ? never() : undefined));
  await teller.exchange.gossip();
  await teller.exchange.pull();
  assert.deepEqual(convicted(teller), ['gateway-0 log']);
});

function evidenceOf(node: Node): string {
  const notes = [noteOf(node, 5, root(1)), noteOf(node, 5, root(2))] as const;
  return formatEvidence(createEvidence(node.self.logKeys[0]!, notes, []));
}
