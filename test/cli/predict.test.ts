import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { judge, sayOf } from '../../runtime/cli/predict/judge.ts';
import { readRows } from '../../runtime/cli/predict/rows.ts';
import { predict } from '../../runtime/cli/predict.ts';
import type { Io } from '../../runtime/cli/terminal/io.ts';
import { runProgram } from '../../runtime/cli/terminal/program.ts';
import { evaluateLastWindows, rmse } from '../../runtime/core/learning/evaluate.ts';
import { windowFeatures } from '../../runtime/core/learning/features.ts';
import {
  initialParameters,
  modelHash,
  parameterCount,
  predictRul,
} from '../../runtime/core/learning/model.ts';
import { cmapssPreset, modelSpecOf } from '../../runtime/core/learning/presets.ts';
import { createControl } from '../../runtime/services/control/server.ts';
import { ADOPTION, openAdoption } from '../../runtime/services/training/adoption.ts';
import { modelOf, sheetOf, windowsOf } from '../../runtime/terms.ts';
import { readDataSheet } from '../../scripts/tune/report.ts';
import { until } from '../services/consortium.ts';
import { createPlant, type Plant } from './plant.ts';

async function kosmos(...args: string[]) {
  const said = { stdout: '', stderr: '' };
  const writer = (stream: keyof typeof said) => ({
    write(text: string) {
      said[stream] += text;
    },
  });
  const io: Io = { stdout: writer('stdout'), stderr: writer('stderr'), env: { NO_COLOR: '1' } };
  const command = { name: predict.name, summary: predict.summary, load: async () => predict };
  const program = { name: 'kosmos', summary: '', version: '0.0.0', commands: [command] };
  const code = await runProgram(program, ['predict', ...args], io);
  const lines = () =>
    said.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { code, ...said, lines };
}

/** A model that is no constant; every parameter another. */
function parametersOf({ agreement }: Plant): Float64Array {
  return Float64Array.from(
    { length: parameterCount(modelOf(agreement.terms)) },
    (_, index) => 0.3 * Math.sin(index + 1),
  );
}

/** A directory in which version 7 predicts, its gateway not running. */
async function plantOf(t: TestContext) {
  const plant = await createPlant(t);
  const parameters = parametersOf(plant);
  const model = modelOf(plant.agreement.terms);
  const adoption = await openAdoption({
    agreement: plant.agreement.hash,
    model,
    sheet: sheetOf(plant.agreement.terms),
    windows: windowsOf(plant.agreement.terms),
    dataset: { episodes: () => [], lag: () => 0 },
    roleOf: () => 'train',
    whyNone: () => undefined,
    section: plant.journal.section(ADOPTION),
    enter: (body, writes) => plant.recorder.entry('adoption', body, writes),
    onAdopted: () => {},
    log: () => {},
    pauseMs: 5,
  });
  adoption.start();
  adoption.consider(7, modelHash(model, parameters), parameters);
  await until(() => adoption.present()?.version === 7, 'the model is used');
  await adoption.stop();
  await plant.close();
  return { plant, parameters };
}

const csv = (rows: readonly (readonly (number | string)[])[], header: string) =>
  `${header}\n${rows.map((row) => row.join()).join('\n')}\n`;
const values = (count: number, from = 20) =>
  Array.from({ length: count }, (_, index) => from + 40 * Math.abs(Math.sin(index / 3)));

test('the model of a directory predicts for a file, as it does live; the truth is held against it', async (t) => {
  const { plant, parameters } = await plantOf(t);
  const { terms } = plant.agreement;
  const machines = [values(30), values(45, 30)];
  const rows = machines.flatMap((own, machine) =>
    own.map((value, index) => [`press-${machine}`, value, 'x', own.length - 1 - index + 10 * machine]),
  );
  const file = plant.path('rows.csv');
  await writeFile(file, csv(rows, 'machine,load,note,left'));
  const said = await kosmos(file, '--directory', plant.directory, '--truth', 'left', '--json');
  assert.equal(said.code, 0, said.stderr);
  const lines = said.lines();
  const expected = machines.map((own) =>
    predictRul(
      modelOf(terms),
      parameters,
      windowFeatures(
        own.map((value) => [value]),
        sheetOf(terms),
        windowsOf(terms),
      ),
      terms.learning.cap,
    ),
  );
  assert.deepEqual(
    lines.slice(0, 2).map(({ machine, row, remaining, truth }) => ({ machine, row, remaining, truth })),
    [
      { machine: 'press-0', row: 30, remaining: expected[0], truth: 0 },
      { machine: 'press-1', row: 45, remaining: expected[1], truth: 10 },
    ],
  );
  const summary = lines.at(-1) as { model: number; judgement: { rmse: number; predictions: number } };
  assert.equal(summary.model, 7);
  assert.equal(summary.judgement.rmse, rmse(expected, [0, 10]));
  assert.equal(summary.judgement.predictions, 30 + 45 - 2 * (terms.learning.minimum - 1));

  const every = await kosmos(file, '--directory', plant.directory, '--every', '--json');
  assert.equal(every.lines().length, summary.judgement.predictions + 1);
  const table = await kosmos(file, '--directory', plant.directory, '--ends-in-failure', '--alarm', '30,2');
  assert.match(table.stdout, /model 7 of the federation/);
  assert.match(table.stdout, /RMSE \d+\.\d+, PHM08 score/);
  assert.match(table.stdout, /alarms: \d of 2 in time/);
});

test('a running gateway is asked for its model, and what it knows of the errors makes intervals', async (t) => {
  const { plant, parameters } = await plantOf(t);
  const control = createControl(join(plant.directory, 'control.sock'), {
    model: async () => ({
      version: 9,
      hash: '',
      parameters: [...parameters],
      calibration: { value: 5, coverage: 0.9, guaranteed: false, machines: 3, needed: 9 },
    }),
  });
  await control.start();
  t.after(() => control.stop());
  const file = plant.path('rows.csv');
  await writeFile(
    file,
    csv(
      values(30).map((value) => [value]),
      'load',
    ),
  );
  const { lines, code, stderr } = await kosmos(file, '--directory', plant.directory, '--json');
  assert.equal(code, 0, stderr);
  const [first, summary] = lines() as [
    { machine: string; interval: { guaranteed: boolean } },
    { model: number },
  ];
  assert.deepEqual([first.machine, first.interval.guaranteed, summary.model], ['rows', false, 9]);
  const shown = await kosmos(file, '--directory', plant.directory);
  assert.match(shown.stdout, /not guaranteed/);
});

test('what is wrong with a file is named: file, line and column', async (t) => {
  const { plant } = await plantOf(t);
  const good = values(20).map((value) => [value]);
  const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['', [], /the file has no row/],
    ['load\n', [], /the file has no row/],
    [
      'laod\n1\n',
      [],
      /line 1: there is no column "load", which the model looks at; did you mean column "laod"\?/,
    ],
    ['load,load\n1,2\n', [], /line 1: column 2 is called "load" again/],
    ['machine,load\na,1\na,one\n', [], /line 3: column 2 \(load\) is "one", not a number/],
    ['load\n1\n\n2,3\n', [], /line 4: 2 columns instead of the 1 of the header/],
    ['load\n1\nNaN\n', [], /line 3: column 1 \(load\) is "NaN", not a number/],
    ['load\n1e999\n', [], /line 2: column 1/],
    ['machine,load\n,1\n', [], /line 2: column 1 \(machine\) is empty/],
    ['machine,load\na,\n', [], /line 2: column 2 \(load\) is empty/],
    ['"load\n1\n', [], /line 1: column 1 opens a quote/],
    ['time,load\nyesterday,1\n', [], /line 2: column 1 \(time\) is "yesterday"/],
    [csv(good, 'load'), ['--truth', 'rul'], /line 1: there is no column "rul" for the truth/],
  ];
  for (const [text, more, expected] of cases) {
    const file = plant.path('bad.csv');
    await writeFile(file, text);
    const said = await kosmos(file, '--directory', plant.directory, ...more);
    assert.equal(said.code, 2, text);
    assert.match(said.stderr, expected);
    assert.ok(said.stderr.includes('bad.csv'), said.stderr);
  }
  const few = plant.path('few.csv');
  await writeFile(few, '"machine","load"\r\n"a ""b""",1\r\n');
  assert.match((await kosmos(few, '--directory', plant.directory)).stdout, /too few rows to predict: a "b"/);
});

test('what is wrong with the command is said, with what to do', async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'kosmos-predict-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  const file = join(home, 'rows.csv');
  await writeFile(file, 'load\n1\n');
  for (const [args, expected] of [
    [[file], /which model\?/],
    [['--directory', home], /for which rows\?/],
    [[file, '--directory', home, '--model', home], /leave out --directory/],
    [[file, '--directory', home, '--truth', 'x', '--ends-in-failure'], /give one/],
    [[file, '--directory', home, '--alarm', '30,x'], /--alarm 30,x/],
    [[file, '--directory', home], /agreement.toml/],
    [[file, '--model', join(home, 'absent')], /absent/],
  ] as const) {
    const said = await kosmos(...args);
    assert.notEqual(said.code, 0);
    assert.match(said.stderr, expected);
  }
  const plant = await createPlant(t);
  await plant.close();
  const none = await kosmos(file, '--directory', plant.directory);
  assert.match(none.stderr, /no model predicts here/);
});

const CMAPSS = fileURLToPath(new URL('../../../shared/data/cmapss', import.meta.url));
const noData = existsSync(CMAPSS) ? false : 'the C-MAPSS files (../shared/data/cmapss) are not here';

test('C-MAPSS text files are read with their truth, and judged as the test set is', {
  skip: noData,
}, async () => {
  const sheet = await readDataSheet(
    fileURLToPath(new URL('../../config/datasheets/cmapss.toml', import.meta.url)),
  );
  const { windows } = cmapssPreset;
  const model = modelSpecOf(cmapssPreset, 'window', sheet);
  const parameters = initialParameters(model, Uint8Array.of(3));
  const truth = join(CMAPSS, 'RUL_FD001.txt');
  const engines = await readRows(join(CMAPSS, 'test_FD001.txt'), { sheet, windows, truth });
  const predicting = { model, parameters, sheet, windows };
  const judged = judge(
    engines.map((engine) => sayOf(predicting, engine, false)),
    predicting,
    undefined,
    undefined,
  );
  const units = engines.map(({ rows, truth: left }) => ({ rows, rul: left!.at(-1)! }));
  const expected = evaluateLastWindows(model, parameters, units, sheet, windows);
  assert.equal(expected.engines, 100);
  assert.ok(Math.abs(judged!.rmse! - expected.rmse) < 1e-9);
  assert.ok(Math.abs(judged!.score! / expected.score - 1) < 1e-9);
  // The published lives: the first two lines of the file.
  assert.deepEqual(
    engines.slice(0, 2).map(({ machine, truth: left }) => [machine, left!.at(-1)]),
    [
      ['engine-1', 112],
      ['engine-2', 98],
    ],
  );
  await assert.rejects(
    readRows(join(CMAPSS, 'train_FD002.txt'), { sheet, windows, truth }),
    /100 lines for the 260 engines/,
  );
});

test('a saved model predicts the same, with nothing beside it', async (t) => {
  const { plant } = await plantOf(t);
  const file = plant.path('rows.csv');
  await writeFile(
    file,
    csv(
      values(40).map((value) => [value]),
      'load',
    ),
  );
  const saved = plant.path('saved');
  const first = await kosmos(file, '--directory', plant.directory, '--save', saved, '--every', '--json');
  assert.equal(first.code, 0, first.stderr);
  const second = await kosmos(file, '--model', saved, '--every', '--json');
  assert.equal(second.code, 0, second.stderr);
  const remaining = (lines: Record<string, unknown>[]) =>
    lines.slice(0, -1).map((line) => line.remaining as number);
  const [here, there] = [remaining(first.lines()), remaining(second.lines())];
  assert.ok(here.length > 20);
  // Weights are float32 in the file.
  assert.ok(here.every((value, index) => Math.abs(value - there[index]!) < 1e-3));
});
