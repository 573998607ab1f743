import { type Measurement, measure } from '../accuracy/measure.ts';
import { FD002, TABLE, type Variant } from '../accuracy/variants.ts';
import { type Bench, type Measured, type Side, summarise } from './harness.ts';

const DATA = process.env.KOSMOS_CMAPSS ?? '../shared/data/cmapss';
const SEEDS = Number(process.env.KOSMOS_BENCH_SEEDS ?? 10);
/** Raw RMSE, in cycles, that each line of the table has to stay under. */
const LIMITS: Readonly<Record<string, number>> = {
  central: 14.7,
  federated: 14.6,
  'window-8': 15.4,
  'window-2': 16,
};
/** By so much training together has to be better than each company alone. */
const LEAST_GAIN = 1.5;

/** What has to be at most 1, by name. */
type Ratios = Readonly<Record<string, number>>;

async function run(variants: readonly Variant[], judge: (of: Means) => Ratios): Promise<Measured> {
  const measured = await measure(variants, {
    data: DATA,
    seeds: SEEDS,
    progress: (done, all, what) => console.error(`${done} of ${all}: ${what}`),
  });
  const means: Means = Object.fromEntries(measured.map(({ variant, ...rest }) => [variant.name, rest]));
  const ratios = judge(means);
  const worst = Math.max(...Object.values(ratios));
  const sides = measured.map(({ variant, raw }): [string, Side] => [variant.name, summarise(raw.runs)]);
  const told = measured.map(
    ({ variant, raw, capped }) =>
      `${variant.name} ${raw.mean.toFixed(2)} +- ${raw.deviation.toFixed(2)} (capped ${capped.mean.toFixed(2)})`,
  );
  const against = Object.entries(ratios).map(([name, ratio]) => `${name} ${ratio.toFixed(2)}`);
  return {
    value: worst,
    ratio: worst,
    sides: Object.fromEntries(sides),
    note: `${SEEDS} seeds; mean and deviation: ${told.join(', ')}; against their limits: ${against.join(', ')}`,
  };
}

type Means = Readonly<Record<string, Pick<Measurement, 'raw' | 'capped'>>>;

export const accuracy: Bench = {
  name: 'accuracy',
  unit: 'x the limit, the worst of the lines of C-MAPSS FD001: at most 1',
  against: 'limits in cycles of raw test RMSE; 1.5 cycles of gain over each company alone',
  slow: true,
  run: () =>
    run(TABLE, (of) => ({
      ...Object.fromEntries(
        Object.entries(LIMITS).map(([name, limit]) => [name, of[name]!.raw.mean / limit]),
      ),
      gain: LEAST_GAIN / (of.alone!.raw.mean - of.federated!.raw.mean),
    })),
};

export const accuracyFd002: Bench = {
  name: 'accuracy-fd002',
  unit: 'x the limit, the worse of raw and capped: at most 1',
  against: 'FD002 without privacy: raw 27, capped 15 cycles',
  slow: true,
  run: () =>
    run(FD002, (of) => ({
      raw: of['fd002-federated']!.raw.mean / 27,
      capped: of['fd002-federated']!.capped.mean / 15,
    })),
};
