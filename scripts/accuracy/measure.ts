/** Runs variants with many seeds, as many processes at a time as there are cores. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { RunErrors, RunRequest } from './run.ts';
import type { Variant } from './variants.ts';

const LIMIT_MS = 1_800_000;

export interface Spread {
  readonly mean: number;
  /** Standard deviation over the seeds; 0 for one seed. */
  readonly deviation: number;
  readonly runs: readonly number[];
}

export interface Measurement {
  readonly variant: Variant;
  readonly raw: Spread;
  readonly capped: Spread;
}

export interface MeasureOptions {
  readonly data: string;
  readonly seeds: number;
  readonly progress?: (done: number, all: number, what: string) => void;
}

/** @throws Error when the files are not there, or a run fails. */
export async function measure(
  variants: readonly Variant[],
  { data, seeds, progress }: MeasureOptions,
): Promise<readonly Measurement[]> {
  for (const { subset } of variants) {
    if (!existsSync(join(data, `train_${subset}.txt`)))
      throw new Error(
        `there are no C-MAPSS files of ${subset} in ${data}; set KOSMOS_CMAPSS to their folder`,
      );
  }
  const work = variants.flatMap((variant) => Array.from({ length: seeds }, (_, seed) => ({ variant, seed })));
  const errors = new Map(variants.map((variant) => [variant, [] as RunErrors[]]));
  let next = 0;
  let done = 0;
  const worker = async () => {
    for (let job = work[next++]; job; job = work[next++]) {
      errors.get(job.variant)!.push(await runOnce({ ...job, data }));
      progress?.(++done, work.length, `${job.variant.name}, seed ${job.seed}`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return [...errors].map(([variant, runs]) => ({
    variant,
    raw: spreadOf(runs.map(({ raw }) => raw)),
    capped: spreadOf(runs.map(({ capped }) => capped)),
  }));
}

async function runOnce(request: RunRequest): Promise<RunErrors> {
  const script = join(import.meta.dirname, 'run.ts');
  const args = ['--import', 'tsx', script, JSON.stringify(request)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: LIMIT_MS });
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as RunErrors;
}

function spreadOf(runs: readonly number[]): Spread {
  const mean = runs.reduce((sum, value) => sum + value, 0) / runs.length;
  const squares = runs.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: runs.length > 1 ? Math.sqrt(squares / (runs.length - 1)) : 0, runs };
}
