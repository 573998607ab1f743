import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Level } from 'level';
import { type Journal, openJournal } from '../../../runtime/state/journal/journal.ts';
import { keys } from '../../../runtime/state/journal/keys.ts';
import { askForMending } from '../../../runtime/state/journal/mend.ts';
import { checkTable, recordsWithoutIndex } from '../../../runtime/state/journal/table-file.ts';
import { assertTrue, fileOf, type Made, made } from './damaged.ts';
import { SETTINGS } from './helpers.ts';

let whole: Made;

before(async () => {
  whole = await made();
});

after(() => whole?.remove());

/** Flips a file, beside what a test takes for the rest. */
const PER_FILE = 12;

/** A generator of numbers below `bound`, the same for the same seed. */
function createRandom(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

/** Records of sections and cursors are as they were written, or gone with a word. */
async function assertRecords(journal: Journal, what: string): Promise<void> {
  const damage = journal.damage();
  const { block } = await journal.cursor('reader');
  assert.ok(block === 550 || damage, `${what}: the cursor is at ${block}`);
  for (const [counter, at] of [
    ['stream/a/s', 588],
    ['stream/b/s', 588],
    ['notebook', 12],
  ] as const) {
    const bytes = await journal.section('sequence').get(counter);
    const number =
      bytes &&
      (bytes.length === 2 ? bytes[1]! : bytes.length === 3 ? bytes[2]! : bytes[2]! * 256 + bytes[3]!);
    assert.ok(number === at || damage?.incarnation === 1, `${what}: ${counter} is at ${number}`);
  }
}

test('a flipped byte in each file, at many places: noticed and named, or without effect; never believed', async () => {
  const random = createRandom(20);
  const original = await whole.copy('original');
  const files = (await readdir(original)).filter((name) => !/^LO(CK|G|G\.old)$/.test(name));
  assert.equal(files.length, 4, files.join());
  for (const file of files) {
    const bytes = await readFile(join(original, file));
    const count = Math.min(PER_FILE, bytes.length);
    for (let turn = 0; turn < count; turn++) {
      const at = count === bytes.length ? turn : random(bytes.length);
      const bit = 1 << random(8);
      const what = `${file}, byte ${at} of ${bytes.length} ^ ${bit}`;
      const path = await whole.copy('copy');
      const changed = Uint8Array.from(bytes);
      changed[at]! ^= bit;
      await writeFile(join(path, file), changed);
      let journal = await openJournal(path, SETTINGS);
      await journal.scrub();
      const trouble = journal.trouble();
      await journal.close();
      journal = await openJournal(path, SETTINGS);
      if (trouble) assert.ok(journal.damage(), what);
      const gone = await assertTrue(whole, journal);
      assert.ok(gone === 0 || journal.damage()!.found.length > 0, what);
      if (journal.state().blocks < 600) assert.ok(journal.damage(), what);
      await assertRecords(journal, what);
      await journal.append([new Uint8Array(40)]);
      await journal.close();
      journal = await openJournal(path, SETTINGS);
      assert.deepEqual(await journal.scrub(), [], `${what}: it is mended`);
      await journal.close();
      await rm(join(path, '..'), { recursive: true });
    }
  }
});

const RECORDS = [
  keys.block('drop-oldest', 0),
  keys.block('keep', 507),
  keys.log.leaf(599),
  keys.log.bundle(0),
  keys.log.bundle(1),
  keys.log.tile(0, 0),
  keys.log.tile(0, 1),
  keys.state,
  keys.cursor('reader'),
  keys.section('sequence', 'stream/a/s'),
];

test('each kind of record with its value changed, its key changed, gone: noticed, named, never believed', async () => {
  const flipKey = (key: string) =>
    `${key.slice(0, -1)}${String.fromCharCode(key.charCodeAt(key.length - 1) ^ 0x40)}`;
  for (const key of RECORDS) {
    for (const change of ['value', 'key'] as const) {
      const path = await whole.copy('copy');
      const level = new Level<string, Uint8Array>(path, { valueEncoding: 'view' });
      const value = Uint8Array.from((await level.get(key))!);
      if (change === 'value') {
        value[value.length >> 1]! ^= 4;
        await level.put(key, value);
      } else
        await level.batch([
          { type: 'del', key },
          { type: 'put', key: flipKey(key), value },
        ]);
      await level.close();
      const named = change === 'value' ? key : flipKey(key);
      let journal = await openJournal(path, SETTINGS);
      if (!journal.damage()) {
        // Whoever reads it is refused, or is not given it; then all of it is looked at.
        for (let block = 0; block < 600; block++) {
          const entries = await journal.block(block);
          if (entries) assert.equal(Buffer.from(entries[0]!).toString('hex'), whole.blocks[block]![0]);
        }
        await journal.close();
        await askForMending(path, 'a test wants it');
        journal = await openJournal(path, SETTINGS);
      }
      const { found } = journal.damage()!;
      assert.ok(
        found.some((line) => line.includes(JSON.stringify(named).slice(1, -1)) || line.includes(key)),
        `${key}, ${change}: ${found.join('; ')}`,
      );
      const gone = await assertTrue(whole, journal);
      assert.equal(gone, key.startsWith('block/') ? 1 : 0, `${key}, ${change}`);
      for (let tile = 0; tile < 3; tile++) await journal.tile(0, tile, tile === 2 ? 88 : 256);
      await assertRecords(journal, key);
      await journal.close();
      await rm(join(path, '..'), { recursive: true });
    }
  }
});

test('every byte of a table counts, and without its index its records are found', async () => {
  const path = await whole.copy('tables');
  const table = await fileOf(path, /\.ldb$/);
  assert.equal((await checkTable(table)).damage, undefined);
  const bytes = await readFile(table);
  const random = createRandom(3);
  const places = Array.from({ length: 100 }, () => random(bytes.length - 100));
  for (let back = 1; back <= 100; back++) places.push(bytes.length - back);
  for (const at of places) {
    const changed = Uint8Array.from(bytes);
    changed[at]! ^= 1 << random(8);
    await writeFile(table, changed);
    assert.ok((await checkTable(table)).damage, `byte ${at} of ${bytes.length}`);
  }
  const level = new Level<string, Uint8Array>(await whole.copy('other'), { valueEncoding: 'view' });
  await writeFile(table, bytes.subarray(0, bytes.length - 60));
  const records = await recordsWithoutIndex(table);
  assert.ok(records.length > 520);
  for (const { key, value } of records) {
    const now = await level.get(key.toString());
    if (key.toString().startsWith('block/')) assert.deepEqual(Buffer.from(now!), value);
  }
  await level.close();
});
