import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { normalise, windowFeatures } from '../../../runtime/core/learning/features.ts';
import { dataSheetOf, dataSheetSettings } from '../../../runtime/services/training/datasheet.ts';
import { trainingSettings } from '../../../runtime/services/training/settings.ts';
import { readSettings, readSettingsFile } from '../../../runtime/state/settings/read.ts';

const SHEETS = new URL('../../../config/datasheets/', import.meta.url);

const EXAMPLE = `
[[channel]]
name = "load"
unit = "N"
low = 0
high = 100
least_width = 10

[[channel]]
name = "speed"
unit = "1/min"
low = 0
high = 3000
least_width = 100

[[condition]]
name = "idle"
when.load = { near = 0, within = 5 }
range.speed = { low = 900, high = 1100, least_width = 50 }
`;

describe('a data sheet', () => {
  it('is read from every file the project ships', async () => {
    const files = readdirSync(SHEETS).filter((name) => name.endsWith('.toml'));
    assert.ok(files.length > 0);
    for (const file of files) {
      const judged = await readSettingsFile(fileURLToPath(new URL(file, SHEETS)), dataSheetSettings);
      assert.ok(judged.ok, `${file}: ${judged.ok ? '' : JSON.stringify(judged.faults)}`);
      const { channels } = dataSheetOf(judged.value);
      assert.ok(
        channels.every((channel) => normalise(channel.low, channel) === -1 || channel.leastWidth > 0),
      );
    }
  });

  it('gives a condition its own ranges and the rest of the sheet', () => {
    const judged = readSettings(EXAMPLE, 'example.toml', dataSheetSettings);
    assert.ok(judged.ok);
    const sheet = dataSheetOf(judged.value);
    const spec = { window: 2, minimum: 2, slopeScale: 1 };
    assert.equal(
      windowFeatures(
        [
          [0, 1100],
          [0, 1100],
        ],
        sheet,
        spec,
      )[1],
      1,
    );
    assert.equal(
      windowFeatures(
        [
          [50, 1500],
          [50, 1500],
        ],
        sheet,
        spec,
      )[1],
      0,
    );
    assert.equal(
      windowFeatures(
        [
          [0, 1100],
          [0, 1100],
        ],
        sheet,
        spec,
      )[0],
      -1,
    );
  });

  it('is refused with every fault at once', () => {
    const text = `${EXAMPLE.replace('high = 100\n', 'high = -1\n').replace('range.speed', 'range.sped')}
[[channel]]
name = "load"
unit = "N"
low = 0
high = 1
least_width = 0
`;
    const judged = readSettings(text, 'example.toml', dataSheetSettings);
    assert.ok(!judged.ok);
    const told = judged.faults.map(({ line, path }) => `${line} ${path}`).join('; ');
    assert.match(told, /5 channel\[0\]\.low/);
    assert.match(told, /channel\[2\]\.least_width/);
  });

  it('is refused for channels it does not have, and for two of one name', () => {
    const text = `${EXAMPLE.replace('range.speed', 'range.sped')}
[[channel]]
name = "load"
unit = "N"
low = 0
high = 1
least_width = 1
`;
    const judged = readSettings(text, 'example.toml', dataSheetSettings);
    assert.ok(!judged.ok);
    const told = judged.faults.map(({ message }) => message).join('; ');
    assert.match(told, /no channel sped/);
    assert.match(told, /two channels load/);
  });
});

describe('the training settings', () => {
  it('have a value for every key', () => {
    const judged = readSettings('', 'gateway.toml', trainingSettings);
    assert.ok(judged.ok);
    assert.deepEqual(judged.value, {
      nice: 10,
      memoryLimit: 768 * 2 ** 20,
      idle: 60_000,
      timeLimit: 600_000,
    });
  });

  it('are read in the units of people', () => {
    const judged = readSettings('memory_limit = "1GiB"\nidle = "5m"', 'gateway.toml', trainingSettings);
    assert.ok(judged.ok);
    assert.equal(judged.value.memoryLimit, 2 ** 30);
    assert.equal(judged.value.idle, 300_000);
    for (const bad of ['nice = 20', 'idle = "0s"', 'memory_limit = "1MB"', 'nise = 1']) {
      assert.ok(!readSettings(bad, 'gateway.toml', trainingSettings).ok, bad);
    }
  });
});
