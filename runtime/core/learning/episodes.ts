import {
  type DataSheet,
  featureCount,
  featuresOfNormalised,
  inputNames,
  leastRows,
  normaliseRows,
  type WindowSpec,
  windowFeatures,
} from './features.ts';
import { checkTarget, type End, type TargetSpec, targetOf, tellsAnswer } from './labels.ts';
import { type GridSpec, type History, historiesOf, latestRows, type Timed } from './resample.ts';

/** One machine's rows from a repair on, oldest first, in the order of the data sheet's channels. */
export interface Episode extends Timed {
  readonly machine: string;
  readonly end: End;
  /** Milliseconds since 1970: the time of its last row, by its own signed sample; NaN without a row. */
  readonly ended: number;
}

/** How windows are made and what is to be learned from them. */
export interface LabelSpec extends WindowSpec, TargetSpec, Omit<GridSpec, 'window'> {
  /** Rows from one window to the next; 1 when left out. */
  readonly stride?: number;
}

/** Training data, dense and flat, as a training process takes it. */
export interface LabelledWindows {
  /** n, the number of windows. */
  readonly count: number;
  /** n x f, row by row. */
  readonly features: Float32Array;
  /** n values in [0, 1]: see `targetOf`. */
  readonly labels: Float32Array;
  /** n flags; 1: the label is a lower bound only. */
  readonly atLeast: Uint8Array;
  /** n indices of the episode a window lies in, 0 to `episodes` - 1, counting only episodes with a window. */
  readonly episodeOf: Int32Array;
  readonly episodes: number;
  /** Those of the episodes that ended in a failure. */
  readonly failures: number;
}

/** 1 GiB of float32: a process that is to run beside sampling has no room for more. */
const MOST_VALUES = 2 ** 28;

/** The windows that are cut from one history, by their last rows. */
interface Cuts {
  readonly history: History;
  readonly end: End;
  readonly episode: number;
  readonly rows: Int32Array;
}

/**
 * The windows of every episode that something can be learned from, labelled as `targetOf` says. No window spans a
 * hole, and none holds anything younger than its last row.
 *
 * @throws RangeError when a row does not fit the data sheet or holds a value that is not finite, times are needed
 * and absent, an input tells the answer, or the windows would not fit into memory.
 */
export function labelledWindows(
  episodes: readonly Episode[],
  sheet: DataSheet,
  spec: LabelSpec,
): LabelledWindows {
  checkTarget(spec);
  refuseAnswers(sheet, spec);
  const width = featureCount(sheet, spec);
  const cuts: Cuts[] = [];
  let labelled = 0;
  let failures = 0;
  for (const episode of episodes) {
    const found = cutsOf(episode, labelled, spec);
    if (found.length === 0) continue;
    cuts.push(...found);
    labelled += 1;
    if (episode.end === 'failure') failures += 1;
  }
  const count = cuts.reduce((sum, { rows }) => sum + rows.length, 0);
  if (count * width > MOST_VALUES) {
    throw new RangeError(
      `${count} windows of ${width} features are too many: agree on a stride, fewer features or a longer period`,
    );
  }
  const features = new Float32Array(count * width);
  const labels = new Float32Array(count);
  const atLeast = new Uint8Array(count);
  const episodeOf = new Int32Array(count);
  let index = 0;
  for (const { history, end, episode, rows } of cuts) {
    const normalised = normaliseRows(history.rows, sheet, spec);
    for (const row of rows) {
      const length = Math.min(row + 1, spec.window);
      features.set(featuresOfNormalised(normalised, spec, length, row + 1), index * width);
      const target = targetOf(history.left[row]!, history.exact, end, spec)!;
      labels[index] = target.value;
      atLeast[index] = target.atLeast ? 1 : 0;
      episodeOf[index] = episode;
      index += 1;
    }
  }
  return { count, features, labels, atLeast, episodeOf, episodes: labelled, failures };
}

/**
 * The inputs of a model for a run as it stands now, made as {@link labelledWindows} makes them; undefined while
 * there are too few rows since its beginning or the last hole.
 */
export function latestFeatures(run: Timed, sheet: DataSheet, spec: LabelSpec): Float64Array | undefined {
  const rows = latestRows(run, spec, spec.window);
  return rows.length < leastRows(spec) ? undefined : windowFeatures(rows, sheet, spec);
}

/**
 * Makes sure that no machine is judged by a model that has learned from it.
 *
 * @throws RangeError naming the first machine that stands on both sides
 */
export function requireApart(
  learnedFrom: readonly Pick<Episode, 'machine'>[],
  judged: readonly Pick<Episode, 'machine'>[],
): void {
  const seen = new Set(learnedFrom.map(({ machine }) => machine));
  const both = judged.find(({ machine }) => seen.has(machine));
  if (both) throw new RangeError(`machine ${both.machine} is judged by a model that has learned from it`);
}

function cutsOf({ end, ...run }: Episode, episode: number, spec: LabelSpec): Cuts[] {
  const { stride = 1 } = spec;
  if (!Number.isSafeInteger(stride) || stride < 1) {
    throw new RangeError(`a stride of ${stride} rows: it has to be a whole number above 0`);
  }
  const least = leastRows(spec);
  return historiesOf(run, spec).flatMap((history) => {
    const rows: number[] = [];
    const last = history.rows.length - 1;
    if (last + 1 < least) return [];
    // Counted from the end, so that the window at the failure is among them.
    for (let row = least - 1 + ((last - least + 1) % stride); row <= last; row += stride) {
      if (targetOf(history.left[row]!, history.exact, end, spec)) rows.push(row);
    }
    return rows.length > 0 ? [{ history, end, episode, rows: Int32Array.from(rows) }] : [];
  });
}

function refuseAnswers(sheet: DataSheet, spec: WindowSpec): void {
  const answer = inputNames(sheet, spec).find(tellsAnswer);
  if (answer !== undefined) {
    throw new RangeError(
      `channel ${answer} tells what is to be foretold: name the inputs of the model without it`,
    );
  }
}
