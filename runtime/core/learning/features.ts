import { type Feature, WHOLE_WINDOWS } from './kinds.ts';
import { bandEnergies } from './spectrum.ts';
import { crest, kurtosis, mean, peakToPeak, rms } from './statistics.ts';

/** One channel of a row: SenML name and unit (RFC 8428) and the range its data sheet gives, in that unit. */
export interface Channel {
  readonly name: string;
  readonly unit: string;
  readonly low: number;
  readonly high: number;
  /** The range is widened to this about its middle, so that a constant sensor's noise is not blown up. */
  readonly leastWidth: number;
}

/**
 * Ranges for rows read at one operating point, where a machine has several. A row belongs to the first
 * condition all of whose `when` channels lie within `within` of `near`.
 */
export interface Condition {
  readonly name: string;
  readonly when: readonly { readonly channel: string; readonly near: number; readonly within: number }[];
  /** One a channel of the sheet, in its order. */
  readonly ranges: readonly Pick<Channel, 'low' | 'high' | 'leastWidth'>[];
}

/** What the maker of a machine says of its channels, in the order of a row's values. */
export interface DataSheet {
  readonly channels: readonly Channel[];
  /** A row that meets none of them is normalised with the channels' own ranges. */
  readonly conditions?: readonly Condition[];
}

/** How rows become the inputs of a model. */
export interface WindowSpec {
  /** Rows in a whole window. */
  readonly window: number;
  /** With fewer rows than this (at the beginning of an episode) there is no window; at least 2. */
  readonly minimum: number;
  /** Names of the channels that the model sees; all of the sheet when left out. */
  readonly inputs?: readonly string[];
  /** What a window is described by, in this order; means and slopes when left out. */
  readonly features?: readonly Feature[];
  /** Bands of equal width that the spectrum is summed in. */
  readonly bands?: number;
  /** Whether the sheet's conditions are inputs too: 1 in rows that meet it, else 0. */
  readonly conditionInputs?: boolean;
  /** Slopes are the change over a whole window, in normalised units, times this. */
  readonly slopeScale: number;
}

const USUAL: readonly Feature[] = ['means', 'slopes'];

const STATISTICS = { means: mean, rms, kurtosis, crest, 'peak-to-peak': peakToPeak } as const;

type Range = Pick<Channel, 'low' | 'high' | 'leastWidth'>;

/**
 * `value` clipped to the channel's range and scaled to [-1, 1]. The width is max(high - low, leastWidth).
 *
 * @throws RangeError when `value` is not finite: a gap is the caller's to name, never a number.
 */
export function normalise(value: number, channel: Range): number {
  if (!Number.isFinite(value))
    throw new RangeError(`a reading is ${value}: only finite values can be normalised`);
  const width = Math.max(channel.high - channel.low, channel.leastWidth);
  const middle = (channel.high + channel.low) / 2;
  return Math.max(-1, Math.min(1, (2 * (value - middle)) / width));
}

/** The number of inputs of a model on `spec`. @throws RangeError when the spec does not fit the sheet. */
export function featureCount(sheet: DataSheet, spec: WindowSpec): number {
  checkSpec(spec);
  const width = inputIndices(sheet, spec).length + conditionsOf(sheet, spec).length;
  return width * featuresOf(spec).reduce((sum, feature) => sum + valuesEach(feature, spec), 0);
}

/** Names of the channels that the model sees, in its order. */
export function inputNames(sheet: DataSheet, spec: Pick<WindowSpec, 'inputs'>): readonly string[] {
  return spec.inputs ?? sheet.channels.map(({ name }) => name);
}

/** Rows below which there is no window: raw rows and spectra cannot do with fewer than a whole one. */
export function leastRows(spec: WindowSpec): number {
  const whole = featuresOf(spec).some((feature) => WHOLE_WINDOWS.includes(feature));
  return whole ? spec.window : Math.max(2, spec.minimum);
}

/**
 * The inputs made of the last `spec.window` of `rows` (oldest first), feature by feature in the order of
 * `spec.features`, each for every input channel; all are made of normalised values alone:
 * `means`; `slopes`, least squares over the window; `raw`, the rows themselves, one after the other;
 * the statistics of `statistics.ts`; `bands`, the band energies of `spectrum.ts`, channel by channel.
 * A window shorter than `spec.window` has its slopes shrunk as if the missing rows carried no information,
 * since the noise of a slope over few rows would otherwise drown it.
 *
 * @throws RangeError when there are fewer than `leastRows` rows, a row is not as long as the sheet, or a value
 * is not finite.
 */
export function windowFeatures(
  rows: readonly (readonly number[])[],
  sheet: DataSheet,
  spec: WindowSpec,
): Float64Array {
  const count = Math.min(rows.length, spec.window);
  if (count < leastRows(spec)) {
    throw new RangeError(`a window of ${rows.length} rows: at least ${leastRows(spec)} are needed`);
  }
  const last = rows.slice(rows.length - count);
  return featuresOfNormalised(normaliseRows(last, sheet, spec), spec, count);
}

/**
 * The input channels of `rows`, normalised: one array a row, in the order of `spec.inputs`; after them the
 * conditions, where these are inputs.
 */
export function normaliseRows(
  rows: readonly (readonly number[])[],
  sheet: DataSheet,
  spec: WindowSpec,
): Float64Array[] {
  checkSpec(spec);
  const inputs = inputIndices(sheet, spec);
  const conditions = conditionsOf(sheet, spec);
  const meets = matcher(sheet);
  return rows.map((row) => {
    if (row.length !== sheet.channels.length) {
      throw new RangeError(
        `a row of ${row.length} values: the data sheet has ${sheet.channels.length} channels`,
      );
    }
    const condition = meets(row);
    const ranges = condition?.ranges ?? sheet.channels;
    const normalised = new Float64Array(inputs.length + conditions.length);
    inputs.forEach((index, at) => {
      const value = row[index]!;
      if (!Number.isFinite(value)) {
        throw new RangeError(
          `channel ${sheet.channels[index]!.name} is ${value}: only finite values are accepted`,
        );
      }
      normalised[at] = normalise(value, ranges[index]!);
    });
    conditions.forEach((candidate, at) => {
      normalised[inputs.length + at] = candidate === condition ? 1 : 0;
    });
    return normalised;
  });
}

/** As {@link windowFeatures}, of the `count` rows of `rows` that end before `end` (default: the last). */
export function featuresOfNormalised(
  rows: readonly Float64Array[],
  spec: WindowSpec,
  count: number,
  end: number = rows.length,
): Float64Array {
  const width = rows[end - 1]!.length;
  const features = featuresOf(spec);
  const total = features.reduce((sum, feature) => sum + width * valuesEach(feature, spec), 0);
  const result = new Float64Array(total);
  const column = new Float64Array(count);
  for (let channel = 0; channel < width; channel += 1) {
    for (let row = 0; row < count; row += 1) column[row] = rows[end - count + row]![channel]!;
    let offset = 0;
    for (const feature of features) {
      const each = valuesEach(feature, spec);
      if (feature === 'raw') {
        for (let row = 0; row < count; row += 1) result[offset + row * width + channel] = column[row]!;
      } else result.set(made(feature, column, spec), offset + channel * each);
      offset += width * each;
    }
  }
  return result;
}

function featuresOf(spec: WindowSpec): readonly Feature[] {
  return spec.features ?? USUAL;
}

/** Values that `feature` has for each channel. */
function valuesEach(feature: Feature, { window, bands }: WindowSpec): number {
  if (feature === 'raw') return window;
  return feature === 'bands' ? (bands ?? 0) : 1;
}

/** What `feature` makes of one channel over one window. */
function made(feature: Exclude<Feature, 'raw'>, column: Float64Array, spec: WindowSpec): ArrayLike<number> {
  if (feature === 'bands') return bandEnergies(column, spec.bands ?? 0);
  return [feature === 'slopes' ? slope(column, spec) : STATISTICS[feature](column)];
}

/** Least squares over `column`; see {@link windowFeatures} for one shorter than the window. */
function slope(column: Float64Array, { window, slopeScale }: WindowSpec): number {
  const middle = (column.length - 1) / 2;
  let sum = 0;
  for (let row = 0; row < column.length; row += 1) sum += (row - middle) * column[row]!;
  // Sum of squared distances from the middle of a whole window, also for a shorter one.
  const spread = (window * (window ** 2 - 1)) / 12;
  return sum * (((window - 1) * slopeScale) / spread);
}

/** Finds the first condition that a row meets, its channels looked up once. */
function matcher(sheet: DataSheet): (row: readonly number[]) => Condition | undefined {
  const conditions = (sheet.conditions ?? []).map((condition) => ({
    condition,
    when: condition.when.map((rule) => ({ ...rule, index: channelIndex(sheet, rule.channel) })),
  }));
  return (row) =>
    conditions.find(({ when }) =>
      when.every(({ index, near, within }) => Math.abs(row[index]! - near) <= within),
    )?.condition;
}

function conditionsOf(sheet: DataSheet, spec: WindowSpec): readonly Condition[] {
  return spec.conditionInputs ? (sheet.conditions ?? []) : [];
}

function inputIndices(sheet: DataSheet, spec: WindowSpec): readonly number[] {
  return spec.inputs?.map((name) => channelIndex(sheet, name)) ?? sheet.channels.map((_, index) => index);
}

function channelIndex(sheet: DataSheet, name: string): number {
  const index = sheet.channels.findIndex((channel) => channel.name === name);
  if (index < 0) {
    const known = sheet.channels.map((channel) => channel.name).join(', ');
    throw new RangeError(`the data sheet has no channel ${name}: it has ${known}`);
  }
  return index;
}

function checkSpec({ window, minimum, slopeScale, features, bands }: WindowSpec): void {
  if (!Number.isSafeInteger(window) || window < 2) {
    throw new RangeError(`the window is ${window} rows: it has to be a whole number, 2 or more`);
  }
  if (!Number.isSafeInteger(minimum) || minimum < 2 || minimum > window) {
    throw new RangeError(`the least window is ${minimum} rows: it has to lie between 2 and ${window}`);
  }
  if (!(slopeScale > 0 && Number.isFinite(slopeScale))) {
    throw new RangeError(`the slope scale is ${slopeScale}: it has to be a finite number above 0`);
  }
  if (features?.length === 0) throw new RangeError('a window without features says nothing');
  if (features?.includes('bands')) checkBands(bands, window);
}

function checkBands(bands: number | undefined, window: number): void {
  if (bands === undefined || !Number.isSafeInteger(bands) || bands < 1 || bands > window / 2) {
    throw new RangeError(
      `${bands} bands: a whole number from 1 to half the window, ${window / 2}, is needed`,
    );
  }
}
