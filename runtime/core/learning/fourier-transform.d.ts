// What is used of the package, which brings no types of its own.

declare module 'fourier-transform' {
  /**
   * The lines 0 to n / 2 of the discrete Fourier transform of n real values, n a power of two: real parts, then
   * imaginary ones, not normalised. The arrays are the package's own and hold until the next call.
   */
  export function fft(values: Float64Array): readonly [Float64Array, Float64Array];
}
