import { createReadStream } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import type { Channel, Driver, Sensor } from './driver.ts';
import { clockSetting, createReplay, pacingSetting } from './replay.ts';

// NASA C-MAPSS turbofan data, readme.txt of the set, and Saxena, Goebel, Simon and Eklund, "Damage Propagation
// Modeling for Aircraft Engine Run-to-Failure Simulation", PHM08, table 2, for names and units of the sensors.
const units: readonly (readonly [name: string, unit: string])[] = [
  ['altitude', 'kft'],
  ['mach', '/'],
  ['tra', 'deg'],
  ['T2', 'degR'],
  ['T24', 'degR'],
  ['T30', 'degR'],
  ['T50', 'degR'],
  ['P2', 'psi'],
  ['P15', 'psi'],
  ['P30', 'psi'],
  ['Nf', '1/min'],
  ['Nc', '1/min'],
  ['epr', '/'],
  ['Ps30', 'psi'],
  ['phi', '(lb/s)/psi'],
  ['NRf', '1/min'],
  ['NRc', '1/min'],
  ['BPR', '/'],
  ['farB', '/'],
  ['htBleed', '/'],
  ['Nf_dmd', '1/min'],
  ['PCNfR_dmd', '%'],
  ['W31', 'lb/s'],
  ['W32', 'lb/s'],
];

/** The 24 channels of a cycle: three settings, 21 sensors. */
export const cmapssChannels: readonly Channel[] = units.map(([name, unit]) => ({ name, unit }));

/** One engine: `rows[cycle - 1][channel]`. */
export interface CmapssEngine {
  readonly unit: number;
  readonly rows: readonly (readonly number[])[];
}

/** One subset. `remaining[i]` is the true remaining life of `test[i]` after its last row, cycles: for evaluation alone. */
export interface Cmapss {
  readonly train: readonly CmapssEngine[];
  readonly test: readonly CmapssEngine[];
  readonly remaining: readonly number[];
}

const subsets = ['FD001', 'FD002', 'FD003', 'FD004'] as const;
export type CmapssSubset = (typeof subsets)[number];

const columns = 2 + cmapssChannels.length;
const longestLine = 1024;
const mostLines = 10_000_000;
const numberForm = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

type TakeLine = (line: string, number: number) => void;

/**
 * Hands over each line of a text file, read as a stream. A last line without line end is handed over only if it ends
 * in a blank, since a file cut off within a number looks like a whole one.
 */
async function eachLine(path: string, take: TakeLine): Promise<void> {
  let rest = '';
  let number = 0;
  try {
    for await (const chunk of createReadStream(path, { encoding: 'latin1' })) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        number += 1;
        if (number > mostLines) throw fault(path, number, `more than ${mostLines} lines`);
        take(line, number);
      }
      if (rest.length > longestLine)
        throw fault(path, number + 1, `longer than ${longestLine} characters; this is no C-MAPSS text file`);
    }
  } catch (error) {
    throw explain(error, path);
  }
  if (rest.trim() === '') return;
  if (/\S$/.test(rest))
    throw fault(path, number + 1, 'it ends without a line end, so the file has been cut off');
  take(rest, number + 1);
}

function fault(path: string, line: number, what: string): Error {
  return new Error(`${path}, line ${line}: ${what}`);
}

function explain(error: unknown, path: string): Error {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') {
    return new Error(
      `${path} does not exist. The directory needs the text files of NASA's C-MAPSS set (train_FD001.txt, ...).`,
    );
  }
  if (code === 'EACCES') return new Error(`${path} cannot be read: no permission.`);
  if (code === 'EISDIR') return new Error(`${path} is a directory, not a text file.`);
  return error instanceof Error ? error : new Error(`${path}: ${String(error)}`);
}

/** The numbers of a line, or an error that names the column. */
function parseNumbers(line: string, expected: number, path: string, number: number): number[] {
  const words = line.trim().split(/\s+/);
  if (words.length !== expected || words[0] === '') {
    const found = words[0] === '' ? 0 : words.length;
    throw fault(
      path,
      number,
      `${found} columns instead of ${expected}${found < expected ? '; has the file been cut off?' : ''}`,
    );
  }
  return words.map((word, i) => {
    const value = numberForm.test(word) ? Number(word) : Number.NaN;
    if (!Number.isFinite(value)) {
      throw fault(path, number, `column ${i + 1} is ${JSON.stringify(word.slice(0, 40))}, not a number`);
    }
    return value;
  });
}

/** Reads a `train_` or `test_` file: 26 columns, engines in order, cycles 1, 2, 3, ... Errors name file, line and fault. */
export async function readCmapssFile(path: string): Promise<CmapssEngine[]> {
  const engines: { unit: number; rows: number[][] }[] = [];
  await eachLine(path, (line, number) => {
    const [unit = 0, cycle = 0, ...row] = parseNumbers(line, columns, path, number);
    const present = engines.at(-1);
    if (present?.unit === unit) {
      if (cycle !== present.rows.length + 1) {
        throw fault(path, number, `cycle ${cycle} of engine ${unit} after cycle ${present.rows.length}`);
      }
      present.rows.push(row);
      return;
    }
    if (!Number.isInteger(unit) || unit < 1 || (present && unit < present.unit)) {
      throw fault(
        path,
        number,
        `engine ${unit} after engine ${present?.unit ?? 'none'}; engines are numbered 1, 2, 3, ...`,
      );
    }
    if (cycle !== 1) throw fault(path, number, `engine ${unit} begins with cycle ${cycle} instead of 1`);
    engines.push({ unit, rows: [row] });
  });
  if (engines.length === 0) throw new Error(`${path} is empty.`);
  return engines;
}

/** Reads a `RUL_` file: one whole number a line. */
export async function readCmapssRemaining(path: string): Promise<number[]> {
  const remaining: number[] = [];
  await eachLine(path, (line, number) => {
    const [value = Number.NaN] = parseNumbers(line, 1, path, number);
    if (!Number.isInteger(value) || value < 0) throw fault(path, number, `${value} is no number of cycles`);
    remaining.push(value);
  });
  if (remaining.length === 0) throw new Error(`${path} is empty.`);
  return remaining;
}

interface Cached {
  readonly engines: Promise<readonly CmapssEngine[]>;
  forget: NodeJS.Timeout;
}

// A file is parsed once for all the engines that are opened one after another, then forgotten: a sensor needs the rows
// of its engine alone, and a subset takes 5 to 13 MB.
const parsed = new Map<string, Cached>();
const keptMs = 60_000;

/** The run-to-failure engines of a subset. */
export function readCmapssTraining(
  directory: string,
  subset: CmapssSubset,
): Promise<readonly CmapssEngine[]> {
  const path = resolve(join(directory, `train_${subset}.txt`));
  const forget = setTimeout(() => parsed.delete(path), keptMs).unref();
  const known = parsed.get(path);
  if (known) {
    clearTimeout(known.forget);
    known.forget = forget;
    return known.engines;
  }
  const engines = readCmapssFile(path).catch((error: unknown) => {
    clearTimeout(forget);
    parsed.delete(path);
    throw error;
  });
  parsed.set(path, { engines, forget });
  return engines;
}

/** A whole subset, for evaluation. Errors if the test engines and the remaining lives are not equally many. */
export async function readCmapss(directory: string, subset: CmapssSubset): Promise<Cmapss> {
  const path = (kind: string): string => join(directory, `${kind}_${subset}.txt`);
  const [train, test, remaining] = await Promise.all([
    readCmapssTraining(directory, subset),
    readCmapssFile(path('test')),
    readCmapssRemaining(path('RUL')),
  ]);
  if (test.length !== remaining.length) {
    throw new Error(
      `${path('RUL')} has ${remaining.length} lines for the ${test.length} engines of ${path('test')}.`,
    );
  }
  return { train, test, remaining };
}

export const cmapssSettings = z.strictObject({
  directory: z.string().min(1).describe("directory with the text files of NASA's C-MAPSS set"),
  subset: z
    .literal([...subsets])
    .default('FD001')
    .describe('FD001, FD002, FD003 or FD004'),
  engine: z.int().min(1).describe('number of the engine in the train_ file'),
  pacing: pacingSetting.default('as-fast-as-possible'),
  clock: clockSetting.optional(),
});
export type CmapssSettings = z.infer<typeof cmapssSettings>;

/** Plays an engine of C-MAPSS: a reading a cycle, the last with the event `failure`, then the end. */
export const cmapss: Driver<CmapssSettings> = {
  name: 'cmapss',
  settings: cmapssSettings,
  async open({ directory, subset, engine, pacing, clock }): Promise<Sensor> {
    const engines = await readCmapssTraining(directory, subset);
    const found = engines.find(({ unit }) => unit === engine);
    if (!found) {
      throw new Error(
        `train_${subset}.txt in ${directory} has no engine ${engine}, only ${engines[0]?.unit} to ${engines.at(-1)?.unit}.`,
      );
    }
    return createReplay({ channels: cmapssChannels, rows: found.rows, pacing, clock, lastEvent: 'failure' });
  },
};
