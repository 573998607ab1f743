import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Level } from 'level';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import { withChecksum, withoutChecksum } from '../../../runtime/state/journal/store.ts';
import { entry, SETTINGS, temporary } from './helpers.ts';

/** Reads everything that a journal holds. */
async function readAll(directory: string): Promise<void> {
  const journal = await openJournal(directory, SETTINGS);
  try {
    const { blocks } = journal.state();
    for (let index = 0; index < blocks; index++) assert.ok(await journal.block(index));
    await journal.cursor('reader');
    for await (const [key] of journal.section('room').entries()) {
      await journal.section('room').get(key);
    }
    for (let index = 0; index * 256 < blocks; index++) {
      await journal.tile(0, index, Math.min(256, blocks - index * 256));
    }
  } finally {
    await journal.close();
  }
}

async function changeRecord(
  directory: string,
  key: string,
  change: (stored: Uint8Array) => Uint8Array,
): Promise<void> {
  const level = new Level<string, Uint8Array>(directory, { valueEncoding: 'view' });
  await level.open();
  const stored = await level.get(key);
  assert.ok(stored, `${key} is a record`);
  await level.put(key, change(Uint8Array.from(stored)));
  await level.close();
}

/** One record of every kind, and the writer of it. */
const RECORDS = [
  'block/00000000000000',
  'block/0000000000012b',
  'leaf/0000000000012b',
  'tile/00000000000000/00000000000000',
  'state',
  'cursor/reader',
  'section/room/key',
];

test('a changed byte of any kind of record is noticed', async (t) => {
  const directory = await temporary(t);
  const whole = join(directory, 'whole');
  const journal = await openJournal(whole, SETTINGS);
  for (let number = 0; number < 300; number++) await journal.append([entry(number)], { urgent: true });
  await journal.moveCursor('reader', { block: 3, entry: 0 });
  await journal.write([journal.section('room').put('key', entry(1))]);
  await journal.close();

  await readAll(whole);
  const level = new Level<string, Uint8Array>(whole, { valueEncoding: 'view' });
  const kinds = new Set((await level.keys().all()).map((key) => key.split('/')[0]));
  await level.close();
  assert.deepEqual(
    [...kinds].sort(),
    [...new Set(RECORDS.map((key) => key.split('/')[0]))].sort(),
    'all kinds are tried',
  );

  for (const key of RECORDS) {
    const changes: readonly (readonly [string, (stored: Uint8Array) => Uint8Array])[] = [
      ['first byte', (stored) => stored.map((byte, index) => (index === 0 ? byte ^ 1 : byte))],
      [
        'middle',
        (stored) => stored.map((byte, index) => (index === stored.length >> 1 ? byte ^ 0x80 : byte)),
      ],
      [
        'last byte of the checksum',
        (stored) => stored.map((byte, index) => (index === stored.length - 1 ? byte ^ 1 : byte)),
      ],
      ['cut off', (stored) => stored.subarray(0, stored.length - 1)],
      ['empty', () => new Uint8Array(0)],
    ];
    for (const [what, change] of changes) {
      const damaged = join(directory, 'damaged', key.replaceAll('/', '-'), what);
      await cp(whole, damaged, { recursive: true });
      await changeRecord(damaged, key, change);
      await assert.rejects(readAll(damaged), (error: Error) => {
        assert.equal(error.name, 'DamagedRecord', `${key}, ${what}: ${error.message}`);
        assert.ok(error.message.includes(key));
        return true;
      });
    }
  }
});

test('a checksum stands behind its value and belongs to it alone', () => {
  for (const length of [0, 1, 100]) {
    const value = entry(5, Math.max(4, length)).subarray(0, length);
    const stored = withChecksum(value);
    assert.deepEqual(withoutChecksum('key', stored), value);
    for (let bit = 0; bit < stored.length * 8; bit++) {
      const changed = stored.slice();
      changed[bit >> 3]! ^= 1 << (bit & 7);
      assert.throws(() => withoutChecksum('key', changed), { name: 'DamagedRecord', key: 'key' });
    }
  }
  assert.throws(() => withoutChecksum('key', new Uint8Array(7)), /too few to hold a checksum/);
});
