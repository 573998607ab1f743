/**
 * The privacy loss of one step: points to integrate over it, and its distribution on a lattice. One walk along x,
 * what the step releases, serves both directions: removing the unit loses l(x) under the mixture, adding it loses
 * -l(x) under N(0, sigma^2) (see mixture.ts).
 */
import { type Mixture, mixtureOf, type Step } from './mixture.ts';
import { density, upperTail } from './normal.ts';

export type { Step };

/** Weighted points: probability exp(logMasses[i]) at loss losses[i]. */
export interface Losses {
  readonly losses: Float64Array;
  readonly logMasses: Float64Array;
}

/** Both directions of one step: `remove` under the mixture, `add` under N(0, sigma^2). */
export interface Directions<T> {
  readonly remove: T;
  readonly add: T;
}

/**
 * A step's loss on whole multiples of a width: `masses[i]` at `indices[i]`, and the rest, `infinite`, counted as
 * a loss without bound.
 */
export interface Lattice {
  readonly indices: Float64Array;
  readonly masses: Float64Array;
  readonly infinite: number;
}

// Gauss-Legendre nodes and weights on [-1, 1]; the positive halves (Abramowitz and Stegun, table 25.4).
const FOUR = rule([0.3399810435848563, 0.8611363115940526], [0.6521451548625461, 0.3478548451374538]);
const EIGHT = rule(
  [0.1834346424956498, 0.525532409916329, 0.7966664774136267, 0.9602898564975363],
  [0.362683783378362, 0.3137066458778873, 0.2223810344533745, 0.1012285362903763],
);

/**
 * Points that integrate smooth functions of the loss to about 12 digits, up to tails as light as a normal's beyond `reach`.
 */
export function lossPoints(step: Step, reach: number): Directions<Losses> {
  const sigma = step.noiseMultiplier;
  const mixture = mixtureOf(step, reach);
  const remove = { losses: [] as number[], logMasses: [] as number[] };
  const add = { losses: [] as number[], logMasses: [] as number[] };
  const straight =
    mixture.farthest === 1 ? 0.5 + sigma ** 2 * (40 - Math.log(step.samplingRate)) : Number.POSITIVE_INFINITY;
  const to = highest(mixture, sigma, reach);
  walk(sigma, mixture, -reach * sigma, to, straight, (loss, without, withUnit) => {
    remove.losses.push(loss);
    remove.logMasses.push(Math.log(withUnit));
    add.losses.push(-loss);
    add.logMasses.push(Math.log(without));
  });
  const packed = ({ losses, logMasses }: typeof remove): Losses => ({
    losses: Float64Array.from(losses),
    logMasses: Float64Array.from(logMasses),
  });
  return { remove: packed(remove), add: packed(add) };
}

/**
 * The step's loss on multiples of `width`, pessimistically, so that the result dominates the step: each bit of
 * mass is split between the two lattice points around its loss such that both its probability with and its
 * probability without the unit stay what they are (Doroshenko et al. 2022, "Connect the Dots: Tighter Discrete
 * Approximations of Privacy Loss Distributions"). Far from 0 the points used are `relative` times the loss
 * apart. What lies in tails of x as light as a normal's beyond `reach` deviations is rounded up to a lattice point on the side of small losses
 * and counted as infinite on the other.
 */
export function lattice(step: Step, width: number, relative: number, reach: number): Directions<Lattice> {
  const sigma = step.noiseMultiplier;
  const mixture = mixtureOf(step, reach);
  const low = -reach * sigma;
  const high = highest(mixture, sigma, reach);
  const points = latticePoints(mixture.lossAt(low) / width, mixture.lossAt(high) / width, relative);
  const last = points.length - 1;
  const remove = new Float64Array(points.length);
  const add = new Float64Array(points.length);
  // The tails on the sides of small losses: up to the next point.
  remove[1]! += mixture.below(low);
  add[last - 1]! += upperTail(high / sigma);
  let to = low;
  for (let cell = 0; cell < last; cell += 1) {
    const lower = points[cell]! * width;
    const upper = points[cell + 1]! * width;
    const from = to;
    to = cell === last - 1 ? high : Math.min(high, Math.max(low, mixture.whereLossIs(upper)));
    if (!(to > from)) continue;
    const whole = Math.expm1(lower - upper);
    let removeUp = 0;
    let removeAll = 0;
    let addUp = 0;
    let addAll = 0;
    walk(sigma, mixture, from, to, Number.POSITIVE_INFINITY, (loss, without, withUnit) => {
      const inside = Math.min(upper, Math.max(lower, loss));
      removeAll += withUnit;
      removeUp += withUnit * (Math.expm1(lower - inside) / whole);
      addAll += without;
      addUp += without * (Math.expm1(inside - upper) / whole);
    });
    remove[cell + 1]! += removeUp;
    remove[cell]! += Math.max(0, removeAll - removeUp);
    add[cell]! += addUp;
    add[cell + 1]! += Math.max(0, addAll - addUp);
  }
  return {
    remove: { indices: points, masses: remove, infinite: mixture.above(high) },
    add: { indices: points.map((point) => -point), masses: add, infinite: upperTail(reach) },
  };
}

/** The x beyond which the unit's presence has no more mass than a normal's tail beyond `reach`. */
function highest(mixture: Mixture, sigma: number, reach: number): number {
  const tail = upperTail(reach);
  let [low, high] = [0, mixture.farthest + reach * sigma];
  if (mixture.above(high) > tail) return high;
  while (high - low > 1e-3 * sigma) {
    const middle = (low + high) / 2;
    if (mixture.above(middle) > tail) low = middle;
    else high = middle;
  }
  return high;
}

/** Whole numbers from at or below `from` to at or above `to`, one apart near 0 and `relative` apart far from it. */
function latticePoints(from: number, to: number, relative: number): Float64Array {
  const points: number[] = [];
  const next = (point: number): number => point + Math.max(1, Math.floor(Math.abs(point) * relative));
  const below: number[] = [];
  for (let point = 0; ; point = next(point)) {
    below.push(-point);
    if (-point <= from) break;
  }
  points.push(...below.reverse());
  for (let point = next(0); points.at(-1)! < to; point = next(point)) points.push(point);
  return Float64Array.from(points);
}

/**
 * Calls `visit` with Gauss-Legendre points on [from, to]: l(x), and the mass there without and with the unit.
 * What is integrated bends on the scale of sigma and, up to x = `straight`, on that of sigma^2.
 */
function walk(
  sigma: number,
  mixture: Mixture,
  from: number,
  to: number,
  straight: number,
  visit: (loss: number, without: number, withUnit: number) => void,
): void {
  const fine = Math.min(sigma, sigma ** 2 / Math.max(1, mixture.farthest / 4));
  // Below, exp((2 x - 1) / (2 sigma^2)) < exp(-40), and the loss is a constant.
  const flat = 0.5 - 40 * sigma ** 2;
  for (let start = from; start < to; ) {
    let widest = 0.5 * sigma;
    if (start < flat) widest = Math.min(widest, Math.max(flat - start, fine));
    else if (start < straight) widest = Math.min(widest, 2 * fine);
    const end = Math.min(to, start + widest);
    if (!(end > start)) throw new RangeError(`a noise multiplier of ${sigma} is too small to account for`);
    const { nodes, weights } = end - start <= 0.05 * fine ? FOUR : EIGHT;
    const half = (end - start) / 2;
    for (let index = 0; index < nodes.length; index += 1) {
      const x = start + half * (1 + nodes[index]!);
      const weight = half * weights[index]!;
      const loss = mixture.lossAt(x);
      visit(loss, (density(x / sigma) / sigma) * weight, mixture.densityWith(x, loss) * weight);
    }
    start = end;
  }
}

function rule(half: readonly number[], weights: readonly number[]) {
  return {
    nodes: [...half.map((node) => -node).reverse(), ...half],
    weights: [...[...weights].reverse(), ...weights],
  };
}
