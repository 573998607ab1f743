import { summation } from './clipping.ts';
import type { TrainingJob } from './job.ts';
import { lossGradient } from './loss.ts';
import { inputCount, layout } from './model.ts';
import type { Network, Pass } from './network.ts';
import { squaresOf } from './norms.ts';

/** What DP-SGD draws from: the windows of a job, or its episodes in order of appearance. */
export interface Units {
  readonly count: number;
  /** The sum of the gradients of the units drawn, each clipped to `clipNorm`, or whole where nothing is private. */
  sum(network: Network, clipNorm: number, drawn: readonly number[]): UnitSum;
}

interface UnitSum {
  readonly sum: Float64Array;
  readonly loss: number;
  readonly windows: number;
  readonly whole: number;
}

/** Chunks are padded to a multiple of this with windows that weigh nothing, so that time tells less of the draw. */
const PAD = 32;
/** Windows sent through the network at a time where they are not clipped one by one. */
const MOST_ROWS = 384;

export function createUnits(job: TrainingJob): Units {
  return job.unit === 'episode' ? episodes(job) : windows(job);
}

function windows(job: TrainingJob): Units {
  const runChunk = chunks(job);
  const clip = job.unit === 'window';
  const { rows } = summation(job.expectedBatch);
  return {
    count: job.labels.length,
    sum(network, clipNorm, drawn) {
      const sum = new Float64Array(job.parameters.length);
      const most = clip ? rows(drawn.length) : MOST_ROWS;
      let loss = 0;
      let whole = 0;
      for (let start = 0; start < drawn.length; start += most) {
        const part = drawn.slice(start, start + most);
        loss += runChunk(network, part, (pass, squares) => {
          if (!clip) return pass.addGradients(sum);
          // C / max(norm, C) is never above 1, also where the norm is 0.
          const scales = pass
            .squaredNorms(squares)
            .map((norm) => clipNorm / Math.max(Math.sqrt(norm), clipNorm));
          for (let row = 0; row < part.length; row += 1) if (scales[row] === 1) whole += 1;
          pass.addGradients(sum, scales);
        });
      }
      return { sum, loss, windows: drawn.length, whole };
    },
  };
}

function episodes(job: TrainingJob): Units {
  const runChunk = chunks(job);
  const spans = episodeSpans(job.episodeOf);
  return {
    count: spans.length,
    sum(network, clipNorm, drawn) {
      const sum = new Float64Array(job.parameters.length);
      const gradient = new Float64Array(sum.length);
      let loss = 0;
      let windows = 0;
      let whole = 0;
      for (const episode of drawn) {
        const { start, count } = spans[episode]!;
        gradient.fill(0);
        for (let offset = 0; offset < count; offset += MOST_ROWS) {
          const length = Math.min(MOST_ROWS, count - offset);
          const part = Array.from({ length }, (_, index) => start + offset + index);
          loss += runChunk(network, part, (pass) => pass.addGradients(gradient));
        }
        const norm = Math.sqrt(squaredNorm(gradient)) / count;
        const scale = clipNorm / Math.max(norm, clipNorm) / count;
        for (let index = 0; index < sum.length; index += 1) sum[index]! += scale * gradient[index]!;
        if (norm <= clipNorm) whole += 1;
        windows += count;
      }
      return { sum, loss, windows, whole };
    },
  };
}

/**
 * Sends one chunk of windows forward and backward, hands the pass to `use` with the squared norms of the
 * windows where the first layer is dense, and gives the sum of their losses.
 */
function chunks(job: TrainingJob) {
  const width = inputCount(job.model);
  const firstIsDense = layout(job.model)[0]!.step === 0;
  const known = job.unit === 'window' && firstIsDense ? squaresOf(job.features, width) : undefined;
  const loss = job.loss ?? 'squared';
  return (
    network: Network,
    part: readonly number[],
    use: (pass: Pass, squares: Float64Array | undefined) => void,
  ): number => {
    const rows = Math.ceil(part.length / PAD) * PAD;
    const inputs = new Float32Array(rows * width);
    const labels = new Float32Array(rows);
    const atLeast = new Uint8Array(rows);
    const squares = known && new Float64Array(rows);
    part.forEach((window, row) => {
      inputs.set(job.features.subarray(window * width, (window + 1) * width), row * width);
      labels[row] = job.labels[window]!;
      if (job.atLeast) atLeast[row] = job.atLeast[window]!;
      if (squares) squares[row] = known[window]!;
    });
    const pass = network.forward(inputs, rows);
    try {
      const targets = { labels, atLeast, inputs, width };
      const { delta, total } = lossGradient(loss, pass.outputs, targets, part.length);
      pass.backward(delta);
      use(pass, squares);
      return total;
    } finally {
      pass.dispose();
    }
  };
}

function squaredNorm(values: Float64Array): number {
  let sum = 0;
  for (let index = 0; index < values.length; index += 1) sum += values[index]! * values[index]!;
  return sum;
}

function episodeSpans(episodeOf: Int32Array): { start: number; count: number }[] {
  const spans: { start: number; count: number }[] = [];
  episodeOf.forEach((episode, index) => {
    if (index > 0 && episodeOf[index - 1] === episode) spans.at(-1)!.count += 1;
    else spans.push({ start: index, count: 1 });
  });
  return spans;
}
