import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { decodeOpening, leafDataOf } from '../../../runtime/core/log/block.ts';
import { decodeBundle } from '../../../runtime/core/log/bundle.ts';
import { leafHash } from '../../../runtime/core/log/hash.ts';
import { treeRoot } from '../../../runtime/core/log/tree.ts';
import { encodeBlockRecord } from '../../../runtime/state/journal/block-record.ts';
import { type Journal, openJournal } from '../../../runtime/state/journal/journal.ts';
import { createJournalReader } from '../../../runtime/state/journal/reader.ts';
import { bytesOf, RETENTIONS } from '../../../runtime/state/journal/retention.ts';
import { entry, opened, SETTINGS, temporary } from './helpers.ts';

async function bytesHeld(journal: Journal): Promise<number> {
  const { first, blocks } = journal.state();
  let sum = 0;
  for (let index = first; index < blocks; index++)
    sum += encodeBlockRecord((await journal.record(index))!).length;
  return sum;
}

test('the oldest blocks go, the log keeps their hashes, and it stays so when opened anew', async (t) => {
  const directory = await temporary(t);
  const settings = { ...SETTINGS, maxBytes: 10_000 };
  const journal = await openJournal(directory, settings);
  const leaves: Uint8Array[] = [];
  for (let number = 0; number < 300; number++) {
    const one = entry(number, 100);
    await journal.append([one], { urgent: true });
    leaves.push(leafHash(leafDataOf((await journal.record(number))!.opening)));
  }
  const state = journal.state();
  assert.deepEqual([state.blocks, state.entries], [300, 300]);
  assert.ok(state.first > 200 && state.first < 299, `${state.first} dropped`);
  assert.equal(await journal.block(state.first - 1), undefined);
  assert.equal(await journal.block(0), undefined);
  assert.deepEqual(await journal.block(state.first), [entry(state.first, 100)]);
  assert.equal(await bytesHeld(journal), state.bytes);
  assert.ok(state.bytes <= 10_000);
  await journal.close();
  const again = await opened(t, settings, directory);
  assert.deepEqual(again.state(), state);
  assert.equal(toHex(again.head()!.root), toHex(treeRoot(leaves)));
  assert.equal(toHex(await again.tile(0, 0, 256)), leaves.slice(0, 256).map(toHex).join(''));
});

test('the bound holds when small blocks make way for large ones, and the other way round', async (t) => {
  const maxBytes = 100_000;
  for (const sizes of [
    [100, 20_000],
    [20_000, 100],
  ] as const) {
    const journal = await opened(t, { maxBytes });
    for (const [phase, size] of sizes.entries()) {
      for (let number = 0; number < (size === 100 ? 1500 : 40); number++) {
        await journal.append([entry(number, size)], { urgent: true });
        if (phase === 0) continue;
        const { bytes } = journal.state();
        assert.ok(bytes <= maxBytes, `${bytes} bytes`);
        if (number % 100 === 0) assert.equal(await bytesHeld(journal), bytes);
      }
    }
    assert.equal(await bytesHeld(journal), journal.state().bytes);
    assert.ok(journal.state().bytes > maxBytes - 20_100, 'no more is dropped than has to be');
  }
});

test('a block larger than the bound is held until the next comes', async (t) => {
  const journal = await opened(t, { maxBytes: 1000 });
  for (let number = 0; number < 5; number++) {
    await journal.append([entry(number, 5000)], { urgent: true });
    assert.deepEqual(await journal.block(number), [entry(number, 5000)]);
    assert.equal(journal.state().first, number);
  }
});

test('a smaller bound than last time is reached although a commit drops a limited number', async (t) => {
  const directory = await temporary(t);
  const before = await openJournal(directory, SETTINGS);
  for (let turn = 0; turn < 50; turn++) {
    for (let number = 0; number < 10; number++) await before.append([entry(number, 50)], { urgent: true });
  }
  await before.close();
  const journal = await opened(t, { maxBytes: 1000 }, directory);
  await journal.append([entry(1, 50)], { urgent: true });
  assert.ok(journal.state().bytes <= 1000);
  assert.equal(await bytesHeld(journal), journal.state().bytes);
});

test('a consumer that was too slow goes on with the first block held, and the loss is counted', async (t) => {
  const journal = await opened(t, { maxBytes: 3000 });
  const signal = new AbortController().signal;
  const slow = createJournalReader(journal, 'slow');
  await journal.append([entry(0, 100)], { urgent: true });
  const [one] = await slow.next(1, signal);
  await slow.commit(one!.after);
  for (let number = 1; number <= 100; number++) await journal.append([entry(number, 100)], { urgent: true });
  const { first, droppedUnread } = journal.state();
  assert.ok(first > 50);
  assert.equal(droppedUnread, first - 1, 'all but the one it had read');
  assert.deepEqual((await slow.next(1, signal))[0]?.bytes, entry(first, 100));
  assert.deepEqual(await journal.cursor('new'), { block: first, entry: 0 });
});

test('what every consumer has read is dropped without being counted', async (t) => {
  const journal = await opened(t, { maxBytes: 3000 });
  const signal = new AbortController().signal;
  const reader = createJournalReader(journal, 'quick');
  for (let number = 0; number < 100; number++) {
    await journal.append([entry(number, 100)], { urgent: true });
    const read = await reader.next(10, signal);
    void reader.commit(read.at(-1)!.after);
  }
  assert.ok(journal.state().first > 50);
  assert.equal(journal.state().droppedUnread, 0);
});

test('one commit with entries of all rules: a block for each, none moved past an entry of the notebook', async (t) => {
  const journal = await opened(t, { commitIntervalMs: 50 });
  const rules = [
    'drop-oldest',
    'stop',
    'drop-oldest',
    'keep',
    'keep',
    'stop',
    'drop-published',
    'stop',
  ] as const;
  await Promise.all(rules.map((rule, number) => journal.append([entry(number)], { rule })));
  const blocks = await Promise.all(
    Array.from({ length: journal.state().blocks }, async (_, block) =>
      (await journal.block(block))!.map((bytes) => bytes[3]),
    ),
  );
  assert.deepEqual(blocks, [[0, 2], [1], [3, 4], [5, 7], [6]]);
  const { held } = journal.state();
  assert.deepEqual(
    RETENTIONS.map((rule) => [held[rule].first, held[rule].dropped, held[rule].bytes > 0]),
    [
      [4, 0, true],
      [0, 0, true],
      [1, 0, true],
      [2, 0, true],
    ],
  );
  assert.equal(bytesOf(held), journal.state().bytes);
});

test('read samples of streams that may lose only those go first; the notebook never goes', async (t) => {
  const journal = await opened(t, { maxBytes: 3000 });
  await journal.cursor('telemetry');
  const notes: number[] = [];
  for (let number = 0; number < 100; number++) {
    const rule = number % 10 === 0 ? 'keep' : number % 2 ? 'drop-oldest' : 'drop-published';
    if (rule === 'keep') notes.push(number);
    await journal.append([entry(number, 50)], { urgent: true, rule });
    if (number % 5 === 0) await journal.moveCursor('telemetry', { block: number, entry: 0 });
  }
  for (const block of notes) assert.deepEqual(await journal.block(block), [entry(block, 50)]);
  const { held, droppedUnread } = journal.state();
  assert.equal(droppedUnread, 0);
  assert.ok(held['drop-published'].dropped > 50 && held['drop-oldest'].dropped > 50);
  assert.equal(await journal.nextHeld(1), 10);
  const reader = createJournalReader(journal, 'late');
  const read: number[] = [];
  while (read.at(-1) !== 99)
    read.push(...(await reader.next(100, new AbortController().signal)).map(({ bytes }) => bytes[3]!));
  assert.deepEqual(read.slice(0, 5), [0, 10, 20, 30, 40], 'it passes over what is gone');
});

test('padding: empty blocks that nobody can tell from others in the log, and no reader sees', async (t) => {
  const journal = await opened(t);
  await journal.append([entry(1)], { urgent: true });
  await journal.pad(3);
  await journal.append([entry(2)], { urgent: true });
  assert.deepEqual([journal.state().blocks, journal.state().entries], [5, 2]);
  const leaves = decodeBundle(await journal.bundle(0, 5), 5);
  assert.deepEqual(new Set(leaves.map((leaf) => leaf.length)), new Set([36]));
  assert.equal(new Set(leaves.map(toHex)).size, 5);
  for (let block = 1; block < 4; block++) {
    const { opening, entries } = (await journal.record(block))!;
    assert.deepEqual([entries.length, decodeOpening(opening).count], [0, 0]);
    assert.equal(toHex(leafDataOf(opening)), toHex(leaves[block]!));
  }
  const reader = createJournalReader(journal, 'reader');
  const signal = new AbortController().signal;
  const read = [...(await reader.next(9, signal)), ...(await reader.next(9, signal))];
  assert.deepEqual(
    read.map(({ bytes }) => bytes[3]),
    [1, 2],
  );
  for (const wrong of [-1, 0.5, 5000]) await assert.rejects(journal.pad(wrong), RangeError);
});
