import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createSigner } from '#ed25519';
import { randomBytes } from '#random';
import { formatCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { cosign, createCosigner } from '../../../runtime/core/log/cosignature.ts';
import {
  createEvidence,
  formatEvidence,
  judgeEvidence,
  parseEvidence,
} from '../../../runtime/core/log/evidence.ts';
import { addSignatures, createNoteSigner, formatNote, signNote } from '../../../runtime/core/log/note.ts';
import { formatAddCheckpoint } from '../../../runtime/core/log/witness.ts';
import { createNetwork, type Network, type Node, unanswered } from './exchanges.ts';

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** A checkpoint of a gateway's log that its key signs, whatever the tree. */
function signed(node: Node, size: number, root: Uint8Array, cosigners: readonly Node[] = []): string {
  const text = formatCheckpoint({ origin: node.self.origin, size, root, extensions: [] });
  const cosignatures = cosigners.map(({ signers }) => cosign(signers.cosigner, text, 1_700_000_000));
  return formatNote(addSignatures(signNote(text, [node.signers.log]), cosignatures));
}

const root = (fill: number) => new Uint8Array(32).fill(fill);

/** Evidence that a gateway's log key has signed two roots. */
function evidenceAgainst(node: Node, size = 5): string {
  const notes = [signed(node, size, root(1)), signed(node, size, root(2))] as const;
  return formatEvidence(createEvidence(node.self.logKeys[0]!, notes, []));
}

function evidenceAgainstWitness(log: Node, witness: Node): string {
  const notes = [signed(log, 5, root(1), [witness]), signed(log, 5, root(2), [witness])] as const;
  return formatEvidence(createEvidence(witness.self.witnessKeys[0]!, notes, []));
}

async function send(to: Node, from: string, path: string, body: string | Uint8Array) {
  const answer = await to.handle(from, path, typeof body === 'string' ? bytesOf(body) : body);
  return { status: answer.status, text: new TextDecoder().decode(answer.body) };
}

const network = (t: TestContext, members = 4): Promise<Network> =>
  createNetwork(t, { fleets: Array.from({ length: members }, () => 1) });

test('evidence is judged, stored, written as a file, relayed to all, and freezes the log', async (t) => {
  const net = await network(t);
  const accused = net.node('gateway-0');
  const first = net.node('gateway-1');
  const file = evidenceAgainst(accused);
  assert.equal((await send(first, 'gateway-2', '/evidence', file)).text, 'new\n');
  await net.gossip(1);
  for (const node of net.nodes()) {
    const { evidence, frozen } = node.exchange.status();
    assert.equal(evidence.length, 1, node.name);
    assert.equal(evidence[0]!.gateway, 'gateway-0');
    assert.equal(evidence[0]!.role, 'log');
    assert.deepEqual(
      frozen.map(({ origin }) => origin),
      [accused.self.origin],
    );
    const [[name, text] = ['', '']] = [...node.files];
    assert.match(name, /^test-plant-member-0-gateway-0-[0-9a-f]{16}\.txt$/);
    assert.equal(judgeEvidence(parseEvidence(text)).kind, 'proven');
  }
  await accused.grow(1);
  await accused.publish();
  assert.deepEqual(accused.publisher.status().cosigners, ['member-0']);
  const answer = await first.witness.addCheckpoint(formatAddCheckpoint(0, [], accused.publisher.newest()!));
  assert.equal(answer.status, 403);
  assert.match(answer.body, /^frozen: equivocation proven/);
  // The others' logs go on.
  await first.grow(1);
  await first.publish();
  assert.equal(first.publisher.status().finalSize, 1);
});

test('it survives a restart: the log stays frozen, the file is written again', async (t) => {
  const net = await network(t, 3);
  const accused = net.node('gateway-0');
  await send(net.node('gateway-1'), 'gateway-2', '/evidence', evidenceAgainst(accused));
  const again = await net.restart('gateway-1');
  assert.equal(again.exchange.status().evidence.length, 1);
  assert.match(again.exchange.frozen(accused.self.origin)!, /equivocation proven/);
  assert.equal(again.files.size, 1);
  await net.gossip(1);
  assert.equal(net.node('gateway-2').exchange.status().evidence.length, 1, 'it is relayed after the restart');
});

test('evidence that proves nothing, or nothing about a member, is neither stored nor passed on', async (t) => {
  const net = await network(t, 3);
  const [accused, judge] = [net.node('gateway-0'), net.node('gateway-1')];
  const good = evidenceAgainst(accused);
  const stranger = createNoteSigner(accused.self.origin, createSigner(randomBytes(32)));
  const strangers = [1, 2].map((fill) =>
    formatNote(
      signNote(formatCheckpoint({ origin: accused.self.origin, size: 5, root: root(fill), extensions: [] }), [
        stranger,
      ]),
    ),
  );
  const bad: Record<string, string> = {
    'a stranger’s key under the log’s name': formatEvidence(
      createEvidence(stranger.vkey, [strangers[0]!, strangers[1]!], []),
    ),
    'a changed root': good.replace(
      /\n5\n(.)/,
      (_all, letter: string) => `\n5\n${letter === 'A' ? 'B' : 'A'}`,
    ),
    'cut short': good.slice(0, -10),
    'another size on one side': good.replace('\n5\n', '\n4\n'),
    'a line too many': `${good}\n`,
    nothing: '',
    'two times the same': `${good}${good}`,
  };
  for (const [what, file] of Object.entries(bad)) {
    const { status } = await send(judge, 'gateway-2', '/evidence', file);
    assert.equal(status, 422, what);
  }
  const consistent = await send(judge, 'gateway-2', '/evidence', new Uint8Array(3_000_000));
  assert.equal(consistent.status, 413);
  assert.deepEqual(judge.exchange.status().evidence, []);
  assert.equal(judge.exchange.frozen(accused.self.origin), undefined);
  assert.equal(judge.files.size, 0);
});

test('more evidence against a convicted key is known already: what is kept is bounded', async (t) => {
  const net = await network(t, 3);
  const [accused, judge] = [net.node('gateway-0'), net.node('gateway-1')];
  const answers: string[] = [];
  for (let size = 1; size <= 20; size++)
    answers.push((await send(judge, 'gateway-2', '/evidence', evidenceAgainst(accused, size))).text);
  assert.deepEqual(answers, ['new\n', ...Array.from({ length: 19 }, () => 'known\n')]);
  assert.equal(judge.files.size, 1);
});

test('what others wrote under the notes is not kept', async (t) => {
  const net = await network(t, 3);
  const [accused, judge] = [net.node('gateway-0'), net.node('gateway-1')];
  const notes = [1, 2].map((fill) => {
    const text = formatCheckpoint({ origin: accused.self.origin, size: 5, root: root(fill), extensions: [] });
    const noise = Array.from({ length: 90 }, (_, index) =>
      cosign(createCosigner(`noise-${index}`, createSigner(randomBytes(32))), text, 1),
    );
    return formatNote(addSignatures(signNote(text, [accused.signers.log]), noise));
  });
  const file = formatEvidence(createEvidence(accused.self.logKeys[0]!, [notes[0]!, notes[1]!], []));
  assert.ok(file.length > 10_000);
  assert.equal((await send(judge, 'gateway-2', '/evidence', file)).text, 'new\n');
  const [kept] = [...judge.files.values()];
  assert.ok(kept!.length < 1000, `${kept!.length} bytes`);
});

test('a peer that does not answer is told again until it does; one that refuses is not', async (t) => {
  const net = await network(t, 3);
  const [accused, teller] = [net.node('gateway-0'), net.node('gateway-1')];
  let silent = true;
  const asked: string[] = [];
  net.onRequest((from, to, path) => {
    if (path !== '/evidence' || from !== teller) return undefined;
    asked.push(to);
    if (to === 'gateway-0') return Promise.resolve({ status: 422, body: new Uint8Array(0) });
    return silent ? unanswered() : undefined;
  });
  await teller.exchange.evidence.add(evidenceAgainst(accused));
  await teller.exchange.gossip();
  silent = false;
  await teller.exchange.gossip();
  await teller.exchange.gossip();
  assert.equal(asked.filter((to) => to === 'gateway-0').length, 1);
  assert.equal(net.node('gateway-2').exchange.status().evidence.length, 1);
});

test('a witness that cosigned two views: its member’s cosignatures count no more, and health says so', async (t) => {
  const net = await network(t, 4);
  const [log, liar] = [net.node('gateway-0'), net.node('gateway-1')];
  for (const node of net.honest()) await node.exchange.evidence.add(evidenceAgainstWitness(log, liar));
  assert.ok(log.exchange.isDisgraced('member-1'));
  assert.deepEqual(log.exchange.status().disgraced, ['member-1']);
  assert.deepEqual(log.exchange.status().evidence[0]!.role, 'witness');
  assert.equal(log.exchange.frozen(liar.self.origin), undefined, 'its own log is not accused');
  net.onRequest((_from, to, path) =>
    to === 'gateway-3' && path === '/add-checkpoint' ? unanswered() : undefined,
  );
  const publisher = net.node('gateway-2').publisher;
  await net.node('gateway-2').grow(1);
  await net.node('gateway-2').publish();
  // Itself, gateway-0 and the liar: the liar would have made it three of four.
  assert.deepEqual([...publisher.status().cosigners].sort(), ['member-0', 'member-2']);
  assert.equal(publisher.status().finalSize, 0);
});

test('evidence that comes in while a checkpoint is being stored stops its cosignature', async (t) => {
  const net = await network(t, 3);
  const [log, judge] = [net.node('gateway-0'), net.node('gateway-1')];
  const request = formatAddCheckpoint(0, [], signed(log, 3, root(3)));
  // Both are written in the order in which they came; the evidence is known before the head is.
  const outcomes = await Promise.all([
    judge.exchange.evidence.add(evidenceAgainst(log)),
    judge.witness.addCheckpoint(request),
  ]);
  assert.equal(outcomes[1].status, 403);
});

test('a key that is known to be revoked is convicted no more', async (t) => {
  const net = await network(t, 3);
  const [accused, judge] = [net.node('gateway-0'), net.node('gateway-1')];
  const file = evidenceAgainst(accused);
  // The parties' view of accepted keys is what the roster says; here the log's key is taken off it.
  const party = judge.parties.find(({ gateway }) => gateway === 'gateway-0')!;
  Object.defineProperty(party, 'logs', { value: [] });
  const { status, text } = await send(judge, 'gateway-2', '/evidence', file);
  assert.equal(status, 422);
  assert.match(text, /revoked/);
});
