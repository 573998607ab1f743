/**
 * One training run, for scripts/accuracy/measure.ts: takes a variant and a seed as JSON, prints the errors as JSON.
 *
 *   node --import tsx scripts/accuracy/run.ts '{"variant":{...},"seed":0,"data":"DIR"}'
 */
import { join } from 'node:path';
import { readCmapss } from '../../drivers/cmapss.ts';
import { rmse } from '../../runtime/core/learning/evaluate.ts';
import { windowFeatures } from '../../runtime/core/learning/features.ts';
import { predictRul } from '../../runtime/core/learning/model.ts';
import { cmapssPreset } from '../../runtime/core/learning/presets.ts';
import { startBackend } from '../../runtime/services/training/backend.ts';
import { federate } from '../tune/federation.ts';
import { readDataSheet } from '../tune/report.ts';
import { DELTA, GATEWAYS, type Variant } from './variants.ts';

/** Errors over the test engines, in cycles; of companies alone, the mean over the companies. */
export interface RunErrors {
  /** Against the truth as it is. */
  readonly raw: number;
  /** Against the truth capped as the labels are. */
  readonly capped: number;
}

export interface RunRequest {
  readonly variant: Variant;
  readonly seed: number;
  readonly data: string;
}

async function run({ variant, seed, data }: RunRequest): Promise<RunErrors> {
  const { subset, who, unit, epsilon } = variant;
  const sheetFile = subset === 'FD001' ? 'cmapss.toml' : 'cmapss-six-conditions.toml';
  const sheet = await readDataSheet(join(import.meta.dirname, '../../config/datasheets', sheetFile));
  const { train, test, remaining } = await readCmapss(data, subset);
  await startBackend();
  const engines = train.map(({ rows }) => rows);
  const common = { preset: cmapssPreset, unit, sheet, seed, budget: { epsilon: epsilon ?? 8, delta: DELTA } };
  const { windows } = cmapssPreset;
  const errorsOf = (trained: ReturnType<typeof federate>): RunErrors => {
    const predicted = test.map(({ rows }) =>
      predictRul(trained.model, trained.parameters, windowFeatures(rows, sheet, windows), windows.cap),
    );
    const capped = remaining.map((value) => Math.min(value, windows.cap));
    return { raw: rmse(predicted, remaining), capped: rmse(predicted, capped) };
  };
  if (who !== 'alone') {
    return errorsOf(federate({ ...common, engines, gateways: who === 'central' ? 1 : GATEWAYS }));
  }
  const companies = Array.from({ length: GATEWAYS }, (_, company) =>
    errorsOf(
      federate({
        ...common,
        engines: engines.filter((_engine, index) => index % GATEWAYS === company),
        gateways: 1,
      }),
    ),
  );
  const mean = (key: keyof RunErrors) => companies.reduce((sum, errors) => sum + errors[key], 0) / GATEWAYS;
  return { raw: mean('raw'), capped: mean('capped') };
}

const request = JSON.parse(process.argv[2] ?? 'null') as RunRequest | null;
if (!request) {
  console.error('this is one run of scripts/accuracy/main.ts, which gives it what to do');
  process.exitCode = 2;
} else {
  console.log(JSON.stringify(await run(request)));
}
