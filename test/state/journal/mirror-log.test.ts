import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { randomBytes } from '#random';
import { leafHash } from '../../../runtime/core/log/hash.ts';
import { createFrontier, treeRoot } from '../../../runtime/core/log/tree.ts';
import { openMirrorLog } from '../../../runtime/state/journal/mirror-log.ts';
import { openStore, type Store } from '../../../runtime/state/journal/store.ts';
import { temporaryDirectory } from '../../services/consortium.ts';

async function storeFor(t: TestContext): Promise<Store> {
  const store = await openStore(join(await temporaryDirectory(t), 'journal'), 'create');
  t.after(() => store.close());
  return store;
}

const leavesOf = (count: number) => Array.from({ length: count }, () => randomBytes(36));
const rootOf = (leaves: readonly Uint8Array[]) => treeRoot(leaves.map(leafHash));

test('every way to cut a log into batches makes the same mirror', async (t) => {
  const store = await storeFor(t);
  const leaves = leavesOf(600);
  for (const [index, sizes] of [
    [600],
    [1, 255, 256, 88],
    [300, 300],
    Array.from({ length: 60 }, () => 10),
  ].entries()) {
    let log = await openMirrorLog(store, `peer-${index}`, (writes) => store.write(writes));
    let at = 0;
    for (const size of sizes) {
      await log.append(leaves.slice(at, at + size));
      at += size;
      assert.deepEqual(createFrontier(log.frontier()).root(), rootOf(leaves.slice(0, at)));
      // As a restart would.
      log = await openMirrorLog(store, `peer-${index}`, (writes) => store.write(writes));
      assert.equal(log.frontier().size, at);
    }
    assert.deepEqual(await log.leaves(1, 256), leaves.slice(256, 512));
    assert.deepEqual(await log.leaves(2, 88), leaves.slice(512, 600));
    assert.deepEqual((await log.tile(1, 0, 2)).length, 64);
    let records = 0;
    for await (const [key] of store.entries({ from: `mirror/peer-${index}/`, to: `mirror/peer-${index}0` })) {
      if (key.includes('/leaf/')) records += 1;
    }
    assert.equal(records, 88, 'leaves whose bundle is full have no records of their own');
  }
});

test('a write that fails leaves the mirror where it was, and it goes on from there', async (t) => {
  const store = await storeFor(t);
  let fails = false;
  const log = await openMirrorLog(store, 'peer', async (writes) => {
    if (fails) throw new Error('the disk is full');
    await store.write(writes);
  });
  const leaves = leavesOf(700);
  const note = Uint8Array.of(1);
  await log.append(leaves.slice(0, 300), note);
  fails = true;
  await assert.rejects(log.append(leaves.slice(300), Uint8Array.of(2)), /disk is full/);
  assert.deepEqual([log.frontier().size, log.note()], [300, note]);
  await assert.rejects(log.leaves(1, 256), 'what is not durable is not shown');
  fails = false;
  await log.append(leaves.slice(300), Uint8Array.of(2));
  assert.deepEqual(createFrontier(log.frontier()).root(), rootOf(leaves));
  assert.deepEqual(await log.leaves(1, 256), leaves.slice(256, 512));
});

test('a damaged state is not believed: the mirror begins anew; a damaged bundle is a hole', async (t) => {
  const directory = join(await temporaryDirectory(t), 'journal');
  const store = await openStore(directory, 'create');
  const leaves = leavesOf(300);
  const log = await openMirrorLog(store, 'peer', (writes) => store.write(writes));
  await log.append(leaves, Uint8Array.of(7));
  await store.close();

  // Below the checksums, where a worn card changes a byte.
  const { Level } = await import('level');
  const raw = new Level<string, Uint8Array>(directory, { valueEncoding: 'view' });
  const flip = async (key: string) => {
    const value = Uint8Array.from((await raw.get(key)) as Uint8Array);
    value[3]! ^= 1;
    await raw.put(key, value);
  };
  const [bundle] = await raw.keys({ gte: 'mirror/peer/bundle/', limit: 1 }).all();
  await flip(bundle!);
  await raw.close();
  let again = await openStore(directory, 'existing');
  let damaged = await openMirrorLog(again, 'peer', (writes) => again.write(writes));
  assert.equal(damaged.frontier().size, 300);
  await assert.rejects(damaged.leaves(0, 256), { name: 'DamagedRecord' });
  assert.deepEqual(await damaged.leaves(1, 44), leaves.slice(256));
  await again.close();

  await raw.open();
  await flip('mirror/peer/state');
  await raw.close();
  again = await openStore(directory, 'existing');
  t.after(() => again.close());
  damaged = await openMirrorLog(again, 'peer', (writes) => again.write(writes));
  assert.deepEqual([damaged.frontier().size, damaged.note()], [0, undefined]);
  await damaged.append(leaves, Uint8Array.of(7));
  assert.deepEqual(await damaged.leaves(0, 256), leaves.slice(0, 256), 'and has all of it once more');
});
