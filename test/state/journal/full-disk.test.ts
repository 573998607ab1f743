import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createSequenceCheck } from '../../../runtime/cli/verify/entries.ts';
import { parseSign1 } from '../../../runtime/core/encoding/cose.ts';
import { decodeEntry } from '../../../runtime/core/encoding/entry.ts';
import { KIND, kindOf } from '../../../runtime/core/encoding/kind.ts';
import { decodeSample } from '../../../runtime/core/encoding/sample.ts';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import { openStore } from '../../../runtime/state/journal/store.ts';
import { createClock } from '../../../runtime/state/provenance/clock.ts';
import { createGatewayKeys } from '../../../runtime/state/provenance/keys.ts';
import { openRecorder } from '../../../runtime/state/provenance/recorder.ts';
import { closing, entriesOf, SETTINGS, temporary, until } from './helpers.ts';

const SIZE = 16_000_000;

/** A disk of 16 MB, or why there is none. */
async function smallDisk(t: TestContext): Promise<string | { readonly skip: string }> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return { skip: 'only root can mount a small disk' };
  const path = join(await temporary(t), 'disk');
  await mkdir(path);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${SIZE}`, 'kosmos-test', path], {
    encoding: 'utf8',
  });
  if (mounted.error ?? mounted.status !== 0) {
    return {
      skip: `a small disk cannot be mounted here: ${mounted.error?.message ?? mounted.stderr.trim()}`,
    };
  }
  closing(t, async () => spawnSync('umount', ['-l', path]));
  return path;
}

test('a full disk: nothing acknowledged is lost, memory is bounded, and room is enough to go on', async (t) => {
  const disk = await smallDisk(t);
  if (typeof disk !== 'string') return t.skip(disk.skip);
  const directory = join(disk, 'journal');
  const settings = { ...SETTINGS, maxPendingBytes: 300_000 };
  const keys = await createGatewayKeys(await temporary(t));
  let journal = await openJournal(directory, settings);
  closing(t, () => journal.close());
  const recorder = await openRecorder(journal, keys, createClock());
  const acknowledged = new Set<number>();
  const refused: number[] = [];
  const values = Array.from({ length: 100 }, (_, index) => index);
  let waiting = 0;
  let handed = 0;
  let mostWaiting = 0;
  const record = () => {
    waiting += 1;
    handed += 1;
    const { sequence, durable } = recorder.sample({ machine: 'm', stream: 's', values });
    const settled = durable.then(
      () => void acknowledged.add(sequence),
      (error: Error) => {
        assert.equal(error.name, 'JournalFull');
        refused.push(sequence);
      },
    );
    mostWaiting = Math.max(mostWaiting, waiting);
    return settled.finally(() => {
      waiting -= 1;
    });
  };

  for (let turn = 0; turn < 20; turn++) await record();
  const { bavail, bsize } = await statfs(disk);
  await writeFile(join(disk, 'ballast'), new Uint8Array(Number(bavail) * Number(bsize) - 200_000));

  const pending: Promise<void>[] = [];
  for (let turn = 0; turn < 5000 && refused.length < 50; turn++) {
    pending.push(record());
    if (turn % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assert.ok(refused.length >= 50, 'the oldest made way for the newest');
  // On a busy machine the samples may have used up their room before the first write has failed.
  await until('a write has failed', () => journal.trouble() !== undefined);
  assert.match(String(journal.trouble()), /no space|space left/i);
  assert.ok(mostWaiting < 400, `${mostWaiting} samples of 1 kB waited in 300 kB`);
  const before = acknowledged.size;
  const newest = Array.from({ length: 20 }, (_, back) => handed - 1 - back);
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(acknowledged.size, before, 'nothing is acknowledged while nothing can be written');

  await rm(join(disk, 'ballast'));
  await until('all that was taken is durable', () => waiting === 0);
  await Promise.all(pending);
  assert.equal(journal.trouble(), undefined);
  await record();
  assert.equal(recorder.lost(), refused.length);
  await journal.close();

  journal = await openJournal(directory, settings);
  const all = (await entriesOf(journal)).map((bytes) => parseSign1(bytes).payload);
  const stored = all
    .filter((payload) => kindOf(payload) === KIND.sample)
    .map((payload) => decodeSample(payload).sequence);
  assert.deepEqual(
    [...acknowledged].sort((a, b) => a - b),
    stored,
    'what is acknowledged is there, in order, and nothing else',
  );
  assert.ok(
    newest.every((sequence) => acknowledged.has(sequence)),
    'the newest were kept',
  );
  const told = all.filter((payload) => kindOf(payload) === KIND.loss).flatMap(numbersIn);
  assert.deepEqual(told, refused, 'the log tells of exactly those that were given up');
  const check = createSequenceCheck(false);
  for (const payload of all) {
    if (kindOf(payload) === KIND.sample) {
      check.next('stream/m/s', 0, decodeSample(payload).sequence);
    } else {
      const entry = decodeEntry(payload);
      check.next('notebook', 0, entry.sequence);
      check.lost(entry.body);
    }
  }
  await journal.close();
  const store = await openStore(directory, 'existing');
  await check.finish(store).finally(() => store.close());
});

/** The numbers that a `loss` entry names, one by one. */
function numbersIn(payload: Uint8Array): number[] {
  const [, , rows] = decodeEntry(payload).body as [
    string,
    unknown,
    [string, string, number, number, number][],
  ];
  return rows.flatMap(([machine, stream, incarnation, from, to]) => {
    assert.deepEqual([machine, stream, incarnation], ['m', 's', 0]);
    return Array.from({ length: to - from }, (_, offset) => from + offset);
  });
}
