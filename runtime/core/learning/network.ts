import * as tf from '@tensorflow/tfjs-core';
import { type Activation, inputCount, type LayerLayout, layout, type ModelSpec } from './model.ts';
import { addSquaredNorms } from './norms.ts';

/**
 * What one chunk of windows leaves behind: the matrix products are the backend's, everything that is done
 * value by value is plain JavaScript on what they gave, since on small networks a call of the backend
 * costs more than the arithmetic in it.
 */
export interface Pass {
  /** Output by output, window by window, padding included. */
  readonly outputs: Float32Array;
  /** Works out the derivatives by every layer's sums from those by the outputs (which are 0 for padding). */
  backward(outputDeltas: Float32Array): void;
  /**
   * |gradient|^2 of each window, without forming any: for a dense layer (|a|^2 + 1) |delta|^2, with a the
   * layer's input and delta the derivative by its sums (Goodfellow 2015, "Efficient per-example gradient
   * computations"); for a convolution see {@link addSquaredNorms}. `inputSquares`, the |input|^2 of each
   * window, saves a dense first layer from working them out.
   */
  squaredNorms(inputSquares?: Float64Array): Float64Array;
  /** Adds the sum over windows of scale x gradient to the flat `sum`; each scale 1 when there is none. */
  addGradients(sum: Float64Array, scales?: Float64Array): void;
  dispose(): void;
}

/** A network whose parameters are on the backend. */
export interface Network {
  /** Runs `rows` windows, row by row in `input`, which must stay as it is until the pass is disposed of. */
  forward(input: Float32Array, rows: number): Pass;
  dispose(): void;
}

/** One layer's tensors. `back` is its transposed weights, which the first layer does not need. */
interface Layer extends LayerLayout {
  readonly kernel: tf.Tensor2D;
  readonly bias: tf.Tensor1D;
  readonly back: tf.Tensor2D | undefined;
}

/** Copies flat parameters onto the backend, as float32. */
export function uploadNetwork(spec: ModelSpec, parameters: Float64Array): Network {
  const layers = layout(spec).map((shape, depth): Layer => {
    const { rows, columns, weights, biases } = shape;
    const values = new Float32Array(parameters.subarray(weights, biases));
    return {
      ...shape,
      kernel: tf.tensor2d(values, [rows, columns]),
      bias: tf.tensor1d(new Float32Array(parameters.subarray(biases, biases + columns))),
      back: depth === 0 ? undefined : tf.tensor2d(transpose(values, rows, columns), [columns, rows]),
    };
  });
  return {
    forward: (input, rows) => runForward(spec, layers, input, rows),
    dispose() {
      for (const { kernel, bias, back } of layers) tf.dispose([kernel, bias, ...(back ? [back] : [])]);
    },
  };
}

function runForward(spec: ModelSpec, layers: readonly Layer[], input: Float32Array, rows: number): Pass {
  /** Of each layer: the values before it, the lines it multiplies (patches of them), and these as a tensor. */
  const values: Float32Array[] = [input];
  const lines: Float32Array[] = [];
  const tensors: tf.Tensor2D[] = [];
  const deltas: Float32Array[] = [];
  let width = inputCount(spec);
  let sent: tf.Tensor | undefined;
  layers.forEach((layer, depth) => {
    const { positions, columns } = layer;
    const shape: [number, number] = [rows * positions, layer.rows];
    lines[depth] = layer.step === 0 ? values[depth]! : gatherPatches(values[depth]!, width, layer, rows);
    // A dense layer multiplies what the layer before it gave: that is on the backend already.
    if (sent !== undefined && layer.step === 0) tensors[depth] = tf.reshape(sent, shape);
    else tensors[depth] = tf.tensor2d(lines[depth]!, shape);
    sent?.dispose();
    sent = tf.tidy(() => {
      const sums = tf.add(tf.matMul(tensors[depth]!, layer.kernel), layer.bias);
      return depth + 1 < layers.length ? activate(spec.activation, sums) : sums;
    });
    values[depth + 1] = sent.dataSync() as Float32Array;
    width = positions * columns;
  });
  sent?.dispose();

  return {
    outputs: values[layers.length]!,
    backward(outputDeltas) {
      deltas[layers.length - 1] = outputDeltas;
      for (let depth = layers.length - 1; depth > 0; depth -= 1) {
        const layer = layers[depth]!;
        const shape: [number, number] = [rows * layer.positions, layer.columns];
        const back = product(tf.tensor2d(deltas[depth]!, shape), layer.back!);
        const delta =
          layer.step === 0 ? back : scatterPatches(back, values[depth]!.length / rows, layer, rows);
        multiplyBySlopes(spec.activation, values[depth]!, delta);
        deltas[depth - 1] = delta;
      }
    },
    squaredNorms(inputSquares) {
      const norms = new Float64Array(rows);
      layers.forEach((layer, depth) => {
        const known = depth === 0 ? inputSquares : undefined;
        addSquaredNorms(layer, lines[depth]!, deltas[depth]!, norms, known);
      });
      return norms;
    },
    addGradients(sum, scales) {
      layers.forEach((layer, depth) => {
        addLayerGradient(layer, tensors[depth]!, deltas[depth]!, scales, sum);
      });
    },
    dispose() {
      tf.dispose(tensors);
    },
  };
}

/**
 * Adds (delta^T x input)^T, so that only the narrower of the two is transposed, which happens together with
 * scaling: matMul's own transposing is many times slower on the wasm backend.
 */
function addLayerGradient(
  { rows, columns, weights, biases, positions }: Layer,
  input: tf.Tensor2D,
  delta: Float32Array,
  scales: Float64Array | undefined,
  sum: Float64Array,
): void {
  const count = delta.length / columns;
  const scaled = new Float32Array(delta.length);
  for (let line = 0; line < count; line += 1) {
    const scale = scales === undefined ? 1 : scales[positions === 1 ? line : Math.floor(line / positions)]!;
    for (let column = 0, from = line * columns; column < columns; column += 1) {
      scaled[column * count + line] = scale * delta[from + column]!;
    }
  }
  for (let column = 0; column < columns; column += 1) {
    let total = 0;
    for (let at = column * count; at < (column + 1) * count; at += 1) total += scaled[at]!;
    sum[biases + column]! += total;
  }
  const gradient = product(tf.tensor2d(scaled, [columns, count]), input);
  for (let column = 0; column < columns; column += 1) {
    for (let row = 0, from = column * rows; row < rows; row += 1) {
      sum[weights + row * columns + column]! += gradient[from + row]!;
    }
  }
}

/** left x right, fetched; `left` is disposed of. An array given back from `tf.tidy` would be walked, value by value. */
function product(left: tf.Tensor2D, right: tf.Tensor2D): Float32Array {
  const result = tf.matMul(left, right);
  const values = result.dataSync() as Float32Array;
  left.dispose();
  result.dispose();
  return values;
}

/** The patches of every window, one a line, window by window. */
function gatherPatches(
  values: Float32Array,
  width: number,
  { positions, step, rows }: LayerLayout,
  windows: number,
): Float32Array {
  const patches = new Float32Array(windows * positions * rows);
  let to = 0;
  for (let window = 0; window < windows; window += 1) {
    for (let position = 0; position < positions; position += 1) {
      const from = window * width + position * step;
      for (let row = 0; row < rows; row += 1) patches[to + row] = values[from + row]!;
      to += rows;
    }
  }
  return patches;
}

/** The transpose of {@link gatherPatches}: where patches overlap their values add up. */
function scatterPatches(
  patches: Float32Array,
  width: number,
  { positions, step, rows }: LayerLayout,
  windows: number,
): Float32Array {
  const values = new Float32Array(windows * width);
  let from = 0;
  for (let window = 0; window < windows; window += 1) {
    for (let position = 0; position < positions; position += 1) {
      const to = window * width + position * step;
      for (let row = 0; row < rows; row += 1) values[to + row]! += patches[from + row]!;
      from += rows;
    }
  }
  return values;
}

function activate(activation: Activation, sums: tf.Tensor): tf.Tensor {
  if (activation === 'relu') return tf.relu(sums);
  return activation === 'tanh' ? tf.tanh(sums) : tf.elu(sums);
}

/** Multiplies `delta` by the derivative of the activation, which its value `outputs` gives. */
function multiplyBySlopes(activation: Activation, outputs: Float32Array, delta: Float32Array): void {
  for (let index = 0; index < delta.length; index += 1) {
    const value = outputs[index]!;
    if (activation === 'tanh') delta[index]! *= 1 - value * value;
    else if (value <= 0) delta[index]! *= activation === 'relu' ? 0 : value + 1;
  }
}

function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  const transposed = new Float32Array(values.length);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      transposed[column * rows + row] = values[row * columns + column]!;
    }
  }
  return transposed;
}
