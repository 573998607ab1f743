import { createSha256, sha256 } from '#sha256';

/** A dense network: inputs, hidden layers with one activation, one linear output. */
export interface ModelSpec {
  readonly inputs: number;
  /** Units of each hidden layer, from the input on; may be empty (a linear model). */
  readonly hidden: readonly number[];
  readonly activation: Activation;
}

export type Activation = 'relu' | 'tanh' | 'elu';

/** Where a layer lies in the flat parameters: rows x columns weights, row by row, then columns biases. */
export interface LayerLayout {
  readonly rows: number;
  readonly columns: number;
  readonly weights: number;
  readonly biases: number;
}

const ACTIVATIONS: readonly Activation[] = ['relu', 'tanh', 'elu'];
const HASH_DOMAIN = new TextEncoder().encode('kosmos dense model v1\0');
const SEED_DOMAIN = new TextEncoder().encode('kosmos initial parameters v1\0');

/** The layers of `spec` from the input on. @throws RangeError when a size is not a positive whole number. */
export function layout(spec: ModelSpec): readonly LayerLayout[] {
  if (!ACTIVATIONS.includes(spec.activation)) {
    throw new RangeError(`the activation is ${spec.activation}: known are ${ACTIVATIONS.join(', ')}`);
  }
  const sizes = [spec.inputs, ...spec.hidden, 1];
  const layers: LayerLayout[] = [];
  let offset = 0;
  for (let index = 0; index + 1 < sizes.length; index += 1) {
    const rows = layerSize(sizes[index]!);
    const columns = layerSize(sizes[index + 1]!);
    layers.push({ rows, columns, weights: offset, biases: offset + rows * columns });
    offset += (rows + 1) * columns;
  }
  return layers;
}

/** The length of the flat parameters of `spec`. */
export function parameterCount(spec: ModelSpec): number {
  return layout(spec).reduce((sum, { rows, columns }) => sum + (rows + 1) * columns, 0);
}

/**
 * Parameters to start from, the same on every machine for the same `seed`: weights uniform in
 * +-sqrt(6 / (rows + columns)) (Glorot and Bengio 2010), biases 0 but for the output's, which is 0.5, the
 * middle of the labels, since noisy steps are too dear to be spent on finding it. Only hashing, integers
 * and operations that IEEE 754 rounds correctly are used: members compare the model's hash.
 */
export function initialParameters(spec: ModelSpec, seed: Uint8Array): Float64Array {
  const parameters = new Float64Array(parameterCount(spec));
  const uniform = hashUniform(seed);
  for (const { rows, columns, weights, biases } of layout(spec)) {
    const limit = Math.sqrt(6 / (rows + columns));
    for (let index = weights; index < biases; index += 1) parameters[index] = (2 * uniform() - 1) * limit;
  }
  parameters[parameters.length - 1] = 0.5;
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
 * SHA-256 of a domain name, the layer sizes and the activation, and the parameters as little-endian
 * float64: equal on two gateways exactly if they hold the same model. -0 and 0 differ, as their bytes do.
 */
export function modelHash(spec: ModelSpec, parameters: Float64Array): Uint8Array {
  checkLength(spec, parameters);
  const shape = new TextEncoder().encode(
    `${[spec.inputs, ...spec.hidden, 1].join('-')} ${spec.activation}\0`,
  );
  const bytes = new Uint8Array(8 * parameters.length);
  const view = new DataView(bytes.buffer);
  parameters.forEach((value, index) => {
    view.setFloat64(8 * index, value, true);
  });
  return createSha256().update(HASH_DOMAIN).update(shape).update(bytes).digest();
}

/**
 * The output of the network for one feature vector: RUL in units of the cap, not clamped.
 *
 * @throws RangeError when the lengths do not fit `spec`.
 */
export function predict(
  spec: ModelSpec,
  parameters: Float64Array,
  features: Float64Array | Float32Array,
): number {
  checkLength(spec, parameters);
  if (features.length !== spec.inputs) {
    throw new RangeError(`${features.length} features for a model with ${spec.inputs} inputs`);
  }
  const layers = layout(spec);
  let values: Float64Array | Float32Array = features;
  layers.forEach(({ rows, columns, weights, biases }, depth) => {
    const sums = parameters.slice(biases, biases + columns);
    for (let row = 0; row < rows; row += 1) {
      const value = values[row]!;
      const start = weights + row * columns;
      for (let column = 0; column < columns; column += 1)
        sums[column]! += value * parameters[start + column]!;
    }
    values = depth + 1 < layers.length ? sums.map((sum) => activate(spec.activation, sum)) : sums;
  });
  return values[0]!;
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
