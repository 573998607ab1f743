import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Bench, type Measured, summarise } from './harness.ts';

const DATA = process.env.KOSMOS_CMAPSS ?? '../shared/data/cmapss';
const RUNS = Number(process.env.KOSMOS_BENCH_RUNS ?? 3);
const LIMIT_MS = 300_000;

/** The demo's whole way on C-MAPSS FD001: five gateways as processes, twenty rounds, raw test RMSE. */
async function measure(epsilon: string, limit: number): Promise<Measured> {
  if (!existsSync(join(DATA, 'train_FD001.txt'))) {
    throw new Error(`there are no C-MAPSS files in ${DATA}; set KOSMOS_CMAPSS to their folder`);
  }
  const figures: number[] = [];
  for (let run = 0; run < RUNS; run++) figures.push(await runDemo(epsilon));
  const side = summarise(figures);
  return {
    value: side.median,
    ratio: side.median / limit,
    sides: { rmse: side },
    note: `${RUNS} runs with fresh noise and keys`,
  };
}

async function runDemo(epsilon: string): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-bench-'));
  const args = [
    'demo',
    '--data',
    DATA,
    '--subset',
    'FD001',
    '--gateways',
    '5',
    '--rounds',
    '20',
    '--unit',
    'window',
  ];
  try {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['dist/kosmos.mjs', ...args, '--epsilon', epsilon, '--json', '--directory', join(directory, 'demo')],
      { timeout: LIMIT_MS, maxBuffer: 16 * 1024 * 1024 },
    );
    const summary = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as {
      test: { rmse: number };
      failures: string[];
    };
    if (summary.failures.length > 0) throw new Error(`the demo failed: ${summary.failures.join('; ')}`);
    return summary.test.rmse;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export const fd001: Bench = {
  name: 'fd001-no-privacy',
  unit: 'cycles RMSE',
  against: 'limit 15.5',
  run: () => measure('off', 15.5),
};

export const fd001Private: Bench = {
  name: 'fd001-epsilon-8-window',
  unit: 'cycles RMSE',
  against: 'limit 17.5',
  run: () => measure('8', 17.5),
};
