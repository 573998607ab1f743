/** Rows of machines from a file: CSV with a header of channel names, or a text file of NASA's C-MAPSS set. */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { cmapssChannels, readCmapssFile, readCmapssRemaining } from '../../../drivers/cmapss.ts';
import { type DataSheet, inputNames, type WindowSpec } from '../../core/learning/features.ts';
import { didYouMean } from '../../state/settings/suggest.ts';
import { type Problem, problem } from '../terminal/problem.ts';

/** One machine's rows, in the order of the data sheet's channels. */
export interface MachineRows {
  readonly machine: string;
  readonly rows: readonly (readonly number[])[];
  /** Milliseconds since 1970, where the file has them. */
  readonly times: readonly number[] | undefined;
  /** What is true of each row, where the file says. */
  readonly truth: readonly number[] | undefined;
}

export interface RowsRequest {
  readonly sheet: DataSheet;
  readonly windows: WindowSpec;
  /** CSV: the column of the truth. C-MAPSS: the file with the rows that are left after each engine's last. */
  readonly truth: string | undefined;
}

const MACHINE = 'machine';
const TIME = 'time';
const MOST_LINES = 10_000_000;
const LONGEST_LINE = 1 << 20;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
const SHOWN = 40;

/** @throws Problem naming file, line and column of the first thing that is wrong. */
export async function readRows(path: string, request: RowsRequest): Promise<readonly MachineRows[]> {
  const machines = (await isCmapss(path)) ? await readEngines(path, request) : await readCsv(path, request);
  if (machines.length === 0) {
    throw problem('the file has no row', { where: path, exitCode: 2 });
  }
  return machines;
}

/** Twenty-six numbers with blanks between them, and no comma. */
async function isCmapss(path: string): Promise<boolean> {
  const file = await open(path, 'r');
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(4096), 0, 4096, 0);
    const [line = ''] = buffer.toString('latin1', 0, bytesRead).split('\n');
    const words = line.trim().split(/\s+/);
    return words.length === cmapssChannels.length + 2 && words.every((word) => NUMBER.test(word));
  } finally {
    await file.close();
  }
}

async function readEngines(path: string, { sheet, windows, truth }: RowsRequest): Promise<MachineRows[]> {
  const names = cmapssChannels.map(({ name }) => name);
  const columns = columnsOf(names, sheet, windows, (missing) =>
    problem(`C-MAPSS has no channel ${missing}, which the model looks at`, { where: path, exitCode: 2 }),
  );
  const engines = await asProblem(readCmapssFile(path));
  const remaining = truth === undefined ? undefined : await asProblem(readCmapssRemaining(truth));
  if (remaining && remaining.length !== engines.length) {
    throw problem(`${remaining.length} lines for the ${engines.length} engines of ${path}`, {
      where: truth!,
      exitCode: 2,
    });
  }
  return engines.map(({ unit, rows }, index) => ({
    machine: `engine-${unit}`,
    rows: rows.map((row) => pick(row, columns)),
    times: undefined,
    truth: remaining && rows.map((_, row) => remaining[index]! + rows.length - 1 - row),
  }));
}

/** Errors of the driver name file and line already. */
async function asProblem<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    throw problem((error as Error).message, { exitCode: 2, cause: error });
  }
}

interface Header {
  readonly count: number;
  readonly names: readonly string[];
  /** For each channel of the sheet its column; undefined where neither model nor conditions look at it. */
  readonly channels: readonly (number | undefined)[];
  readonly machine: number | undefined;
  readonly time: number | undefined;
  readonly truth: number | undefined;
}

async function readCsv(path: string, request: RowsRequest): Promise<MachineRows[]> {
  const machines = new Map<string, { rows: number[][]; times: number[]; truth: number[] }>();
  const alone = basename(path, extname(path));
  let header: Header | undefined;
  await eachLine(path, (line, number) => {
    if (line.trim() === '') return;
    const cells = splitCells(line, path, number);
    if (!header) {
      header = readHeader(cells, path, number, request);
      return;
    }
    const { count, names, channels, machine, time, truth } = header;
    if (cells.length !== count) {
      throw fault(path, number, `${cells.length} columns instead of the ${count} of the header`);
    }
    const numberIn = (column: number) => readNumber(cells[column]!, path, number, column, names[column]!);
    const name = machine === undefined ? alone : cells[machine]!;
    if (name === '') throw fault(path, number, `column ${machine! + 1} (${MACHINE}) is empty`);
    const kept = machines.get(name) ?? { rows: [], times: [], truth: [] };
    machines.set(name, kept);
    kept.rows.push(channels.map((column) => (column === undefined ? Number.NaN : numberIn(column))));
    if (time !== undefined) kept.times.push(readTime(cells[time]!, path, number, time));
    if (truth !== undefined) kept.truth.push(numberIn(truth));
  });
  return [...machines].map(([machine, { rows, times, truth }]) => ({
    machine,
    rows,
    times: header?.time === undefined ? undefined : times,
    truth: header?.truth === undefined ? undefined : truth,
  }));
}

function readHeader(cells: readonly string[], path: string, line: number, request: RowsRequest): Header {
  const twice = cells.findIndex((name, index) => cells.indexOf(name) !== index);
  if (twice >= 0) throw fault(path, line, `column ${twice + 1} is called ${shown(cells[twice]!)} again`);
  const place = (name: string) => {
    const found = cells.indexOf(name);
    return found < 0 ? undefined : found;
  };
  const { truth } = request;
  if (truth !== undefined && place(truth) === undefined) {
    const meant = didYouMean(truth, cells);
    throw fault(
      path,
      line,
      `there is no column ${shown(truth)} for the truth${meant ? `; did you mean ${meant}?` : ''}`,
    );
  }
  const channels = columnsOf(cells, request.sheet, request.windows, (missing) => {
    const meant = didYouMean(missing, cells);
    const what = meant ? `did you mean column ${shown(meant)}?` : 'the header has to name it';
    return fault(path, line, `there is no column ${shown(missing)}, which the model looks at; ${what}`);
  });
  return {
    count: cells.length,
    names: cells,
    channels,
    machine: place(MACHINE),
    time: place(TIME),
    truth: truth === undefined ? undefined : place(truth),
  };
}

/** Where each channel of the sheet is to be found among `names`. */
function columnsOf(
  names: readonly string[],
  sheet: DataSheet,
  windows: WindowSpec,
  missing: (channel: string) => Error,
): readonly (number | undefined)[] {
  const needed = new Set([
    ...inputNames(sheet, windows),
    ...(sheet.conditions ?? []).flatMap(({ when }) => when.map(({ channel }) => channel)),
  ]);
  return sheet.channels.map(({ name }) => {
    const column = names.indexOf(name);
    if (column < 0 && needed.has(name)) throw missing(name);
    return column < 0 ? undefined : column;
  });
}

function pick(row: readonly number[], columns: readonly (number | undefined)[]): number[] {
  return columns.map((column) => (column === undefined ? Number.NaN : row[column]!));
}

function readNumber(word: string, path: string, line: number, column: number, name: string): number {
  const value = NUMBER.test(word) ? Number(word) : Number.NaN;
  if (Number.isFinite(value)) return value;
  const what = word === '' ? 'is empty' : `is ${shown(word)}, not a number`;
  throw fault(path, line, `column ${column + 1} (${name}) ${what}`);
}

/** Milliseconds since 1970, or a date and time as in ISO 8601, with its zone. */
function readTime(word: string, path: string, line: number, column: number): number {
  const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/.test(word);
  const value = NUMBER.test(word) ? Number(word) : iso ? Date.parse(word) : Number.NaN;
  if (Number.isFinite(value)) return value;
  throw fault(
    path,
    line,
    `column ${column + 1} (${TIME}) is ${shown(word)}, neither milliseconds since 1970 nor a time such as 2026-03-01T06:00:00Z`,
  );
}

/** Cells of a line of CSV (RFC 4180), a quoted one without line ends in it. */
function splitCells(line: string, path: string, number: number): string[] {
  const cells: string[] = [];
  let rest = line;
  for (;;) {
    const quoted = /^\s*"((?:[^"]|"")*)"\s*(,|$)/.exec(rest);
    if (!quoted && /^\s*"/.test(rest)) {
      throw fault(
        path,
        number,
        `column ${cells.length + 1} opens a quote that does not end where the cell does`,
      );
    }
    const comma = rest.indexOf(',');
    const end = quoted ? quoted[0].length - quoted[2]!.length : comma < 0 ? rest.length : comma;
    cells.push(quoted ? quoted[1]!.replaceAll('""', '"') : rest.slice(0, end).trim());
    if (end >= rest.length) return cells;
    rest = rest.slice(end + 1);
  }
}

async function eachLine(path: string, take: (line: string, number: number) => void): Promise<void> {
  let rest = '';
  let number = 0;
  const one = (line: string) => {
    number += 1;
    if (number > MOST_LINES) throw fault(path, number, `more than ${MOST_LINES} lines`);
    // A byte-order mark is not part of the first name.
    take((number === 1 ? line.replace(/^\ufeff/, '') : line).replace(/\r$/, ''), number);
  };
  for await (const chunk of createReadStream(path, { encoding: 'utf8' })) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) one(line);
    if (rest.length > LONGEST_LINE) {
      throw fault(path, number + 1, `longer than ${LONGEST_LINE} characters: this is no CSV`);
    }
  }
  if (rest !== '') one(rest);
}

function fault(path: string, line: number, what: string): Problem {
  return problem(`line ${line}: ${what}`, { where: path, exitCode: 2 });
}

function shown(word: string): string {
  return JSON.stringify(word.slice(0, SHOWN));
}
