/**
 * What a model is trained to make small, for one window:
 *
 * - `squared`: (output - label)^2 / 2. Where the label is a lower bound only (a run that was cut off
 *   before a failure), there is no loss, and no gradient, once the output is above it.
 * - `logistic`: the output is the log-odds of a failure, the label its probability, 0 or 1.
 * - `reconstruction`: the mean of (output - input)^2 / 2 over the inputs of an autoencoder.
 */
export type Loss = 'squared' | 'logistic' | 'reconstruction';

/** What a chunk of windows is compared with. */
export interface Targets {
  readonly labels: Float32Array;
  readonly atLeast: Uint8Array;
  /** The windows themselves, `width` values each, for `reconstruction`. */
  readonly inputs: Float32Array;
  readonly width: number;
}

/**
 * The derivative of each window's loss by each of its outputs, row by row as `outputs`, and the sum over
 * windows of what is reported: the squared error, the negative log-likelihood, or the mean squared error of
 * a window. Only the first `windows` rows count; the others are padding, and their derivatives 0.
 */
export function lossGradient(
  loss: Loss,
  outputs: Float32Array,
  targets: Targets,
  windows: number,
): { readonly delta: Float32Array; readonly total: number } {
  const delta = new Float32Array(outputs.length);
  if (loss === 'reconstruction') {
    return { delta, total: reconstruction(outputs, targets, windows, delta) };
  }
  let total = 0;
  for (let row = 0; row < windows; row += 1) {
    const label = targets.labels[row]!;
    const output = outputs[row]!;
    if (loss === 'logistic') {
      delta[row] = sigmoid(output) - label;
      // -log p, written so that neither branch overflows.
      total += Math.max(output, 0) - output * label + Math.log1p(Math.exp(-Math.abs(output)));
    } else {
      const error = output - label;
      if (error > 0 && targets.atLeast[row] === 1) continue;
      delta[row] = error;
      total += error * error;
    }
  }
  return { delta, total };
}

function reconstruction(
  outputs: Float32Array,
  { inputs, width }: Targets,
  windows: number,
  delta: Float32Array,
): number {
  let squares = 0;
  for (let index = 0; index < windows * width; index += 1) {
    const error = outputs[index]! - inputs[index]!;
    delta[index] = error / width;
    squares += error * error;
  }
  return squares / width;
}

/** 1 / (1 + e^-x). */
export function sigmoid(value: number): number {
  return 1 / (1 + Math.exp(-value));
}
