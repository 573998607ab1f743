import {
  type DataSheet,
  featureCount,
  featuresOfNormalised,
  normaliseRows,
  type WindowSpec,
} from './features.ts';

/** One machine's rows from a repair on, oldest first, in the order of the data sheet's channels. */
export interface Episode {
  readonly machine: string;
  readonly rows: readonly (readonly number[])[];
  /** `censored`: it was taken out of service or repaired before it broke, so that nobody knows its RUL. */
  readonly end: 'failure' | 'censored' | 'running';
}

/** How windows are made and what is to be learned from them. */
export interface LabelSpec extends WindowSpec {
  /** RUL above this, in rows (cycles), counts as this: a healthy machine shows nothing to tell it from. */
  readonly cap: number;
}

/** Training data, dense and flat, as a training process takes it. */
export interface LabelledWindows {
  /** n, the number of windows. */
  readonly count: number;
  /** n x f, row by row. */
  readonly features: Float32Array;
  /** n values in [0, 1]: RUL over the cap. */
  readonly labels: Float32Array;
  /** n indices of the episode a window lies in, 0 to `episodes` - 1, counting only labelled episodes. */
  readonly episodeOf: Int32Array;
  readonly episodes: number;
}

/**
 * Every window (stride 1) of every episode that ended in a failure, labelled with the rows that were left.
 * Episodes that are running or censored give none: their RUL is not known.
 *
 * @throws RangeError when a row does not fit the data sheet or holds a value that is not finite.
 */
export function labelledWindows(
  episodes: readonly Episode[],
  sheet: DataSheet,
  spec: LabelSpec,
): LabelledWindows {
  if (!(spec.cap > 0 && Number.isFinite(spec.cap))) {
    throw new RangeError(`the RUL cap is ${spec.cap}: it has to be a finite number of rows above 0`);
  }
  const failed = episodes.filter(({ end, rows }) => end === 'failure' && rows.length >= spec.minimum);
  const count = failed.reduce((sum, { rows }) => sum + rows.length - spec.minimum + 1, 0);
  const width = featureCount(sheet, spec);
  const features = new Float32Array(count * width);
  const labels = new Float32Array(count);
  const episodeOf = new Int32Array(count);
  let index = 0;
  failed.forEach(({ rows }, episode) => {
    const normalised = normaliseRows(rows, sheet, spec);
    for (let end = spec.minimum; end <= rows.length; end += 1) {
      features.set(featuresOfNormalised(normalised, spec, Math.min(end, spec.window), end), index * width);
      labels[index] = Math.min(rows.length - end, spec.cap) / spec.cap;
      episodeOf[index] = episode;
      index += 1;
    }
  });
  return { count, features, labels, episodeOf, episodes: failed.length };
}
