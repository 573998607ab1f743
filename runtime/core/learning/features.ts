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
  /** Slopes are the change over a whole window, in normalised units, times this. */
  readonly slopeScale: number;
}

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

/** The number of inputs of a model on `spec`: a mean and a slope for every input channel. */
export function featureCount(sheet: DataSheet, spec: WindowSpec): number {
  return 2 * inputIndices(sheet, spec).length;
}

/**
 * The inputs made of the last `spec.window` of `rows` (oldest first): the mean of every input channel,
 * then the slope of every input channel, least squares over the window. A window shorter than
 * `spec.window` has its slopes shrunk as if the missing rows carried no information, since the noise of a
 * slope over few rows would otherwise drown it.
 *
 * @throws RangeError when there are fewer than `spec.minimum` rows, a row is not as long as the sheet, or
 * a value is not finite.
 */
export function windowFeatures(
  rows: readonly (readonly number[])[],
  sheet: DataSheet,
  spec: WindowSpec,
): Float64Array {
  const count = Math.min(rows.length, spec.window);
  if (count < Math.max(2, spec.minimum)) {
    throw new RangeError(`a window of ${rows.length} rows: at least ${Math.max(2, spec.minimum)} are needed`);
  }
  const last = rows.slice(rows.length - count);
  return featuresOfNormalised(normaliseRows(last, sheet, spec), spec, count);
}

/** The input channels of `rows`, normalised: one array a row, in the order of `spec.inputs`. */
export function normaliseRows(
  rows: readonly (readonly number[])[],
  sheet: DataSheet,
  spec: WindowSpec,
): Float64Array[] {
  checkSpec(spec);
  const inputs = inputIndices(sheet, spec);
  return rows.map((row) => {
    if (row.length !== sheet.channels.length) {
      throw new RangeError(
        `a row of ${row.length} values: the data sheet has ${sheet.channels.length} channels`,
      );
    }
    const ranges = rangesFor(row, sheet);
    return Float64Array.from(inputs, (index) => {
      const value = row[index]!;
      if (!Number.isFinite(value)) {
        throw new RangeError(
          `channel ${sheet.channels[index]!.name} is ${value}: only finite values are accepted`,
        );
      }
      return normalise(value, ranges[index]!);
    });
  });
}

/** Means, then slopes, of the `count` rows of `rows` that end before `end` (default: the last). */
export function featuresOfNormalised(
  rows: readonly Float64Array[],
  spec: WindowSpec,
  count: number,
  end: number = rows.length,
): Float64Array {
  const width = rows[end - 1]!.length;
  const features = new Float64Array(2 * width);
  const middle = (count - 1) / 2;
  for (let row = 0; row < count; row += 1) {
    const values = rows[end - count + row]!;
    for (let channel = 0; channel < width; channel += 1) {
      features[channel]! += values[channel]!;
      features[width + channel]! += (row - middle) * values[channel]!;
    }
  }
  // Sum of squared distances from the middle of a whole window, also for a shorter one: see windowFeatures.
  const spread = (spec.window * (spec.window ** 2 - 1)) / 12;
  const slope = ((spec.window - 1) * spec.slopeScale) / spread;
  for (let channel = 0; channel < width; channel += 1) {
    features[channel]! /= count;
    features[width + channel]! *= slope;
  }
  return features;
}

function rangesFor(row: readonly number[], sheet: DataSheet): readonly Range[] {
  for (const condition of sheet.conditions ?? []) {
    const met = condition.when.every(({ channel, near, within }) => {
      return Math.abs(row[channelIndex(sheet, channel)]! - near) <= within;
    });
    if (met) return condition.ranges;
  }
  return sheet.channels;
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

function checkSpec({ window, minimum, slopeScale }: WindowSpec): void {
  if (!Number.isSafeInteger(window) || window < 2) {
    throw new RangeError(`the window is ${window} rows: it has to be a whole number, 2 or more`);
  }
  if (!Number.isSafeInteger(minimum) || minimum < 2 || minimum > window) {
    throw new RangeError(`the least window is ${minimum} rows: it has to lie between 2 and ${window}`);
  }
  if (!(slopeScale > 0 && Number.isFinite(slopeScale))) {
    throw new RangeError(`the slope scale is ${slopeScale}: it has to be a finite number above 0`);
  }
}
