import type { LayerLayout } from './model.ts';

/**
 * Adds to `norms`, for every window, |gradient of the layer's weights and biases|^2, from the lines that
 * went into the layer and the derivatives by its sums, `positions` lines a window. All sums are float64.
 *
 * A dense layer's gradient is the outer product of one line a and one delta: (|a|^2 + 1) |delta|^2. That of a
 * convolution is a sum of outer products over positions, whose square is the sum over pairs of positions of
 * (a_p . a_q + 1) (delta_p . delta_q) (Rochette, Manoel, Tramel 2019, "Efficient per-example gradient
 * computations in convolutional neural networks"). Where the gradient is smaller than the pairs are many, it
 * is formed instead, one window's at a time (the choice of Bu et al. 2022, "Scalable and efficient training
 * of large convolutional neural networks with differential privacy"). `lineSquares` are the lines' own
 * squared norms, where they are known already (dense layers only).
 */
export function addSquaredNorms(
  layer: LayerLayout,
  lines: Float32Array,
  deltas: Float32Array,
  norms: Float64Array,
  lineSquares?: Float64Array,
): void {
  const { positions, rows, columns } = layer;
  if (positions === 1) addDense(columns, lineSquares ?? squaresOf(lines, rows), deltas, norms);
  else if (pairsAreFewer(layer)) addPairs(layer, lines, deltas, norms);
  else addFormed(layer, lines, deltas, norms);
}

/** Whether a convolution's norm takes less arithmetic by pairs of positions than by the gradient itself. */
export function pairsAreFewer({ positions, rows, columns }: LayerLayout): boolean {
  return ((positions + 1) / 2) * (rows + columns) < rows * columns;
}

/** |line|^2 of lines of `width` values. */
export function squaresOf(lines: Float32Array, width: number): Float64Array {
  const squares = new Float64Array(lines.length / width);
  for (let line = 0; line < squares.length; line += 1) {
    squares[line] = dot(lines, line * width, line * width, width);
  }
  return squares;
}

function addDense(
  columns: number,
  lineSquares: Float64Array,
  deltas: Float32Array,
  norms: Float64Array,
): void {
  for (let window = 0; window < norms.length; window += 1) {
    const from = window * columns;
    norms[window]! += (lineSquares[window]! + 1) * dot(deltas, from, from, columns);
  }
}

function addPairs(
  { positions, rows, columns }: LayerLayout,
  lines: Float32Array,
  deltas: Float32Array,
  norms: Float64Array,
): void {
  for (let window = 0; window < norms.length; window += 1) {
    const first = window * positions;
    let total = 0;
    for (let p = first; p < first + positions; p += 1) {
      for (let q = p; q < first + positions; q += 1) {
        const product =
          (dot(lines, p * rows, q * rows, rows) + 1) * dot(deltas, p * columns, q * columns, columns);
        total += p === q ? product : 2 * product;
      }
    }
    // Rounding may leave a sum of products of both signs a trifle below 0.
    norms[window]! += Math.max(0, total);
  }
}

function addFormed(
  { positions, rows, columns }: LayerLayout,
  lines: Float32Array,
  deltas: Float32Array,
  norms: Float64Array,
): void {
  const gradient = new Float64Array((rows + 1) * columns);
  for (let window = 0; window < norms.length; window += 1) {
    gradient.fill(0);
    for (let line = window * positions; line < (window + 1) * positions; line += 1) {
      for (let row = 0; row <= rows; row += 1) {
        const value = row === rows ? 1 : lines[line * rows + row]!;
        const to = row * columns;
        for (let column = 0; column < columns; column += 1) {
          gradient[to + column]! += value * deltas[line * columns + column]!;
        }
      }
    }
    norms[window]! += gradient.reduce((sum, value) => sum + value * value, 0);
  }
}

/** Four sums at once, since each addition waits for the one before it. */
function dot(values: Float32Array, one: number, other: number, length: number): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  const whole = length - (length % 4);
  for (let index = 0; index < whole; index += 4) {
    a += values[one + index]! * values[other + index]!;
    b += values[one + index + 1]! * values[other + index + 1]!;
    c += values[one + index + 2]! * values[other + index + 2]!;
    d += values[one + index + 3]! * values[other + index + 3]!;
  }
  for (let index = whole; index < length; index += 1) a += values[one + index]! * values[other + index]!;
  return a + b + (c + d);
}
