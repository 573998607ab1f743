import assert from 'node:assert/strict';
import { chmod, chown, cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MAX_BLOCK_ENTRIES } from '../../../runtime/core/log/block.ts';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import { createJournalReader } from '../../../runtime/state/journal/reader.ts';
import { openStore } from '../../../runtime/state/journal/store.ts';
import { entriesOf, entry, isPending, opened, SETTINGS, temporary } from './helpers.ts';

const HOUR = 3_600_000;

test('what is handed in between two commits is one block, in order', async (t) => {
  const journal = await opened(t);
  const all = Array.from({ length: 50 }, (_, number) => entry(number));
  await Promise.all(all.map((bytes) => journal.append([bytes])));
  const { blocks, first, entries, droppedUnread, lost } = journal.state();
  assert.deepEqual(
    { blocks, first, entries, droppedUnread, lost },
    {
      blocks: 1,
      first: 0,
      entries: 50,
      droppedUnread: 0,
      lost: [],
    },
  );
  assert.deepEqual(await entriesOf(journal), all);
  assert.equal(await journal.block(1), undefined);
});

test('append resolves when the entries are on disk, not before', async (t) => {
  const directory = await temporary(t);
  const journal = await opened(t, { commitIntervalMs: HOUR }, join(directory, 'live'));
  const section = journal.section('room');
  const imageOf = async (name: string) => {
    // What a crash at this moment would leave.
    await cp(join(directory, 'live'), join(directory, name), { recursive: true });
    const image = await opened(t, {}, join(directory, name));
    return { entries: await entriesOf(image), record: await image.section('room').get('key') };
  };
  const patient = journal.append([entry(1)], { writes: [section.put('key', entry(7))] });
  assert.ok(await isPending(patient));
  assert.deepEqual(await imageOf('before'), { entries: [], record: undefined });
  assert.equal(journal.head(), undefined);
  assert.ok(await isPending(patient));
  await journal.append([entry(2)], { urgent: true });
  assert.equal(await isPending(patient), false, 'an urgent entry takes along what waits');
  assert.deepEqual(await imageOf('after'), { entries: [entry(1), entry(2)], record: entry(7) });
  assert.equal(journal.state().blocks, 1);
});

test('urgent and patient hand-ins at once: every one is there once, blocks follow each other', async (t) => {
  const directory = await temporary(t);
  const journal = await openJournal(directory, SETTINGS);
  const numbers = Array.from({ length: 400 }, (_, number) => number);
  const work: Promise<void>[] = [];
  for (const number of numbers) {
    work.push(journal.append([entry(number)], { urgent: number % 3 === 0 }));
    if (number % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(work);
  assert.deepEqual(
    await entriesOf(journal),
    numbers.map((number) => entry(number)),
  );
  const state = journal.state();
  assert.ok(state.blocks > 1);
  await journal.close();
  const again = await opened(t, {}, directory);
  assert.deepEqual(again.state(), state);
  assert.deepEqual(
    await entriesOf(again),
    numbers.map((number) => entry(number)),
  );
});

test('a commit of more than a block holds becomes several', async (t) => {
  const journal = await opened(t);
  await journal.append(Array.from({ length: MAX_BLOCK_ENTRIES + 1 }, (_, number) => entry(number)));
  assert.equal(journal.state().blocks, 2);
  assert.equal((await journal.block(0))?.length, MAX_BLOCK_ENTRIES);
  assert.deepEqual(await journal.block(1), [entry(MAX_BLOCK_ENTRIES)]);
});

test('close makes durable what waits, and takes nothing more', async (t) => {
  const directory = await temporary(t);
  const journal = await openJournal(directory, { ...SETTINGS, commitIntervalMs: HOUR });
  const waiting = journal.append([entry(1)]);
  const closing = journal.close();
  await assert.rejects(journal.append([entry(2)]), /the journal is closed/);
  await Promise.all([waiting, closing]);
  assert.deepEqual(await entriesOf(await opened(t, {}, directory)), [entry(1)]);
});

test('close ends although somebody goes on handing in', async (t) => {
  const journal = await openJournal(await temporary(t), SETTINGS);
  let stopped: unknown;
  const eager = (async () => {
    for (let number = 0; ; number++) await journal.append([entry(number)], { urgent: true });
  })().catch((error: unknown) => {
    stopped = error;
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  await journal.close();
  await eager;
  assert.match(String(stopped), /the journal is closed/);
});

test('of samples that wait for the disk the newest stay; what was taken is told of first', async (t) => {
  const journal = await opened(t, { commitIntervalMs: HOUR, maxPendingBytes: 100 });
  const told: string[] = [];
  const given = journal.append([entry(1, 60)], { taken: () => told.push('first') });
  const kept = journal.append([entry(2, 60)], { taken: () => told.push('second') });
  await assert.rejects(given, { name: 'JournalFull' });
  assert.deepEqual(told, ['first', 'second']);
  const small = journal.append([entry(3, 30)], { urgent: true });
  await Promise.all([kept, small]);
  await journal.append([entry(4, 60)], { urgent: true });
  assert.deepEqual(await entriesOf(journal), [entry(2, 60), entry(3, 30), entry(4, 60)]);
});

test('what may not be dropped stays, and more than fits is refused', async (t) => {
  const journal = await opened(t, { commitIntervalMs: HOUR, maxPendingBytes: 100 });
  const told: string[] = [];
  const note = journal.append([entry(1, 60)], { rule: 'keep' });
  await assert.rejects(
    journal.append([entry(2, 60)], { taken: () => told.push('taken') }),
    /100 bytes wait for the journal already/,
  );
  await assert.rejects(journal.append([entry(3, 60)], { rule: 'keep' }), { name: 'JournalFull' });
  assert.deepEqual(told, []);
  await Promise.all([note, journal.append([entry(4, 40)], { urgent: true })]);
});

test('sections: own names, own order, and nothing of each other', async (t) => {
  const directory = await temporary(t);
  const journal = await openJournal(directory, SETTINGS);
  const [a, b] = [journal.section('a'), journal.section('ab')];
  await journal.write([
    a.put('x/2', entry(2)),
    a.put('x/1', entry(1)),
    a.put('y', entry(3)),
    b.put('x/1', entry(4)),
  ]);
  const list = async (options = {}) => {
    const found: string[] = [];
    for await (const [key, value] of a.entries(options)) found.push(`${key}=${value[3]}`);
    return found;
  };
  assert.deepEqual(await list(), ['x/1=1', 'x/2=2', 'y=3']);
  assert.deepEqual(await list({ prefix: 'x/' }), ['x/1=1', 'x/2=2']);
  assert.deepEqual(await list({ reverse: true, limit: 2 }), ['y=3', 'x/2=2']);
  assert.deepEqual(await b.get('x/1'), entry(4));
  assert.equal(journal.state().blocks, 0, 'records alone make no block');
  await journal.append([entry(9)], { writes: [a.put('y', entry(5)), a.del('x/1')] });
  await journal.close();
  const again = (await opened(t, {}, directory)).section('a');
  assert.deepEqual(await again.get('y'), entry(5));
  assert.equal(await again.get('x/1'), undefined);
});

test('of two writes of one record in a commit the later stands', async (t) => {
  const journal = await opened(t);
  const section = journal.section('room');
  await Promise.all([1, 2, 3].map((number) => journal.write([section.put('key', entry(number))])));
  assert.deepEqual(await section.get('key'), entry(3));
});

test('a reader goes on behind what it committed', async (t) => {
  const directory = await temporary(t);
  const signal = new AbortController().signal;
  const journal = await openJournal(directory, SETTINGS);
  await journal.append([entry(0), entry(1), entry(2)], { urgent: true });
  await journal.append([entry(3), entry(4)], { urgent: true });
  const reader = createJournalReader(journal, 'telemetry');
  assert.deepEqual(
    (await reader.next(2, signal)).map(({ bytes }) => bytes[3]),
    [0, 1],
  );
  const more = await reader.next(2, signal);
  assert.deepEqual(
    more.map(({ bytes, after }) => [bytes[3], after]),
    [[2, { block: 1, entry: 0 }]],
  );
  await reader.commit(more[0]!.after);
  assert.deepEqual(
    (await reader.next(1, signal)).map(({ bytes, after }) => [bytes[3], after]),
    [[3, { block: 1, entry: 1 }]],
  );
  await journal.close();
  const again = await opened(t, {}, directory);
  assert.deepEqual(await again.cursor('telemetry'), { block: 1, entry: 0 });
  assert.deepEqual(await again.cursor('another'), { block: 0, entry: 0 });
  const resumed = createJournalReader(again, 'telemetry');
  assert.deepEqual(
    (await resumed.next(10, signal)).map(({ bytes }) => bytes[3]),
    [3, 4],
  );
});

test('a reader waits where the journal ends, and gives up when told', async (t) => {
  const journal = await opened(t);
  const stop = new AbortController();
  const reader = createJournalReader(journal, 'slow');
  const waiting = reader.next(10, stop.signal);
  assert.ok(await isPending(waiting));
  await journal.append([entry(1)], { urgent: true });
  assert.deepEqual(
    (await waiting).map(({ bytes }) => bytes),
    [entry(1)],
  );
  const idle = reader.next(10, stop.signal);
  assert.ok(await isPending(idle));
  stop.abort();
  assert.deepEqual(await idle, []);
});

test('whoever listens hears of each commit that made a block, until taken off', async (t) => {
  const journal = await opened(t);
  const heard: number[] = [];
  const off = journal.onCommit(({ blocks }) => heard.push(blocks));
  await journal.append([entry(1)]);
  await journal.write([journal.section('s').put('k', entry(1))]);
  await journal.append([entry(2)]);
  off();
  await journal.append([entry(3)]);
  assert.deepEqual(heard, [1, 2]);
});

test('a second opener is told that the journal is in use', async (t) => {
  const directory = await temporary(t);
  await opened(t, {}, directory);
  await assert.rejects(openJournal(directory, SETTINGS), (error: Error) => {
    assert.match(error.message, /is in use by another kosmos process; stop that one/);
    assert.ok(error.message.includes(directory));
    return true;
  });
});

test('a journal that must exist and does not is not made', async (t) => {
  const directory = await temporary(t);
  await assert.rejects(openStore(join(directory, 'none'), 'existing'), /there is no journal in .*none/);
  assert.deepEqual(await readdir(directory).then((names) => names.filter((name) => name !== 'none')), []);
});

test('a file where the directory must be is a clear error', async (t) => {
  const path = join(await temporary(t), 'file');
  await writeFile(path, 'not a directory');
  await assert.rejects(openJournal(path, SETTINGS), (error: Error) => error.message.includes(path));
});

const NOBODY = 65_534;

test('a directory of another user is a clear error', {
  skip: process.getuid?.() === 0 ? false : 'only root can make a directory of another user',
}, async (t) => {
  const directory = await temporary(t);
  await chmod(directory, 0o755);
  const foreign = join(directory, 'foreign');
  const journal = await openJournal(foreign, SETTINGS);
  await journal.append([entry(1)]);
  await journal.close();
  await chmod(foreign, 0o700);
  const bare = join(directory, 'bare');
  await mkdir(bare, { mode: 0o755 });
  await chown(bare, 0, 0);
  const refusals: unknown[] = [];
  process.seteuid!(NOBODY);
  try {
    for (const path of [foreign, bare]) {
      refusals.push(await openJournal(path, SETTINGS).catch((error: unknown) => error));
    }
  } finally {
    process.seteuid!(0);
  }
  for (const [index, path] of [foreign, bare].entries()) {
    assert.match(String(refusals[index]), /belongs to another user .*run as that user, or change the owner/);
    assert.ok(String(refusals[index]).includes(path));
  }
  assert.deepEqual(await entriesOf(await opened(t, {}, foreign)), [entry(1)], 'and nothing was changed');
});
