import assert from 'node:assert/strict';
import { cp, link, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { decodeEntry } from '../../../runtime/core/encoding/entry.ts';
import { KIND, kindOf } from '../../../runtime/core/encoding/kind.ts';
import { readEntry } from '../../../runtime/core/log/block.ts';
import { encodeDamage } from '../../../runtime/state/journal/damage-report.ts';
import { type Journal, openJournal } from '../../../runtime/state/journal/journal.ts';
import { keys as storeKeys } from '../../../runtime/state/journal/keys.ts';
import { openStore } from '../../../runtime/state/journal/store.ts';
import { createClock } from '../../../runtime/state/provenance/clock.ts';
import {
  clearDoubt,
  enterRaised,
  GATEWAY,
  instancePath,
  markInstance,
  nextIncarnation,
  raiseIncarnation,
  readDoubt,
  readIncarnation,
} from '../../../runtime/state/provenance/incarnation.ts';
import { createGatewayKeys, loadGatewayKeys } from '../../../runtime/state/provenance/keys.ts';
import { openRecorder } from '../../../runtime/state/provenance/recorder.ts';
import { entriesOf, SETTINGS, temporary } from '../journal/helpers.ts';

const WITNESS = new Uint8Array(32).fill(3);

async function opened<T>(directory: string, work: (journal: Journal) => Promise<T>): Promise<T> {
  const journal = await openJournal(join(directory, 'journal'), SETTINGS);
  try {
    return await work(journal);
  } finally {
    await journal.close();
  }
}

const mark = (directory: string) => opened(directory, (journal) => markInstance(directory, journal, WITNESS));
const incarnationIn = (directory: string) =>
  opened(directory, (journal) => readIncarnation(journal.section(GATEWAY)));

/** Records a sample as a gateway that has just started would. */
async function record(
  directory: string,
): Promise<{ readonly incarnation: number; readonly sequence: number }> {
  const keys = await loadGatewayKeys(directory);
  return opened(directory, async (journal) => {
    await markInstance(directory, journal, WITNESS);
    const recorder = await openRecorder(journal, keys, createClock());
    await enterRaised(journal.section(GATEWAY), recorder);
    const { sequence, durable } = recorder.sample({ machine: 'm', stream: 's', values: [1] });
    await durable;
    return { incarnation: recorder.incarnation, sequence };
  });
}

async function gateway(t: TestContext): Promise<string> {
  const directory = join(await temporary(t), 'gateway');
  await createGatewayKeys(directory);
  return directory;
}

test('the next incarnation is above the last, and another one for each restore of a backup', () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 2 ** 52 }),
      fc.integer({ min: 0, max: Date.parse('2200-01-01') }),
      fc.uint8Array({ minLength: 3, maxLength: 3 }),
      fc.uint8Array({ minLength: 3, maxLength: 3 }),
      (stored, now, a, b) => {
        const [one, other] = [nextIncarnation(stored, now, a), nextIncarnation(stored, now, b)];
        assert.ok(Number.isSafeInteger(one) && one > stored);
        const bits = (bytes: Uint8Array) => (bytes[0]! | (bytes[1]! << 8) | (bytes[2]! << 16)) % 2 ** 20;
        const later = Math.floor(now / 1000) * 2 ** 20;
        if (later > stored) assert.equal(one === other, bits(a) === bits(b));
        if (later > stored) assert.equal(one, later + bits(a));
      },
    ),
  );
  // A clock that stands at 1970 raises it all the same.
  assert.equal(nextIncarnation(7_000_000, 0, new Uint8Array(3)), 7_000_001);
});

test('a start is no restore, and a copy is one', async (t) => {
  const directory = await gateway(t);
  const copy = `${directory}-copy`;
  assert.equal(await mark(directory), 'new');
  for (let start = 0; start < 3; start++) assert.equal(await mark(directory), 'same');
  await cp(directory, copy, { recursive: true, preserveTimestamps: true });
  assert.equal(await mark(directory), 'same');
  assert.equal(await incarnationIn(directory), 0);
  assert.equal(await mark(copy), 'copied');
  const raised = await incarnationIn(copy);
  assert.ok(raised > 2 ** 50);
  // Once it has been noticed, it is a directory like any other.
  assert.equal(await mark(copy), 'same');
  assert.equal(await incarnationIn(copy), raised);
});

test('a journal alone that is put back is noticed, and so is a directory that lost its mark', async (t) => {
  const directory = await gateway(t);
  await mark(directory);
  const backup = `${directory}-backup`;
  await cp(join(directory, 'journal'), backup, { recursive: true, preserveTimestamps: true });
  await mark(directory);
  await mark(directory);
  await rm(join(directory, 'journal'), { recursive: true });
  await cp(backup, join(directory, 'journal'), { recursive: true, preserveTimestamps: true });
  assert.equal(await mark(directory), 'copied');
  await rm(instancePath(directory));
  assert.equal(await mark(directory), 'copied');
});

test('a start that is cut off between its two steps is no restore', async (t) => {
  const directory = await gateway(t);
  await mark(directory);
  // The record is durable, and the new file has not got its name yet.
  await link(instancePath(directory), `${directory}/kept`);
  await mark(directory);
  await rename(`${directory}/kept`, instancePath(directory));
  assert.equal(await mark(directory), 'same');
  assert.equal(await incarnationIn(directory), 0);
});

test('numbers of a restored directory stand apart from those given since the backup, and the log tells of it', async (t) => {
  const directory = await gateway(t);
  const backup = `${directory}-backup`;
  const given: string[] = [];
  const give = async () => {
    const { incarnation, sequence } = await record(directory);
    given.push(`${incarnation}/${sequence}`);
  };
  await give();
  await give();
  await cp(directory, backup, { recursive: true, preserveTimestamps: true });
  await give();
  for (let restore = 0; restore < 2; restore++) {
    await rm(directory, { recursive: true });
    await cp(backup, directory, { recursive: true, preserveTimestamps: true });
    await give();
    await give();
  }
  assert.deepEqual(given.slice(0, 3), ['0/0', '0/1', '0/2']);
  assert.deepEqual(new Set(given).size, given.length);
  assert.match(given[3]!, /^\d{10,}\/2$/);
  await opened(directory, async (journal) => {
    const told = (await entriesOf(journal)).flatMap((bytes) => {
      const { payload } = readEntry(bytes);
      return kindOf(payload) === KIND.recovery ? [decodeEntry(payload)] : [];
    });
    assert.equal(told.length, 1);
    const incarnation = Number(given.at(-1)!.split('/')[0]);
    assert.deepEqual(told[0]!.body, [
      0,
      incarnation,
      'the directory is a copy, or was restored from one',
      2,
      2,
    ]);
    assert.equal(told[0]!.incarnation, incarnation);
    const doubt = await readDoubt(journal.section(GATEWAY));
    assert.equal(doubt?.witnessKey, '03'.repeat(32));
    await journal.write(clearDoubt(journal.section(GATEWAY)));
    assert.equal(await readDoubt(journal.section(GATEWAY)), undefined);
  });
});

test('what was raised and not told of yet is told of, each with its loss, also after a cut-off', async (t) => {
  const directory = await gateway(t);
  const keys = await loadGatewayKeys(directory);
  await opened(directory, async (journal) => {
    const section = journal.section(GATEWAY);
    for (const [reason, lost] of [
      ['one', undefined],
      ['two', [4, 9]],
    ] as const) {
      const raise = {
        reason,
        sizeBefore: 4,
        sizeAdopted: 9,
        ...(lost ? { lost: [lost[0], lost[1]] as const } : {}),
      };
      await journal.write(await raiseIncarnation(section, raise, WITNESS));
    }
  });
  await opened(directory, async (journal) => {
    const recorder = await openRecorder(journal, keys, createClock());
    assert.equal(await enterRaised(journal.section(GATEWAY), recorder), 2);
    assert.equal(await enterRaised(journal.section(GATEWAY), recorder), 0);
    const told = (await entriesOf(journal)).map((bytes) => decodeEntry(readEntry(bytes).payload));
    assert.deepEqual(
      told.map(({ kind }) => kind),
      ['recovery', 'loss', 'recovery'],
    );
    const [first, loss, second] = told.map(({ body }) => body as readonly unknown[]);
    assert.deepEqual([first![0], first![2], second![0], second![2]], [0, 'one', first![1], 'two']);
    assert.deepEqual(loss![1], [[4, 9]]);
    assert.equal(recorder.incarnation, second![1]);
  });
});

test('damage that may have cost witnessed heads or charges begins a doubt, and other damage none', async (t) => {
  for (const [sections, reason] of [
    [['maintenance', 'sequence'], undefined],
    [['ledger', 'maintenance', 'witness'], 'records of ledger, witness were damaged'],
  ] as const) {
    const directory = await gateway(t);
    await mark(directory);
    const store = await openStore(join(directory, 'journal'), 'existing');
    const report = {
      time: 1,
      aside: '',
      found: [],
      blocks: [],
      numbers: [],
      sections,
      incarnation: 1,
      log: undefined,
    };
    await store.write([{ type: 'put', key: storeKeys.damage, value: encodeDamage(report) }]);
    await store.close();
    assert.equal(await mark(directory), 'same');
    await opened(directory, async (journal) => {
      assert.equal((await readDoubt(journal.section(GATEWAY)))?.reason, reason);
    });
  }
});
