/**
 * How the constants of the C-MAPSS preset were chosen, and what they give.
 *
 *   node --import tsx scripts/tune/fd001.ts --data DIR [--subset FD001] [--unit window|episode|none]
 *     [--sheet FILE] [--epsilon 8] [--gateways 5] [--repeat 1] [--search]
 *
 * With --search: cross-validation on the training engines, each constant changed in turn. Without: trains
 * as the preset says on all training engines and evaluates on the test files, which choose nothing.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readCmapss } from '../../drivers/cmapss.ts';
import { evaluateLastWindows } from '../../runtime/core/learning/evaluate.ts';
import type { PrivacyUnit } from '../../runtime/core/learning/job.ts';
import { cmapssPreset } from '../../runtime/core/learning/presets.ts';
import { startBackend } from '../../runtime/services/training/backend.ts';
import { federate } from './federation.ts';
import { describeUpdates, readDataSheet } from './report.ts';
import { candidatesAround, crossValidate } from './search.ts';

const { values } = parseArgs({
  options: {
    data: { type: 'string', default: '../shared/data/cmapss' },
    subset: { type: 'string', default: 'FD001' },
    sheet: { type: 'string' },
    unit: { type: 'string', default: 'window' },
    epsilon: { type: 'string', default: '8' },
    gateways: { type: 'string', default: '5' },
    repeat: { type: 'string', default: '1' },
    search: { type: 'boolean', default: false },
  },
});

const seaLevel = values.subset === 'FD001' || values.subset === 'FD003';
const sheetFile = seaLevel ? 'cmapss.toml' : 'cmapss-six-conditions.toml';
const sheet = await readDataSheet(
  values.sheet ?? join(import.meta.dirname, '../../config/datasheets', sheetFile),
);
const { train, test, remaining } = await readCmapss(values.data, values.subset as 'FD001');
await startBackend();

const options = {
  preset: cmapssPreset,
  unit: values.unit as PrivacyUnit,
  sheet,
  engines: train.map(({ rows }) => rows),
  gateways: Number(values.gateways),
  budget: { epsilon: Number(values.epsilon), delta: 1e-5 },
};

for (let seed = 0; seed < Number(values.repeat); seed += 1) {
  if (values.search) {
    for (const candidate of candidatesAround(options.preset, options.unit)) {
      console.log(`${crossValidate({ ...options, seed }, candidate).toFixed(2)}  ${candidate.name}`);
    }
  } else {
    const { model, parameters, updates } = federate({ ...options, seed });
    const { windows } = options.preset;
    const units = test.map(({ rows }, index) => ({ rows, rul: remaining[index]! }));
    const { rmse, score, engines } = evaluateLastWindows(model, parameters, units, sheet, windows);
    console.log(
      `test RMSE ${rmse.toFixed(2)}, score ${score.toFixed(0)}, ${engines} engines; ${describeUpdates(updates)}`,
    );
  }
}
