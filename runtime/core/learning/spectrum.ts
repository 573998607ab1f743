/** Band energies of one channel over one window. */
import { fft } from 'fourier-transform';
import { level, mean } from './statistics.ts';

/**
 * How strong `values` (normalised, equally spaced in time) are in each of `bands` bands of equal width between 0
 * and half the sampling rate, on the scale of `level`: 1 for a mean square of 1, -1 for nothing.
 *
 * The mean is taken off first, then a Hann window is laid over them (Harris 1978, "On the use of windows for
 * harmonic analysis with the discrete Fourier transform"), then zeros fill them up to a power of two. The bands'
 * mean squares sum up to that of the windowed values over the window's own, by Parseval's theorem.
 */
export function bandEnergies(values: Float64Array, bands: number): Float64Array {
  const size = 2 ** Math.ceil(Math.log2(Math.max(2, values.length)));
  const middle = mean(values);
  const padded = new Float64Array(size);
  let weight = 0;
  values.forEach((value, index) => {
    const hann = Math.sin((Math.PI * (index + 0.5)) / values.length) ** 2;
    padded[index] = hann * (value - middle);
    weight += hann ** 2;
  });
  const [real, imaginary] = fft(padded);
  const lines = size / 2;
  const sums = new Float64Array(bands);
  for (let line = 0; line <= lines; line += 1) {
    const power = real[line]! ** 2 + imaginary[line]! ** 2;
    // All lines but the first and the last stand for two of the whole spectrum.
    const share = (line === 0 || line === lines ? 1 : 2) * (power / (size * weight));
    sums[Math.min(bands - 1, Math.floor((line * bands) / lines))]! += share;
  }
  return sums.map(level);
}
