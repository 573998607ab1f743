import { type Activation, type Filter, layout, type ModelSpec, parameterCount, shapeOf } from './model.ts';

/**
 * A model in the layers format of TensorFlow.js: what `tf.loadLayersModel` opens and `model.save` writes,
 * `model.json` (a Keras topology and a list of the weights) and one file of weights, little-endian float32.
 */
export interface LayersModel {
  readonly modelJson: object;
  /** The file `weights.bin`. */
  readonly weights: Uint8Array;
}

const WEIGHTS_FILE = 'weights.bin';

/** One layer as the topology has it. */
interface TopologyLayer {
  readonly class_name: string;
  readonly config: Readonly<Record<string, unknown>>;
}

/**
 * Writes a model of any kind. Parameters become float32, which is all that the format has: what is read back
 * is near the model, and no longer the model that members hash.
 *
 * @throws RangeError when the parameters do not fit `spec`
 */
export function toLayersModel(spec: ModelSpec, parameters: Float64Array): LayersModel {
  if (parameters.length !== parameterCount(spec)) {
    throw new RangeError(`${parameters.length} parameters for a model that has ${parameterCount(spec)}`);
  }
  const weights = new Uint8Array(4 * parameters.length);
  const view = new DataView(weights.buffer);
  parameters.forEach((value, index) => {
    view.setFloat32(4 * index, value, true);
  });
  const config = { name: `kosmos_${spec.kind}`, layers: topologyOf(spec) };
  const modelJson = {
    format: 'layers-model',
    generatedBy: 'KOSMoS Gateway',
    convertedBy: null,
    modelTopology: {
      keras_version: 'tfjs-layers 4.22.0',
      backend: 'tensor_flow.js',
      model_config: { class_name: 'Sequential', config },
    },
    weightsManifest: [{ paths: [WEIGHTS_FILE], weights: weightsOf(spec) }],
    // What the topology leaves open: a linear model has no activation, one input could be reconstructed.
    userDefinedMetadata: { kind: spec.kind, activation: spec.activation },
  };
  return { modelJson, weights };
}

function topologyOf(spec: ModelSpec): TopologyLayer[] {
  const layers = layout(spec);
  const topology = layers.map(({ columns }, depth): TopologyLayer => {
    const activation = depth + 1 < layers.length ? spec.activation : 'linear';
    const common = {
      name: layerName(spec, depth),
      trainable: true,
      dtype: 'float32',
      use_bias: true,
      activation,
    };
    const filter = spec.kind === 'convolution' ? spec.filters[depth] : undefined;
    if (filter === undefined) return { class_name: 'Dense', config: { ...common, units: columns } };
    const { count, width, stride } = filter;
    const moved = { filters: count, kernel_size: [width], strides: [stride], dilation_rate: [1] };
    return {
      class_name: 'Conv1D',
      config: { ...common, ...moved, padding: 'valid', data_format: 'channels_last' },
    };
  });
  if (spec.kind === 'convolution') {
    topology.splice(spec.filters.length, 0, { class_name: 'Flatten', config: { name: 'flatten' } });
  }
  const shape = spec.kind === 'convolution' ? [spec.rows, spec.channels] : [spec.inputs];
  const [first, ...rest] = topology;
  return [{ ...first!, config: { ...first!.config, batch_input_shape: [null, ...shape] } }, ...rest];
}

function weightsOf(spec: ModelSpec): object[] {
  let channels = spec.kind === 'convolution' ? spec.channels : 0;
  return layout(spec).flatMap(({ rows, columns }, depth) => {
    const filter = spec.kind === 'convolution' ? spec.filters[depth] : undefined;
    const shape = filter === undefined ? [rows, columns] : [filter.width, channels, columns];
    if (filter !== undefined) channels = columns;
    const name = layerName(spec, depth);
    return [
      { name: `${name}/kernel`, shape, dtype: 'float32' },
      { name: `${name}/bias`, shape: [columns], dtype: 'float32' },
    ];
  });
}

function layerName(spec: ModelSpec, depth: number): string {
  return spec.kind === 'convolution' && depth < spec.filters.length
    ? `conv1d_${depth + 1}`
    : `dense_${depth + 1}`;
}

/**
 * Reads a model that {@link toLayersModel} can write, whoever wrote it. The format comes from outside, so
 * nothing of it is taken on trust.
 *
 * @throws RangeError saying what is not as it has to be
 */
export function fromLayersModel({ modelJson, weights }: LayersModel): {
  readonly spec: ModelSpec;
  readonly parameters: Float64Array;
} {
  const model = record(modelJson, 'model.json');
  const spec = specOf(topologyLayers(model), record(model.userDefinedMetadata ?? {}, 'its metadata'));
  const expected = weightsOf(spec).map((weight) => (weight as { shape: number[] }).shape.join('x'));
  const groups = list(model.weightsManifest, 'the weights manifest').map((group) => record(group, 'a group'));
  const found = groups.flatMap((group) =>
    list(group.weights, 'the weights of a group').map((weight) => {
      const { shape, dtype, quantization } = record(weight, 'a weight');
      need(dtype === 'float32' && quantization === undefined, 'a weight is not plain float32');
      return list(shape, 'the shape of a weight').join('x');
    }),
  );
  need(found.join() === expected.join(), `its weights are ${found}, and ${expected} are needed`);
  const count = parameterCount(spec);
  need(weights.length === 4 * count, `${weights.length} bytes of weights for ${count} parameters`);
  const view = new DataView(weights.buffer, weights.byteOffset, weights.byteLength);
  const parameters = Float64Array.from({ length: count }, (_, index) => view.getFloat32(4 * index, true));
  need(parameters.every(Number.isFinite), 'a weight is not finite');
  return { spec, parameters };
}

function topologyLayers(model: Readonly<Record<string, unknown>>): TopologyLayer[] {
  const topology = record(model.modelTopology, 'the topology');
  const network = record(topology.model_config ?? topology, 'the model');
  need(network.class_name === 'Sequential', 'it is not a sequential model');
  const layers = Array.isArray(network.config) ? network.config : record(network.config, 'its config').layers;
  return list(layers, 'its layers').map((layer) => {
    const { class_name, config } = record(layer, 'a layer');
    need(typeof class_name === 'string', 'a layer has no class');
    return { class_name: class_name as string, config: record(config, 'the config of a layer') };
  });
}

/** The spec whose topology this is: the layers are read, written again, and compared. */
function specOf(found: readonly TopologyLayer[], metadata: Readonly<Record<string, unknown>>): ModelSpec {
  const shape = found.flatMap(({ config }) =>
    config.batch_input_shape ? [config.batch_input_shape] : [],
  )[0];
  const [, ...inputs] = list(shape, 'the shape of its input') as number[];
  const layers = found.filter(({ class_name }) => !['InputLayer', 'Flatten', 'Dropout'].includes(class_name));
  const filters = layers.filter(({ class_name }) => class_name === 'Conv1D').map(filterOf);
  const units = layers.slice(filters.length).map(({ class_name, config }) => {
    need(class_name === 'Dense', `it has a layer ${class_name} where a dense one was expected`);
    return config.units as number;
  });
  need(units.length > 0, 'it has no dense layer');
  const activation = activationOf(layers, metadata);
  const hidden = units.slice(0, -1);
  const spec = ((): ModelSpec => {
    if (inputs.length === 2) {
      return { kind: 'convolution', rows: inputs[0]!, channels: inputs[1]!, filters, hidden, activation };
    }
    need(inputs.length === 1 && filters.length === 0, `its input has the shape ${inputs}`);
    if (metadata.kind !== 'autoencoder' && units.at(-1) === 1) {
      return { kind: 'dense', inputs: inputs[0]!, hidden, activation };
    }
    const encoder = hidden.slice(0, Math.ceil(hidden.length / 2));
    return { kind: 'autoencoder', inputs: inputs[0]!, hidden: encoder, activation };
  })();
  // Sizes that are no sizes, or do not mirror each other, show here.
  const dense = layout(spec).slice(filters.length);
  need(
    dense.map(({ columns }) => columns).join() === units.join() && dense.at(-1)!.columns === units.at(-1),
    `its dense layers are ${units}, which is none of the kinds of models known (read as ${shapeOf(spec)})`,
  );
  return spec;
}

function filterOf({ config }: TopologyLayer): Filter {
  const [width] = [config.kernel_size].flat() as number[];
  const [stride] = [config.strides ?? 1].flat() as number[];
  const [dilation] = [config.dilation_rate ?? 1].flat() as number[];
  need((config.padding ?? 'valid') === 'valid' && dilation === 1, 'a convolution is padded or dilated');
  need((config.data_format ?? 'channels_last') === 'channels_last', 'a convolution has its channels first');
  return { count: config.filters as number, width: width!, stride: stride! };
}

/** The activation of all layers but the last, which has none. */
function activationOf(
  layers: readonly TopologyLayer[],
  metadata: Readonly<Record<string, unknown>>,
): Activation {
  need(
    layers.every(({ config }) => config.use_bias !== false),
    'a layer has no biases',
  );
  const names = layers.map(({ config }) => String(config.activation ?? 'linear'));
  need(names.at(-1) === 'linear', `its output has the activation ${names.at(-1)}`);
  const inner = new Set(names.slice(0, -1));
  need(inner.size <= 1, `its layers have different activations: ${[...inner].join(', ')}`);
  // Which activations there are, `layout` knows.
  return ([...inner][0] ?? metadata.activation ?? 'relu') as Activation;
}

function record(value: unknown, what: string): Readonly<Record<string, unknown>> {
  need(typeof value === 'object' && value !== null && !Array.isArray(value), `${what} is not an object`);
  return value as Readonly<Record<string, unknown>>;
}

function list(value: unknown, what: string): readonly unknown[] {
  need(Array.isArray(value), `${what} is not a list`);
  return value as readonly unknown[];
}

function need(condition: boolean, fault: string): void {
  if (!condition) throw new RangeError(`this model in the layers format cannot be read: ${fault}`);
}
