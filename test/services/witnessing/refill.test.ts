import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readOwn } from '../../../runtime/services/witnessing/exchange.ts';
import { refill } from '../../../runtime/services/witnessing/refill.ts';
import { createRefilling } from '../../../runtime/services/witnessing/refilling.ts';
import { type Journal, openJournal } from '../../../runtime/state/journal/journal.ts';
import { keys, logKeys } from '../../../runtime/state/journal/keys.ts';
import { askForMending } from '../../../runtime/state/journal/mend.ts';
import { RETENTIONS } from '../../../runtime/state/journal/retention.ts';
import { openStore } from '../../../runtime/state/journal/store.ts';
import { temporaryDirectory } from '../consortium.ts';
import { createNetwork, type Network, type Node, unanswered } from './exchanges.ts';

const bytes = (data: Uint8Array) => Buffer.from(data).toString('hex');

/** Takes these records away, as a bad place on the disk does, and has the journal mended when it is opened next. */
async function damage(directory: string, gone: readonly string[]): Promise<void> {
  const store = await openStore(directory, 'existing');
  for (const key of gone) assert.ok(await store.get(key), `${key} is there`);
  await store.write(gone.map((key) => ({ type: 'del', key })));
  await store.close();
  await askForMending(directory, 'a test has damaged it');
}

/** Blocks hold what their leaves are made of, and give them back by themselves: those from `from` on. */
async function withBlocks(directory: string, from: number, to: number): Promise<void> {
  const store = await openStore(directory, 'existing');
  for (let block = from; block < to; block++)
    await store.write(RETENTIONS.map((rule) => ({ type: 'del', key: keys.block(rule, block) })));
  await store.close();
}

/** All bundles and tiles of a log. */
async function recordsOf(log: Pick<Journal, 'bundle' | 'tile'>, size: number): Promise<readonly string[]> {
  const all: string[] = [];
  for (let first = 0; first < size; first += 256) {
    const width = Math.min(256, size - first);
    all.push(bytes(await log.bundle(first / 256, width)), bytes(await log.tile(0, first / 256, width)));
  }
  if (size >= 256) all.push(bytes(await log.tile(1, 0, Math.floor(size / 256))));
  return all;
}

async function published(t: TestContext, size: number, members = 4): Promise<{ net: Network; node: Node }> {
  const net = await createNetwork(t, { fleets: Array.from({ length: members }, () => 1) });
  const node = net.node('gateway-0');
  await node.grow(size);
  await net.publishAll();
  await net.pullAll();
  return { net, node };
}

test('records that are gone come back from mirrors, verified, and tiles from what they are made of', async (t) => {
  const { net, node } = await published(t, 1100);
  const before = await recordsOf(node.journal, 1100);
  const again = await net.restart('gateway-0', async (directory) => {
    await withBlocks(directory, 0, 1100);
    const { bundle, tile, leaf } = keys.log;
    await damage(directory, [bundle(0), tile(0, 0), bundle(2), tile(0, 3), leaf(1030), leaf(1099)]);
  });
  await assert.rejects(recordsOf(again.journal, 1100));
  assert.ok((await again.journal.refillable.holes()).length > 0);
  let lies = 0;
  net.onRequest((_from, to, path, _body, pass) => {
    if (to !== 'gateway-1' || !path.includes('/entries/')) return undefined;
    lies += 1;
    return pass().then(({ status, body }) => ({
      status,
      body: body.map((byte, index) => (index === 40 ? byte ^ 1 : byte)),
    }));
  });
  await again.exchange.refill();
  assert.ok(lies > 0, 'a mirror lied');
  assert.deepEqual(await again.journal.refillable.holes(), []);
  assert.deepEqual(again.exchange.status().incomplete, []);
  assert.ok(
    again.reports.some((line) => /info \d+ records of the log of gateway-0 were put back/.test(line)),
  );
  assert.deepEqual(await recordsOf(again.journal, 1100), before);
  await again.grow(300);
  const after = await recordsOf(again.journal, 1400);
  const third = await net.restart('gateway-0');
  assert.deepEqual(await recordsOf(third.journal, 1400), after, 'and stays');
  assert.deepEqual(await third.journal.refillable.holes(), []);
});

test('what no mirror has stays open, and is named; with nobody in reach it waits', async (t) => {
  const { net, node } = await published(t, 300, 3);
  await node.grow(300);
  const again = await net.restart('gateway-0', async (directory) => {
    await withBlocks(directory, 0, 600);
    await damage(directory, [keys.log.bundle(0), keys.log.bundle(1)]);
  });
  net.onRequest(() => unanswered());
  await again.exchange.refill();
  assert.deepEqual(
    again.exchange.status().incomplete.map(({ gateway, records, trouble }) => [gateway, records, trouble]),
    [['gateway-0', 2, 'no gateway that has a copy of it is in reach']],
  );
  net.onRequest(() => undefined);
  await again.exchange.refill();
  assert.equal(again.exchange.status().incomplete[0]?.records, 2, 'not at once again');
  again.clock.now += 20_000;
  await again.exchange.refill();
  const [left] = again.exchange.status().incomplete;
  assert.equal(left?.records, 1);
  assert.match(left.trouble, /the copies of .* do not reach that far/);
  assert.equal((await again.journal.bundle(0, 256)).length > 0, true);
  await assert.rejects(again.journal.bundle(1, 256), /a mirror may have it/);
  assert.deepEqual(await again.journal.refillable.holes(), [{ level: 'entries', index: 1, width: 256 }]);
});

for (const grown of [0, 200]) {
  test(`holes of the newest bundle, ${grown} leaves later: from what is here and what a mirror has of it`, async (t) => {
    const { net, node } = await published(t, 400, 3);
    await node.grow(50);
    const { bundle, tile } = {
      bundle: await node.journal.bundle(1, 194),
      tile: await node.journal.tile(0, 1, 194),
    };
    const again = await net.restart('gateway-0', async (directory) => {
      await withBlocks(directory, 0, 450);
      await damage(directory, [keys.log.leaf(300), keys.log.leaf(399)]);
    });
    await again.grow(grown);
    await assert.rejects(again.journal.bundle(1, 194));
    await again.exchange.refill();
    assert.deepEqual(again.exchange.status().incomplete, []);
    assert.equal(bytes(await again.journal.bundle(1, 194)), bytes(bundle));
    assert.equal(bytes(await again.journal.tile(0, 1, 194)), bytes(tile));
    await again.grow(300);
    const size = 750 + grown;
    const after = await recordsOf(again.journal, size);
    const third = await net.restart('gateway-0');
    assert.deepEqual(await recordsOf(third.journal, size), after);
    const store = third.journal;
    assert.deepEqual(store.head()?.size, size);
  });
}

test('a mirror takes back what it lacks from the owner, or from another mirror', async (t) => {
  const { net } = await published(t, 700, 3);
  const log = logKeys('mirror/gateway-0/');
  const again = await net.restart('gateway-1', (directory) =>
    damage(directory, [log.bundle(0), log.bundle(1), log.tile(0, 1), log.leaf(600)]),
  );
  const read = (path: string) => again.exchange.read(`/mirror/gateway-0/${path}`)!;
  assert.equal((await read('tile/entries/000')).status, 404);
  const asked = new Set<string>();
  net.onRequest((_from, to, path) => {
    if (!path.includes('tile/')) return undefined;
    asked.add(to);
    return to === 'gateway-0' ? unanswered() : undefined;
  });
  await again.exchange.refill();
  assert.deepEqual([...asked].sort(), ['gateway-0', 'gateway-2']);
  assert.deepEqual(again.exchange.status().incomplete, []);
  const owner = readOwn(net.node('gateway-0').journal);
  for (const path of ['tile/entries/000', 'tile/entries/001', 'tile/0/001', 'tile/entries/002.p/188']) {
    const answer = await read(path);
    assert.equal(answer.status, 200, path);
    assert.equal(bytes(answer.body), bytes(await owner(path)), path);
  }
  net.onRequest(() => undefined);
  await net.node('gateway-0').grow(200);
  await net.publishAll();
  await again.pull();
  assert.equal((await read('tile/entries/002')).status, 200, 'and goes on');
});

test('a store that takes nothing is told of once, and tried again later and later', async () => {
  let now = 0;
  let tries = 0;
  const reports: string[] = [];
  const log = {
    frontier: () => ({ size: 300, hashes: [] }),
    tile: () => Promise.reject(new Error('absent')),
    parts: () => Promise.resolve([undefined]),
    holes: () => Promise.resolve([{ level: 'entries' as const, index: 0, width: 256 }]),
    fill() {
      tries += 1;
      return Promise.reject(new Error('the disk is full'));
    },
  };
  const head = { size: 300, root: new Uint8Array(32) };
  const source = { gateway: 'copy', head, fetch: () => Promise.reject(new Error('no answer')) };
  const refilling = createRefilling({
    logs: () => [{ gateway: 'own', log, sources: async () => [source] }],
    now: () => now,
    report: (level, message) => void reports.push(`${level} ${message}`),
  });
  for (; now < 3_600_000; now += 2000) await refilling.round();
  assert.ok(tries >= 5 && tries <= 10, `${tries} times in an hour`);
  assert.deepEqual(reports, ['warn records of the log of own are gone and not back yet: the disk is full']);
  assert.equal(refilling.status()[0]?.trouble, 'the disk is full');
  assert.equal(refilling.done(), false);
  refilling.stop();
});

test('a tree that is not this log is not taken into it, though its own proofs hold', async (t) => {
  const directory = await temporaryDirectory(t);
  const settings = { commitIntervalMs: 1, maxBytes: 1e9, maxDiskBytes: 2e9, maxPendingBytes: 1e8 };
  const opened = (name: string) => openJournal(join(directory, name, 'journal'), settings);
  for (const name of ['own', 'other']) await mkdir(join(directory, name));
  const whole = await opened('own');
  await whole.pad(600);
  await whole.close();
  const path = join(directory, 'own', 'journal');
  await withBlocks(path, 0, 600);
  await damage(path, [keys.log.bundle(0), keys.log.bundle(1), keys.log.tile(0, 1)]);
  const [own, other] = [await opened('own'), await opened('other')];
  t.after(async () => {
    await own.close();
    await other.close();
  });
  const never = new AbortController().signal;
  const tried = () =>
    refill(own.refillable, [{ gateway: 'other', head: other.head()!, fetch: readOwn(other) }], never);
  await other.pad(300);
  // It does not reach the first subtree of the right edge; the hashes of this bundle are still there.
  const small = await tried();
  assert.match(small.failures[0]!.reason, /bundle 0: it is not what this log has had there/);
  await assert.rejects(own.bundle(0, 256));
  for (const more of [300, 100]) {
    await other.pad(more);
    const { records, open, failures } = await tried();
    assert.deepEqual(
      [records, open.length, failures],
      [0, 3, [{ gateway: 'other', reason: 'its checkpoint is of another tree' }]],
    );
  }
});
