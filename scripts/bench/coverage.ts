import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readCmapss } from '../../drivers/cmapss.ts';
import { holds, lifeInterval, lifeScore, thresholdOf } from '../../runtime/core/learning/conformal.ts';
import { labelledWindows } from '../../runtime/core/learning/episodes.ts';
import { outputsOver } from '../../runtime/core/learning/evaluate.ts';
import { windowFeatures } from '../../runtime/core/learning/features.ts';
import { predictRul } from '../../runtime/core/learning/model.ts';
import { cmapssPreset } from '../../runtime/core/learning/presets.ts';
import { startBackend } from '../../runtime/services/training/backend.ts';
import { federate } from '../tune/federation.ts';
import { readDataSheet } from '../tune/report.ts';
import { type Bench, type Measured, summarise } from './harness.ts';

const DATA = process.env.KOSMOS_CMAPSS ?? '../shared/data/cmapss';
const NOMINAL = 0.9;
const HELD_BACK = 40;
const MODELS = 3;
const SPLITS = 400;
/** Calibration machines: the fewest with a guarantee, and numbers whose rank is not whole. */
const MACHINES = [9, 12, 18, 28];
/** Test engines are cut off between so many rows before their end. */
const EARLIEST = 145;
const LATEST = 5;

interface Point {
  readonly predicted: number;
  readonly remaining: number;
}

/**
 * FD001: how often the interval of a test engine's last prediction holds its true remaining life. Models are trained
 * on 60 training engines, without privacy; of the other 40, so many are drawn for calibration, one moment of each. Two
 * designs: `moments`, any moment of a run, as a gateway calibrates; `cuts`, a moment 5 to 145 rows before its end, as
 * the test engines seem to be cut. Neither makes test engines exchangeable with training engines for certain: the
 * third, `held-back`, does (a random moment of the machines that were not drawn), and is what is guaranteed.
 */
async function measure(): Promise<Measured> {
  if (!existsSync(join(DATA, 'train_FD001.txt'))) {
    throw new Error(`there are no C-MAPSS files in ${DATA}; set KOSMOS_CMAPSS to their folder`);
  }
  await startBackend();
  const found = new Map<string, number[]>();
  const widths: number[] = [];
  for (let seed = 0; seed < MODELS; seed += 1) {
    const { heldBack, tests } = await modelled(seed);
    for (const machines of MACHINES) coverOne(heldBack, tests, machines, found, widths);
  }
  const means = [...found].map(([name, shares]) => [name, mean(shares), deviation(shares)] as const);
  const worst = Math.max(...means.map(([, share]) => 100 * Math.abs(share - NOMINAL)));
  const note = means
    .map(([name, share, spread]) => `${name} ${(100 * share).toFixed(1)} +- ${(100 * spread).toFixed(1)} %`)
    .join(', ');
  return {
    value: worst,
    ratio: worst / 3,
    sides: { width: summarise(widths) },
    note: `${MODELS} models x ${SPLITS} draws; mean and deviation over draws: ${note}`,
  };
}

async function modelled(seed: number) {
  const sheet = await readDataSheet(join(import.meta.dirname, '../../config/datasheets/cmapss.toml'));
  const { train, test, remaining } = await readCmapss(DATA, 'FD001');
  const engines = shuffled(train.map(({ rows }) => rows));
  const { windows } = cmapssPreset;
  const { model, parameters } = federate({
    preset: cmapssPreset,
    unit: 'none',
    sheet,
    engines: engines.slice(HELD_BACK),
    gateways: 5,
    budget: { epsilon: 8, delta: 1e-5 },
    seed,
  });
  const heldBack = engines.slice(0, HELD_BACK).map((rows): Point[] => {
    const run = { machine: '', rows, end: 'failure', ended: 0 } as const;
    const { count, features } = labelledWindows([run], sheet, windows);
    return [...outputsOver(model, parameters, features, count)].map((output, index) => ({
      predicted: windows.cap * Math.max(0, Math.min(1, output)),
      remaining: count - 1 - index,
    }));
  });
  const tests = test.map(
    ({ rows }, index): Point => ({
      predicted: predictRul(model, parameters, windowFeatures(rows, sheet, windows), windows.cap),
      remaining: remaining[index]!,
    }),
  );
  return { heldBack, tests };
}

function coverOne(
  heldBack: readonly (readonly Point[])[],
  tests: readonly Point[],
  machines: number,
  found: Map<string, number[]>,
  widths: number[],
): void {
  const { cap } = cmapssPreset.windows;
  const note = (name: string, share: number) => {
    const key = `${name} (${machines})`;
    found.set(key, [...(found.get(key) ?? []), share]);
  };
  const score = ({ predicted, remaining }: Point) => lifeScore(predicted, remaining, cap);
  for (let split = 0; split < SPLITS; split += 1) {
    const order = shuffled(heldBack);
    const drawn = order.slice(0, machines);
    const others = order.slice(machines).map(anyMoment);
    const coin = Math.random();
    const moments = thresholdOf(drawn.map(anyMoment).map(score), NOMINAL, coin).value;
    const cuts = thresholdOf(drawn.map(cutMoment).map(score), NOMINAL, coin).value;
    note('moments', covered(tests, moments));
    note('cuts', covered(tests, cuts));
    note('held-back', covered(others, moments));
    widths.push(mean(tests.map(({ predicted }) => width(predicted, moments))));
  }
}

function covered(points: readonly Point[], threshold: number): number {
  const { cap } = cmapssPreset.windows;
  const within = points.filter(({ predicted, remaining }) =>
    holds(lifeInterval(predicted, cap, threshold), remaining),
  );
  return within.length / points.length;
}

function width(predicted: number, threshold: number): number {
  const { cap } = cmapssPreset.windows;
  const { low, high = cap } = lifeInterval(predicted, cap, threshold);
  return high - low;
}

function anyMoment(run: readonly Point[]): Point {
  return run[Math.floor(Math.random() * run.length)]!;
}

function cutMoment(run: readonly Point[]): Point {
  const left = LATEST + Math.floor(Math.random() * (EARLIEST - LATEST + 1));
  return run[Math.max(0, run.length - 1 - left)]!;
}

function shuffled<T>(values: readonly T[]): T[] {
  const mixed = [...values];
  for (let index = mixed.length - 1; index > 0; index -= 1) {
    const other = Math.floor(Math.random() * (index + 1));
    [mixed[index], mixed[other]] = [mixed[other]!, mixed[index]!];
  }
  return mixed;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function deviation(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)));
}

export const coverage: Bench = {
  name: 'coverage',
  unit: 'points off 90 %',
  against: 'limit 3',
  run: measure,
};
