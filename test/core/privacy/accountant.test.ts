import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  deltaOf,
  epsilonOf,
  type Mechanism,
  MOST_STEPS,
  solveNoiseMultiplier,
  stepsWithin,
} from '../../../runtime/core/privacy/accountant.ts';
import { gaussianEpsilon } from '../../../runtime/core/privacy/gaussian.ts';
import { upperTail } from '../../../runtime/core/privacy/normal.ts';
import { compose } from '../../../runtime/core/privacy/pld.ts';
import * as rdp from '../../../runtime/core/privacy/rdp.ts';

const VECTORS = new URL('../../../../shared/vectors/dp/accounting.json', import.meta.url);
const skip = existsSync(VECTORS)
  ? false
  : 'the published accounting figures (../shared/vectors/dp) are not here';

interface Row extends Mechanism {
  readonly delta: number;
  readonly epsilon: number;
  readonly accountant: 'rdp' | 'pld' | 'prv';
  readonly source: string;
}

function rows(accountant: Row['accountant']): readonly Row[] {
  const all: readonly Row[] = JSON.parse(readFileSync(VECTORS, 'utf8')).rows;
  return all.filter((row) => row.accountant === accountant);
}

type Direction = 'remove' | 'add';

function loss({ samplingRate: q, noiseMultiplier: sigma }: Mechanism, x: number): number {
  const exponent = (2 * x - 1) / (2 * sigma ** 2);
  return exponent > 500 ? exponent + Math.log(q) : Math.log1p(q * Math.expm1(exponent));
}

/** delta at any epsilon, negative ones too, of one step: from the two normal tails alone. */
function exactStep(step: Mechanism, direction: Direction, epsilon: number): number {
  const { samplingRate: q, noiseMultiplier: sigma } = step;
  const at = direction === 'remove' ? epsilon : -epsilon;
  const ratio = Math.expm1(at) / q;
  const x = ratio <= -1 ? Number.NEGATIVE_INFINITY : 0.5 + sigma ** 2 * Math.log1p(ratio);
  const above = (y: number): number => (y === Number.NEGATIVE_INFINITY ? 1 : upperTail(y / sigma));
  const withUnit = (1 - q) * above(x) + q * above(x - 1);
  if (direction === 'remove') return withUnit - Math.exp(epsilon) * above(x);
  const below = (y: number): number => (y === Number.NEGATIVE_INFINITY ? 0 : upperTail(-y / sigma));
  return below(x) - Math.exp(epsilon) * ((1 - q) * below(x) + q * below(x - 1));
}

/** delta of two steps: the second's, averaged over what the first reveals. */
function exactTwo(first: Mechanism, second: Mechanism, direction: Direction, epsilon: number): number {
  const { samplingRate: q, noiseMultiplier: sigma } = first;
  const width = sigma / 60;
  const normal = (x: number): number =>
    Math.exp((-x * x) / (2 * sigma ** 2)) / (sigma * Math.sqrt(2 * Math.PI));
  let sum = 0;
  for (let x = -10 * sigma; x < 1 + 10 * sigma; x += width) {
    const revealed = loss(first, x);
    const weight = direction === 'remove' ? (1 - q) * normal(x) + q * normal(x - 1) : normal(x);
    const rest = direction === 'remove' ? epsilon - revealed : epsilon + revealed;
    sum += weight * width * exactStep(second, direction, rest);
  }
  return sum;
}

function solved(delta: (epsilon: number) => number, wanted: number): number {
  let [low, high] = [0, 200];
  if (delta(0) <= wanted) return 0;
  for (let halving = 0; halving < 45; halving += 1) {
    const middle = (low + high) / 2;
    if (delta(middle) > wanted) low = middle;
    else high = middle;
  }
  return high;
}

const step = (samplingRate: number, noiseMultiplier: number, steps = 1): Mechanism => ({
  samplingRate,
  noiseMultiplier,
  steps,
});

/** At or above the truth, by no more than one part in a thousand. */
function assertTight(found: number, truth: number, what: string): void {
  assert.ok(found >= truth * (1 - 1e-7), `${what}: ${found} is below ${truth}`);
  assert.ok(found <= truth * (1 + 1e-3) + 1e-9, `${what}: ${found} is far above ${truth}`);
}

describe('the published figures', () => {
  it('of PLD accountants are met to 1e-3', { skip }, () => {
    assert.ok(rows('pld').length > 0);
    for (const row of rows('pld')) {
      assert.ok(Math.abs(epsilonOf([row], row.delta) / row.epsilon - 1) < 1e-3, row.source);
    }
  });

  it('of PRV accountants, estimates plus 0.01, are bounds that are nearly reached', { skip }, () => {
    assert.ok(rows('prv').length > 0);
    for (const row of rows('prv')) {
      const epsilon = epsilonOf([row], row.delta);
      assert.ok(epsilon <= row.epsilon && epsilon >= row.epsilon - 0.012, `${row.source}: ${epsilon}`);
    }
  });

  it('of RDP accountants lie above', { skip }, () => {
    for (const row of rows('rdp')) assert.ok(epsilonOf([row], row.delta) < row.epsilon, row.source);
  });
});

describe('one step', () => {
  const cases = [
    step(0.04, 1.5),
    step(0.3, 0.8),
    step(0.9, 2),
    step(0.01, 0.5),
    step(0.5, 6),
    step(0.001, 1),
    step(0.2, 0.25),
  ];

  it('is what two normal tails say, in either direction', () => {
    for (const one of cases) {
      for (const delta of [1e-2, 1e-5, 1e-8, 1e-12]) {
        const curves = compose([one], { delta });
        let worst = 0;
        for (const direction of ['remove', 'add'] as const) {
          const truth = solved((epsilon) => exactStep(one, direction, epsilon), delta);
          worst = Math.max(worst, truth);
          const found = curves[direction].epsilonAt(delta);
          assert.ok(
            found >= truth * (1 - 1e-7),
            `${JSON.stringify(one)} ${delta} ${direction}: ${found}, ${truth}`,
          );
        }
        assertTight(epsilonOf([one], delta), worst, `${JSON.stringify(one)} ${delta}`);
      }
    }
  });

  it('has that delta too', () => {
    for (const one of cases) {
      for (const epsilon of [0, 0.1, 0.5, 2]) {
        const truth = Math.max(exactStep(one, 'remove', epsilon), exactStep(one, 'add', epsilon));
        const found = deltaOf([one], epsilon);
        if (truth < 1e-30) continue;
        assert.ok(
          found >= truth * (1 - 1e-9),
          `${JSON.stringify(one)} ${epsilon}: ${found} is below ${truth}`,
        );
        assert.ok(found <= truth * 1.05, `${JSON.stringify(one)} ${epsilon}: ${found} is far above ${truth}`);
      }
    }
  });
});

describe('two steps', () => {
  it('of different mechanisms are the integral over what the first reveals, in either direction', () => {
    for (const [first, second] of [
      [step(0.1, 1), step(0.1, 1)],
      [step(0.04, 1.5), step(0.3, 2)],
      [step(0.5, 3), step(0.01, 0.8)],
    ] as const) {
      for (const delta of [1e-3, 1e-8]) {
        const together =
          first.samplingRate === second.samplingRate ? [{ ...first, steps: 2 }] : [first, second];
        const curves = compose(together, { delta });
        let worst = 0;
        for (const direction of ['remove', 'add'] as const) {
          const truth = solved((epsilon) => exactTwo(first, second, direction, epsilon), delta);
          assert.ok(curves[direction].epsilonAt(delta) >= truth * (1 - 1e-6), direction);
          worst = Math.max(worst, truth);
        }
        assertTight(epsilonOf([first, second], delta), worst, `${JSON.stringify(together)} ${delta}`);
      }
    }
  });
});

describe('plain Gaussians', () => {
  it('are exact', () => {
    assert.equal(epsilonOf([step(1, 2, 4)], 1e-5), gaussianEpsilon(1, 1e-5));
    const mixed = epsilonOf([step(1, 3), step(1, 4)], 1e-6);
    assert.ok(Math.abs(mixed - gaussianEpsilon(12 / 5, 1e-6)) < 1e-9);
  });

  it('come out the same by lattice and transform, from one step to a million, for delta down to 1e-12', () => {
    for (const [sigma, steps] of [
      [1, 1],
      [0.7, 2],
      [30, 100],
      [100, 10_000],
      [700, 1_000_000],
    ] as const) {
      for (const delta of [1e-4, 1e-12]) {
        const curves = compose([step(1, sigma, steps)], { delta });
        const truth = gaussianEpsilon(sigma / Math.sqrt(steps), delta);
        for (const curve of [curves.remove, curves.add]) {
          assertTight(curve.epsilonAt(delta), truth, `${sigma} ${steps} ${delta}`);
        }
      }
    }
  });

  it('mix with sampled steps', () => {
    // A sampled step at a rate near 1 is nearly a plain one: the truth lies between leaving it out and counting it whole.
    const epsilon = epsilonOf([step(1, 4, 3), step(0.999, 5, 7)], 1e-6);
    const whole = gaussianEpsilon(1 / Math.sqrt(3 / 16 + 7 / 25), 1e-6);
    assert.ok(epsilon <= whole && epsilon > 0.99 * whole);
  });
});

const mechanism = fc.record({
  samplingRate: fc.oneof(fc.double({ min: 1e-3, max: 0.9, noNaN: true }), fc.constantFrom(0, 1, 1e-5)),
  noiseMultiplier: fc.double({ min: 0.7, max: 8, noNaN: true }),
  steps: fc.integer({ min: 0, max: 300 }),
});
const deltas = fc.constantFrom(1e-3, 1e-5, 1e-8);

describe('compositions', () => {
  it('grow with every mechanism, stay below Rényi, and go back and forth', () => {
    fc.assert(
      fc.property(fc.array(mechanism, { minLength: 1, maxLength: 3 }), deltas, (mechanisms, delta) => {
        const whole = epsilonOf(mechanisms, delta);
        assert.ok(whole >= 0 && whole <= rdp.epsilonOf(mechanisms, delta));
        const part = epsilonOf(mechanisms.slice(1), delta);
        assert.ok(part <= whole * (1 + 1e-3) + 1e-9, `${part} of ${whole}`);
        if (whole > 0 && whole < 100) assert.ok(deltaOf(mechanisms, whole * 1.1 + 0.1) <= delta);
      }),
      { numRuns: 15, seed: 11, endOnFailure: true },
    );
  });

  it('do not depend on order and cutting', () => {
    const [first, second, plain] = [step(0.02, 1.1, 300), step(0.1, 3, 50), step(1, 20, 10)];
    const whole = epsilonOf([first, second, plain], 1e-5);
    const cut = [{ ...first, steps: 100 }, plain, second, { ...first, steps: 200 }];
    assert.ok(Math.abs(epsilonOf(cut, 1e-5) - whole) < 1e-12);
  });

  it('grow with sampling and steps, and fall with noise and delta', () => {
    const at = (q: number, sigma: number, steps: number, delta = 1e-5): number =>
      epsilonOf([step(q, sigma, steps)], delta);
    const middle = at(0.05, 1.2, 100);
    assert.ok(at(0.06, 1.2, 100) > middle);
    assert.ok(at(0.05, 1.1, 100) > middle);
    assert.ok(at(0.05, 1.2, 105) > middle);
    assert.ok(at(0.05, 1.2, 100, 1e-6) > middle);
  });

  it('agree with losses that were drawn', () => {
    // 200,000 draws; an estimate further off than five standard errors has a chance of less than 1e-6.
    let state = 42;
    const uniform = (): number => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
    const normal = (): number => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    const one = step(0.2, 1, 12);
    const draws = 200_000;
    for (const direction of ['remove', 'add'] as const) {
      const curves = compose([one], { epsilon: 1.5 });
      let [sum, squares] = [0, 0];
      for (let draw = 0; draw < draws; draw += 1) {
        let total = 0;
        for (let index = 0; index < one.steps; index += 1) {
          const shift = direction === 'remove' && uniform() < one.samplingRate ? 1 : 0;
          total += (direction === 'remove' ? 1 : -1) * loss(one, shift + normal());
        }
        const part = Math.max(0, -Math.expm1(1.5 - total));
        sum += part;
        squares += part * part;
      }
      const mean = sum / draws;
      const error = Math.sqrt((squares / draws - mean ** 2) / draws);
      const found = curves[direction].deltaAt(1.5);
      assert.ok(Math.abs(found - mean) < 5 * error + 2e-3 * mean, `${direction}: ${found}, drawn ${mean}`);
    }
  });

  it('stay sound and sharp at the edges of what is asked', () => {
    // A million steps so rarely sampled: central limit, mu = q sqrt(n (exp(1 / sigma^2) - 1)) (Dong et al. 2019).
    const many = epsilonOf([step(1e-3, 2, 1_000_000)], 1e-6);
    const limit = gaussianEpsilon(1 / (1e-3 * Math.sqrt(1e6 * Math.expm1(1 / 4))), 1e-6);
    assert.ok(Math.abs(many / limit - 1) < 0.02, `${many} ${limit}`);
    // Hardly ever drawn: nothing to protect against at a delta above that chance, something below it.
    assert.equal(epsilonOf([step(1e-5, 0.01, 1)], 1e-4), 0);
    const rare = solved((epsilon) => exactStep(step(1e-5, 0.5), 'remove', epsilon), 1e-12);
    assertTight(epsilonOf([step(1e-5, 0.5)], 1e-12), rare, 'rarely drawn');
    // So little noise that sampling is all the protection there is.
    const bare = epsilonOf([step(0.01, 0.02, 3)], 1e-5);
    assert.ok(bare > 500 && Number.isFinite(bare));
    assert.ok(Number.isFinite(epsilonOf([step(0.5, 1e-4, 10)], 1e-12)));
    assert.ok(epsilonOf([step(1e-5, 1e4, 10)], 1e-12) < 1e-4);
  });

  it('are 0 when nothing was released', () => {
    for (const idle of [[], [step(0.1, 1, 0)], [step(0, 1, 5)]]) {
      assert.equal(epsilonOf(idle, 1e-5), 0);
      assert.equal(deltaOf(idle, 0), 0);
    }
  });

  it('refuse what is no mechanism, delta or epsilon', () => {
    for (const bad of [step(-0.1, 1), step(1.1, 1), step(0.1, 0), step(0.1, 1, 1.5), step(0.1, 1, -1)]) {
      assert.throws(() => epsilonOf([bad], 1e-5), RangeError);
    }
    for (const delta of [0, 1, Number.NaN]) assert.throws(() => epsilonOf([step(0.1, 1)], delta), RangeError);
    for (const epsilon of [-1, Number.NaN]) assert.throws(() => deltaOf([step(0.1, 1)], epsilon), RangeError);
  });
});

describe('planning', () => {
  it('solves for noise that just suffices, less than Rényi asks for', () => {
    for (const target of [
      { samplingRate: 0.05, steps: 1000, delta: 1e-5, epsilon: 8 },
      { samplingRate: 0.05, steps: 1000, delta: 1e-5, epsilon: 0.5 },
      { samplingRate: 1, steps: 10, delta: 1e-5, epsilon: 8 },
    ]) {
      const noiseMultiplier = solveNoiseMultiplier(target);
      const spent = (factor: number): number =>
        epsilonOf([{ ...target, noiseMultiplier: noiseMultiplier * factor }], target.delta);
      assert.ok(spent(1) <= target.epsilon && spent(0.998) > target.epsilon);
      assert.ok(noiseMultiplier < rdp.solveNoiseMultiplier(target));
    }
    for (const epsilon of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(
        () => solveNoiseMultiplier({ samplingRate: 0.1, steps: 1, delta: 1e-5, epsilon }),
        RangeError,
      );
    }
  });

  it('says how many steps a budget allows', () => {
    const spent = [step(0.02, 1.3, 400), step(1, 20, 10)];
    for (const budget of [
      { samplingRate: 0.04, noiseMultiplier: 1.5, epsilon: 8, delta: 1e-5 },
      { samplingRate: 0.01, noiseMultiplier: 1.1, epsilon: 3, delta: 1e-5, spent },
      { samplingRate: 1, noiseMultiplier: 10, epsilon: 4, delta: 1e-6, spent },
    ]) {
      const steps = stepsWithin(budget);
      const cost = (count: number): number =>
        epsilonOf([...(budget.spent ?? []), { ...budget, steps: count }], budget.delta);
      assert.ok(steps > 0 && cost(steps) <= budget.epsilon);
      assert.ok(cost(steps + 1 + Math.ceil(steps / 1000)) > budget.epsilon, `${steps}`);
    }
    const spentUp = { samplingRate: 0.01, noiseMultiplier: 1.1, delta: 1e-5, spent };
    assert.equal(stepsWithin({ ...spentUp, epsilon: epsilonOf(spent, 1e-5) / 2 }), 0);
    assert.equal(stepsWithin({ ...spentUp, samplingRate: 0, epsilon: 8 }), MOST_STEPS);
    assert.throws(() => stepsWithin({ ...spentUp, epsilon: -1 }), RangeError);
  });
});
