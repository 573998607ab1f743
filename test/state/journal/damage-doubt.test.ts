import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import { GATEWAY, markInstance, readDoubt } from '../../../runtime/state/provenance/incarnation.ts';
import { fileOf } from './damaged.ts';
import { entry, opened, SETTINGS, temporary } from './helpers.ts';

const CHILD = fileURLToPath(new URL('children/mend-cut-off.ts', import.meta.url));
const WITNESS_KEY = new Uint8Array(32);

/**
 * A marked journal whose newest records of the witness and of the ledger are damaged on disk.
 * @param earlier whether both sections have records before those.
 */
async function damaged(t: TestContext, earlier: boolean): Promise<string> {
  const path = join(await temporary(t), 'gateway', 'journal');
  await mkdir(dirname(path));
  const journal = await openJournal(path, SETTINGS);
  const [witness, ledger] = [journal.section('witness'), journal.section('ledger')];
  await markInstance(dirname(path), journal, WITNESS_KEY);
  if (earlier)
    await journal.write([witness.put('first-log', entry(1, 40)), ledger.put('charge/0', entry(2, 60))]);
  await journal.append([entry(3, 200)], { urgent: true });
  await journal.write([witness.put('second-log', entry(4, 40)), ledger.put('charge/1', entry(5, 60))]);
  for (let number = 6; number < 56; number++) await journal.append([entry(number, 200)], { urgent: true });
  await journal.close();
  const file = await fileOf(path, /\.log$/);
  const bytes = await readFile(file);
  const name = 'section/witness/second-log';
  const at = bytes.indexOf(name);
  assert.ok(at > 0, 'the record is in the write-ahead file');
  bytes[at + name.length + 5]! ^= 1;
  await writeFile(file, bytes);
  return path;
}

async function assertDoubted(t: TestContext, path: string): Promise<void> {
  const journal = await opened(t, {}, path);
  const sections = journal.damage()!.sections;
  for (const name of ['witness', 'ledger']) assert.ok(sections.includes(name), `${name} may lack records`);
  assert.equal(await journal.section('witness').get('second-log'), undefined);
  await markInstance(dirname(path), journal, WITNESS_KEY);
  const doubt = await readDoubt(journal.section(GATEWAY));
  assert.match(doubt!.reason, /records of .*ledger, witness were damaged/);
}

test('a section of which only the newest records are gone begins a doubt', async (t) => {
  await assertDoubted(t, await damaged(t, true));
});

test('a section that is wholly gone begins a doubt as one does of which something is left', async (t) => {
  await assertDoubted(t, await damaged(t, false));
});

for (const earlier of [true, false]) {
  test(`a mend that was cut off still begins a doubt at the next start${earlier ? '' : ', with nothing left'}`, async (t) => {
    const path = await damaged(t, earlier);
    for (let times = 0; times < 2; times++) {
      const child = spawnSync(process.execPath, ['--import', 'tsx', CHILD, path], {
        encoding: 'utf8',
        timeout: 60_000,
      });
      assert.equal(child.signal, 'SIGKILL', child.stderr);
    }
    await assertDoubted(t, path);
  });
}
