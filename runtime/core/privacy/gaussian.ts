/**
 * The Gaussian mechanism without sampling, exactly (Balle and Wang 2018, "Improving the Gaussian Mechanism for
 * Differential Privacy: Analytical Calibration and Optimal Denoising", theorem 8): releases with deviations
 * sigma_1, sigma_2, ... are together one with 1 / sigma^2 = sum of 1 / sigma_i^2.
 */
import { logUpperTail, mills } from './normal.ts';

/** The least delta at `epsilon` >= 0 of a Gaussian whose noise is `sigma` times the sensitivity. */
export function gaussianDelta(sigma: number, epsilon: number): number {
  return Math.exp(logGaussianDelta(sigma, epsilon));
}

/**
 * Its logarithm: Phi(a) - exp(epsilon) Phi(b) with a = 1 / (2 sigma) - epsilon sigma and b = a - 1 / sigma, where
 * exp(epsilon) phi(b) = phi(a), so that in the tail both terms share phi(a) and nothing overflows.
 */
function logGaussianDelta(sigma: number, epsilon: number): number {
  const a = 1 / (2 * sigma) - epsilon * sigma;
  const b = a - 1 / sigma;
  const logDensity = (-a * a) / 2 - Math.log(Math.sqrt(2 * Math.PI));
  if (a <= 0) return logDensity + Math.log(mills(-a) - mills(-b));
  // a > 0 >= b: the first term is above a half.
  return Math.log(Math.exp(logUpperTail(-a)) - Math.exp(logDensity) * mills(-b));
}

/** The least epsilon >= 0 at `delta` of the same, rounded up by less than one part in 10^12. */
export function gaussianEpsilon(sigma: number, delta: number): number {
  const wanted = Math.log(delta);
  if (logGaussianDelta(sigma, 0) <= wanted) return 0;
  let high = 1 / sigma;
  while (logGaussianDelta(sigma, high) > wanted) high *= 2;
  let low = 0;
  while (high - low > 1e-13 * high) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) break;
    if (logGaussianDelta(sigma, middle) > wanted) low = middle;
    else high = middle;
  }
  return high * (1 + 1e-12);
}
