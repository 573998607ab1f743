/** Binomial proportions: the incomplete beta function and the exact limits that rest on it. */

/**
 * ln Gamma(x) for x > 0: the recurrence up to 10, then Stirling's series (Abramowitz and Stegun 6.1.41), whose
 * first term left out is below 10^-16 there.
 */
export function logGamma(x: number): number {
  let shift = 0;
  let at = x;
  while (at < 10) {
    shift += Math.log(at);
    at += 1;
  }
  const inverse = 1 / (at * at);
  let series = 0;
  for (const term of STIRLING) series = series * inverse + term;
  return (at - 0.5) * Math.log(at) - at + 0.5 * Math.log(2 * Math.PI) + series / at - shift;
}

/** B_2n / (2 n (2 n - 1)), the last first. */
const STIRLING = [-3617 / 122400, 1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12];

/**
 * The regularised incomplete beta function I_x(a, b), a and b above 0, by its continued fraction (DLMF 8.17.22)
 * on the side of the mean where that converges quickly.
 */
export function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(
    a * Math.log(x) + b * Math.log1p(-x) + logGamma(a + b) - logGamma(a) - logGamma(b) - Math.log(a),
  );
  // 1 / (1 + d1 / (1 + d2 / ...)), from the inside out; it settles within some sqrt(a + b) terms.
  let tail = 0;
  for (let step = 60 + 8 * Math.ceil(Math.sqrt(a + b)); step >= 1; step -= 1) {
    const m = step >> 1;
    const term =
      step % 2 === 0
        ? (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
        : (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    tail = term / (1 + tail);
  }
  return front / (1 + tail);
}

/**
 * Clopper and Pearson's limits: the proportion that `successes` of `trials` leave possible, each wrong with
 * probability at most `error` ("The use of confidence or fiducial limits illustrated in the case of the binomial",
 * 1934).
 */
export function lowerLimit(successes: number, trials: number, error: number): number {
  checkCounts(successes, trials, error);
  if (successes === 0) return 0;
  // P(at least `successes`) at p is I_p(successes, trials - successes + 1).
  return boundary((p) => incompleteBeta(p, successes, trials - successes + 1) <= error).low;
}

/** The upper one; see {@link lowerLimit}. */
export function upperLimit(successes: number, trials: number, error: number): number {
  checkCounts(successes, trials, error);
  if (successes === trials) return 1;
  // P(at most `successes`) at p is I_{1 - p}(trials - successes, successes + 1).
  return boundary((p) => incompleteBeta(1 - p, trials - successes, successes + 1) > error).high;
}

/** Where `holds` changes from true to false on [0, 1]. */
function boundary(holds: (p: number) => boolean): { readonly low: number; readonly high: number } {
  let [low, high] = [0, 1];
  for (let halving = 0; halving < 200; halving += 1) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) break;
    if (holds(middle)) low = middle;
    else high = middle;
  }
  return { low, high };
}

function checkCounts(successes: number, trials: number, error: number): void {
  const whole = Number.isSafeInteger(successes) && Number.isSafeInteger(trials);
  if (!(whole && successes >= 0 && successes <= trials && trials > 0)) {
    throw new RangeError(
      `${successes} of ${trials}: these have to be whole numbers, no more than there were trials`,
    );
  }
  if (!(error > 0 && error < 1))
    throw new RangeError(`an error rate of ${error}: it has to lie between 0 and 1`);
}
