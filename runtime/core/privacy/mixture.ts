/**
 * The two distributions between which one step has to be told apart: N(0, sigma^2) without the unit, and with it a
 * mixture of N(j, sigma^2), j being how many of the unit's `group` records the step has drawn, binomial with rate
 * q. For one record these dominate every pair of neighbouring data sets in either direction, and stay dominating
 * when steps are composed (Zhu, Dong, Wang 2022, "Optimal Accounting of Differential Privacy via Characteristic
 * Function", on Poisson sampling and on adaptive composition); for several, likewise (Ganesh 2024, "Tight
 * Group-Level DP Guarantees for DP-SGD with Sampling via Mixture of Gaussians Mechanisms").
 *
 * With x what is released, the loss l(x) = ln sum_j P(j) exp((2 j x - j^2) / (2 sigma^2)) rises with x.
 */
import { density, upperTail } from './normal.ts';

/** One step. */
export interface Step {
  /** q, in (0, 1]; below 1 for groups. */
  readonly samplingRate: number;
  /** Sigma, above 0. */
  readonly noiseMultiplier: number;
  /** How many records, each drawn for itself and clipped for itself, make the unit; 1 unless given. */
  readonly group?: number;
}

/** The pair of one step. */
export interface Mixture {
  /** The largest shift that is looked at; what lies beyond has less mass than a normal's tail beyond `reach`. */
  readonly farthest: number;
  /** l(x). */
  readonly lossAt: (x: number) => number;
  /** The x at which l(x) is `loss`; -Infinity where it never falls so low. */
  readonly whereLossIs: (loss: number) => number;
  /** The density with the unit at x, where l(x) is `loss`. */
  readonly densityWith: (x: number, loss: number) => number;
  /** The mass with the unit above x, and below it. */
  readonly above: (x: number) => number;
  readonly below: (x: number) => number;
}

/** The pair of `step`, for a walk that ends `reach` deviations beyond the farthest shift. */
export function mixtureOf(step: Step, reach: number): Mixture {
  return (step.group ?? 1) === 1 ? single(step) : grouped(step, step.group!, reach);
}

function single({ samplingRate: q, noiseMultiplier: sigma }: Step): Mixture {
  return {
    farthest: 1,
    lossAt(x) {
      const exponent = (2 * x - 1) / (2 * sigma ** 2);
      if (q === 1) return exponent;
      if (exponent > 30) return Math.log(q) + exponent + Math.log1p(((1 - q) * Math.exp(-exponent)) / q);
      return Math.log1p(q * Math.expm1(exponent));
    },
    whereLossIs(loss) {
      if (q === 1) return 0.5 + sigma ** 2 * loss;
      if (loss > 30) return 0.5 + sigma ** 2 * (loss - Math.log(q) + Math.log1p(-(1 - q) * Math.exp(-loss)));
      const ratio = Math.expm1(loss) / q;
      return ratio <= -1 ? Number.NEGATIVE_INFINITY : 0.5 + sigma ** 2 * Math.log1p(ratio);
    },
    densityWith(x) {
      const moved = density((x - 1) / sigma) / sigma;
      return q === 1 ? moved : ((1 - q) * density(x / sigma)) / sigma + q * moved;
    },
    above: (x) => (1 - q) * upperTail(x / sigma) + q * upperTail((x - 1) / sigma),
    below: (x) => (1 - q) * upperTail(-x / sigma) + q * upperTail((1 - x) / sigma),
  };
}

function grouped({ samplingRate: q, noiseMultiplier: sigma }: Step, group: number, reach: number): Mixture {
  const { logWeights, rest } = binomial(q, group, upperTail(reach));
  const variance = sigma ** 2;
  const farthest = logWeights.length - 1;
  /** l(x) and its slope. */
  const at = (x: number): readonly [number, number] => {
    let top = Number.NEGATIVE_INFINITY;
    for (let j = 0; j <= farthest; j += 1)
      top = Math.max(top, logWeights[j]! + (j * (2 * x - j)) / (2 * variance));
    let [sum, first] = [0, 0];
    for (let j = 0; j <= farthest; j += 1) {
      const part = Math.exp(logWeights[j]! + (j * (2 * x - j)) / (2 * variance) - top);
      sum += part;
      first += j * part;
    }
    return [top + Math.log(sum), first / sum / variance];
  };
  const over = (x: number, sign: number): number =>
    logWeights.reduce((sum, log, j) => sum + Math.exp(log) * upperTail((sign * (x - j)) / sigma), 0);
  return {
    farthest,
    lossAt: (x) => at(x)[0],
    whereLossIs(loss) {
      if (loss <= logWeights[0]!) return Number.NEGATIVE_INFINITY;
      // The loss is convex in x, so from the right Newton's steps never pass the root.
      let x = variance * Math.max(1, loss - logWeights[0]!) + group;
      for (let tries = 0; tries < 100 && at(x)[0] < loss; tries += 1) x = 2 * x + 1;
      for (let tries = 0; tries < 200; tries += 1) {
        const [value, slope] = at(x);
        const next = x - (value - loss) / slope;
        if (!(next < x - 1e-13 * Math.max(1, Math.abs(x)))) break;
        x = next;
      }
      return x;
    },
    densityWith: (x, loss) => Math.exp(loss - x ** 2 / (2 * variance)) / (sigma * Math.sqrt(2 * Math.PI)),
    // Groups of more records than `farthest` drawn at once count as broken.
    above: (x) => over(x, 1) + rest,
    below: (x) => over(x, -1),
  };
}

/** ln P(j) of the binomial for j from 0, up to where less than `least` is left; and an upper bound on what is left. */
function binomial(q: number, count: number, least: number): { logWeights: readonly number[]; rest: number } {
  const all: number[] = [];
  let logBinomial = 0;
  for (let j = 0; j <= count; j += 1) {
    all.push(logBinomial + j * Math.log(q) + (count - j) * Math.log1p(-q));
    logBinomial += Math.log(count - j) - Math.log(j + 1);
  }
  let [rest, keep] = [0, all.length];
  while (keep > 2 && rest + Math.exp(all[keep - 1]!) < least) {
    keep -= 1;
    rest += Math.exp(all[keep]!);
  }
  return { logWeights: all.slice(0, keep), rest: rest * (1 + 1e-9) };
}
