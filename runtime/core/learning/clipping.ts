import { DEVIATION } from './noise.ts';

/** How the norm that gradients are clipped to is chosen. */
export type Clipping =
  | { readonly kind: 'flat' }
  | {
      readonly kind: 'adaptive';
      /** The share of units whose gradients should stay whole. */
      readonly quantile: number;
      readonly learningRate: number;
      /** sigma_b: the deviation of the noise on the count of units that stayed whole. */
      readonly countNoise: number;
    };

/** Half the distance from 1 to the next float32. */
const UNIT_ROUNDOFF = 2 ** -24;
const MOST_ROWS = 384;
/** Noise wider than this against the lattice would leave too little room for the rounding. */
const WIDEST = DEVIATION / 2;

/**
 * The distance of lattice points such that noise of {@link DEVIATION} of them is `multiplier` times the
 * sensitivity. A vector within `bound` of another is, with each of its `coordinates` rounded to the
 * lattice, within bound + step sqrt(coordinates) of it; that is the sensitivity counted here, so that the
 * rounding costs noise (1 in 100 of it at 100,000 parameters and multiplier 2) and no privacy. Nothing
 * but agreed numbers and the released clip norm enters.
 *
 * @throws RangeError when the noise is so wide that the lattice would be too coarse
 */
export function latticeStep(bound: number, multiplier: number, coordinates: number): number {
  const rounding = multiplier * Math.sqrt(coordinates);
  if (!(rounding <= WIDEST)) {
    throw new RangeError(
      `noise multiplier ${multiplier} with ${coordinates} parameters: their product, with the root of the ` +
        `second, may be ${WIDEST} at most`,
    );
  }
  return (multiplier * bound) / (DEVIATION - rounding);
}

/**
 * What float32 adds to the sensitivity of a sum of clipped gradients, as a share of the clip norm, and how
 * many windows may then be summed at once. Who adds k values of norm C, in any order, rounds partial sums of
 * norm C to k C, by 2^-24 of each: with the rounding of the products at most 2^-24 C k (k + 3) / 2. Another
 * window changes all the partial sums of a draw, so that both draws' errors count (Casacuberta et al.
 * 2022, "Widespread underestimation of sensitivity in differentially private libraries"). The share is
 * fixed from the agreed batch, eight deviations above it; a larger draw is summed in smaller chunks
 * instead (chunks are added in float64), so that the bound holds for every draw.
 */
export function summation(expectedBatch: number): { readonly share: number; rows(drawn: number): number } {
  const most = Math.ceil(expectedBatch + 8 * Math.sqrt(expectedBatch) + 32);
  const terms = most * (Math.min(most, MOST_ROWS) + 3);
  return {
    share: 1.001 * UNIT_ROUNDOFF * (terms + 2),
    rows: (drawn) => Math.max(1, Math.min(MOST_ROWS, Math.floor(terms / Math.max(1, drawn)) - 3)),
  };
}

/**
 * The noise multiplier of the sum that, together with a count of deviation `countNoise`, costs as much as
 * `multiplier` alone: z_sum = (z^-2 - (2 sigma_b)^-2)^(-1/2), the count being of +- 1/2 a unit (Andrew et
 * al. 2021, "Differentially private learning with adaptive clipping", theorem 1).
 *
 * @throws RangeError when the count alone costs as much
 */
export function sumMultiplier(multiplier: number, clipping: Clipping): number {
  if (clipping.kind === 'flat') return multiplier;
  const left = multiplier ** -2 - (2 * clipping.countNoise) ** -2;
  if (!(left > 0)) {
    throw new RangeError(
      `noise ${clipping.countNoise} on the count is too little beside the noise multiplier ${multiplier}: ` +
        'it has to be more than half of it',
    );
  }
  return left ** -0.5;
}

/**
 * The next clip norm: C exp(-rate (share - quantile)), the share of units that stayed whole being
 * 1/2 + (sum of 1/2 for each that did and -1/2 for each that did not, + noise) / expected batch.
 *
 * @param noise one value of deviation {@link DEVIATION}
 */
export function nextClipNorm(
  clipNorm: number,
  clipping: Extract<Clipping, { kind: 'adaptive' }>,
  { sum, noise, expectedBatch }: { sum: number; noise: number; expectedBatch: number },
): number {
  const step = latticeStep(0.5, 2 * clipping.countNoise, 1);
  const count = (Math.round(sum / step) + noise) * step;
  const share = 0.5 + count / expectedBatch;
  const next = clipNorm * Math.exp(-clipping.learningRate * (share - clipping.quantile));
  return Math.min(LARGEST_NORM, Math.max(SMALLEST_NORM, next));
}

/** Beyond these an adaptive clip norm has lost its way; they keep float64 in its range. */
const SMALLEST_NORM = 1e-9;
const LARGEST_NORM = 1e9;
