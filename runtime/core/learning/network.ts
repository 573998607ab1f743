import * as tf from '@tensorflow/tfjs-core';
import { type Activation, type LayerLayout, layout, type ModelSpec } from './model.ts';

/** The parameters of one layer on the backend. */
export interface Layer {
  readonly weights: tf.Tensor2D;
  readonly biases: tf.Tensor1D;
}

/** What the backward pass leaves of every layer: |gradient of example i|^2 = |delta_i|^2 (|input_i|^2 + 1). */
export interface LayerTrace {
  /** B x rows: what went in. */
  readonly input: tf.Tensor2D;
  /** B x columns: the derivative of each example's loss by the layer's weighted sums. */
  readonly delta: tf.Tensor2D;
}

/** Copies flat parameters onto the backend. The caller disposes of them. */
export function uploadLayers(spec: ModelSpec, parameters: Float64Array): Layer[] {
  return layout(spec).map(({ rows, columns, weights, biases }) => ({
    weights: tf.tensor2d(Float32Array.from(parameters.subarray(weights, biases)), [rows, columns]),
    biases: tf.tensor1d(Float32Array.from(parameters.subarray(biases, biases + columns))),
  }));
}

/** The activations of every layer, the input first and the output (B x 1) last. */
export function forward(spec: ModelSpec, layers: readonly Layer[], input: tf.Tensor2D): tf.Tensor2D[] {
  const activations = [input];
  layers.forEach(({ weights, biases }, depth) => {
    const sums = tf.add(tf.matMul(activations[depth]!, weights), biases) as tf.Tensor2D;
    activations.push(depth + 1 < layers.length ? activate(spec.activation, sums) : sums);
  });
  return activations;
}

/** Traces and squared errors (B x 1) of the loss (output - label)^2 / 2, for `labels` B x 1. */
export function backward(
  spec: ModelSpec,
  layers: readonly Layer[],
  input: tf.Tensor2D,
  labels: tf.Tensor2D,
): { readonly traces: readonly LayerTrace[]; readonly errors: tf.Tensor2D } {
  const activations = forward(spec, layers, input);
  let delta = tf.sub(activations.at(-1)!, labels) as tf.Tensor2D;
  const errors = tf.square(delta);
  const traces: LayerTrace[] = [];
  for (let depth = layers.length - 1; depth >= 0; depth -= 1) {
    traces.unshift({ input: activations[depth]!, delta });
    if (depth === 0) break;
    const back = tf.matMul(delta, tf.transpose(layers[depth]!.weights));
    delta = tf.mul(back, derivative(spec.activation, activations[depth]!)) as tf.Tensor2D;
  }
  return { traces, errors };
}

/** Adds sum_i scale_i * gradient_i of every layer to the flat `sum`; `scale` is B x 1. */
export function addWeightedGradients(
  layers: readonly LayerLayout[],
  traces: readonly LayerTrace[],
  scale: tf.Tensor2D,
  sum: Float64Array,
): void {
  traces.forEach(({ input, delta }, depth) => {
    const { weights, biases } = layers[depth]!;
    const scaled = tf.mul(delta, scale) as tf.Tensor2D;
    // matMul's own transposing is three times slower on the wasm backend than a transposed copy.
    addTo(sum, weights, tf.matMul(tf.transpose(input), scaled).dataSync());
    addTo(sum, biases, tf.sum(scaled, 0).dataSync());
  });
}

/** The L2 norm of each example's whole gradient (B x 1), without forming any. */
export function exampleNorms(traces: readonly LayerTrace[]): tf.Tensor2D {
  let squares: tf.Tensor2D | undefined;
  for (const { input, delta } of traces) {
    const inputSquares = tf.add(tf.sum(tf.square(input), 1, true), 1);
    const layer = tf.mul(tf.sum(tf.square(delta), 1, true), inputSquares) as tf.Tensor2D;
    squares = squares === undefined ? layer : (tf.add(squares, layer) as tf.Tensor2D);
  }
  return tf.sqrt(squares!);
}

function activate(activation: Activation, sums: tf.Tensor2D): tf.Tensor2D {
  if (activation === 'relu') return tf.relu(sums);
  return activation === 'tanh' ? tf.tanh(sums) : tf.elu(sums);
}

/** The derivative of the activation, from its value. */
function derivative(activation: Activation, value: tf.Tensor2D): tf.Tensor2D {
  if (activation === 'relu') return tf.cast(tf.greater(value, 0), 'float32') as tf.Tensor2D;
  if (activation === 'tanh') return tf.sub(1, tf.square(value)) as tf.Tensor2D;
  return tf.add(tf.minimum(value, 0), 1) as tf.Tensor2D;
}

function addTo(sum: Float64Array, offset: number, values: ArrayLike<number>): void {
  for (let index = 0; index < values.length; index += 1) sum[offset + index]! += values[index]!;
}
