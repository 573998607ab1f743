/**
 * Statistics of one channel over one window, of values normalised to [-1, 1], each brought to about [-1, 1] by
 * constants that are fixed: nothing is fitted to anybody's data. Deviations are taken from the window's mean,
 * since a vibration sensor that is not quite level shows a part of gravity.
 *
 * Each is taken as if Gaussian noise of a thousandth of half a range (`FAINT`) lay on the channel. So a
 * constant channel has a value, that of noise, and what is fainter than that is not blown up.
 */

const FAINT = 1e-3;
/** Decibels between the faintest and the strongest that is told apart. */
const SPAN = 60;

export function mean(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/** Root mean square deviation on a scale of decibels: -1 for none, 1 for a square wave over the whole range. */
export function rms(values: Float64Array): number {
  return level(centralMoment(values, 2));
}

/** A mean square in [0, 1] on a scale of decibels: -1 at `FAINT` squared and below, 1 at 1. */
export function level(meanSquare: number): number {
  return clip(1 + (20 / SPAN) * Math.log10(meanSquare + FAINT ** 2));
}

/**
 * Pearson's kurtosis k as log2(k / 3) / 3: 0 for Gaussian noise and a constant, below for a sine (k = 1.5), above
 * for shocks, 1 for k = 24 and more.
 */
export function kurtosis(values: Float64Array): number {
  const second = centralMoment(values, 2);
  const noise = FAINT ** 2;
  const fourth = centralMoment(values, 4) + 6 * second * noise + 3 * noise ** 2;
  return clip(Math.log2(fourth / (second + noise) ** 2 / 3) / 3);
}

/**
 * The crest factor c, largest deviation over root mean square, as log2(c / 3) / 2: 0 for a constant and about 0
 * for Gaussian noise, below for a sine (c = 1.41), above for shocks, 1 for c = 12 and more.
 */
export function crest(values: Float64Array): number {
  const middle = mean(values);
  let peak = 0;
  for (const value of values) peak = Math.max(peak, Math.abs(value - middle));
  const strength = Math.sqrt(centralMoment(values, 2) + FAINT ** 2);
  return clip(Math.log2((peak + 3 * FAINT) / (3 * strength)) / 2);
}

/** Largest less smallest value, less 1: -1 for a constant, 1 for one that goes through its whole range. */
export function peakToPeak(values: Float64Array): number {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return clip(high - low - 1);
}

function centralMoment(values: Float64Array, order: 2 | 4): number {
  const middle = mean(values);
  let sum = 0;
  for (const value of values) sum += (value - middle) ** order;
  return sum / values.length;
}

function clip(value: number): number {
  return Math.max(-1, Math.min(1, value));
}
