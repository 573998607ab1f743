/** The standard normal distribution's tails, accurate relative to their own size however far out. */

const SQRT_2PI = Math.sqrt(2 * Math.PI);

/** The density at x. */
export function density(x: number): number {
  return Math.exp((-x * x) / 2) / SQRT_2PI;
}

/** P(Z > x). */
export function upperTail(x: number): number {
  return x < 0 ? 1 - upperTail(-x) : density(x) * mills(x);
}

/** ln P(Z > x), also where the tail itself is smaller than any float. */
export function logUpperTail(x: number): number {
  return x < 0 ? Math.log1p(-upperTail(-x)) : (-x * x) / 2 - Math.log(SQRT_2PI) + Math.log(mills(x));
}

/**
 * Mills' ratio (1 - Phi(x)) / phi(x) for x >= 0: the series of Abramowitz and Stegun 26.2.11 where it does not
 * cancel, Laplace's continued fraction (26.2.14) beyond.
 */
export function mills(x: number): number {
  if (x < 1.5) {
    let term = x;
    let sum = x;
    for (let n = 3; term > sum * 1e-17 && n < 200; n += 2) {
      term *= (x * x) / n;
      sum += term;
    }
    return 0.5 / density(x) - sum;
  }
  const depth = Math.ceil(20 + 600 / (x * x));
  let tail = 0;
  for (let k = depth; k >= 1; k -= 1) tail = k / (x + tail);
  return 1 / (x + tail);
}

/** The x with P(Z > x) = tail, for 0 < tail < 1, by bisection on the logarithm. */
export function upperQuantile(tail: number): number {
  const wanted = Math.log(tail);
  let low = -40;
  let high = 40;
  while (high - low > 1e-14 * Math.max(1, Math.abs(low))) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) break;
    if (logUpperTail(middle) > wanted) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
