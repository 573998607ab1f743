import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { test } from 'node:test';
import { createSigner } from '#ed25519';
import { randomBytes } from '#random';
import { formatCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { cosign, createCosigner } from '../../../runtime/core/log/cosignature.ts';
import { leafHash } from '../../../runtime/core/log/hash.ts';
import {
  type addSignatures,
  createNoteSigner,
  formatNote,
  formatSignatureLines,
  parseNote,
  signNote,
} from '../../../runtime/core/log/note.ts';
import { evaluatePolicy, quorum } from '../../../runtime/core/log/policy.ts';
import { consistencyProofSync, readerOf } from '../../../runtime/core/log/proof.ts';
import { treeRoot } from '../../../runtime/core/log/tree.ts';
import { formatAddCheckpoint, parseAddCheckpoint, parseConflict } from '../../../runtime/core/log/witness.ts';
import { logParties, ownSigners, policyOf, witnessName } from '../../../runtime/services/witnessing/names.ts';
import { createConsortium, until } from '../consortium.ts';
import { type Answer, createNetwork, type Network, type Node, unanswered } from './exchanges.ts';

const equal = (members: number) => Array.from({ length: members }, () => 1);
const bytesOf = (content: string) => new TextEncoder().encode(content);

/** Chance that a seed repeats. */
function chanceOf(seed: number): (below: number) => number {
  let state = seed * 2_654_435_761 + 1;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A log of which its owner tells two stories that begin alike. */
function twoStories(net: Network, owner: string, chance: (below: number) => number, length: number) {
  const { keys } = net.consortium.gateways.find(({ name }) => name === owner)!;
  const party = logParties(net.consortium.agreement).find(({ gateway }) => gateway === owner)!;
  const signers = ownSigners(keys, party.origin);
  const common = chance(length - 1);
  const shared = Array.from({ length: common }, () => leafHash(randomBytes(8)));
  const branch = () => [
    ...shared,
    ...Array.from({ length: length - common }, () => leafHash(randomBytes(8))),
  ];
  const branches = { A: branch(), B: branch() };
  return {
    common,
    party,
    note(side: 'A' | 'B', size: number): string {
      const root = treeRoot(branches[side].slice(0, size));
      return formatNote(
        signNote(formatCheckpoint({ origin: party.origin, size, root, extensions: [] }), [signers.log]),
      );
    },
    /** Asks as a log would that wants this cosigned by all means. */
    async ask(node: Node, side: 'A' | 'B', size: number): Promise<boolean> {
      let known = 0;
      for (let attempt = 0; attempt < 3; attempt++) {
        const proof =
          known > 0 && known < size
            ? consistencyProofSync(known, size, readerOf(branches[side].slice(0, size)))
            : [];
        const { status, body } = await node.witness.addCheckpoint(
          formatAddCheckpoint(known, proof, this.note(side, size)),
        );
        if (status === 200) return true;
        if (status !== 409) return false;
        known = parseConflict(body);
        if (known > size) return false;
      }
      return false;
    },
  };
}

for (const members of [3, 4, 7]) {
  const liars = members === 7 ? ['gateway-0', 'gateway-1'] : ['gateway-0'];
  for (let seed = 1; seed <= (members === 7 ? 5 : 8); seed++) {
    test(`two stories, ${members} members, seed ${seed}: no two of them final, and all honest members get evidence`, async (t) => {
      const net = await createNetwork(t, { fleets: equal(members), absent: liars });
      const chance = chanceOf(seed * 100 + members);
      const LENGTH = 7;
      const story = twoStories(net, 'gateway-0', chance, LENGTH);
      const cosigned = new Map<string, Set<string>>();
      const requests: (() => Promise<void>)[] = [];
      const request = (node: Node, side: 'A' | 'B', size: number) => async () => {
        if (!(await story.ask(node, side, size))) return;
        const key = `${side}${size}`;
        cosigned.set(key, (cosigned.get(key) ?? new Set()).add(node.self.member));
      };
      for (const node of net.nodes()) {
        for (let size = 1; size <= LENGTH; size++) {
          for (const side of ['A', 'B'] as const) if (chance(3) > 0) requests.push(request(node, side, size));
        }
      }
      const honest = net.nodes();
      requests.push(request(honest[0]!, 'A', LENGTH), request(honest.at(-1)!, 'B', LENGTH));
      // In any order, some of them at the same time, with gossip in between.
      while (requests.length > 0) {
        const some = Array.from(
          { length: 1 + chance(4) },
          () => requests.splice(chance(requests.length), 1)[0],
        );
        await Promise.all(some.map((one) => one?.()));
        if (chance(6) === 0) await net.gossip(1);
      }
      const q = quorum(members);
      const final = (side: 'A' | 'B') =>
        Array.from({ length: LENGTH - story.common }, (_, index) => story.common + 1 + index).filter(
          (size) => (cosigned.get(`${side}${size}`)?.size ?? 0) + liars.length >= q,
        );
      assert.ok(
        final('A').length === 0 || final('B').length === 0,
        `A ${final('A')}, B ${final('B')} of ${q}`,
      );
      await net.gossip(2);
      for (const node of net.nodes()) {
        const accused = node.exchange.status().evidence.map(({ gateway, role }) => `${gateway} ${role}`);
        assert.deepEqual(accused, ['gateway-0 log'], node.name);
        assert.equal(await story.ask(node, 'A', LENGTH), false, 'nothing is cosigned any more');
      }
    });
  }
}

test('two witnesses are shown two stories, and a third both: only one of them can be cosigned by it', async (t) => {
  const net = await createNetwork(t, { fleets: equal(4), absent: ['gateway-0'] });
  const story = twoStories(net, 'gateway-0', () => 2, 6);
  assert.ok(await story.ask(net.node('gateway-1'), 'A', 4));
  assert.ok(await story.ask(net.node('gateway-2'), 'B', 4));
  assert.ok(await story.ask(net.node('gateway-3'), 'A', 5));
  assert.ok(!(await story.ask(net.node('gateway-3'), 'B', 6)));
});

test('what liars send for a checkpoint: refused, and nobody is accused', async (t) => {
  const net = await createNetwork(t, { fleets: equal(3) });
  const [log, judge] = [net.node('gateway-0'), net.node('gateway-1')];
  await log.grow(3);
  await log.publish();
  const old = log.publisher.newest()!;
  await log.grow(2);
  await log.publish();
  const note = log.publisher.newest()!;
  const good = formatAddCheckpoint(5, [], note);
  const stranger = createNoteSigner(log.self.origin, createSigner(randomBytes(32)));
  const ask = async (body: string | Uint8Array) => {
    const { status } = await judge.handle(
      'gateway-2',
      '/add-checkpoint',
      typeof body === 'string' ? bytesOf(body) : body,
    );
    return status;
  };
  assert.equal(
    await ask(formatAddCheckpoint(5, [], formatNote(signNote(parseNote(note).text, [stranger])))),
    403,
  );
  assert.equal(await ask(good.replace('\n5\n', '\n6\n')), 403);
  assert.equal(await ask(formatAddCheckpoint(0, [], old)), 409);
  assert.equal(await ask(formatAddCheckpoint(5, [], old)), 400);
  for (const length of [0, 1, good.length >> 2, good.length >> 1]) {
    const status = await ask(good.slice(0, length));
    assert.ok(status === 400 || status === 403, `${length} bytes: ${status}`);
  }
  assert.equal(await ask(good.slice(0, -1)), 403);
  assert.equal(await ask(new Uint8Array(3_000_000).fill(0x61)), 400);
  assert.equal(await ask(`${good}${'a'.repeat(600_000)}`), 400);
  assert.equal(await ask(good), 200, 'and the good one still is cosigned');
  await net.gossip(2);
  for (const node of net.nodes()) {
    const { evidence, frozen } = node.exchange.status();
    assert.deepEqual({ evidence, frozen }, { evidence: [], frozen: [] });
  }
});

test('a checkpoint that was refused convicts all the same', async (t) => {
  const net = await createNetwork(t, { fleets: equal(3), absent: ['gateway-0'] });
  const story = twoStories(net, 'gateway-0', () => 2, 6);
  const judge = net.node('gateway-1');
  assert.ok(await story.ask(judge, 'A', 6));
  assert.ok(!(await story.ask(judge, 'B', 6)));
  await until(() => judge.exchange.status().evidence.length === 1, 'the witness convicts the log');
});

test('a log that is rolled back and goes on otherwise is convicted; its owner is told', async (t) => {
  for (const members of [3, 4, 7]) {
    const net = await createNetwork(t, { fleets: equal(members) });
    const first = net.node('gateway-0');
    await first.grow(4);
    await first.publish();
    await net.restart('gateway-0', async (directory) => {
      await cp(directory, `${directory}-copy`, { recursive: true });
    });
    await net.node('gateway-0').grow(3);
    await net.publishAll();
    await net.pullAll();
    const restored = await net.restart('gateway-0', async (directory) => {
      await rm(directory, { recursive: true });
      await cp(`${directory}-copy`, directory, { recursive: true });
    });
    assert.equal(restored.journal.head()!.size, 4);
    await restored.grow(5);
    await restored.publish();
    const { finalSize } = restored.publisher.status();
    assert.ok(finalSize <= 4, 'no honest witness follows');
    await net.gossip(3);
    for (const node of net.nodes()) {
      const accused = node.exchange.status().evidence.map(({ gateway }) => gateway);
      assert.ok(accused.includes('gateway-0'), `${members}: ${node.name}`);
      assert.ok(accused.every((gateway) => gateway === 'gateway-0'));
    }
  }
});

test('answers in another order than the questions: every checkpoint gets its own', async (t) => {
  const net = await createNetwork(t, { fleets: equal(4) });
  const log = net.node('gateway-0');
  const held: (() => void)[] = [];
  net.onRequest((from, _to, path, _body, pass) =>
    from === log && path === '/add-checkpoint'
      ? pass().then((answer) => new Promise<Answer>((done) => held.push(() => done(answer))))
      : undefined,
  );
  await log.grow(1);
  await log.publisher.publish();
  await until(() => held.length === 3, 'three witnesses have answered');
  for (const release of held.splice(0).reverse()) release();
  await log.publisher.asked();
  assert.deepEqual(log.publisher.status().finalSize, 1);
  // The answer to one question under another: it is a cosignature of something else.
  const answers: Answer[] = [];
  net.onRequest((from, _to, path, _body, pass) => {
    if (from !== log || path !== '/add-checkpoint') return undefined;
    return pass().then((answer) => {
      answers.push(answer);
      return answers[0]!;
    });
  });
  await log.grow(1);
  await log.publish();
  assert.ok(log.publisher.status().cosigners.length <= 2);
  assert.equal(log.publisher.status().finalSize, 1);
});

test('a log that cosigns itself counts once, and keys that are no witness’s count for nothing', () => {
  withNotes(({ parties, note, sign, keysOf }) => {
    const policy = policyOf(parties);
    const [own, first, second] = ['gateway-0', 'gateway-1', 'gateway-2'] as const;
    const verdict = (lines: Parameters<typeof addSignatures>[1]) =>
      evaluatePolicy(policy, formatNote({ ...note, signatures: [...note.signatures, ...lines] })).kind;
    assert.equal(verdict([sign(own), sign(first), sign(second)]), 'satisfied');
    assert.equal(verdict([sign(own), sign(own), sign(own)]), 'unsatisfied');
    assert.equal(verdict([sign(own), sign(first), sign(first)]), 'unsatisfied');
    // Log keys under witnesses' names, and as witnesses under their own.
    for (const name of [witnessName(parties[2]!.origin), parties[2]!.origin]) {
      const line = cosign(createCosigner(name, keysOf(second).log), note.text, 1_700_000_000);
      assert.equal(verdict([sign(own), sign(first), line]), 'unsatisfied', name);
    }
    const [plain] = signNote(note.text, [
      createNoteSigner(witnessName(parties[2]!.origin), keysOf(second).log),
    ]).signatures;
    assert.equal(verdict([sign(own), sign(first), plain!]), 'unsatisfied');
  });
});

test('whoever has a log’s key gets no cosignature of it from the log’s own gateway, but is found out', async (t) => {
  const net = await createNetwork(t, { fleets: equal(3) });
  const owner = net.node('gateway-0');
  await owner.grow(5);
  await owner.publish();
  await owner.exchange.gossip();
  const thief = twoStories(net, 'gateway-0', () => 0, 5);
  assert.equal(await thief.ask(owner, 'A', 5), false);
  await until(() => owner.exchange.status().evidence.length === 1, 'its own log is convicted');
  assert.ok(!owner.exchange.isDisgraced('member-0'));
});

test('a witness that answers with its log’s key, or for another witness, is not counted', async (t) => {
  const net = await createNetwork(t, { fleets: equal(3) });
  const log = net.node('gateway-0');
  const { keys } = net.node('gateway-2');
  const origins = ['test-plant/member-1/gateway-1', 'test-plant/member-2/gateway-2'];
  for (const [index, key] of [keys.log, keys.witness].entries()) {
    net.onRequest((from, to, path, body) => {
      if (from !== log || to !== 'gateway-2' || path !== '/add-checkpoint') return undefined;
      const { note } = parseAddCheckpoint(body);
      const cosigner = createCosigner(witnessName(origins[1 - index]!), key);
      const lines = formatSignatureLines([cosign(cosigner, note.text, 1_700_000_000)]);
      return Promise.resolve({ status: 200, body: bytesOf(lines) });
    });
    await log.grow(1);
    await log.publish();
    assert.deepEqual([...log.publisher.status().cosigners].sort(), ['member-0', 'member-1']);
    assert.equal(log.publisher.status().finalSize, 0);
  }
});

test('a witness that cosigns both sides cannot make both final, and is disgraced once they meet', async (t) => {
  for (const members of [4, 7]) {
    const half = (name: string) =>
      (Number(name.slice('gateway-'.length)) <= members / 2 ? 'A' : 'B') as 'A' | 'B';
    const net = await createNetwork(t, {
      fleets: equal(members),
      liars: ['gateway-0', 'gateway-1'],
      sideOf: half,
    });
    for (const side of ['A', 'B'] as const) {
      await net.node('gateway-0', side).grow(5);
      await net.node('gateway-0', side).publish();
    }
    const finals = (['A', 'B'] as const).filter(
      (side) => net.node('gateway-0', side).publisher.status().finalSize > 0,
    );
    // With four members one liar besides the owner is one more than is withstood.
    if (members === 7) assert.ok(finals.length <= 1);
    await net.gossip(3);
    for (const node of net.honest()) {
      const accused = node.exchange.status().evidence.map(({ gateway, role }) => `${gateway} ${role}`);
      assert.ok(accused.includes('gateway-0 log'), `${members}: ${node.name}`);
      assert.ok(accused.includes('gateway-1 witness'), `${members}: ${node.name}: ${accused}`);
      assert.ok(node.exchange.isDisgraced('member-1'));
      assert.ok(
        accused.every((one) => /^gateway-[01] /.test(one)),
        'no honest member is accused',
      );
    }
  }
});

test('members that stay silent: the others’ gossip and mirrors go on, and so does finality where it can', async (t) => {
  for (const [members, final] of [
    [3, false],
    [4, true],
    [7, true],
  ] as const) {
    const net = await createNetwork(t, { fleets: equal(members) });
    const silent = net.node(`gateway-${members - 1}`);
    net.onRequest((from, to) => (to === silent.name || from === silent ? unanswered() : undefined));
    const log = net.node('gateway-0');
    await log.grow(3);
    await log.publish();
    assert.equal(log.publisher.status().finalSize > 0, final, `${members} members`);
    const others = net.nodes().filter((node) => node !== silent);
    for (const node of others) await node.pull();
    for (const node of others) await node.exchange.gossip();
    for (const node of others) {
      const seen = node.exchange.origins.status().find(({ origin }) => origin === log.self.origin)!;
      assert.equal(seen.size, 3, `${members}: ${node.name}`);
      for (const mirror of node.exchange.status().mirrors) {
        if (mirror.gateway === 'gateway-0') assert.equal(mirror.size, 3);
      }
    }
  }
});

function withNotes(
  check: (tools: {
    readonly parties: ReturnType<typeof logParties>;
    readonly note: ReturnType<typeof parseNote>;
    readonly sign: (gateway: string) => ReturnType<typeof cosign>;
    readonly keysOf: (gateway: string) => Network['consortium']['gateways'][number]['keys'];
  }) => void,
): void {
  const { agreement, gateways } = createConsortium({ fleets: equal(3) });
  const parties = logParties(agreement);
  const keysOf = (gateway: string) => gateways.find(({ name }) => name === gateway)!.keys;
  const origin = parties[0]!.origin;
  const root = new Uint8Array(32).fill(7);
  const signers = (gateway: string) =>
    ownSigners(keysOf(gateway), parties.find((party) => party.gateway === gateway)!.origin);
  const note = signNote(formatCheckpoint({ origin, size: 4, root, extensions: [] }), [
    signers('gateway-0').log,
  ]);
  check({
    parties,
    note,
    keysOf,
    sign: (gateway) => cosign(signers(gateway).cosigner, note.text, 1_700_000_000),
  });
}
