import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { leafDataOf } from '../../../runtime/core/log/block.ts';
import { decodeBundle } from '../../../runtime/core/log/bundle.ts';
import { HASH_LENGTH, leafHash } from '../../../runtime/core/log/hash.ts';
import { TILE_WIDTH } from '../../../runtime/core/log/tiles.ts';
import { treeRoot } from '../../../runtime/core/log/tree.ts';
import { type Journal, openJournal } from '../../../runtime/state/journal/journal.ts';
import { keys } from '../../../runtime/state/journal/keys.ts';
import { openStore } from '../../../runtime/state/journal/store.ts';
import { openTreeLog } from '../../../runtime/state/journal/tree-log.ts';
import { closing, entry, SETTINGS, temporary } from './helpers.ts';

const EMPTY = { size: 0, hashes: [] };

/** The log's leaf of a block. */
async function hashOf(journal: Journal, block: number): Promise<Uint8Array> {
  return leafHash(leafDataOf((await journal.record(block))!.opening));
}

/** The hashes of tile (level, index), `width` of them, from the leaves alone. */
function tileFrom(leaves: readonly Uint8Array[], level: number, index: number, width: number): string {
  const span = TILE_WIDTH ** level;
  let hashes = '';
  for (let column = index * TILE_WIDTH; column < index * TILE_WIDTH + width; column++) {
    hashes += toHex(treeRoot(leaves.slice(column * span, (column + 1) * span)));
  }
  return hashes;
}

async function compareTiles(
  log: Pick<Journal, 'tile'> & Partial<Pick<Journal, 'bundle'>>,
  leaves: readonly Uint8Array[],
  widths: readonly number[] = [1],
): Promise<void> {
  for (let level = 0; TILE_WIDTH ** level <= leaves.length; level++) {
    const columns = Math.floor(leaves.length / TILE_WIDTH ** level);
    for (let index = 0; index * TILE_WIDTH < columns; index++) {
      const most = Math.min(TILE_WIDTH, columns - index * TILE_WIDTH);
      for (const width of new Set([...widths.filter((one) => one <= most), most])) {
        const bytes = await log.tile(level, index, width);
        assert.equal(bytes.length, width * HASH_LENGTH);
        assert.equal(toHex(bytes), tileFrom(leaves, level, index, width), `tile ${level}/${index}.${width}`);
        if (level > 0 || !log.bundle) continue;
        const data = decodeBundle(await log.bundle(index, width), width);
        assert.equal(
          data.map((one) => toHex(leafHash(one))).join(''),
          toHex(bytes),
          `bundle ${index}.${width}`,
        );
      }
    }
    const next = Math.floor(columns / TILE_WIDTH);
    await assert.rejects(log.tile(level, next, columns - next * TILE_WIDTH + 1), /has no tile/);
  }
}

test('roots of all sizes from 1 to 600 and the tiles, opened anew in between', async (t) => {
  const directory = await temporary(t);
  const openedAnewAt = new Set([1, 2, 255, 256, 257, 300, 511, 512, 513, 600]);
  const leaves: Uint8Array[] = [];
  let journal = await openJournal(directory, SETTINGS);
  closing(t, () => journal.close());
  assert.equal(journal.head(), undefined);
  for (let size = 1; size <= 600; size++) {
    await journal.append([entry(size)], { urgent: true });
    leaves.push(await hashOf(journal, size - 1));
    const expected = { size, root: toHex(treeRoot(leaves)) };
    const rootNow = () => ({ size: journal.head()?.size, root: toHex(journal.head()!.root) });
    assert.deepEqual(rootNow(), expected);
    if (!openedAnewAt.has(size)) continue;
    await compareTiles(journal, leaves, [1, 2, 100, 255]);
    await journal.close();
    journal = await openJournal(directory, SETTINGS);
    assert.deepEqual(rootNow(), expected, 'opened anew');
    await compareTiles(journal, leaves, [1, 2, 100, 255]);
  }
});

test('across the third level, 65,536 leaves', async (t) => {
  const directory = await temporary(t);
  const leaves: Uint8Array[] = [];
  let store = await openStore(directory, 'create');
  closing(t, () => store.close());
  let log = await openTreeLog(store, keys.log, EMPTY);
  for (const size of [65_535, 65_537]) {
    while (leaves.length < size) {
      const writes = [];
      for (let count = 0; count < 4096 && leaves.length < size; count++) {
        const data = entry(leaves.length);
        leaves.push(leafHash(data));
        writes.push(...log.append(data));
      }
      await store.write(writes);
      log.settle();
    }
    const root = toHex(treeRoot(leaves));
    assert.equal(toHex(log.root()), root);
    const right = log.frontier();
    await store.close();
    store = await openStore(directory, 'existing');
    log = await openTreeLog(store, keys.log, right);
    assert.equal(log.size(), size);
    assert.equal(toHex(log.root()), root);
    for (const [level, index, width] of [
      [0, 255, 255],
      [1, 0, 255],
      [0, 3, 256],
    ] as const) {
      assert.equal(toHex(await log.tile(level, index, width)), tileFrom(leaves, level, index, width));
    }
  }
  assert.equal(toHex(await log.tile(2, 0, 1)), toHex(treeRoot(leaves.slice(0, 65_536))));
});

test('until a full tile is stored its durable part can be read, and no more than that', async (t) => {
  const store = await openStore(await temporary(t), 'create');
  closing(t, () => store.close());
  const log = await openTreeLog(store, keys.log, EMPTY);
  const leaves: Uint8Array[] = [];
  const append = () => {
    leaves.push(leafHash(entry(leaves.length)));
    return log.append(entry(leaves.length - 1));
  };
  await store.write(Array.from({ length: 255 }, append).flat());
  log.settle();
  const writes = append();
  assert.equal(toHex(await log.tile(0, 0, 255)), tileFrom(leaves, 0, 0, 255));
  await assert.rejects(log.tile(0, 0, 256), /has no tile 0\/0 of width 256 yet/);
  await assert.rejects(log.tile(1, 0, 1), /has no tile 1\/0 of width 1 yet/);
  await store.write(writes);
  log.settle();
  await compareTiles(log, leaves, [255]);
});

test('leaves of a full bundle are records no more, those behind it are', async (t) => {
  const directory = await temporary(t);
  const journal = await openJournal(directory, SETTINGS);
  await journal.pad(300);
  await journal.close();
  const store = await openStore(directory, 'existing');
  closing(t, () => store.close());
  assert.equal(await store.get(keys.log.leaf(255)), undefined);
  assert.equal((await store.get(keys.log.leaf(256)))?.length, 36);
  assert.equal((await store.get(keys.log.bundle(0)))?.length, 256 * 38);
});

test('a record of the edge that is gone is a hole: the log goes on with the right root, and says so', async (t) => {
  const directory = await temporary(t);
  const leaves: Uint8Array[] = [];
  let store = await openStore(directory, 'create');
  closing(t, () => store.close());
  let log = await openTreeLog(store, keys.log, EMPTY);
  const append = async (until: number) => {
    const writes = [];
    while (leaves.length < until) {
      leaves.push(leafHash(entry(leaves.length)));
      writes.push(...log.append(entry(leaves.length - 1)));
    }
    await store.write(writes);
    log.settle();
  };
  await append(300);
  const right = log.frontier();
  await store.write([
    { type: 'del', key: keys.log.leaf(290) },
    { type: 'del', key: keys.log.tile(0, 0) },
  ]);
  log = await openTreeLog(store, keys.log, right);
  assert.equal(toHex(log.root()), toHex(treeRoot(leaves)));
  assert.equal(toHex(await log.tile(0, 1, 34)), tileFrom(leaves, 0, 1, 34));
  assert.equal((await log.leaves(1, 34)).length, 34);
  await assert.rejects(log.tile(0, 1, 35), /tile 0\/1 has a hole/);
  await assert.rejects(log.leaves(1, 35), /bundle 1 has a hole/);
  await assert.rejects(log.tile(0, 0, 256), /log\/tile\/0+\/0+ is absent; a mirror may have it/);
  await append(700);
  assert.equal(toHex(log.root()), toHex(treeRoot(leaves)));
  await assert.rejects(log.tile(0, 1, 256), /is absent/);
  await assert.rejects(log.leaves(1, 256), /is absent/);
  assert.equal(await store.get(keys.log.bundle(1)), undefined, 'nothing incomplete is stored');
  assert.ok(await store.get(keys.log.leaf(291)), 'and what could fill it is kept');
  assert.equal(toHex(await log.tile(0, 2, 188)), tileFrom(leaves, 0, 2, 188));
  const again = log.frontier();
  await store.close();
  store = await openStore(directory, 'existing');
  log = await openTreeLog(store, keys.log, again);
  assert.equal(toHex(log.root()), toHex(treeRoot(leaves)));
  assert.equal(toHex(await log.tile(0, 2, 188)), tileFrom(leaves, 0, 2, 188));
  await assert.rejects(log.tile(1, 0, 2), /has a hole/);
});
