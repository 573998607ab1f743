import { createSha256, sha256 } from '#sha256';

/**
 * What is trained. Every layer but the last has the activation; the last is linear.
 *
 * - `dense`: inputs, hidden layers, one output. Without hidden layers it is a linear model.
 * - `convolution`: the input is `rows` x `channels`, one row of time after the other; each filter layer
 *   runs over time without padding ("valid"), then dense layers and one output.
 * - `autoencoder`: `hidden` is the encoder up to the bottleneck; the decoder mirrors it.
 */
export type ModelSpec =
  | {
      readonly kind: 'dense';
      readonly inputs: number;
      /** Units of each hidden layer, from the input on; may be empty (a linear model). */
      readonly hidden: readonly number[];
      readonly activation: Activation;
    }
  | {
      readonly kind: 'convolution';
      readonly rows: number;
      readonly channels: number;
      readonly filters: readonly Filter[];
      readonly hidden: readonly number[];
      readonly activation: Activation;
    }
  | {
      readonly kind: 'autoencoder';
      readonly inputs: number;
      readonly hidden: readonly number[];
      readonly activation: Activation;
    };

/** One layer of 1-D convolution: `count` filters that see `width` rows and move by `stride`. */
export interface Filter {
  readonly count: number;
  readonly width: number;
  readonly stride: number;
}

export type Activation = 'relu' | 'tanh' | 'elu';

/**
 * One layer: where it lies in the flat parameters (rows x columns weights, row by row, then columns
 * biases), and how it moves over its input. A dense layer is applied at one position; a convolution at
 * `positions` places, `step` values of the input apart, to `rows` = width x channels values each, its
 * output position by position.
 */
export interface LayerLayout {
  readonly rows: number;
  readonly columns: number;
  readonly weights: number;
  readonly biases: number;
  readonly positions: number;
  readonly step: number;
}

const ACTIVATIONS: readonly Activation[] = ['relu', 'tanh', 'elu'];
const HASH_DOMAIN = new TextEncoder().encode('kosmos model v2\0');
const SEED_DOMAIN = new TextEncoder().encode('kosmos initial parameters v1\0');

/** Values that go into the model at once. */
export function inputCount(spec: ModelSpec): number {
  return spec.kind === 'convolution' ? spec.rows * spec.channels : spec.inputs;
}

/** Values that come out: 1, or the inputs of an autoencoder. */
export function outputCount(spec: ModelSpec): number {
  return spec.kind === 'autoencoder' ? spec.inputs : 1;
}

/**
 * The layers of `spec` from the input on.
 *
 * @throws RangeError when a size is not a positive whole number, or a filter is wider than its input
 */
export function layout(spec: ModelSpec): readonly LayerLayout[] {
  if (!ACTIVATIONS.includes(spec.activation)) {
    throw new RangeError(`the activation is ${spec.activation}: known are ${ACTIVATIONS.join(', ')}`);
  }
  const layers: LayerLayout[] = [];
  let offset = 0;
  function add(rows: number, columns: number, positions: number, step: number): void {
    layerSize(rows);
    layerSize(columns);
    layers.push({ rows, columns, weights: offset, biases: offset + rows * columns, positions, step });
    offset += (rows + 1) * columns;
  }
  let inputs = inputCount(spec);
  if (spec.kind === 'convolution') {
    let rows = layerSize(spec.rows);
    let channels = layerSize(spec.channels);
    for (const { count, width, stride } of spec.filters) {
      if (layerSize(width) > rows) {
        throw new RangeError(`a filter over ${width} rows for an input that has ${rows}`);
      }
      rows = Math.floor((rows - width) / layerSize(stride)) + 1;
      add(width * channels, count, rows, stride * channels);
      channels = count;
    }
    inputs = rows * channels;
  }
  for (const columns of denseSizes(spec)) {
    add(inputs, columns, 1, 0);
    inputs = columns;
  }
  return layers;
}

/** The outputs of the dense layers, in order. */
function denseSizes(spec: ModelSpec): readonly number[] {
  if (spec.kind !== 'autoencoder') return [...spec.hidden, 1];
  if (spec.hidden.length === 0) throw new RangeError('an autoencoder without a hidden layer learns nothing');
  return [...spec.hidden, ...spec.hidden.slice(0, -1).reverse(), spec.inputs];
}

/** The length of the flat parameters of `spec`. */
export function parameterCount(spec: ModelSpec): number {
  return layout(spec).reduce((sum, { rows, columns }) => sum + (rows + 1) * columns, 0);
}

/**
 * Parameters to start from, the same on every machine for the same `seed`: weights uniform in
 * +-sqrt(6 / (fan in + fan out)) (Glorot and Bengio 2010), biases 0 but for that of a single output, which
 * is 0.5, the middle of the labels, since noisy steps are too dear to be spent on finding it. Only
 * hashing, integers and operations that IEEE 754 rounds correctly are used: members compare the model's
 * hash.
 */
export function initialParameters(spec: ModelSpec, seed: Uint8Array): Float64Array {
  const parameters = new Float64Array(parameterCount(spec));
  const uniform = hashUniform(seed);
  for (const { rows, columns, weights, biases } of layout(spec)) {
    const limit = Math.sqrt(6 / (rows + columns));
    for (let index = weights; index < biases; index += 1) parameters[index] = (2 * uniform() - 1) * limit;
  }
  if (spec.kind !== 'autoencoder') parameters[parameters.length - 1] = 0.5;
  return parameters;
}

/**
 * The model that follows from `parameters` and the mean of the members' updates, in plain float64.
 *
 * @throws RangeError when the lengths differ or a result is not finite.
 */
export function applyUpdate(parameters: Float64Array, meanUpdate: Float64Array): Float64Array {
  if (parameters.length !== meanUpdate.length) {
    throw new RangeError(`an update of ${meanUpdate.length} values for ${parameters.length} parameters`);
  }
  return parameters.map((value, index) => {
    const next = value + meanUpdate[index]!;
    if (!Number.isFinite(next)) throw new RangeError(`the update makes parameter ${index} ${next}`);
    return next;
  });
}

/**
 * SHA-256 of a domain name, the shape of the model and the parameters as little-endian float64: equal on
 * two gateways exactly if they hold the same model. -0 and 0 differ, as their bytes do.
 */
export function modelHash(spec: ModelSpec, parameters: Float64Array): Uint8Array {
  checkLength(spec, parameters);
  const bytes = new Uint8Array(8 * parameters.length);
  const view = new DataView(bytes.buffer);
  parameters.forEach((value, index) => {
    view.setFloat64(8 * index, value, true);
  });
  const shape = new TextEncoder().encode(`${shapeOf(spec)}\0`);
  return createSha256().update(HASH_DOMAIN).update(shape).update(bytes).digest();
}

/** One line that two models share exactly if they have the same shape: `dense 42-32-16-1 tanh`. */
export function shapeOf(spec: ModelSpec): string {
  const dense = denseSizes(spec).join('-');
  if (spec.kind !== 'convolution') return `${spec.kind} ${spec.inputs}-${dense} ${spec.activation}`;
  const filters = spec.filters.map(({ count, width, stride }) => `${count}*${width}/${stride}-`).join('');
  return `convolution ${spec.rows}*${spec.channels}-${filters}${dense} ${spec.activation}`;
}

/**
 * What the model says of one feature vector: its output (RUL in units of the cap, not clamped, or the
 * log-odds of a failure), or the mean squared error of an autoencoder's reconstruction.
 *
 * @throws RangeError when the lengths do not fit `spec`.
 */
export function predict(
  spec: ModelSpec,
  parameters: Float64Array,
  features: Float64Array | Float32Array,
): number {
  const outputs = outputsOf(spec, parameters, features);
  if (spec.kind !== 'autoencoder') return outputs[0]!;
  return outputs.reduce((sum, value, index) => sum + (value - features[index]!) ** 2, 0) / outputs.length;
}

/** All outputs of the model for one feature vector. @throws RangeError when the lengths do not fit `spec`. */
export function outputsOf(
  spec: ModelSpec,
  parameters: Float64Array,
  features: Float64Array | Float32Array,
): Float64Array {
  checkLength(spec, parameters);
  if (features.length !== inputCount(spec)) {
    throw new RangeError(`${features.length} features for a model with ${inputCount(spec)} inputs`);
  }
  const layers = layout(spec);
  let values: Float64Array = Float64Array.from(features);
  layers.forEach((layer, depth) => {
    const sums = weightedSums(layer, parameters, values);
    values = depth + 1 < layers.length ? sums.map((sum) => activate(spec.activation, sum)) : sums;
  });
  return values;
}

function weightedSums(
  { rows, columns, weights, biases, positions, step }: LayerLayout,
  parameters: Float64Array,
  values: Float64Array,
): Float64Array {
  const sums = new Float64Array(positions * columns);
  for (let position = 0; position < positions; position += 1) {
    const to = position * columns;
    for (let column = 0; column < columns; column += 1) sums[to + column] = parameters[biases + column]!;
    for (let row = 0; row < rows; row += 1) {
      const value = values[position * step + row]!;
      const from = weights + row * columns;
      for (let column = 0; column < columns; column += 1) {
        sums[to + column]! += value * parameters[from + column]!;
      }
    }
  }
  return sums;
}

/** {@link predict} in rows (cycles), within [0, cap]: no label was ever outside. */
export function predictRul(
  spec: ModelSpec,
  parameters: Float64Array,
  features: Float64Array | Float32Array,
  cap: number,
): number {
  return cap * Math.max(0, Math.min(1, predict(spec, parameters, features)));
}

function activate(activation: Activation, value: number): number {
  if (activation === 'relu') return Math.max(0, value);
  if (activation === 'tanh') return Math.tanh(value);
  return value > 0 ? value : Math.expm1(value);
}

/** Uniform values in [0, 1) with 53 bits, from SHA-256 in counter mode over `seed`. */
function hashUniform(seed: Uint8Array): () => number {
  const input = new Uint8Array(SEED_DOMAIN.length + 8 + seed.length);
  input.set(SEED_DOMAIN);
  input.set(seed, SEED_DOMAIN.length + 8);
  const counter = new DataView(input.buffer, SEED_DOMAIN.length, 8);
  let block: DataView = new DataView(new ArrayBuffer(0));
  let used = 0;
  let blocks = 0n;
  return () => {
    if (used === block.byteLength) {
      counter.setBigUint64(0, blocks);
      blocks += 1n;
      const digest = sha256(input);
      block = new DataView(digest.buffer, digest.byteOffset, digest.byteLength);
      used = 0;
    }
    const high = block.getUint32(used) >>> 5;
    const low = block.getUint32(used + 4) >>> 6;
    used += 8;
    return (high * 2 ** 26 + low) / 2 ** 53;
  };
}

function layerSize(size: number): number {
  if (!Number.isSafeInteger(size) || size < 1 || size > 65_536) {
    throw new RangeError(`a layer of ${size} units: it has to be a whole number from 1 to 65536`);
  }
  return size;
}

function checkLength(spec: ModelSpec, parameters: Float64Array): void {
  const expected = parameterCount(spec);
  if (parameters.length !== expected) {
    throw new RangeError(`${parameters.length} parameters for a model that has ${expected}`);
  }
}
