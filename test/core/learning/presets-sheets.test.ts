import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readCmapssTraining } from '../../../drivers/cmapss.ts';
import { type DataSheet, normaliseRows } from '../../../runtime/core/learning/features.ts';
import { cmapssPreset } from '../../../runtime/core/learning/presets.ts';
import { dataSheetSchema } from '../../../runtime/state/agreement/schema.ts';
import { readSettingsFile } from '../../../runtime/state/settings/read.ts';

const FILE = fileURLToPath(new URL('../../../config/datasheets/cmapss-six-conditions.toml', import.meta.url));
const DATA = fileURLToPath(new URL('../../../../shared/data/cmapss', import.meta.url));
const skip = existsSync(DATA) ? false : 'the runs of C-MAPSS are not in ../shared/data';

async function sixConditions(): Promise<DataSheet & Required<Pick<DataSheet, 'conditions'>>> {
  const judged = await readSettingsFile(FILE, dataSheetSchema);
  assert.ok(judged.ok, JSON.stringify(judged));
  return { channels: judged.value.channel, conditions: judged.value.condition };
}

test('what does not move within a flight condition is what the standard atmosphere makes it', async () => {
  const { channels, conditions } = await sixConditions();
  assert.equal(conditions.length, 6);
  for (const { name, when, ranges } of conditions) {
    assert.equal(ranges.length, channels.length, name);
    const [kiloFeet, mach] = when.map(({ near }) => near) as [number, number];
    const value = (channel: string) => {
      const { low, high } = ranges[channels.findIndex((own) => own.name === channel)]!;
      assert.equal(low, high, `${channel} at ${name}`);
      return low;
    };
    // ISO 2533: 3.56616 degR a kilofoot up to 36.089 kft, then 389.97 degR and a falling exponential.
    const above = Math.max(0, kiloFeet - 36.089);
    const temperature = above > 0 ? 389.97 : 518.67 - 3.56616 * kiloFeet;
    const pressure = 14.696 * (temperature / 518.67) ** 5.25588 * Math.exp(-above / 20.806);
    const ram = 1 + 0.2 * mach ** 2;
    assert.ok(Math.abs(value('T2') - temperature * ram) < 0.02, `T2 at ${name}`);
    const intake = pressure * ram ** 3.5 * (14.62 / 14.696);
    assert.ok(Math.abs(value('P2') / intake - 1) < 0.005, `P2 at ${name}`);
    const speed = 23.88 * value('PCNfR_dmd') * Math.sqrt(value('T2') / 518.67);
    assert.ok(Math.abs(value('Nf_dmd') - speed) < 1, `Nf_dmd at ${name}`);
  }
});

test('every row of FD002 meets one condition, and sensors keep near the ranges of the reference runs', {
  skip,
}, async () => {
  const sheet = await sixConditions();
  const rows = (await readCmapssTraining(DATA, 'FD002')).flatMap((engine) => engine.rows);
  const spec = { ...cmapssPreset.windows, conditionInputs: true };
  const normalised = normaliseRows(rows, sheet, spec);
  const names = cmapssPreset.windows.inputs!;
  const width = names.length;
  const clipped = new Array<number>(width).fill(0);
  for (const row of normalised) {
    assert.equal(
      row.slice(width).reduce((sum, met) => sum + met, 0),
      1,
    );
    row.slice(0, width).forEach((value, channel) => {
      if (Math.abs(value) === 1) clipped[channel]! += 1;
    });
  }
  clipped.forEach((count, channel) => {
    assert.ok(
      count < 0.01 * rows.length,
      `${names[channel]}: ${count} of ${rows.length} rows at an end of its range`,
    );
  });
});

test('the conditions take away what flight does to the sensors', { skip }, async () => {
  const sheet = await sixConditions();
  const engines = await readCmapssTraining(DATA, 'FD002');
  // New engines: what differs between their first rows is flight, and a little of how they were built.
  const rows = engines.flatMap((engine) => engine.rows.slice(0, 5));
  const spread = (of: DataSheet) => {
    const normalised = normaliseRows(rows, of, {
      ...cmapssPreset.windows,
      inputs: ['T24', 'T30', 'P30', 'phi', 'Nc'],
    });
    return normalised[0]!.map((_, channel) => {
      const values = Array.from(normalised, (row) => row[channel]!);
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
    });
  };
  const without = spread({ channels: sheet.channels });
  spread(sheet).forEach((deviation, channel) => {
    assert.ok(deviation < without[channel]! / 2, `${deviation} against ${without[channel]}`);
  });
});

test('a row between two conditions falls back on the ranges that hold for all', async () => {
  const sheet = await sixConditions();
  const between = sheet.channels.map(({ low, high }) => (low + high) / 2);
  const all = { window: 2, minimum: 2, slopeScale: 1, conditionInputs: true };
  const [row] = normaliseRows([between], sheet, all);
  assert.deepEqual([...row!.slice(24)], new Array(6).fill(0));
  assert.ok(row!.slice(0, 24).every((value) => Math.abs(value) < 1e-9));
});
