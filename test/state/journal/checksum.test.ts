import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Level } from 'level';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import { openStore, withChecksum, withoutChecksum } from '../../../runtime/state/journal/store.ts';
import { entry, SETTINGS, temporary } from './helpers.ts';

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

/** `log/tile` of a record of the log, `block` of a block. */
function kindOfKey(key: string): string {
  const [first, second] = key.split('/');
  return first === 'log' ? `log/${second}` : first!;
}

/** One record of every kind. */
const RECORDS = [
  'block/o/00000000000000',
  'block/o/0000000000012b',
  'log/leaf/0000000000012b',
  'log/bundle/00000000000000',
  'log/tile/00000000000000/00000000000000',
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

  const level = new Level<string, Uint8Array>(whole, { valueEncoding: 'view' });
  const kinds = new Set((await level.keys().all()).map(kindOfKey));
  await level.close();
  assert.deepEqual([...kinds].sort(), [...new Set(RECORDS.map(kindOfKey))].sort(), 'all kinds are tried');

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
      const store = await openStore(damaged, 'existing');
      await assert.rejects(store.get(key), { name: 'DamagedRecord', key }, `${key}, ${what}`);
      await assert.rejects(
        async () => {
          for await (const _ of store.entries({ from: '', to: '\uffff' }));
        },
        { name: 'DamagedRecord', key },
      );
      await store.close();
    }
  }
});

test('a record under the key of another is noticed', async (t) => {
  const directory = await temporary(t);
  const journal = await openJournal(directory, SETTINGS);
  await journal.write([journal.section('room').put('one', entry(1))]);
  await journal.close();
  const level = new Level<string, Uint8Array>(directory, { valueEncoding: 'view' });
  await level.put('section/room/two', (await level.get('section/room/one'))!);
  await level.close();
  const store = await openStore(directory, 'existing');
  await assert.rejects(store.get('section/room/two'), { name: 'DamagedRecord' });
  await store.close();
});

test('a checksum stands behind its value and belongs to it alone', () => {
  for (const length of [0, 1, 100]) {
    const value = entry(5, Math.max(4, length)).subarray(0, length);
    const stored = withChecksum('key', value);
    assert.deepEqual(withoutChecksum('key', stored), value);
    assert.throws(() => withoutChecksum('kez', stored), { name: 'DamagedRecord', key: 'kez' });
    for (let bit = 0; bit < stored.length * 8; bit++) {
      const changed = stored.slice();
      changed[bit >> 3]! ^= 1 << (bit & 7);
      assert.throws(() => withoutChecksum('key', changed), { name: 'DamagedRecord', key: 'key' });
    }
  }
  assert.throws(() => withoutChecksum('key', new Uint8Array(7)), /too few to hold a checksum/);
});
