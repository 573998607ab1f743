/**
 * Privacy loss distributions composed: what many steps of different mechanisms reveal together, as an upper bound
 * on delta at every epsilon, for one direction of adjacency at a time (Koskela, Jaelkoe, Honkela 2020, "Computing
 * Tight Differential Privacy Guarantees Using FFT").
 *
 * Each step is put on one lattice pessimistically (see step.ts), tilted by exp(lambda loss), and the tilted
 * distributions are convolved by Fourier transform, a repeated step as a power of its spectrum. The tilt, that of
 * the saddle point (Alghamdi et al. 2023, "The Saddle-Point Method in Differential Privacy"; Wilson and Keich 2016
 * for the convolution), moves the middle of the distribution to where delta is decided, so that rounding is small
 * relative to delta however small delta is. What the bound adds, so that it stays one:
 *
 *  - mass beyond the reach of the lattice: counted as broken in every step,
 *  - mass beyond the window of the transform: at its Chernoff bound, and where it wraps around it only adds,
 *  - rounding: {@link transformError} for every transform, times the number of steps for a power.
 *
 * That last charge is what is not sharp: where steps are so rare and delta so small that the bulk of the mass,
 * which reveals nearly nothing, cannot be tilted away (about steps q < 1 and delta < 1e-9), the bound is true but
 * lies above the least epsilon by more than the tolerance.
 */
import { forward, inverse, mirrored, transformError } from './fft.ts';
import { type Goal, logMoment, type Saddle, saddlesOf } from './saddle.ts';
import { type Directions, type Lattice, type Losses, lattice, type Step } from './step.ts';

/** A step repeated. */
export interface Repeated extends Step {
  readonly steps: number;
}

/** How finely it is computed: what the lattice may add to epsilon, relative, and the longest transform. */
export interface Fineness {
  readonly tolerance: number;
  readonly longest: number;
}

/** One direction's composition: delta as a function of epsilon. */
export interface Curve {
  /** An upper bound on delta at `epsilon`. */
  readonly deltaAt: (epsilon: number) => number;
  /** The least epsilon >= `from` whose bound is `delta`; Infinity where the bound never comes down to it. */
  readonly epsilonAt: (delta: number) => number;
  /** The least epsilon >= 0 that was looked at: below it the bound on delta is Chernoff's. */
  readonly from: number;
  /** The estimate of epsilon that the computation was laid out for. */
  readonly around: number;
}

/** Both directions, and whether the longest transform kept them coarser than the tolerance asks. */
export interface Composition extends Directions<Curve> {
  readonly limited: boolean;
}

export const FINE: Fineness = { tolerance: 2e-4, longest: 2 ** 19 };

/** The part of delta that steps may take which are counted as broken. */
const BROKEN = 1e-6;

/**
 * The privacy curves of `mechanisms` in both directions, sharpest around `goal`.
 *
 * @param mechanisms at least one; sampling rates above 0, steps at least 1.
 */
export function compose(mechanisms: readonly Repeated[], goal: Goal, fineness = FINE): Composition {
  const steps = mechanisms.reduce((sum, mechanism) => sum + mechanism.steps, 0);
  let reach = reachFor('delta' in goal ? Math.log(goal.delta) : -40, steps);
  let saddles = saddlesOf(mechanisms, goal, reach);
  if ('epsilon' in goal) {
    const decided = Math.max(-600, saddles.remove.logDelta, saddles.add.logDelta);
    if (reachFor(decided, steps) > reach) {
      reach = reachFor(decided, steps);
      saddles = saddlesOf(mechanisms, goal, reach);
    }
    // The direction of much less delta is laid out for where it would have as much as the other.
    const asMuch = saddlesOf(mechanisms, { delta: Math.exp(Math.min(-0.01, decided)) }, reach);
    const either = (direction: 'remove' | 'add'): Saddle =>
      saddles[direction].logDelta < decided - 3 && asMuch[direction].from <= goal.epsilon
        ? asMuch[direction]
        : saddles[direction];
    saddles = { remove: either('remove'), add: either('add') };
  }
  const { remove, add } = saddles;
  const span = Math.max(remove.span, add.span);
  const wanted = Math.min(
    widthFor(mechanisms, remove, add, fineness.tolerance),
    widthFor(mechanisms, add, remove, fineness.tolerance),
  );
  const length = Math.min(fineness.longest, 2 ** Math.max(6, Math.round(Math.log2(span / wanted + 4))));
  // In eighths of octaves, so that a similar composition finds the same lattices again.
  const width = 2 ** (Math.ceil(8 * Math.log2(span / (length - 4))) / 8);
  const relative = Math.min(
    relativeFor(remove, add, fineness.tolerance),
    relativeFor(add, remove, fineness.tolerance),
  );
  const lattices = mechanisms.map((mechanism) => latticeOf(mechanism, width, relative, reach));
  return { ...convolve(mechanisms, lattices, saddles, width, length), limited: length === fineness.longest };
}

/** About what epsilon at `delta` is, by the saddle-point approximation: to decide what is worth computing. */
export function estimate(mechanisms: readonly Repeated[], delta: number): number {
  const steps = mechanisms.reduce((sum, mechanism) => sum + mechanism.steps, 0);
  const { remove, add } = saddlesOf(mechanisms, { delta }, reachFor(Math.log(delta), steps));
  return Math.max(remove.epsilon, add.epsilon);
}

/** How many deviations of a step's noise matter, where each step may break with its share of a small part of delta. */
function reachFor(logDelta: number, steps: number): number {
  const logTail = Math.max(-690, logDelta + Math.log(BROKEN) - Math.log(steps));
  return Math.ceil(Math.sqrt(-2 * logTail));
}

/**
 * The lattice's width at which it adds about `tolerance` of epsilon. Splitting a loss l between multiples of w
 * adds (l - below)(above - l) to its variance: w^2 / 6 where the losses spread over many multiples, at most |l| w
 * where they crowd around 0; epsilon grows by (order + 1) / 2 times what is added over all steps, and by no more
 * than w a step. A direction that does not decide may take up half of its distance to the other.
 */
function widthFor(mechanisms: readonly Repeated[], saddle: Saddle, other: Saddle, tolerance: number): number {
  const allowed = (2 * tolerance * scaleOf(saddle, other)) / (saddle.order + 1);
  const added = (width: number): number =>
    mechanisms.reduce(
      (sum, { steps }, index) => sum + steps * Math.min(width ** 2 / 6, saddle.sizes[index]! * width),
      0,
    );
  const steps = mechanisms.reduce((sum, mechanism) => sum + mechanism.steps, 0);
  const spare = decides(saddle, other) ? 0 : (other.epsilon - saddle.epsilon) / (2 * steps);
  let width = Math.max(spare, Math.min(saddle.deviation / 8, 0.5 / saddle.order));
  while (width > spare && added(width) > allowed) width /= 1.1;
  return Math.max(width, spare);
}

/** How far apart, relative to the loss, a lattice's points may be, likewise. */
function relativeFor(saddle: Saddle, other: Saddle, tolerance: number): number {
  if (!decides(saddle, other)) return 2 ** -4;
  const allowed = (2 * tolerance * scaleOf(saddle, other)) / (saddle.order + 1);
  const relative = Math.sqrt((6 * allowed) / (saddle.squares + Number.MIN_VALUE));
  return 2 ** Math.max(-11, Math.min(-4, Math.floor(Math.log2(relative))));
}

function scaleOf(saddle: Saddle, other: Saddle): number {
  return Math.max(saddle.epsilon, other.epsilon, saddle.deviation / 10);
}

function decides(saddle: Saddle, other: Saddle): boolean {
  return saddle.epsilon >= 0.8 * other.epsilon;
}

/** One direction's composition as it comes out of the transform. */
interface Composed {
  /** The tilted masses: bins[i] stands for the loss (first + i) * width; each is an upper bound. */
  readonly bins: Float64Array;
  readonly first: number;
  readonly width: number;
  readonly around: number;
  readonly tilt: number;
  /** ln of what the tilted masses were divided by. */
  readonly log: number;
  /** What delta is multiplied by for rounding, and what is added to it for mass that no bin has. */
  readonly inflation: number;
  readonly lost: number;
  /** Chernoff's bound on the mass at or above a loss. */
  readonly beyond: (loss: number) => number;
}

function convolve(
  mechanisms: readonly Repeated[],
  lattices: readonly Directions<Lattice>[],
  saddles: Directions<Saddle>,
  width: number,
  length: number,
): Directions<Curve> {
  const tilted = {
    remove: lattices.map(({ remove }) => tilt(remove, width, saddles.remove.tilt)),
    add: lattices.map(({ add }) => tilt(add, width, saddles.add.tilt)),
  };
  const product = spectrumOf(mechanisms, tilted, length);
  const { re, im } = product;
  inverse(re, im);
  const steps = mechanisms.reduce((sum, mechanism) => sum + mechanism.steps, 0);
  const finish = (direction: 'remove' | 'add', raw: Float64Array): Curve => {
    const saddle = saddles[direction];
    const first = Math.floor(saddle.from / width) - 1;
    const bins = new Float64Array(length);
    const error = product.error + transformError(length) * product.magnitude;
    for (let index = 0; index < length; index += 1) {
      const slot = (((first + index) % length) + length) % length;
      bins[index] = (Math.max(0, raw[slot]!) + error) / length;
    }
    const bounds = [1 / 4, 1 / 2, 3 / 4, 1, 1.5, 2, 3, 4].map((part) => {
      const other = part * saddle.order;
      return { tilt: other, log: logOf(mechanisms, tilted[direction], other) };
    });
    const broken = mechanisms.reduce(
      (sum, one, index) => sum + one.steps * lattices[index]![direction].infinite,
      0,
    );
    const beyond = (loss: number): number =>
      Math.exp(Math.min(0, ...bounds.map((bound) => bound.log - bound.tilt * loss)));
    return curveOf({
      bins,
      first,
      width,
      around: saddle.epsilon,
      tilt: saddle.tilt,
      log: logOf(mechanisms, tilted[direction], saddle.tilt),
      inflation: 1 + 1e-12 + 1e-14 * steps,
      lost: broken + beyond((first + length) * width),
      beyond: (loss) => broken + beyond(loss),
    });
  };
  return { remove: finish('remove', re), add: finish('add', im) };
}

/** ln E exp(tilt loss) of the whole composition on its lattice. */
function logOf(mechanisms: readonly Repeated[], tilted: readonly Tilted[], tilt: number): number {
  return mechanisms.reduce(
    (sum, { steps }, index) => sum + steps * logMoment(tilted[index]!.losses, tilt),
    0,
  );
}

interface Tilted {
  readonly losses: Losses;
  readonly masses: Float64Array;
  readonly indices: Float64Array;
}

function tilt(step: Lattice, width: number, by: number): Tilted {
  const losses = { losses: step.indices.map((index) => index * width), logMasses: step.masses.map(Math.log) };
  const log = logMoment(losses, by);
  const masses = losses.losses.map((loss, index) => Math.exp(losses.logMasses[index]! + by * loss - log));
  return { losses, masses, indices: step.indices };
}

/**
 * The composition's spectrum, that of removal in the real part of the signal and that of adding in the imaginary
 * part, so that one transform serves both; with the sum of its magnitudes and what its coefficients may be wrong
 * by in sum.
 */
function spectrumOf(mechanisms: readonly Repeated[], tilted: Directions<readonly Tilted[]>, length: number) {
  const total = {
    removeRe: ones(length),
    removeIm: new Float64Array(length),
    addRe: ones(length),
    addIm: new Float64Array(length),
  };
  const re = new Float64Array(length);
  const im = new Float64Array(length);
  const errors = mechanisms.map(({ steps }, which) => {
    re.fill(0);
    im.fill(0);
    scatter(tilted.remove[which]!, re);
    scatter(tilted.add[which]!, im);
    // What stands at a loss of 0, often nearly all, is the same in every coefficient, and is spared the rounding.
    const [removeAtom, addAtom] = [re[0]!, im[0]!];
    re[0] = 0;
    im[0] = 0;
    forward(re, im);
    for (let at = 0; at < length; at += 1) {
      const other = mirrored(at);
      if (other < at) continue;
      const [ar, ai, br, bi] = [re[at]!, im[at]!, re[other]!, im[other]!];
      multiply(total.removeRe, total.removeIm, at, removeAtom + (ar + br) / 2, (ai - bi) / 2, steps);
      multiply(total.addRe, total.addIm, at, (ai + bi) / 2 + addAtom, (br - ar) / 2, steps);
    }
    // What each of the step's coefficients may be off by, both directions together.
    const rest = Math.max(0, 1 - removeAtom) + Math.max(0, 1 - addAtom);
    return 2 * (transformError(length) * rest + 16 * 2 ** -53);
  });
  let magnitude = 0;
  let error = 0;
  for (let at = 0; at < length; at += 1) {
    const other = mirrored(at);
    if (other < at) continue;
    const [rr, ri, ar, ai] = [total.removeRe[at]!, total.removeIm[at]!, total.addRe[at]!, total.addIm[at]!];
    re[at] = rr - ai;
    im[at] = ri + ar;
    re[other] = rr + ai;
    im[other] = ar - ri;
    const size = Math.hypot(rr, ri) + Math.hypot(ar, ai);
    const count = other === at ? 1 : 2;
    magnitude += count * size;
    mechanisms.forEach(({ steps }, which) => {
      // A power is off by `steps` times as much, times the magnitude of all but one of the factors.
      const others = steps === 1 ? 2 : Math.min(2, size) ** (1 - 1 / steps);
      error += count * (errors[which]! * steps * others + VANISHED);
    });
  }
  return { re, im, magnitude, error };
}

/** A product of magnitude below exp(-80) is put down as 0. */
const LEAST_LOG = -80;
const VANISHED = 4 * Math.exp(LEAST_LOG);

/** Multiplies entry `at` of a complex array by (x + i y) to the power of `steps`. */
function multiply(re: Float64Array, im: Float64Array, at: number, x: number, y: number, steps: number): void {
  const [a, b] = [re[at]!, im[at]!];
  if (a === 0 && b === 0) return;
  let [c, d] = [x, y];
  if (steps > 1) {
    const log = 0.5 * steps * Math.log(x * x + y * y);
    if (log < LEAST_LOG) {
      re[at] = 0;
      im[at] = 0;
      return;
    }
    const size = Math.exp(log);
    const angle = steps * Math.atan2(y, x);
    c = size * Math.cos(angle);
    d = size * Math.sin(angle);
  }
  re[at] = a * c - b * d;
  im[at] = a * d + b * c;
}

function scatter({ indices, masses }: Tilted, into: Float64Array): void {
  const length = into.length;
  for (let index = 0; index < indices.length; index += 1) {
    const slot = ((indices[index]! % length) + length) % length;
    into[slot]! += masses[index]!;
  }
}

function ones(length: number): Float64Array {
  return new Float64Array(length).fill(1);
}

/**
 * delta(epsilon) = sum over losses above epsilon of mass (1 - exp(epsilon - loss)), from the largest loss down:
 * one bin further, with everything above known as (delta, mass), it is delta e^-w + mass (1 - e^-w).
 */
function curveOf(composed: Composed): Curve {
  const { bins, first, width, inflation, lost } = composed;
  const keep = Math.exp(-width);
  const gain = -Math.expm1(-width);
  const massAt = (index: number): number =>
    bins[index]! * inflation * Math.exp(composed.log - composed.tilt * (first + index) * width);
  const top = (first + bins.length - 1) * width;
  return {
    from: Math.max(0, (first + 1) * width),
    around: composed.around,
    deltaAt(epsilon) {
      if (epsilon >= top || epsilon < first * width) return Math.min(1, composed.beyond(epsilon));
      let [delta, mass] = [0, 0];
      let index = bins.length - 1;
      for (; (first + index) * width > epsilon; index -= 1) {
        delta = delta * keep + mass * gain;
        mass += massAt(index);
      }
      // `delta` is that at the lowest bin above epsilon.
      const down = (first + index + 1) * width - epsilon;
      return Math.min(1, delta * Math.exp(-down) - mass * Math.expm1(-down) + lost);
    },
    epsilonAt(wanted) {
      const left = wanted - lost;
      if (!(left > 0)) return Number.POSITIVE_INFINITY;
      let [delta, mass] = [0, 0];
      for (let index = bins.length - 1; index > 0; index -= 1) {
        mass += massAt(index);
        const next = delta * keep + mass * gain;
        const loss = (first + index) * width;
        if (loss <= 0) return 0;
        if (next > left) return Math.max(0, loss + Math.log1p(-(left - delta) / (mass - delta)));
        delta = next;
      }
      return Math.max(0, (first + 1) * width);
    },
  };
}

const lattices = new Map<string, Directions<Lattice>>();
const KEPT_LATTICES = 32;

/** The step's lattice; the last few are kept, since a ledger asks again and again about the same steps. */
function latticeOf(step: Step, width: number, relative: number, reach: number): Directions<Lattice> {
  const key = [step.samplingRate, step.noiseMultiplier, step.group ?? 1, width, relative, reach].join();
  const known = lattices.get(key);
  if (known !== undefined) return known;
  const made = lattice(step, width, relative, reach);
  if (lattices.size >= KEPT_LATTICES) lattices.delete(lattices.keys().next().value!);
  lattices.set(key, made);
  return made;
}
