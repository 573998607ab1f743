import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { getStaticTOMLValue, parseTOML } from 'toml-eslint-parser';
import { z } from 'zod';
import { cmapssChannels, readCmapssTraining } from '../../drivers/cmapss.ts';
import type { Channel } from '../../drivers/driver.ts';
import { monitorChannels } from '../../drivers/monitor.ts';
import { simulateEpisodes } from '../../drivers/simulated/episodes.ts';

const schema = z.strictObject({
  channel: z.array(
    z.strictObject({
      name: z.string(),
      unit: z.string(),
      low: z.number(),
      high: z.number(),
      least_width: z.number().positive(),
    }),
  ),
  condition: z.array(z.unknown()).optional(),
});
const data = fileURLToPath(new URL('../../../shared/data/cmapss', import.meta.url));

async function sheet(name: string) {
  const text = await readFile(new URL(`../../config/datasheets/${name}.toml`, import.meta.url), 'utf8');
  return schema.parse(getStaticTOMLValue(parseTOML(text))).channel;
}

const sheets: [string, readonly Channel[]][] = [
  ['cmapss', cmapssChannels],
  ['cmapss-six-conditions', cmapssChannels],
  ['simulated-machine', monitorChannels],
];
for (const [name, channels] of sheets) {
  test(`${name}.toml describes the channels of its driver, in order`, async () => {
    const ranges = await sheet(name);
    assert.deepEqual(
      ranges.map(({ name, unit }) => ({ name, unit })),
      channels,
    );
    for (const { name, low, high } of ranges) assert.ok(low < high, name);
  });
}

/** Share of the values outside their range, the worst channel first in the message. */
function assertInside(
  ranges: Awaited<ReturnType<typeof sheet>>,
  rows: readonly (readonly number[])[],
  most: number,
) {
  ranges.forEach(({ name, low, high }, c) => {
    const outside = rows.filter((row) => row[c]! < low || row[c]! > high).length / rows.length;
    assert.ok(outside <= most, `${name}: ${(100 * outside).toFixed(2)} % outside ${low} to ${high}`);
  });
}

test('simulated machines keep within their data sheet, bar one value in a hundred', async () => {
  assertInside(await sheet('simulated-machine'), simulateEpisodes({ seed: 31, count: 30 }).flat(), 0.01);
});

const skip = existsSync(data) ? false : 'no ../shared/data/cmapss';
for (const [subset, name] of [
  ['FD001', 'cmapss'],
  ['FD002', 'cmapss-six-conditions'],
] as const) {
  test(`${subset} keeps within ${name}.toml`, { skip }, async () => {
    const engines = await readCmapssTraining(data, subset);
    assertInside(
      await sheet(name),
      engines.flatMap(({ rows }) => rows),
      0.001,
    );
  });
}
