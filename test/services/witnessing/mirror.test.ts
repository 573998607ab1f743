import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeBundle, encodeBundle } from '../../../runtime/core/log/bundle.ts';
import { leafHash } from '../../../runtime/core/log/hash.ts';
import { parseTilePath, tilesOf } from '../../../runtime/core/log/tiles.ts';
import { treeRoot } from '../../../runtime/core/log/tree.ts';
import { mirrorsOf } from '../../../runtime/services/witnessing/assignment.ts';
import { logParties } from '../../../runtime/services/witnessing/names.ts';
import { createConsortium } from '../consortium.ts';
import { createNetwork, type Network, type Node, never } from './exchanges.ts';

const NOTHING = new Uint8Array(0);

function mirrorOf(network: Network, owner: string): Node {
  const holder = network.honest().find((node) => statusOf(node, owner));
  assert.ok(holder, `nobody mirrors ${owner}`);
  return holder;
}

function statusOf(node: Node, owner: string) {
  return node.exchange.status().mirrors.find(({ gateway }) => gateway === owner);
}

/** All leaves that a mirror gives, by their bundles. */
async function leavesAt(node: Node, owner: string, size: number): Promise<Uint8Array[]> {
  const leaves: Uint8Array[] = [];
  for (const { level, index, width } of tilesOf(size)) {
    if (level > 0) continue;
    const path = `/mirror/${owner}/tile/entries/${String(index).padStart(3, '0')}${width === 256 ? '' : `.p/${width}`}`;
    const answer = await node.exchange.read(path)!;
    assert.equal(answer.status, 200, path);
    leaves.push(...decodeBundle(answer.body, width));
  }
  return leaves;
}

test('min(3, n-1) other members mirror a log, and everybody computes the same ones', () => {
  for (const fleets of [
    [1, 1, 1],
    [2, 1, 3, 1],
    [1, 1, 4, 1, 2, 1, 1],
  ]) {
    const { agreement } = createConsortium({ fleets });
    const parties = logParties(agreement);
    for (const owner of parties) {
      const mirrors = mirrorsOf(agreement.hash, parties, owner);
      const members = mirrors.map((name) => parties.find(({ gateway }) => gateway === name)!.member);
      assert.equal(mirrors.length, Math.min(3, fleets.length - 1));
      assert.equal(new Set(members).size, mirrors.length, 'one gateway a member');
      assert.ok(!members.includes(owner.member), 'nobody mirrors its own member');
      assert.deepEqual(mirrorsOf(agreement.hash, [...parties].reverse(), owner), mirrors);
    }
  }
});

test('another agreement or another log leads to other mirrors', () => {
  const { agreement } = createConsortium({ fleets: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1] });
  const parties = logParties(agreement);
  const chosen = new Set(parties.map((owner) => mirrorsOf(agreement.hash, parties, owner).join()));
  const other = mirrorsOf(new Uint8Array(32), parties, parties[0]!);
  assert.ok(chosen.size > 1);
  assert.notDeepEqual(other, mirrorsOf(agreement.hash, parties, parties[0]!));
});

for (const members of [3, 4, 7]) {
  test(`with ${members} members every log is mirrored, as far as it is cosigned, and given to others`, async (t) => {
    const network = await createNetwork(t, { fleets: Array.from({ length: members }, () => 1) });
    const owner = network.node('gateway-0');
    await owner.grow(300);
    await network.publishAll();
    await network.pullAll();
    const holders = network.nodes().filter((node) => statusOf(node, 'gateway-0'));
    assert.equal(holders.length, Math.min(3, members - 1));
    for (const holder of holders) {
      const { size, lag, state } = statusOf(holder, 'gateway-0')!;
      assert.deepEqual({ size, lag, state }, { size: 300, lag: 0, state: 'current' });
      const leaves = await leavesAt(holder, 'gateway-0', 300);
      assert.deepEqual(treeRoot(leaves.map(leafHash)), owner.journal.head()!.root);
      const note = await holder.exchange.read('/mirror/gateway-0/checkpoint')!;
      assert.match(new TextDecoder().decode(note.body), /^test-plant\/member-0\/gateway-0\n300\n/);
    }
  });
}

test('tiles of every level and width are the owner’s, and nothing behind the mirrored checkpoint is given', async (t) => {
  const network = await createNetwork(t, { fleets: [1, 1, 1] });
  const owner = network.node('gateway-0');
  await owner.grow(600);
  await network.publishAll();
  await network.pullAll();
  await owner.grow(100);
  const holder = mirrorOf(network, 'gateway-0');
  for (const size of [1, 255, 256, 257, 511, 512, 600]) {
    for (const { level, index, width } of tilesOf(size)) {
      const suffix = width === 256 ? '' : `.p/${width}`;
      const answer = await holder.exchange.read(
        `/mirror/gateway-0/tile/${level}/${String(index).padStart(3, '0')}${suffix}`,
      )!;
      assert.deepEqual(Buffer.from(answer.body), Buffer.from(await owner.journal.tile(level, index, width)));
    }
  }
  for (const path of [
    'tile/0/002.p/89',
    'tile/0/002',
    'tile/2/000.p/1',
    'tile/entries/002.p/89',
    'tile/entries/003.p/1',
    'tile/0/2',
    'tile/64/000',
    '',
    'checkpoint/',
    '../state',
  ]) {
    assert.equal((await holder.exchange.read(`/mirror/gateway-0/${path}`)!).status, 404, path);
  }
  assert.equal((await holder.exchange.read('/mirror/nobody/checkpoint')!).status, 404);
  assert.equal((await holder.exchange.read(`/mirror/${holder.name}/checkpoint`)!).status, 404);
});

test('a mirror goes on where it stopped, also after a restart', async (t) => {
  const network = await createNetwork(t, { fleets: [1, 1, 1] });
  const owner = network.node('gateway-0');
  const asked: string[] = [];
  network.onRequest((_from, to, path) => {
    if (to === 'gateway-0' && path.startsWith('/tile/entries/')) asked.push(path);
    return undefined;
  });
  for (const grow of [1, 254, 1, 1, 600, 3]) {
    await owner.grow(grow);
    await network.publishAll();
    await network.pullAll();
  }
  const { name } = mirrorOf(network, 'gateway-0');
  const again = await network.restart(name);
  assert.equal(statusOf(again, 'gateway-0')!.size, 860);
  asked.length = 0;
  await owner.grow(1);
  await network.publishAll();
  await again.pull();
  assert.deepEqual(asked, ['/tile/entries/003.p/93'], 'only the newest bundle is asked for');
  const leaves = await leavesAt(again, 'gateway-0', 861);
  assert.deepEqual(treeRoot(leaves.map(leafHash)), owner.journal.head()!.root);
});

test('nothing is mirrored that this gateway has not cosigned', async (t) => {
  const network = await createNetwork(t, { fleets: [1, 1, 1] });
  const owner = network.node('gateway-0');
  network.onRequest((_from, _to, path) =>
    path === '/add-checkpoint' ? Promise.resolve({ status: 404, body: NOTHING }) : undefined,
  );
  await owner.grow(5);
  await network.publishAll();
  await network.pullAll();
  for (const node of network.nodes()) {
    for (const { size } of node.exchange.status().mirrors) assert.equal(size, 0);
  }
});

/** Ways to give something else than what was asked for. */
const GARBAGE: Readonly<Record<string, (bytes: Uint8Array, path: string) => Uint8Array>> = {
  'a flipped byte': (bytes) => bytes.map((byte, index) => (index === bytes.length - 1 ? byte ^ 1 : byte)),
  'half of it': (bytes) => bytes.subarray(0, bytes.length >> 1),
  'nothing at all': () => NOTHING,
  'a byte too many': (bytes) => Uint8Array.of(...bytes, 0),
  '64 kB of zeroes': () => new Uint8Array(65_536),
  'other leaves of the same form': (bytes, path) => {
    const tile = parseTilePath(path.slice(1))!;
    if (tile.level !== 'entries') return bytes;
    return encodeBundle(decodeBundle(bytes, tile.width).reverse());
  },
  'a leaf of 60 kB': (bytes, path) => {
    const tile = parseTilePath(path.slice(1))!;
    if (tile.level !== 'entries') return bytes;
    const leaves = decodeBundle(bytes, tile.width);
    return encodeBundle([new Uint8Array(60_000), ...leaves.slice(1)]);
  },
};

test('garbage for an answer: nothing of it is stored, the owner is said to withhold, and is mirrored once it gives', async (t) => {
  const network = await createNetwork(t, { fleets: [1, 1, 1] });
  const owner = network.node('gateway-0');
  await owner.grow(300);
  await network.publishAll();
  const holder = mirrorOf(network, 'gateway-0');
  for (const [what, spoil] of Object.entries(GARBAGE)) {
    network.onRequest((_from, to, path, _body, pass) =>
      to === 'gateway-0' && path.startsWith('/tile/')
        ? pass().then(({ status, body }) => ({ status, body: spoil(body, path) }))
        : undefined,
    );
    await holder.pull();
    const { size, trouble } = statusOf(holder, 'gateway-0')!;
    assert.equal(size, 0, what);
    assert.ok(trouble, what);
  }
  assert.equal(statusOf(holder, 'gateway-0')!.state, 'withholding');
  assert.equal(holder.exchange.status().evidence.length, 0, 'withholding convicts nobody');
  network.onRequest(() => undefined);
  await holder.pull();
  const { size, state, failures } = statusOf(holder, 'gateway-0')!;
  assert.deepEqual({ size, state, failures }, { size: 300, state: 'current', failures: 0 });
});

test('garbage behind good batches: what was verified stays, the rest is fetched later', async (t) => {
  const network = await createNetwork(t, { fleets: [1, 1, 1] });
  const owner = network.node('gateway-0');
  await owner.grow(16 * 256 + 300);
  await network.publishAll();
  const holder = mirrorOf(network, 'gateway-0');
  network.onRequest((_from, _to, path, _body, pass) =>
    path === '/tile/entries/016'
      ? pass().then(({ status, body }) => ({ status, body: body.map((byte) => byte ^ 1) }))
      : undefined,
  );
  await holder.pull();
  assert.equal(statusOf(holder, 'gateway-0')!.size, 0, 'no checkpoint is mirrored whole');
  const asked: string[] = [];
  network.onRequest((_from, _to, path) => {
    if (path.startsWith('/tile/entries/')) asked.push(path);
    return undefined;
  });
  await holder.pull();
  assert.deepEqual(asked, ['/tile/entries/016', '/tile/entries/017.p/44']);
  const leaves = await leavesAt(holder, 'gateway-0', 16 * 256 + 300);
  assert.deepEqual(treeRoot(leaves.map(leafHash)), owner.journal.head()!.root);
});

test('requests that are never answered end, and are tried again later and later', async (t) => {
  const network = await createNetwork(t, { fleets: [1, 1, 1], limitMs: 150 });
  await network.node('gateway-0').grow(3);
  await network.publishAll();
  const holder = mirrorOf(network, 'gateway-0');
  let asked = 0;
  network.onRequest((_from, to, path) => {
    if (to !== 'gateway-0' || !path.startsWith('/tile/')) return undefined;
    asked += 1;
    return never();
  });
  const attempts: number[] = [];
  for (let second = 0; second < 32; second++) {
    holder.clock.now = second * 1000;
    const before = asked;
    await holder.exchange.pull();
    if (asked > before) attempts.push(second);
  }
  assert.deepEqual(attempts, [0, 1, 3, 7, 15, 31]);
  assert.equal(statusOf(holder, 'gateway-0')!.state, 'withholding');
});

test('a log that takes more than its bound is mirrored no further, and the mirror says so', async (t) => {
  const network = await createNetwork(t, { fleets: [1, 1, 1], maxMirrorBytes: 60_000 });
  const owner = network.node('gateway-0');
  await owner.grow(400);
  await network.publishAll();
  await network.pullAll();
  const holder = mirrorOf(network, 'gateway-0');
  assert.equal(statusOf(holder, 'gateway-0')!.size, 400);
  await owner.grow(400);
  await network.publishAll();
  let asked = 0;
  network.onRequest((_from, _to, path) => {
    if (path.startsWith('/tile/')) asked += 1;
    return undefined;
  });
  await holder.pull();
  const { size, lag, state, trouble } = statusOf(holder, 'gateway-0')!;
  assert.deepEqual({ size, lag, state }, { size: 400, lag: 400, state: 'full' });
  assert.match(trouble!, /60000 bytes/);
  assert.equal(asked, 0, 'nothing is fetched that cannot be kept');
});

test('where the partial tile is gone the beginning of the full one is taken', async (t) => {
  const network = await createNetwork(t, { fleets: [1, 1, 1] });
  const owner = network.node('gateway-0');
  await owner.grow(300);
  await network.publishAll();
  await owner.grow(300);
  network.onRequest((_from, _to, path) =>
    path.includes('.p/') ? Promise.resolve({ status: 404, body: NOTHING }) : undefined,
  );
  const holder = mirrorOf(network, 'gateway-0');
  await holder.pull();
  assert.equal(statusOf(holder, 'gateway-0')!.size, 300);
});
