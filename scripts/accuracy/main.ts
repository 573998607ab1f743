/**
 * Measures the accuracy table of docs/privacy.md on C-MAPSS and draws error against epsilon.
 *
 *   node --import tsx scripts/accuracy/main.ts [--data DIR] [--seeds 10] [--only NAME]... [--curve] [--svg FILE] [--json]
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { type Measurement, measure, type Spread } from './measure.ts';
import { errorAgainstEpsilon } from './picture.ts';
import { CURVE, FD002, TABLE } from './variants.ts';

const { values } = parseArgs({
  options: {
    data: { type: 'string', default: process.env.KOSMOS_CMAPSS ?? '../shared/data/cmapss' },
    seeds: { type: 'string', default: '10' },
    only: { type: 'string', multiple: true },
    curve: { type: 'boolean', default: false },
    svg: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});

const all = [...TABLE, ...FD002, ...(values.curve || values.svg ? CURVE : [])];
const chosen = values.only ? all.filter(({ name }) => values.only!.includes(name)) : all;
const measured = await measure(chosen, {
  data: values.data,
  seeds: Number(values.seeds),
  progress: (done, count, what) => console.error(`${done} of ${count}: ${what}`),
});
for (const { variant, raw, capped } of measured) {
  console.log(
    values.json
      ? JSON.stringify({ ...variant, raw, capped })
      : `${variant.name}: raw ${told(raw)}, capped ${told(capped)}`,
  );
}
if (values.svg) {
  const levelOf = (name: string, label: string) =>
    measured
      .filter(({ variant }) => variant.name === name)
      .map(({ raw }) => ({ label: `${label}: ${raw.mean.toFixed(1)}`, value: raw.mean }));
  const levels = [
    ...levelOf('federated', 'together, without privacy'),
    ...levelOf('alone', 'each company alone, without privacy'),
  ];
  const points = measured.filter(
    ({ variant }: Measurement) => variant.epsilon !== undefined && variant.subset === 'FD001',
  );
  await writeFile(values.svg, errorAgainstEpsilon(points, levels));
}

function told({ mean, deviation, runs }: Spread): string {
  return `${mean.toFixed(2)} +- ${deviation.toFixed(2)} (${runs.length} runs, ${Math.min(...runs).toFixed(2)} to ${Math.max(...runs).toFixed(2)})`;
}
