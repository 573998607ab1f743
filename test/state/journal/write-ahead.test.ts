import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { crc32c } from '../../../runtime/state/journal/crc32c.ts';
import { openStore } from '../../../runtime/state/journal/store.ts';
import { findDamagedWrite } from '../../../runtime/state/journal/write-ahead.ts';

test('CRC-32C of RFC 3720, appendix B.4', () => {
  const bytes = (value: (index: number) => number) =>
    Uint8Array.from({ length: 32 }, (_, index) => value(index));
  assert.equal(crc32c(bytes(() => 0)), 0x8a9136aa);
  assert.equal(crc32c(bytes(() => 0xff)), 0x62a8ab43);
  assert.equal(crc32c(bytes((index) => index)), 0x46dd794e);
  assert.equal(crc32c(bytes((index) => 31 - index)), 0x113fdb5c);
});

test('what LevelDB wrote has no damaged record, cut off anywhere; with one byte changed it has one', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-ahead-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const store = await openStore(directory, 'create');
  // Records that fill a block of 32 KiB to the byte, go over several, and are tiny.
  for (const [index, length] of [10, 32_700, 1, 100_000, 32_768, 5, 70_000, 3].entries()) {
    const value = Uint8Array.from({ length }, (_, at) => (at * 7 + index) % 251);
    await store.write([{ type: 'put', key: `key-${index}`, value }]);
  }
  await store.close();
  assert.equal(await findDamagedWrite(directory), undefined);

  const [name] = (await readdir(directory)).filter((one) => one.endsWith('.log'));
  const path = join(directory, name!);
  const whole = await readFile(path);
  assert.ok(whole.length > 200_000);
  for (let length = 0; length < whole.length; length += 1 + Math.floor(whole.length / 97)) {
    await writeFile(path, whole.subarray(0, length));
    assert.equal(await findDamagedWrite(directory), undefined, `cut off after ${length} bytes`);
  }
  // Space that was set aside for the file and not written.
  await writeFile(path, Buffer.concat([whole, Buffer.alloc(50_000)]));
  assert.equal(await findDamagedWrite(directory), undefined);
  for (let at = 0; at < whole.length; at += 1 + Math.floor(whole.length / 97)) {
    const changed = Uint8Array.from(whole);
    changed[at]! ^= 0x10;
    await writeFile(path, changed);
    const found = await findDamagedWrite(directory);
    // The rest of a block that no header fits into is not looked at by anybody.
    if (at % 32_768 > 32_768 - 7) continue;
    assert.ok(found && found.offset <= at && found.file === name, `byte ${at}: ${JSON.stringify(found)}`);
  }
});
