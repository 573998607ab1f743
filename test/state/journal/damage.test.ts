import assert from 'node:assert/strict';
import { readdir, readFile, rm, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Level } from 'level';
import { createSequenceCheck } from '../../../runtime/cli/verify/entries.ts';
import { decodeEntry } from '../../../runtime/core/encoding/entry.ts';
import { KIND, kindOf } from '../../../runtime/core/encoding/kind.ts';
import { decodeSample } from '../../../runtime/core/encoding/sample.ts';
import { readEntry } from '../../../runtime/core/log/block.ts';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import { keys as recordKeys } from '../../../runtime/state/journal/keys.ts';
import { askForMending } from '../../../runtime/state/journal/mend.ts';
import { createScrub } from '../../../runtime/state/journal/scrub.ts';
import { openStore } from '../../../runtime/state/journal/store.ts';
import { createClock } from '../../../runtime/state/provenance/clock.ts';
import { createGatewayKeys } from '../../../runtime/state/provenance/keys.ts';
import { openRecorder } from '../../../runtime/state/provenance/recorder.ts';
import { tellDamage } from '../../../runtime/state/provenance/tell-damage.ts';
import { assertTrue, BLOCKS, fileOf, flip, type Made, made } from './damaged.ts';
import { SETTINGS, until } from './helpers.ts';

let whole: Made;

before(async () => {
  whole = await made();
});

after(() => whole?.remove());

async function withRaw(
  path: string,
  change: (level: Level<string, Uint8Array>) => Promise<void>,
): Promise<void> {
  const level = new Level<string, Uint8Array>(path, { valueEncoding: 'view' });
  await level.open();
  await change(level).finally(() => level.close());
}

/** Numbers of samples and entries in the blocks that are lost. */
function numbersOf(whole: Made, lost: readonly (readonly [number, number])[]): readonly string[] {
  const names: string[] = [];
  for (const [from, to] of lost) {
    for (const hex of whole.blocks.slice(from, to).flat()) {
      const { payload } = readEntry(Buffer.from(hex, 'hex'));
      if (kindOf(payload) !== KIND.sample) names.push(`/ ${decodeEntry(payload).sequence}`);
      else {
        const { machine, stream, sequence } = decodeSample(payload);
        names.push(`${machine}/${stream} ${sequence}`);
      }
    }
  }
  return names.sort();
}

test('what an unclean end leaves is no damage', async () => {
  const path = await whole.copy('torn');
  const log = await fileOf(path, /\.log$/);
  const bytes = await readFile(log);
  await writeFile(log, bytes.subarray(0, bytes.length - 9));
  const journal = await openJournal(path, SETTINGS);
  assert.equal(journal.damage(), undefined);
  assert.equal(journal.state().blocks, BLOCKS - 1);
  await journal.close();
  assert.deepEqual(await readdir(join(path, '..')), ['journal']);
});

test('a flipped byte in the write-ahead file: what is gone is named, block by block and number by number', async () => {
  for (const [turn, share] of [0.1, 0.5, 0.9].entries()) {
    const path = await whole.copy(`ahead-${turn}`);
    const log = await fileOf(path, /\.log$/);
    const bytes = await readFile(log);
    await flip(log, Math.floor(bytes.length * share));
    const journal = await openJournal(path, SETTINGS);
    const damage = journal.damage()!;
    assert.match(damage.found[0]!, /\.log: the record at byte \d+ is damaged/);
    assert.equal(damage.incarnation, 1);
    const gone = await assertTrue(whole, journal);
    assert.ok(gone > 0 || journal.state().blocks < BLOCKS);
    const told = damage.numbers.flatMap(({ machine, stream, from, to }) =>
      Array.from({ length: to - from }, (_, offset) => `${machine}/${stream} ${from + offset}`),
    );
    // Nobody can tell how many entries the notebook had after its last: the incarnation is raised for that.
    const known = numbersOf(whole, journal.state().lost).filter(
      (name) => told.includes(name) || name !== '/ 11',
    );
    assert.deepEqual(told.sort(), known);
    assert.deepEqual(damage.blocks, journal.state().lost);
    assert.ok((await readFile(join(damage.aside, log.split('/').at(-1)!))).length === bytes.length);
    await journal.close();
    const again = await openJournal(path, SETTINGS);
    assert.deepEqual(again.damage(), damage, 'until the log tells of it');
    await again.write(again.damageTold());
    await again.close();
    const last = await openJournal(path, SETTINGS);
    assert.equal(last.damage(), undefined);
    await last.close();
  }
});

test('CURRENT or the MANIFEST gone or damaged: nothing is lost', async () => {
  const changes: readonly (readonly [string, (path: string) => Promise<void>])[] = [
    ['no CURRENT', (path) => unlink(join(path, 'CURRENT'))],
    ['CURRENT flipped', (path) => flip(join(path, 'CURRENT'), 3)],
    ['CURRENT empty', (path) => writeFile(join(path, 'CURRENT'), '')],
    ['no MANIFEST', async (path) => unlink(await fileOf(path, /^MANIFEST/))],
    ['MANIFEST flipped', async (path) => flip(await fileOf(path, /^MANIFEST/), 30)],
  ];
  for (const [name, change] of changes) {
    const path = await whole.copy(name);
    await change(path);
    const journal = await openJournal(path, SETTINGS);
    assert.ok(journal.damage(), name);
    assert.equal(await assertTrue(whole, journal), 0, name);
    assert.equal(journal.state().blocks, BLOCKS);
    assert.deepEqual(await journal.cursor('reader'), { block: 550, entry: 0 });
    await journal.append([new Uint8Array(60)]);
    await journal.close();
    const again = await openJournal(path, SETTINGS);
    assert.equal(again.state().blocks, BLOCKS + 1);
    await again.close();
    await rm(join(path, '..'), { recursive: true });
  }
});

test('a table gone, cut short, or with its end damaged: the rest is there, what is gone is named', async () => {
  const changes: readonly (readonly [string, (file: string) => Promise<void>])[] = [
    ['gone', (file) => unlink(file)],
    ['cut short', async (file) => writeFile(file, (await readFile(file)).subarray(0, 3000))],
    ['end flipped', async (file) => flip(file, (await readFile(file)).length - 3)],
    ['index flipped', async (file) => flip(file, (await readFile(file)).length - 80)],
    ['first block flipped', (file) => flip(file, 100)],
  ];
  for (const [name, change] of changes) {
    const path = await whole.copy(name);
    await change(await fileOf(path, /\.ldb$/));
    let journal = await openJournal(path, SETTINGS);
    if (!journal.damage()) {
      // Nothing of it was read when it was opened.
      assert.match((await journal.scrub())[0]!, /\.ldb: the block at byte 0 does not match its checksum/);
      assert.match(String(journal.trouble()), /the journal is damaged/);
      await journal.close();
      journal = await openJournal(path, SETTINGS);
    }
    assert.ok(journal.damage(), name);
    const gone = await assertTrue(whole, journal);
    assert.ok(
      name === 'gone' || name === 'cut short' ? gone === 521 : gone <= 1,
      `${name}: ${gone} blocks are gone`,
    );
    await journal.close();
  }
});

test('records gone that can be told from others are made again, and the root stays', async () => {
  const gone: readonly (readonly string[])[] = [
    [recordKeys.state],
    [recordKeys.log.bundle(0)],
    [recordKeys.log.tile(0, 1)],
    [recordKeys.log.bundle(1), recordKeys.log.tile(0, 1), recordKeys.state],
    [recordKeys.log.leaf(599), recordKeys.log.leaf(512)],
  ];
  for (const [turn, names] of gone.entries()) {
    const path = await whole.copy(`gone-${turn}`);
    await withRaw(path, (level) => level.batch(names.map((key) => ({ type: 'del' as const, key }))));
    if (!names.includes(recordKeys.state) && !names.some((name) => name.includes('leaf')))
      await askForMending(path, 'a test wants it');
    const journal = await openJournal(path, SETTINGS);
    assert.ok(journal.damage(), names.join());
    assert.equal(journal.damage()!.log, undefined);
    assert.equal(await assertTrue(whole, journal), 0);
    assert.equal(journal.state().blocks, BLOCKS);
    for (let tile = 0; tile < 3; tile++) {
      await journal.tile(0, tile, Math.min(256, BLOCKS - 256 * tile));
      await journal.bundle(tile, Math.min(256, BLOCKS - 256 * tile));
    }
    await journal.close();
  }
});

test('a counter gone: numbers go on behind the last one seen, in a new incarnation', async () => {
  const path = await whole.copy('counter');
  await withRaw(path, async (level) => {
    await level.del('section/sequence/stream/a/s');
    await level.put(recordKeys.state, new Uint8Array(3));
  });
  const journal = await openJournal(path, SETTINGS);
  const recorder = await openRecorder(journal, await createGatewayKeys(join(path, '..')), createClock());
  assert.equal(recorder.incarnation, 1);
  const next = whole.blocks.flat().filter((hex) => numbersOfSample(hex) === 'a').length;
  assert.equal(recorder.sample({ machine: 'a', stream: 's', values: [1] }).sequence, next);
  await journal.close();
});

function numbersOfSample(hex: string): string | undefined {
  const { payload } = readEntry(Buffer.from(hex, 'hex'));
  return kindOf(payload) === KIND.sample ? decodeSample(payload).machine : undefined;
}

test('the log tells of the damage once, in a signed entry that verify goes by', async () => {
  const path = await whole.copy('told');
  const log = await fileOf(path, /\.log$/);
  await flip(log, Math.floor((await readFile(log)).length / 2));
  const journal = await openJournal(path, SETTINGS);
  const keys = await createGatewayKeys(join(path, '..'));
  const recorder = await openRecorder(journal, keys, createClock());
  const { blocks, numbers } = journal.damage()!;
  assert.ok(blocks.length > 0 && numbers.length > 0);
  await tellDamage(journal, recorder);
  await recorder.sample({ machine: 'a', stream: 's', values: [1] }).durable;
  const check = createSequenceCheck(true);
  for (let block = 0; block < journal.state().blocks; block++) {
    for (const bytes of (await journal.block(block)) ?? []) {
      const { payload } = readEntry(bytes);
      if (kindOf(payload) === KIND.sample) {
        const { machine, stream, incarnation, sequence } = decodeSample(payload);
        check.next(`stream/${machine}/${stream}`, incarnation, sequence);
        continue;
      }
      const entry = decodeEntry(payload);
      check.next('notebook', entry.incarnation, entry.sequence);
      if (entry.kind === 'loss') check.lost(entry.body);
    }
  }
  assert.deepEqual(check.lostBlocks(), blocks);
  await journal.close();
  const store = await openStore(path, 'existing');
  await check.finish(store).finally(() => store.close());
  const again = await openJournal(path, SETTINGS);
  assert.equal(again.damage(), undefined);
  await again.close();
});

test('a scrub in the background finds what has changed, and the next start mends it', async () => {
  const path = await whole.copy('scrub');
  const journal = await openJournal(path, SETTINGS);
  const found: string[] = [];
  const scrub = createScrub({
    journal,
    bytesPerSecond: 100_000_000,
    pauseMs: 5,
    report: (damaged) => found.push(...damaged),
  });
  scrub.start();
  await flip(await fileOf(path, /\.ldb$/), 20_000);
  await until('the scrub finds it', () => found.length > 0);
  await scrub.stop();
  assert.match(found[0]!, /\.ldb: the block at byte \d+ does not match its checksum/);
  assert.match(
    String(journal.trouble()),
    /the journal is damaged: .*; it is mended when the gateway starts again/,
  );
  await journal.close();
  const again = await openJournal(path, SETTINGS);
  assert.ok(again.damage());
  await assertTrue(whole, again);
  assert.deepEqual(await again.scrub(), []);
  await again.close();
});
