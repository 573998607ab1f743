/**
 * How far what a machine shows now is from what is expected: of values outside the agreed ranges, the share, and of
 * each channel, whether its recent rows come from the same distribution as earlier ones of the same machine. Nothing
 * here is fitted for anybody else, and nothing of it leaves the gateway.
 */
import { type DataSheet, normaliseRows, type WindowSpec } from './features.ts';

export interface ChannelDrift {
  readonly channel: string;
  /** The greatest distance of the two empirical distributions, 0 to 1. */
  readonly distance: number;
  /** Probability of such a distance or a greater one without drift. */
  readonly p: number;
}

export interface Drift {
  /** Share of the recent values that lie outside their range and were clipped; 0 to 1. */
  readonly clipped: number;
  /** Channels whose p-value is below `falseAlarms` over the number of channels (Bonferroni), the most unlikely first. */
  readonly shifted: readonly ChannelDrift[];
  /** Channels that were compared; a constant one tells nothing. */
  readonly compared: number;
}

export interface DriftSpec {
  /** Rows of the recent part. */
  readonly recent: number;
  /** Rows of the reference, the machine's earliest of this run. */
  readonly reference: number;
  /** Probability that a run that does not change is said to have drifted, at one look. */
  readonly falseAlarms: number;
}

export const DRIFT: DriftSpec = { recent: 60, reference: 60, falseAlarms: 0.001 };

/**
 * The drift of the newest rows of a run; undefined while reference and recent part would overlap.
 *
 * @param reference normalised rows from the run's beginning, as {@link referenceOf} gives
 * @param recent the run's last rows, oldest first
 */
export function driftOf(
  reference: readonly Float64Array[],
  recent: readonly (readonly number[])[],
  sheet: DataSheet,
  spec: WindowSpec,
  names: readonly string[],
  { falseAlarms }: DriftSpec = DRIFT,
): Drift {
  const normalised = normaliseRows(recent, sheet, spec);
  let clipped = 0;
  for (const row of normalised) {
    // Behind the channels may come the conditions, which are always at an end.
    for (let index = 0; index < names.length; index += 1) if (Math.abs(row[index]!) >= 1) clipped += 1;
  }
  const channels = names.map((channel, index): ChannelDrift => {
    const before = reference.map((row) => row[index]!);
    const now = normalised.map((row) => row[index]!);
    return { channel, ...twoSample(before, now) };
  });
  const compared = channels.filter(({ p }) => !Number.isNaN(p));
  return {
    clipped: normalised.length === 0 ? 0 : clipped / (normalised.length * names.length),
    shifted: compared
      .filter(({ p }) => p < falseAlarms / compared.length)
      .sort((a, b) => a.p - b.p || b.distance - a.distance),
    compared: compared.length,
  };
}

/** A run's first rows, as {@link driftOf} compares with; undefined when there are not enough for both parts. */
export function referenceOf(
  rows: readonly (readonly number[])[],
  sheet: DataSheet,
  spec: WindowSpec,
  { reference, recent }: DriftSpec = DRIFT,
): readonly Float64Array[] | undefined {
  if (rows.length < reference + recent) return undefined;
  return normaliseRows(rows.slice(0, reference), sheet, spec);
}

/**
 * The two-sample test of Kolmogorov and Smirnov, with the numbers of rows reduced to what they are worth: rows that
 * follow each other resemble each other, and n of them with autocorrelation rho tell as much as
 * n (1 - rho) / (1 + rho) independent ones. p is NaN where neither sample varies and both are equal.
 */
export function twoSample(
  before: readonly number[],
  now: readonly number[],
): { readonly distance: number; readonly p: number } {
  if (before.length < 2 || now.length < 2) return { distance: 0, p: Number.NaN };
  const a = [...before].sort((x, y) => x - y);
  const b = [...now].sort((x, y) => x - y);
  if (a[0] === a.at(-1) && b[0] === b.at(-1) && a[0] === b[0]) return { distance: 0, p: Number.NaN };
  const distance = greatestDistance(a, b);
  const worthBefore = worth(before);
  const worthNow = worth(now);
  const root = Math.sqrt((worthBefore * worthNow) / (worthBefore + worthNow));
  // Stephens 1970: makes the limit distribution good for few rows.
  return { distance, p: kolmogorov((root + 0.12 + 0.11 / root) * distance) };
}

/** P(K > x) of Kolmogorov's distribution: 2 sum (-1)^(j-1) exp(-2 j^2 x^2). */
export function kolmogorov(x: number): number {
  if (x < 0.2) return 1;
  let sum = 0;
  for (let j = 1; j <= 100; j += 1) {
    const term = Math.exp(-2 * j * j * x * x);
    sum += j % 2 === 1 ? term : -term;
    if (term < 1e-12) break;
  }
  return Math.max(0, Math.min(1, 2 * sum));
}

function greatestDistance(a: readonly number[], b: readonly number[]): number {
  let greatest = 0;
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const value = Math.min(a[i]!, b[j]!);
    while (i < a.length && a[i]! === value) i += 1;
    while (j < b.length && b[j]! === value) j += 1;
    greatest = Math.max(greatest, Math.abs(i / a.length - j / b.length));
  }
  return greatest;
}

/** Independent rows that these are worth, at least 2. A jump within the sample counts as resemblance: that is careful. */
function worth(values: readonly number[]): number {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  let variance = 0;
  let product = 0;
  for (let index = 0; index < count; index += 1) {
    const off = values[index]! - mean;
    variance += off * off;
    if (index > 0) product += off * (values[index - 1]! - mean);
  }
  if (variance === 0) return count;
  // The estimate of rho from few rows is too low by about (1 + 3 rho) / n (Kendall 1954).
  const raw = product / variance;
  const rho = Math.min(0.99, Math.max(0, raw + (1 + 3 * raw) / count));
  return Math.max(2, (count * (1 - rho)) / (1 + rho));
}
