import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { decodeBundle } from '../../../runtime/core/log/bundle.ts';
import { leafHash } from '../../../runtime/core/log/hash.ts';
import { tileWidth } from '../../../runtime/core/log/tiles.ts';
import { treeRoot } from '../../../runtime/core/log/tree.ts';
import { beginAdoption, edgeAt, finishAdoption } from '../../../runtime/state/journal/adopt.ts';
import { type Journal, openJournal } from '../../../runtime/state/journal/journal.ts';
import type { Retention } from '../../../runtime/state/journal/retention.ts';
import { openStore } from '../../../runtime/state/journal/store.ts';
import { entry, SETTINGS, temporary } from './helpers.ts';

const RULES: readonly Retention[] = ['drop-oldest', 'keep', 'stop', 'drop-published'];

/** Blocks of all rules and empty ones, `count` in all. */
async function grow(journal: Journal, seed: number, count: number): Promise<void> {
  const before = journal.state().blocks;
  for (let index = 0; index < Math.min(count, 8); index++)
    await journal.append([entry(seed + index), entry(seed + index, 3000)], {
      rule: RULES[index % 4]!,
      urgent: true,
    });
  await journal.pad(count - Math.min(count, 8));
  assert.equal(journal.state().blocks, before + count);
}

async function leavesOf(journal: Journal): Promise<Uint8Array[]> {
  const size = journal.state().blocks;
  const leaves: Uint8Array[] = [];
  for (let index = 0; index * 256 < size; index++) {
    const width = tileWidth('entries', index, size);
    leaves.push(...decodeBundle(await journal.bundle(index, width), width));
  }
  return leaves;
}

async function blocksOf(journal: Journal): Promise<(readonly Uint8Array[] | undefined)[]> {
  return Promise.all(Array.from({ length: journal.state().blocks }, (_, index) => journal.block(index)));
}

interface Case {
  readonly common: number;
  readonly published: number;
  readonly local: number;
}

/** One journal, copied at `common` blocks; the one goes on to be published, the other goes on by itself. */
async function twoLives(t: TestContext, { common, published, local }: Case) {
  const directory = await temporary(t);
  const [first, second] = [join(directory, 'first'), join(directory, 'second')];
  const one = await openJournal(first, SETTINGS);
  await grow(one, 1_000, common);
  await one.moveCursor('telemetry', { block: common, entry: 0 });
  await one.moveCursor('slow', { block: Math.floor(common / 2), entry: 1 });
  await one.close();
  await cp(first, second, { recursive: true });
  const old = await openJournal(first, SETTINGS);
  await grow(old, 2_000, published);
  const target = { leaves: await leavesOf(old), head: old.head()! };
  await old.close();
  const journal = await openJournal(second, SETTINGS);
  await grow(journal, 3_000, local);
  await journal.moveCursor('telemetry', { block: common + Math.ceil(local / 2), entry: 0 });
  const mine = { leaves: await leavesOf(journal), blocks: await blocksOf(journal) };
  return { directory: second, journal, target, mine };
}

for (const sizes of [
  { common: 3, published: 5, local: 0 },
  { common: 8, published: 3, local: 20 },
  { common: 250, published: 30, local: 10 },
  { common: 256, published: 256, local: 256 },
  { common: 300, published: 700, local: 9 },
  { common: 20, published: 9, local: 600 },
  { common: 0, published: 12, local: 9 },
]) {
  test(`takes over ${sizes.published} leaves behind ${sizes.common}, with ${sizes.local} blocks of its own, cut off at every batch`, async (t) => {
    const { common, published, local } = sizes;
    const { directory, journal, target, mine } = await twoLives(t, sizes);
    const adoption = await beginAdoption(journal, common);
    assert.deepEqual(adoption.frontier(), await edgeAt(journal, common));
    for (let at = common; at < target.leaves.length; at += 100)
      await adoption.stage(target.leaves.slice(at, at + 100));
    await adoption.commit([journal.section('test').put('with', entry(1))]);
    await journal.close();

    let cuts = 0;
    for (;;) {
      const store = await openStore(directory, 'existing');
      const done = await finishAdoption(store, { batches: 1, bytes: 4000 });
      await store.close();
      if (!done) {
        cuts += 1;
        continue;
      }
      assert.deepEqual(done, { lost: [common, common + published], moved: local });
      break;
    }
    assert.ok(cuts > 4);

    const after = await openJournal(directory, SETTINGS);
    assert.equal(after.damage(), undefined);
    const wanted = [...target.leaves, ...mine.leaves.slice(common)];
    assert.deepEqual(await leavesOf(after), wanted);
    assert.deepEqual(after.head(), { size: wanted.length, root: treeRoot(wanted.map(leafHash)) });
    const blocks = await blocksOf(after);
    const lost = Array.from({ length: published }, () => undefined);
    assert.deepEqual(blocks, [...mine.blocks.slice(0, common), ...lost, ...mine.blocks.slice(common)]);
    assert.deepEqual(after.state().lost, [[common, common + published]]);
    const cursor = await after.cursor('telemetry');
    assert.deepEqual(cursor, { block: common + published + Math.ceil(local / 2), entry: 0 });
    if (common >= 2) assert.equal((await after.cursor('slow')).block, Math.floor(common / 2));
    assert.deepEqual(await after.section('test').get('with'), entry(1));

    // The log goes on, and says the same after another opening.
    await grow(after, 4_000, 300);
    const grown = await leavesOf(after);
    const head = after.head();
    assert.deepEqual(grown.slice(0, wanted.length), wanted);
    await after.close();
    const again = await openJournal(directory, SETTINGS);
    assert.equal(again.damage(), undefined);
    assert.deepEqual(again.head(), head);
    assert.deepEqual(again.head()!.root, treeRoot(grown.map(leafHash)));
    await again.close();
    const store = await openStore(directory, 'existing');
    assert.equal(await store.firstKey({ from: 'adopt/', to: 'adopt0' }), undefined);
    await store.close();
  });
}

test('what was laid aside and never committed changes nothing, and goes', async (t) => {
  const { directory, journal, target, mine } = await twoLives(t, { common: 10, published: 20, local: 5 });
  const adoption = await beginAdoption(journal, 10);
  await adoption.stage(target.leaves.slice(10, 25));
  await journal.close();
  const after = await openJournal(directory, SETTINGS);
  assert.deepEqual(await leavesOf(after), mine.leaves);
  assert.deepEqual(after.state().lost, []);
  await after.close();
  const store = await openStore(directory, 'existing');
  assert.equal(await store.firstKey({ from: 'adopt/', to: 'adopt0' }), undefined);
  await store.close();
});

test('leaves that lead elsewhere than when they were laid aside stop it, at the same place each time', async (t) => {
  const { directory, journal, target } = await twoLives(t, { common: 10, published: 20, local: 5 });
  const adoption = await beginAdoption(journal, 10);
  await adoption.stage(target.leaves.slice(10));
  await adoption.commit([]);
  await journal.close();
  const store = await openStore(directory, 'existing');
  const key = await store.firstKey({ from: 'adopt/leaf/', to: 'adopt/leaf0', reverse: true });
  await store.write([{ type: 'put', key: key!, value: entry(5, 37) }]);
  await assert.rejects(finishAdoption(store), /do not lead to the checkpoint/);
  await assert.rejects(finishAdoption(store), /do not lead to the checkpoint/);
  await store.close();
  await rm(directory, { recursive: true });
});

test('an adoption that ends at the fork moves nothing and takes nothing away', async (t) => {
  const directory = join(await temporary(t), 'journal');
  const before = await openJournal(directory, SETTINGS);
  await grow(before, 1_000, 6);
  const blocks = await blocksOf(before);
  const head = before.head();
  const adoption = await beginAdoption(before, 4);
  await adoption.commit([]);
  await before.close();
  const after = await openJournal(directory, SETTINGS);
  try {
    assert.deepEqual(after.head(), head);
    assert.deepEqual(after.state().lost, []);
    assert.deepEqual(await blocksOf(after), blocks);
  } finally {
    await after.close();
  }
});
