/**
 * The discrete Fourier transform of a power-of-two length, in place, in float64.
 *
 * Written out here although the features use a package: what an accountant adds for rounding rests on how its
 * transform computes, so twiddle factors come from one sine and cosine each (no recurrence), and the bound below
 * belongs to these very lines. Forward leaves the spectrum in bit-reversed order and inverse expects it there
 * (Gentleman-Sande and Cooley-Tukey without the permutation), which saves two passes over memory.
 */

const tables = new Map<number, { readonly cos: Float64Array; readonly sin: Float64Array }>();

/**
 * What one transform of length n may add to any coefficient, over the sum of the input's magnitudes: log2(n)
 * levels of a product and a sum (Higham 2002, "Accuracy and Stability of Numerical Algorithms", lemma 3.5 and
 * section 24.1), each within 8 units of 2^-53.
 */
export function transformError(length: number): number {
  return Math.log2(length) * 8 * 2 ** -53;
}

/** Replaces (re, im) by their transform sum_j x_j exp(-2 pi i j k / n), entry k at the bit-reversed index of k. */
export function forward(re: Float64Array, im: Float64Array): void {
  const length = re.length;
  const { cos, sin } = twiddles(length);
  for (let half = length >> 1, stride = 1; half >= 1; half >>= 1, stride <<= 1) {
    for (let start = 0; start < length; start += 2 * half) {
      for (let a = start, b = start + half, t = 0; a < start + half; a += 1, b += 1, t += stride) {
        const dr = re[a]! - re[b]!;
        const di = im[a]! - im[b]!;
        re[a]! += re[b]!;
        im[a]! += im[b]!;
        re[b] = dr * cos[t]! + di * sin[t]!;
        im[b] = di * cos[t]! - dr * sin[t]!;
      }
    }
  }
}

/** The inverse of {@link forward}, without its factor 1 / n: sum_k X_k exp(2 pi i j k / n), entry j at index j. */
export function inverse(re: Float64Array, im: Float64Array): void {
  const length = re.length;
  const { cos, sin } = twiddles(length);
  for (let half = 1, stride = length >> 1; half < length; half <<= 1, stride >>= 1) {
    for (let start = 0; start < length; start += 2 * half) {
      for (let a = start, b = start + half, t = 0; a < start + half; a += 1, b += 1, t += stride) {
        const br = re[b]! * cos[t]! - im[b]! * sin[t]!;
        const bi = im[b]! * cos[t]! + re[b]! * sin[t]!;
        re[b] = re[a]! - br;
        im[b] = im[a]! - bi;
        re[a]! += br;
        im[a]! += bi;
      }
    }
  }
}

/**
 * The index that holds coefficient n - k where `index` holds coefficient k: negation flips every bit of k above
 * its lowest set one, and bit reversal turns that into every bit of the index below its highest set one.
 */
export function mirrored(index: number): number {
  return index === 0 ? 0 : index ^ (2 ** (31 - Math.clz32(index)) - 1);
}

function twiddles(length: number): { readonly cos: Float64Array; readonly sin: Float64Array } {
  if (length < 1 || (length & (length - 1)) !== 0) {
    throw new RangeError(`a transform of length ${length}: it has to be a power of two`);
  }
  let table = tables.get(length);
  if (table === undefined) {
    const half = Math.max(1, length >> 1);
    const cos = new Float64Array(half);
    const sin = new Float64Array(half);
    for (let index = 0; index < half; index += 1) {
      cos[index] = Math.cos((2 * Math.PI * index) / length);
      sin[index] = Math.sin((2 * Math.PI * index) / length);
    }
    table = { cos, sin };
    // A long table is rarely wanted twice, and a daemon should not keep megabytes for it.
    if (length <= 2 ** 16) tables.set(length, table);
  }
  return table;
}
