import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { heldShare } from '../../../runtime/state/journal/disk.ts';
import { type JournalSettings, openJournal } from '../../../runtime/state/journal/journal.ts';
import { createJournalReader } from '../../../runtime/state/journal/reader.ts';
import { opened, SETTINGS, temporary } from './helpers.ts';

const BOUND = 32_000_000;
const BOUNDED: Partial<JournalSettings> = { maxDiskBytes: BOUND, maxBytes: heldShare(BOUND) };

async function sizeOf(directory: string): Promise<number> {
  const sizes = await Promise.all(
    (await readdir(directory)).map((name) =>
      stat(join(directory, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

test('several times the bound is written: the files never take more, write-ahead and compaction included', async (t) => {
  const directory = await temporary(t);
  const journal = await opened(t, BOUNDED, directory);
  let most = 0;
  let done = false;
  const watch = (async () => {
    while (!done) {
      most = Math.max(most, await sizeOf(directory));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  let written = 0;
  while (written < 3 * BOUND) {
    // What is signed or salted cannot be compressed.
    await Promise.all(Array.from({ length: 8 }, () => journal.append([randomBytes(20_000)])));
    written += 160_000;
  }
  done = true;
  await watch;
  assert.ok(most > heldShare(BOUND) && most <= BOUND, `${most} bytes of ${BOUND}`);
  assert.ok(journal.state().bytes > heldShare(BOUND) * 0.8, 'no more is dropped than has to be');
  assert.equal(journal.trouble(), undefined);
});

test('what may not be dropped fills the journal: new samples are refused, and taken again when subscribers have caught up', async (t) => {
  const journal = await opened(t, { maxBytes: 50_000 });
  const reader = createJournalReader(journal, 'telemetry');
  await journal.cursor('telemetry');
  const append = () => journal.append([randomBytes(5000)], { urgent: true, rule: 'drop-published' });
  let taken = 0;
  await assert.rejects(
    async () => {
      for (; taken < 100; taken++) await append();
    },
    (error: Error) => {
      assert.equal(error.name, 'JournalFull');
      assert.match(
        error.message,
        /samples of this stream may not be dropped \(drop-published\); give it more room/,
      );
      return true;
    },
  );
  assert.ok(taken >= 10 && taken < 13, `${taken} blocks of 5 kB in 50 kB`);
  assert.match(String(journal.trouble()), /bytes are used up, and nothing may be dropped/);
  assert.equal(journal.state().first, 0);
  await journal.append([randomBytes(100)], { urgent: true, rule: 'keep' });
  const { signal } = new AbortController();
  for (let block = 0; block < 5; block++) await reader.next(1, signal);
  const [sixth] = await reader.next(1, signal);
  await assert.rejects(append(), { name: 'JournalFull' }, 'read is not published');
  await reader.commit(sixth!.after);
  await append();
  assert.equal(journal.trouble(), undefined);
  assert.ok(journal.state().first > 0);
  assert.equal(journal.state().droppedUnread, 0);
  for (let block = journal.state().first; block < 6; block++) assert.ok(await journal.block(block));
});

test('a stream that stops: nothing of it goes, others’ oldest make way', async (t) => {
  const journal = await opened(t, { maxBytes: 50_000 });
  const append = (rule: 'stop' | 'drop-oldest') =>
    journal.append([randomBytes(5000)], { urgent: true, rule });
  for (let turn = 0; turn < 5; turn++) await append('stop');
  for (let turn = 0; turn < 20; turn++) await append('drop-oldest');
  assert.equal(journal.trouble(), undefined, 'what may be dropped makes room');
  const { held } = journal.state();
  assert.equal(held.stop.first, 0);
  assert.deepEqual([held.stop.dropped, held['drop-oldest'].dropped > 5], [0, true]);
  for (let block = 0; block < 5; block++) assert.ok(await journal.block(block));
  assert.equal(await journal.block(5), undefined);
  assert.equal(await journal.nextHeld(5), held['drop-oldest'].first);
  assert.equal(await journal.nextHeld(0), 0);
  assert.equal(await journal.nextHeld(journal.state().blocks), undefined);
  await assert.rejects(async () => {
    for (let turn = 0; turn < 20; turn++) await append('stop');
  }, /may not be dropped \(stop\)/);
  await append('drop-oldest');
  await journal.append([randomBytes(100)], { urgent: true, rule: 'keep' });
  for (let block = 0; block < 5; block++) assert.ok(await journal.block(block));
});

test('what the files take is known from the start on', async (t) => {
  const directory = await temporary(t);
  const before = await openJournal(directory, { ...SETTINGS, ...BOUNDED });
  for (let turn = 0; turn < 10; turn++) await before.append([randomBytes(100_000)], { urgent: true });
  await before.close();
  const journal = await opened(t, BOUNDED, directory);
  assert.ok(journal.diskBytes() > 1_000_000, `${journal.diskBytes()} bytes`);
});
