/** The rows of one machine since its last repair. */
import type { Sample } from '../../core/encoding/sample.ts';

/** Where a sample stands in its stream: its order, which is not that of time. */
export type Place = Pick<Sample, 'incarnation' | 'sequence'>;

export interface Run {
  rows: (readonly number[])[];
  /** Milliseconds since 1970 of each row, as its sample says. */
  times: number[];
  places: Place[];
  /** Rows before which the clock was set. */
  steps: number[];
  /** Rows that it ever had. */
  seen: number;
  /** After a failure the machine stands still until somebody has repaired it; its rows may belong to the next run. */
  standing: boolean;
}

export function createRun(): Run {
  return { rows: [], times: [], places: [], steps: [], seen: 0, standing: false };
}

export function addRow(run: Run, { values, time, clock, incarnation, sequence }: Sample): void {
  // A clock that runs backwards was set, whatever it says of itself.
  if (clock === 'stepped' || time < (run.times.at(-1) ?? 0)) run.steps.push(run.rows.length);
  run.rows.push(values);
  run.times.push(time);
  run.places.push({ incarnation, sequence });
  run.seen += 1;
}

/** The rows before `at`, and those from there on. */
export function cut(run: Run, at: number): readonly [Run, Run] {
  const before = {
    ...run,
    rows: run.rows.slice(0, at),
    times: run.times.slice(0, at),
    places: run.places.slice(0, at),
    steps: run.steps.filter((step) => step < at),
  };
  const after = {
    rows: run.rows.slice(at),
    times: run.times.slice(at),
    places: run.places.slice(at),
    steps: run.steps.filter((step) => step >= at).map((step) => step - at),
    seen: run.rows.length - at,
    standing: false,
  };
  return [before, after];
}

/** Forgets all but the newest `count` rows. */
export function trim(run: Run, count: number): void {
  const { rows, times, places, steps } = cut(run, run.rows.length - count)[1];
  Object.assign(run, { rows, times, places, steps });
}

/** The index of the last row that is not after `place`; -1 for none. */
export function lastPlace(run: Run, place: Place): number {
  return run.places.findLastIndex((own) => !isAfter(own, place));
}

export function isAfter(one: Place, other: Place): boolean {
  return one.incarnation === other.incarnation
    ? one.sequence > other.sequence
    : one.incarnation > other.incarnation;
}
