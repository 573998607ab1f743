import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { createVerifier } from '#ed25519';
import { parseSign1, verifySign1 } from '../../../runtime/core/encoding/cose.ts';
import { decodeEntry } from '../../../runtime/core/encoding/entry.ts';
import { decodeSample } from '../../../runtime/core/encoding/sample.ts';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
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

test('what the journal has no room for leaves no hole in the numbers', async (t) => {
  const directory = await temporary(t);
  const journal = await openJournal(join(directory, 'journal'), { ...SETTINGS, maxPendingBytes: 2000 });
  closing(t, () => journal.close());
  const recorder = await openRecorder(journal, await createGatewayKeys(directory), createClock());
  const values = [1, 2, 3, 4];
  const outcomes = await Promise.allSettled(
    Array.from({ length: 40 }, () => recorder.sample({ machine: 'm', stream: 's', values }).durable),
  );
  const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
  assert.ok(refused.length > 0 && refused.length < 40);
  for (const { reason } of refused) assert.equal((reason as Error).name, 'JournalFull');
  await recorder.sample({ machine: 'm', stream: 's', values }).durable;
  const stored = (await entriesOf(journal)).map((bytes) => decodeSample(parseSign1(bytes).payload).sequence);
  assert.deepEqual(
    stored,
    Array.from({ length: 41 - refused.length }, (_, sequence) => sequence),
  );
  assert.equal(recorder.signed(), stored.length);
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
