/** From samples at any time to rows at a regular one, and from a run with holes to histories without. */

export interface GridSpec {
  /** Milliseconds between two rows, which lie at the multiples of it since 1970; a sample is a row when left out. */
  readonly period?: number;
  /** Milliseconds without a sample after which a new history begins; no hole is too long when left out. */
  readonly maxGap?: number;
  /** Rows in a window: with a period, a hole that is longer always begins a new history. */
  readonly window: number;
}

/** A machine's run with what is known of its times. */
export interface Timed {
  readonly rows: readonly (readonly number[])[];
  /** Milliseconds since 1970 of each row, as its sample says; needed only where a period or a gap is agreed. */
  readonly times?: readonly number[];
  /** Rows before which the clock was set, so that the time since the row before is not known. */
  readonly steps?: readonly number[];
}

/** Rows without a hole between them. */
export interface History {
  readonly rows: readonly (readonly number[])[];
  /** For each row, the rows (with a period: the time in periods) from it to the run's last. */
  readonly left: readonly number[];
  /** False where more may be left than `left` says: what a later hole held could not be counted. */
  readonly exact: boolean;
}

/** Samples `from` up to, not including, `to`. `unclear`: nobody knows how long the hole before it was. */
interface Piece {
  readonly from: number;
  readonly to: number;
  readonly unclear: boolean;
}

/**
 * The histories of a run, oldest first. With a period, the row at an instant is the mean of the samples since the
 * instant before, or the last row again where there is none: nothing in it is as young as its instant, and only
 * instants that have come by the run's last sample have a row. A history ends where no sample came for longer
 * than `maxGap`, and where the clock was set or ran backwards.
 *
 * @throws RangeError when times are needed and there is not a finite one for each row.
 */
export function historiesOf(run: Timed, spec: GridSpec): readonly History[] {
  const { rows } = run;
  if (rows.length === 0) return [];
  if (!isGrid(spec)) return [{ rows, left: rows.map((_, row) => rows.length - 1 - row), exact: true }];
  const times = timesOf(run, spec);
  return spec.period === undefined
    ? rowByRow(rows, cutAtHoles(run, times, spec))
    : onGrid(rows, times, cutAtHoles(run, times, spec), spec.period);
}

/**
 * The last `count` rows, or as many as there are, of the history that a run's last sample lies in: what live
 * prediction looks at. They are the rows that {@link historiesOf} gives, found without going through the run.
 */
export function latestRows(run: Timed, spec: GridSpec, count: number): readonly (readonly number[])[] {
  const { rows } = run;
  if (!isGrid(spec) || rows.length === 0) return rows.slice(Math.max(0, rows.length - count));
  const times = timesOf(run, spec);
  const hole = holeFinder(run, times, spec);
  const last = rows.length - 1;
  let from = last;
  while (from > 0 && hole(from) === undefined && !enough(times, from, last, count, spec.period)) from -= 1;
  const tail =
    spec.period === undefined ? rows.slice(from) : gridRows(rows, times, { from, to: last + 1 }, spec.period);
  return tail.slice(Math.max(0, tail.length - count));
}

/** Whether the last `count` rows need no sample before `from`: with a period, a mean and one to hold are whole. */
function enough(
  times: readonly number[],
  from: number,
  last: number,
  count: number,
  period: number | undefined,
): boolean {
  if (period === undefined) return last - from + 1 >= count;
  // The instant before the first that is asked for: its row may be held over.
  const oldest = Math.floor(times[last]! / period) - count;
  return (
    times[from]! < oldest * period && instantOf(times[from - 1]!, period) < instantOf(times[from]!, period)
  );
}

function isGrid({ period, maxGap }: GridSpec): boolean {
  return period !== undefined || maxGap !== undefined;
}

function rowByRow(rows: Timed['rows'], pieces: readonly Piece[]): History[] {
  return pieces.map(({ from, to }, index) => ({
    rows: rows.slice(from, to),
    left: Array.from({ length: to - from }, (_, row) => rows.length - 1 - from - row),
    // Rows may be missing in a hole; of the newest history nothing is.
    exact: index === pieces.length - 1,
  }));
}

function onGrid(
  rows: Timed['rows'],
  times: readonly number[],
  pieces: readonly Piece[],
  period: number,
): History[] {
  const histories: History[] = [];
  // When the pieces ended whose times can be compared, and the milliseconds that are left after them at least.
  let end = times[times.length - 1]!;
  let after = 0;
  let exact = true;
  for (const piece of pieces.toReversed()) {
    const first = instantOf(times[piece.from]!, period);
    const gridded = gridRows(rows, times, piece, period);
    const left = gridded.map((_, row) => Math.floor((after + end - (first + row) * period) / period));
    if (gridded.length > 0) histories.push({ rows: gridded, left, exact });
    if (!piece.unclear || piece.from === 0) continue;
    after += end - times[piece.from]!;
    end = times[piece.from - 1]!;
    exact = false;
  }
  return histories.reverse();
}

/** A row for every instant from the first sample's to the last that has come by the last sample. */
function gridRows(
  rows: Timed['rows'],
  times: readonly number[],
  { from, to }: Pick<Piece, 'from' | 'to'>,
  period: number,
): (readonly number[])[] {
  const gridded: (readonly number[])[] = [];
  const last = Math.floor(times[to - 1]! / period);
  let next = from;
  let held: readonly number[] = rows[from]!;
  for (let instant = instantOf(times[from]!, period); instant <= last; instant += 1) {
    const begin = next;
    while (next < to && times[next]! < instant * period) next += 1;
    if (next > begin) held = next - begin === 1 ? rows[begin]! : meanRow(rows.slice(begin, next));
    gridded.push(held);
  }
  return gridded;
}

/** The instant, counted in periods, in whose row a sample of this time is: the next one. */
function instantOf(time: number, period: number): number {
  return Math.floor(time / period) + 1;
}

function meanRow(rows: Timed['rows']): readonly number[] {
  const sums = rows[0]!.slice();
  for (const row of rows.slice(1)) {
    if (row.length !== sums.length)
      throw new RangeError(`rows of ${sums.length} and of ${row.length} values`);
    row.forEach((value, index) => {
      sums[index]! += value;
    });
  }
  return sums.map((sum) => sum / rows.length);
}

function cutAtHoles(run: Timed, times: readonly number[], spec: GridSpec): readonly Piece[] {
  const hole = holeFinder(run, times, spec);
  const pieces: Piece[] = [];
  let from = 0;
  let unclear = false;
  for (let row = 1; row <= times.length; row += 1) {
    const found = row < times.length ? hole(row) : 'end';
    if (found === undefined) continue;
    pieces.push({ from, to: row, unclear });
    from = row;
    unclear = found === 'unclear';
  }
  return pieces;
}

type Hole = 'long' | 'unclear' | undefined;

/** Tells whether there is a hole before a row, the first one excepted. */
function holeFinder(run: Timed, times: readonly number[], spec: GridSpec): (row: number) => Hole {
  const steps = new Set(run.steps ?? []);
  const { period, maxGap = Number.POSITIVE_INFINITY, window } = spec;
  const longest = period === undefined ? maxGap : Math.min(maxGap, window * period);
  return (row) => {
    const passed = times[row]! - times[row - 1]!;
    if (!Number.isFinite(passed)) throw new RangeError(`row ${row} or the one before it has no finite time`);
    if (passed < 0 || steps.has(row)) return 'unclear';
    return passed > longest ? 'long' : undefined;
  };
}

function timesOf({ rows, times }: Timed, { period, maxGap }: GridSpec): readonly number[] {
  for (const span of [period, maxGap]) {
    if (span !== undefined && !(span > 0 && Number.isFinite(span))) {
      throw new RangeError(`a period or gap of ${span} ms: it has to be a finite number above 0`);
    }
  }
  if (times?.length !== rows.length) {
    throw new RangeError(`${times?.length ?? 0} times for ${rows.length} rows: resampling needs one a row`);
  }
  return times;
}
