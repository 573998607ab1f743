import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  cmapss,
  cmapssChannels,
  cmapssSettings,
  readCmapss,
  readCmapssFile,
  readCmapssRemaining,
} from '../../drivers/cmapss.ts';
import type { BusAccess, Reading } from '../../drivers/driver.ts';
import { createReplay } from '../../drivers/replay.ts';

const data = fileURLToPath(new URL('../../../shared/data/cmapss', import.meta.url));
const noBus: BusAccess = {
  i2c: () => Promise.reject(new Error('no bus')),
  gpio: () => Promise.reject(new Error('no line')),
};
let directory = '';
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kosmos-cmapss-'));
});
after(() => rm(directory, { recursive: true }));

const line = (unit: number, cycle: number) =>
  `${unit} ${cycle} ${Array.from({ length: 24 }, (_, i) => (i + cycle / 100).toFixed(4)).join(' ')}  `;
const write = async (name: string, text: string) => {
  const path = join(directory, name);
  await writeFile(path, text);
  return path;
};

test('a file is read into engines and cycles', async () => {
  const path = await write('good.txt', [line(1, 1), line(1, 2), line(2, 1), ''].join('\n'));
  const engines = await readCmapssFile(path);
  assert.deepEqual(
    engines.map(({ unit, rows }) => [unit, rows.length]),
    [
      [1, 2],
      [2, 1],
    ],
  );
  assert.equal(engines[0]?.rows[1]?.length, 24);
  assert.equal(engines[0]?.rows[1]?.[23], 23.02);
  assert.deepEqual(
    await readCmapssFile(await write('crlf.txt', [line(1, 1), line(1, 2), line(2, 1), ''].join('\r\n'))),
    engines,
  );
  // The blank after the last number shows that it is whole.
  assert.equal((await readCmapssFile(await write('noend.txt', line(7, 1))))[0]?.unit, 7);
});

const refused: [string, string, RegExp][] = [
  [
    'a short line',
    `${line(1, 1)}\n1 2 0.1 0.2\n${line(1, 3)}\n`,
    /line 2: 4 columns instead of 26; has the file been cut off\?$/,
  ],
  ['a long line', `${line(1, 1)}9\n`, /line 1: 27 columns instead of 26$/],
  [
    'a word',
    `${line(1, 1)}\n${line(1, 2).replace('5.0200', '5.0x00')}\n`,
    /line 2: column 8 is "5.0x00", not a number$/,
  ],
  ['NaN', line(1, 1).replace('5.0100', 'NaN'), /line 1: column 8 is "NaN"/],
  ['hexadecimal', line(1, 1).replace('5.0100', '0x10'), /column 8 is "0x10"/],
  ['infinity', line(1, 1).replace('5.0100', '1e999'), /column 8 is "1e999"/],
  ['a lost cycle', `${line(1, 1)}\n${line(1, 3)}\n`, /line 2: cycle 3 of engine 1 after cycle 1$/],
  ['a late start', `${line(1, 1)}\n${line(2, 2)}\n`, /line 2: engine 2 begins with cycle 2 instead of 1$/],
  ['an engine out of order', `${line(2, 1)}\n${line(1, 1)}\n`, /line 2: engine 1 after engine 2/],
  ['an empty line', `${line(1, 1)}\n\n${line(1, 2)}\n`, /line 2: 0 columns instead of 26/],
  [
    'a cut-off number',
    `${line(1, 1)}\n${line(1, 2).trimEnd().slice(0, -2)}`,
    /line 2: it ends without a line end/,
  ],
  ['no line ends at all', 'x'.repeat(5000), /line 1: longer than 1024 characters/],
  ['nothing', '', /is empty/],
];
for (const [what, text, message] of refused) {
  test(`refused: ${what}`, async () => {
    const path = await write('bad.txt', text);
    await assert.rejects(
      readCmapssFile(path),
      (error: Error) => error.message.startsWith(path) && message.test(error.message),
    );
  });
}

test('a missing file, a directory and a RUL file with nonsense are named', async () => {
  await assert.rejects(
    readCmapssFile(join(directory, 'train_FD009.txt')),
    /train_FD009\.txt does not exist\. The directory needs/,
  );
  await assert.rejects(readCmapssFile(directory), /is a directory/);
  assert.deepEqual(await readCmapssRemaining(await write('rul.txt', '112 \n98 \n')), [112, 98]);
  await assert.rejects(
    readCmapssRemaining(await write('rul.txt', '112\n9.5\n')),
    /rul\.txt, line 2: 9\.5 is no number of cycles/,
  );
});

test('a test set and its remaining lives must be equally many', async () => {
  await write('train_FD003.txt', `${line(1, 1)}\n`);
  await write('test_FD003.txt', `${line(1, 1)}\n${line(2, 1)}\n`);
  await write('RUL_FD003.txt', '5\n');
  await assert.rejects(readCmapss(directory, 'FD003'), /1 lines for the 2 engines/);
});

test('a file that was refused is read again when it has been mended', async () => {
  await write('train_FD004.txt', 'rubbish\n');
  const settings = cmapssSettings.parse({ directory, subset: 'FD004', engine: 1 });
  await assert.rejects(cmapss.open(settings, noBus), /train_FD004\.txt, line 1/);
  await write('train_FD004.txt', `${line(1, 1)}\n`);
  await cmapss.open(settings, noBus);
  await assert.rejects(cmapss.open({ ...settings, engine: 2 }, noBus), /no engine 2, only 1 to 1/);
});

async function drain(sensor: { read(): Promise<Reading | 'end'> }): Promise<Reading[]> {
  const all: Reading[] = [];
  for (let reading = await sensor.read(); reading !== 'end'; reading = await sensor.read()) all.push(reading);
  return all;
}

test('a replay gives each row, the event with the last, then the end for good', async () => {
  const channels = [{ name: 'a', unit: '/' }];
  const rows = [[1], [2], [3]];
  const sensor = createReplay({
    channels,
    rows,
    pacing: { intervalMs: 1 },
    clock: { startMs: 1000, cycleMs: 60 },
    lastEvent: 'failure',
  });
  assert.deepEqual(await drain(sensor), [
    { values: [1], time: 1000 },
    { values: [2], time: 1060 },
    { values: [3], time: 1120, event: 'failure' },
  ]);
  assert.equal(await sensor.read(), 'end');
});

test('closing ends a reading that waits for its time', async () => {
  const sensor = createReplay({ channels: [], rows: [[], []], pacing: { intervalMs: 3_600_000 } });
  await sensor.read();
  const waiting = sensor.read();
  await sensor.close();
  assert.equal(await waiting, 'end');
});

test('settings are judged', () => {
  assert.throws(() => cmapssSettings.parse({ directory: 'x', engine: 0 }));
  assert.throws(() => cmapssSettings.parse({ directory: 'x', engine: 1, subset: 'FD005' }));
  assert.throws(() => cmapssSettings.parse({ directory: 'x', engine: 1, pacing: { intervalMs: 0 } }));
  assert.throws(() => cmapssSettings.parse({ directory: 'x', engine: 1, colour: 'red' }));
});

test('FD001 as NASA published it', {
  skip: existsSync(data) ? false : 'no ../shared/data/cmapss',
}, async () => {
  const { train, test: unseen, remaining } = await readCmapss(data, 'FD001');
  assert.equal(train.length, 100);
  assert.equal(unseen.length, 100);
  assert.equal(remaining.length, 100);
  assert.equal(
    train.reduce((sum, { rows }) => sum + rows.length, 0),
    20631,
  );
  assert.equal(
    unseen.reduce((sum, { rows }) => sum + rows.length, 0),
    13096,
  );
  const all = await drain(await cmapss.open(cmapssSettings.parse({ directory: data, engine: 39 }), noBus));
  assert.equal(all.length, 128);
  assert.equal(all.filter((reading) => reading.event !== undefined).length, 1);
  assert.equal(all.at(-1)?.event, 'failure');
  assert.equal(all[0]?.values.length, cmapssChannels.length);
  assert.equal(train[0]?.rows[0]?.[4], 641.82);
});

test('FD002, six conditions', { skip: existsSync(data) ? false : 'no ../shared/data/cmapss' }, async () => {
  const { train, test: unseen, remaining } = await readCmapss(data, 'FD002');
  assert.deepEqual([train.length, unseen.length, remaining.length], [260, 259, 259]);
});
