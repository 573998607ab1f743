import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { createVerifier } from '#ed25519';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { createSign1Signer, parseSign1, verifySign1 } from '../../../runtime/core/encoding/cose.ts';
import { decodeEntry } from '../../../runtime/core/encoding/entry.ts';
import { KIND, kindOf } from '../../../runtime/core/encoding/kind.ts';
import { decodeSample } from '../../../runtime/core/encoding/sample.ts';
import { blockRoot, decodeOpening, readEntry, verifyBlock } from '../../../runtime/core/log/block.ts';
import { type Journal, openJournal } from '../../../runtime/state/journal/journal.ts';
import { createClock } from '../../../runtime/state/provenance/clock.ts';
import { createGatewayKeys } from '../../../runtime/state/provenance/keys.ts';
import { openRecorder } from '../../../runtime/state/provenance/recorder.ts';
import { closing, entriesOf, SETTINGS, temporary } from '../journal/helpers.ts';

test('numbers go on where the journal ends, each stream and the notebook for itself', async (t) => {
  const directory = await temporary(t);
  const keys = await createGatewayKeys(directory);
  const verify = createVerifier(keys.sample.publicKey);
  const names: string[] = [];
  for (let start = 0; start < 3; start++) {
    const journal = await openJournal(join(directory, 'journal'), SETTINGS);
    closing(t, () => journal.close());
    const recorder = await openRecorder(journal, keys, createClock());
    const handed = ['a', 'b', 'a'].map((stream) =>
      recorder.sample({ machine: 'm', stream, values: [start] }),
    );
    assert.deepEqual(
      handed.map(({ sequence }) => sequence),
      [2 * start, start, 2 * start + 1],
    );
    await Promise.all(handed.map(({ durable }) => durable));
    const entry = parseSign1(await recorder.entry('start', ['test']));
    assert.ok(verifySign1(entry, verify));
    assert.equal(decodeEntry(entry.payload).sequence, start);
    assert.equal(recorder.signed(), 4);
    if (start === 2) {
      for (const bytes of await entriesOf(journal)) {
        const message = parseSign1(bytes);
        assert.ok(verifySign1(message, verify));
        if (message.payload[1] === 1) {
          const { stream, sequence, incarnation } = decodeSample(message.payload);
          names.push(`${stream} ${incarnation}/${sequence}`);
        }
      }
    }
    await journal.close();
  }
  assert.deepEqual(names, ['a 0/0', 'b 0/0', 'a 0/1', 'a 0/2', 'b 0/1', 'a 0/3', 'a 0/4', 'b 0/2', 'a 0/5']);
});

test('a source’s own time is taken over and the clock then called free-running', async (t) => {
  const directory = await temporary(t);
  const journal = await openJournal(join(directory, 'journal'), SETTINGS);
  closing(t, () => journal.close());
  const recorder = await openRecorder(journal, await createGatewayKeys(directory), createClock());
  await recorder.sample({ machine: 'm', stream: 's', values: [], time: 5 }).durable;
  const [bytes] = await entriesOf(journal);
  const { time, clock } = decodeSample(parseSign1(bytes!).payload);
  assert.deepEqual([time, clock], [5, 'free-running']);
});

/** Samples' numbers and lost numbers, as the journal has them. */
async function numbersIn(journal: Journal) {
  const samples: number[] = [];
  const lost: number[] = [];
  for (const bytes of await entriesOf(journal)) {
    const { payload } = readEntry(bytes);
    if (kindOf(payload) === KIND.sample) samples.push(decodeSample(payload).sequence);
    if (kindOf(payload) !== KIND.loss) continue;
    const [, , rows] = decodeEntry(payload).body as [
      string,
      unknown,
      [string, string, number, number, number][],
    ];
    for (const [, , , from, to] of rows) for (let one = from; one < to; one++) lost.push(one);
  }
  return { samples, lost };
}

test('what waits too long is given up for newer samples, in one commit with the entry that tells of it', async (t) => {
  const directory = await temporary(t);
  const keys = await createGatewayKeys(directory);
  const settings = { ...SETTINGS, maxPendingBytes: 2000 };
  let journal = await openJournal(join(directory, 'journal'), settings);
  closing(t, () => journal.close());
  const recorder = await openRecorder(journal, keys, createClock());
  const values = [1, 2, 3, 4];
  const handed = Array.from({ length: 40 }, () => recorder.sample({ machine: 'm', stream: 's', values }));
  assert.deepEqual(
    handed.map(({ sequence }) => sequence),
    Array.from({ length: 40 }, (_, sequence) => sequence),
  );
  const outcomes = await Promise.allSettled(handed.map(({ durable }) => durable));
  const kept = outcomes.flatMap(({ status }, sequence) => (status === 'fulfilled' ? [sequence] : []));
  const given = outcomes.flatMap(({ status }, sequence) => (status === 'rejected' ? [sequence] : []));
  assert.ok(kept.length > 5 && given.length > 5);
  assert.ok(Math.min(...kept) > Math.max(...given), 'the newest stay');
  assert.equal(journal.state().blocks, 2, 'samples, and the entry of the notebook behind them');
  assert.deepEqual(await numbersIn(journal), { samples: kept, lost: given });
  assert.equal(recorder.lost(), given.length);

  // Both samples of one stream are given up for those of another: their numbers are not given again.
  const gone = [5, 6].map((value) => recorder.sample({ machine: 'a', stream: 's', values: [value] }));
  const others = Array.from({ length: 40 }, () => recorder.sample({ machine: 'm', stream: 's', values }));
  const results = await Promise.allSettled([...gone, ...others].map(({ durable }) => durable));
  assert.deepEqual(
    results.slice(0, 2).map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  await journal.close();
  journal = await openJournal(join(directory, 'journal'), settings);
  const again = await openRecorder(journal, keys, createClock());
  const next = again.sample({ machine: 'a', stream: 's', values: [1] });
  assert.equal(next.sequence, 2);
  await next.durable;
});

test('a sample that is refused outright takes no number', async (t) => {
  const directory = await temporary(t);
  const journal = await openJournal(join(directory, 'journal'), { ...SETTINGS, maxPendingBytes: 300 });
  closing(t, () => journal.close());
  const recorder = await openRecorder(journal, await createGatewayKeys(directory), createClock());
  const long = Array.from({ length: 100 }, (_, index) => index);
  await assert.rejects(recorder.sample({ machine: 'm', stream: 's', values: long }).durable, {
    name: 'JournalFull',
  });
  await recorder.sample({ machine: 'm', stream: 's', values: [1] }).durable;
  assert.deepEqual(await numbersIn(journal), { samples: [0], lost: [] });
  assert.deepEqual([recorder.signed(), recorder.lost()], [1, 0]);
});

test('a stream signed with its blocks: its entries have salts, and each block a signature', async (t) => {
  const directory = await temporary(t);
  const keys = await createGatewayKeys(directory);
  const verify = createVerifier(keys.sample.publicKey);
  const journal = await openJournal(join(directory, 'journal'), SETTINGS, createSign1Signer(keys.sample));
  closing(t, () => journal.close());
  const recorder = await openRecorder(journal, keys, createClock());
  const quick = recorder.stream('m', 'quick', { signing: 'block', whenFull: 'drop-oldest' });
  const slow = recorder.stream('m', 'slow');
  const first = quick.batch([{ values: [1] }, { values: [2] }, { values: [2] }]);
  await Promise.all([first.durable, slow.sample({ values: [3] }).durable]);
  assert.equal(quick.sample({ values: [4] }).sequence, 3);
  const record = (await journal.record(0))!;
  const opening = decodeOpening(record.opening);
  assert.ok(verifyBlock(opening, verify));
  assert.deepEqual([opening.count, opening.root], [4, blockRoot(record.entries)]);
  const read = record.entries.map(readEntry);
  assert.deepEqual(
    read.map(({ form, payload }) => [form, decodeSample(payload).sequence, decodeSample(payload).values[0]]),
    [
      ['salted', 0, 1],
      ['salted', 1, 2],
      ['salted', 2, 2],
      ['signed', 0, 3],
    ],
  );
  const salts = record.entries.slice(0, 3).map((entry) => toHex(entry.subarray(2, 18)));
  assert.equal(new Set(salts).size, 3);
});

test('a journal without a key refuses entries that only a block could sign', async (t) => {
  const journal = await openJournal(await temporary(t), SETTINGS);
  closing(t, () => journal.close());
  await assert.rejects(
    journal.append([new Uint8Array(40)], { blockSigned: true }),
    /no key to sign blocks with/,
  );
  await journal.append([new Uint8Array(40).fill(0xd2)]);
  assert.equal(journal.state().blocks, 1);
});

test('a reading that cannot be a sample is refused and takes no number', async (t) => {
  const directory = await temporary(t);
  const journal = await openJournal(join(directory, 'journal'), SETTINGS);
  closing(t, () => journal.close());
  const recorder = await openRecorder(journal, await createGatewayKeys(directory), createClock());
  const reading = { machine: 'm', stream: 's', values: [1] };
  assert.throws(() => recorder.sample({ ...reading, time: Number.NaN }), RangeError);
  const { sequence, durable } = recorder.sample(reading);
  assert.equal(sequence, 0);
  await durable;
  const [bytes] = await entriesOf(journal);
  assert.deepEqual(decodeSample(parseSign1(bytes!).payload).values, [1]);
});
