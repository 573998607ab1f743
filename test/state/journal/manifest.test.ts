import assert from 'node:assert/strict';
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { randomBytes } from '#random';
import { liveTables } from '../../../runtime/state/journal/manifest.ts';
import { findDamagedTables } from '../../../runtime/state/journal/signs.ts';
import { openStore, type Store } from '../../../runtime/state/journal/store.ts';
import { temporaryDirectory } from '../../services/consortium.ts';

async function tablesIn(directory: string): Promise<readonly number[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.ldb'));
  return names.map((name) => Number.parseInt(name, 10)).sort((a, b) => a - b);
}

async function fill(store: Store, from: number, records: number): Promise<void> {
  for (let index = from; index < from + records; index++) {
    const key = `block/k/${String((index * 7919) % 10_007).padStart(8, '0')}`;
    await store.write([{ type: 'put', key, value: randomBytes(8000) }]);
  }
}

/** A store of several tables on several levels. */
async function filled(t: TestContext): Promise<string> {
  const directory = join(await temporaryDirectory(t), 'journal');
  let store = await openStore(directory, 'create', 1_000_000);
  await fill(store, 0, 150);
  await store.compact({ from: '', to: '\uffff' });
  await fill(store, 150, 150);
  await store.close();
  // LevelDB takes away what is nobody's when it opens.
  store = await openStore(directory, 'existing', 1_000_000);
  await store.close();
  return directory;
}

test('the tables that the MANIFEST names are those that LevelDB keeps', async (t) => {
  const directory = await filled(t);
  const live = await liveTables(directory);
  // One that a compaction was writing when the store was closed may lie there besides.
  const tables = await tablesIn(directory);
  assert.ok(live!.size > 2);
  assert.deepEqual(
    [...live!].filter((table) => !tables.includes(table)),
    [],
  );
  assert.deepEqual(await findDamagedTables(directory), []);
});

test('a table that was still being written when the process ended is no damage', async (t) => {
  const directory = await filled(t);
  const [name] = (await readdir(directory)).filter((one) => one.endsWith('.ldb'));
  const whole = await readFile(join(directory, name!));
  await writeFile(join(directory, '900000.ldb'), whole.subarray(0, whole.length >> 1));
  await writeFile(join(directory, '900001.ldb'), '');
  assert.deepEqual(await findDamagedTables(directory), []);
  const store = await openStore(directory, 'existing');
  await store.close();
  assert.ok(!(await tablesIn(directory)).includes(900_000));
});

test('a table that the MANIFEST names and that is cut short is damage', async (t) => {
  const directory = await filled(t);
  const [number] = [...(await liveTables(directory))!];
  const file = `${String(number).padStart(6, '0')}.ldb`;
  await truncate(join(directory, file), 1000);
  assert.deepEqual(
    (await findDamagedTables(directory)).map((one) => one.file),
    [file],
  );
});

test('a MANIFEST that cannot be read says nothing, and every table is looked at', async (t) => {
  const directory = await filled(t);
  await writeFile(join(directory, '900000.ldb'), 'no table');
  await writeFile(join(directory, 'CURRENT'), 'nonsense\n');
  assert.equal(await liveTables(directory), undefined);
  assert.ok((await findDamagedTables(directory)).some(({ file }) => file === '900000.ldb'));
});

test('tables are looked at while others are being written, and none is taken for damaged', async (t) => {
  const directory = join(await temporaryDirectory(t), 'journal');
  const store = await openStore(directory, 'create', 1_000_000);
  let writing = true;
  const writer = (async () => {
    for (let from = 0; from < 900; from += 100) {
      await fill(store, from, 100);
      await store.compact({ from: '', to: '\uffff' });
    }
    writing = false;
  })();
  let looks = 0;
  while (writing) {
    assert.deepEqual(await findDamagedTables(directory), []);
    looks += 1;
  }
  await writer;
  await store.close();
  assert.ok(looks > 3, `${looks} looks`);
});
