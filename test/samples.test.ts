/** The journal's samples on their way to telemetry: what is proven, in which order, and what a cursor leaves behind. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createVerifier } from '#ed25519';
import { createSign1Signer, parseSign1, verifySign1 } from '../runtime/core/encoding/cose.ts';
import { encodeEntry } from '../runtime/core/encoding/entry.ts';
import { decodeSample, encodeSample } from '../runtime/core/encoding/sample.ts';
import { encodeSalted } from '../runtime/core/log/block.ts';
import { openShownBlock } from '../runtime/core/log/shown-block.ts';
import { samplesOf, TELEMETRY } from '../runtime/samples.ts';
import type { OutgoingSample } from '../runtime/services/telemetry/samples.ts';
import { type Journal, openJournal, type Position } from '../runtime/state/journal/journal.ts';
import { signerOf } from './core/log/keys.ts';
import { temporaryDirectory } from './services/consortium.ts';

const SIGNER = signerOf(20);
const KEY = createSign1Signer(SIGNER);
const VERIFIER = createVerifier(SIGNER.publicKey);
const SETTINGS = { commitIntervalMs: 2, maxBytes: 1e9, maxDiskBytes: 2e9, maxPendingBytes: 1e8 };

async function newJournal(t: TestContext, settings: Partial<typeof SETTINGS> = {}): Promise<Journal> {
  const directory = join(await temporaryDirectory(t), 'journal');
  const journal = await openJournal(directory, { ...SETTINGS, ...settings }, KEY);
  t.after(() => journal.close());
  return journal;
}

/** `a3`: number 3 of stream a, signed with its block; `A3` by itself; `-` is an entry that is no sample. */
function entryOf(word: string): Uint8Array {
  if (word === '-') {
    const note = {
      kind: 'start',
      incarnation: 0,
      sequence: 0,
      time: 1,
      clock: 'synchronised',
      body: ['1'],
    } as const;
    return KEY.sign(encodeEntry(note));
  }
  const stream = word[0]!;
  const payload = encodeSample({
    machine: 'press',
    stream: stream.toLowerCase(),
    incarnation: 0,
    sequence: Number(word.slice(1)),
    time: 1_700_000_000_000,
    clock: 'synchronised',
    values: [1],
  });
  return stream === stream.toLowerCase()
    ? encodeSalted(new Uint8Array(16).fill(1), payload)
    : KEY.sign(payload);
}

/** One block. */
async function append(journal: Journal, words: string): Promise<void> {
  await journal.append(words.split(' ').map(entryOf), { blockSigned: true, urgent: true });
}

/** The samples in an item, each verified, as words. */
function wordsOf({ stream, bytes }: OutgoingSample): string {
  if (bytes[0] === 0xd2) {
    const message = parseSign1(bytes);
    assert.ok(verifySign1(message, VERIFIER));
    const sample = decodeSample(message.payload);
    assert.equal(sample.stream, stream);
    return `${stream.toUpperCase()}${sample.sequence}`;
  }
  const samples = openShownBlock(bytes, VERIFIER).map(decodeSample);
  assert.ok(samples.every((sample) => sample.stream === stream));
  return samples.map(({ sequence }) => `${stream}${sequence}`).join(' ');
}

const { signal } = new AbortController();

function placeOf({ position }: OutgoingSample): string {
  const { block, entry } = position as Position;
  return `${block}/${entry}`;
}

test('samples of several streams, signed with their block and by themselves, in one block', async (t) => {
  const journal = await newJournal(t);
  await append(journal, 'a0 A1 b0 a1 - B1 b2 C7');
  await append(journal, 'a2 C8');
  const source = samplesOf(journal);
  const items = [...(await source.next(100, signal)), ...(await source.next(100, signal))];
  assert.deepEqual(items.map(wordsOf), ['A1', 'a0 a1', 'B1', 'b0 b2', 'C7', 'a2', 'C8']);
  // Behind A1 there is a0 still, behind the group of a b0.
  assert.deepEqual(items.map(placeOf), ['0/0', '0/2', '0/2', '0/7', '1/0', '1/1', '2/0']);
});

test('wherever a subscriber has got to when the gateway ends, nothing is missing after the start', async (t) => {
  const journal = await newJournal(t);
  const words = 'a0 b0 A5 c0 b1 a1 - B5 c1 a2 C5 b2';
  await append(journal, words);
  const expected = words.split(' ').filter((word) => word !== '-');
  for (const limit of [100, 5, 3, 1]) {
    for (let published = 0; ; published++) {
      await journal.moveCursor(TELEMETRY, { block: 0, entry: 0 });
      const before = samplesOf(journal);
      const seen: string[] = [];
      let items: readonly OutgoingSample[] = [];
      let last: OutgoingSample | undefined;
      while (seen.length < published && journal.state().blocks > ((last?.position as Position)?.block ?? 0)) {
        if (items.length === 0) items = await before.next(limit, signal);
        last = items[0]!;
        items = items.slice(1);
        seen.push(wordsOf(last));
      }
      if (seen.length < published) break;
      if (last) await before.commit(last.position);
      const after = samplesOf(journal);
      while ((await journal.cursor(TELEMETRY)).block === 0) {
        for (const item of await after.next(limit, signal)) {
          seen.push(wordsOf(item));
          last = item;
        }
        await after.commit(last!.position);
      }
      const all = new Set(seen.flatMap((one) => one.split(' ')));
      assert.deepEqual(
        [...all].sort(),
        [...expected].sort(),
        `limit ${limit}, ${published} published before`,
      );
    }
  }
});

test('positions never go back, so that a cursor moved over them in turn does not either', async (t) => {
  const journal = await newJournal(t);
  await append(journal, 'a0 b0 c0 C1 b1 a1 c1 A9 b2');
  const items = await samplesOf(journal).next(100, signal);
  const places = items.map(placeOf);
  assert.deepEqual(places, [...places].sort());
  assert.equal(places.at(-1), '1/0');
});

test('a cursor in the middle of a block: what lies before it is not given again', async (t) => {
  const journal = await newJournal(t);
  await append(journal, 'a0 b0 a1 b1 A2');
  await journal.moveCursor(TELEMETRY, { block: 0, entry: 2 });
  const items = await samplesOf(journal).next(100, signal);
  assert.deepEqual(items.map(wordsOf), ['a1', 'b1', 'A2']);
});

test('at most as many samples as asked for, groups counted by their samples', async (t) => {
  const journal = await newJournal(t);
  await append(journal, 'a0 a1 a2 a3 a4 B0 B1');
  const source = samplesOf(journal);
  const given: string[][] = [];
  for (let round = 0; round < 3; round++) given.push((await source.next(3, signal)).map(wordsOf));
  assert.deepEqual(given, [['a0 a1 a2'], ['a3 a4', 'B0'], ['B1']]);
});

test('entries that are no samples, and empty blocks, are passed over; nothing to come ends with the signal', async (t) => {
  const journal = await newJournal(t);
  await append(journal, '-');
  await journal.pad(3);
  await append(journal, '- a0');
  const source = samplesOf(journal);
  assert.deepEqual((await source.next(10, signal)).map(wordsOf), ['a0']);
  const end = new AbortController();
  const waiting = source.next(10, end.signal);
  end.abort();
  assert.deepEqual(await waiting, []);
});

test('rewound, it begins at the cursor again', async (t) => {
  const journal = await newJournal(t);
  await append(journal, 'a0 A1');
  await append(journal, 'a1');
  const source = samplesOf(journal);
  const [first] = await source.next(10, signal);
  await source.commit(first!.position);
  await source.next(10, signal);
  await source.rewind!();
  assert.deepEqual((await source.next(10, signal)).map(wordsOf), ['A1']);
});

test('a block that is dropped between reading and showing is left out, what it was read with is not', async (t) => {
  const journal = await newJournal(t);
  await append(journal, 'a0 B0 a1');
  await append(journal, 'a2');
  // As when retention drops the block after its entries have been read.
  const dropped = {
    ...journal,
    record: async (index: number) => (index === 0 ? undefined : journal.record(index)),
  };
  const source = samplesOf(dropped);
  assert.deepEqual((await source.next(10, signal)).map(wordsOf), ['B0']);
  assert.deepEqual((await source.next(10, signal)).map(wordsOf), ['a2']);
});

test('what retention has dropped before it was read is gone for telemetry; the rest comes in order', async (t) => {
  const journal = await newJournal(t, { maxBytes: 20_000 });
  const source = samplesOf(journal);
  for (let number = 0; number < 400; number++) await append(journal, `a${number} B${number}`);
  assert.ok(journal.state().first > 0);
  const seen: string[] = [];
  while (!seen.includes('a399')) seen.push(...(await source.next(50, signal)).map(wordsOf));
  const numbers = seen.filter((word) => word.startsWith('a')).map((word) => Number(word.slice(1)));
  assert.ok(numbers[0]! > 0);
  assert.deepEqual(
    numbers,
    numbers.map((_, at) => numbers[0]! + at),
  );
});
