import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import {
  epsilonOf,
  logMomentAtInteger,
  logMomentByQuadrature,
  type Mechanism,
  rdpOfStep,
  solveNoiseMultiplier,
} from '../../../runtime/core/privacy/rdp.ts';

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

function rows(): readonly Row[] {
  return JSON.parse(readFileSync(VECTORS, 'utf8')).rows;
}

describe('epsilonOf', () => {
  it('gives the RDP figures of Opacus and TensorFlow Privacy to 1e-3', { skip }, () => {
    const published = rows().filter(({ accountant }) => accountant === 'rdp');
    assert.equal(published.length, 2);
    for (const row of published) {
      assert.ok(Math.abs(epsilonOf([row], row.delta) / row.epsilon - 1) < 1e-3, row.source);
    }
  });

  it('is never below what tighter accountants give', { skip }, () => {
    const published = rows().filter(({ accountant }) => accountant !== 'rdp');
    assert.ok(published.length > 0);
    for (const row of published) assert.ok(epsilonOf([row], row.delta) >= row.epsilon, row.source);
  });

  it('is that of the plain Gaussian mechanism when everybody takes part', () => {
    // RDP of the Gaussian mechanism, order / (2 sigma^2): Mironov 2017, corollary 3.
    assert.equal(rdpOfStep(1, 2, 5), 5 / 8);
    const twice = epsilonOf([{ samplingRate: 1, noiseMultiplier: 2, steps: 4 }], 1e-5);
    const once = epsilonOf([{ samplingRate: 1, noiseMultiplier: 1, steps: 1 }], 1e-5);
    assert.ok(Math.abs(twice - once) < 1e-12);
  });

  it('adds mechanisms, in any order and any cutting', () => {
    const first = { samplingRate: 0.02, noiseMultiplier: 1.1, steps: 300 };
    const second = { samplingRate: 1, noiseMultiplier: 20, steps: 10 };
    const whole = epsilonOf([first, second], 1e-5);
    assert.ok(Math.abs(epsilonOf([second, first], 1e-5) - whole) < 1e-12);
    const cut = [{ ...first, steps: 100 }, second, { ...first, steps: 200 }];
    assert.ok(Math.abs(epsilonOf(cut, 1e-5) - whole) < 1e-9);
    assert.ok(whole > epsilonOf([first], 1e-5) && whole > epsilonOf([second], 1e-5));
  });

  it('grows with the sampling rate and steps, and falls with noise and delta', () => {
    const at = (samplingRate: number, noiseMultiplier: number, steps: number, delta = 1e-5): number =>
      epsilonOf([{ samplingRate, noiseMultiplier, steps }], delta);
    const middle = at(0.05, 1.2, 100);
    assert.ok(at(0.06, 1.2, 100) > middle);
    assert.ok(at(0.05, 1.1, 100) > middle);
    assert.ok(at(0.05, 1.2, 101) > middle);
    assert.ok(at(0.05, 1.2, 100, 1e-6) > middle);
  });

  it('is 0 when nothing was released', () => {
    assert.equal(epsilonOf([], 1e-5), 0);
    assert.equal(epsilonOf([{ samplingRate: 0.1, noiseMultiplier: 1, steps: 0 }], 1e-5), 0);
    assert.equal(epsilonOf([{ samplingRate: 0, noiseMultiplier: 1, steps: 5 }], 1e-5), 0);
  });

  it('refuses what is no mechanism', () => {
    const good = { samplingRate: 0.1, noiseMultiplier: 1, steps: 1 };
    for (const bad of [
      { ...good, samplingRate: -0.1 },
      { ...good, samplingRate: 1.1 },
      { ...good, samplingRate: Number.NaN },
      { ...good, noiseMultiplier: 0 },
      { ...good, noiseMultiplier: Number.POSITIVE_INFINITY },
      { ...good, steps: 1.5 },
      { ...good, steps: -1 },
    ]) {
      assert.throws(() => epsilonOf([bad], 1e-5), RangeError, JSON.stringify(bad));
    }
    for (const delta of [0, 1, -1, Number.NaN]) assert.throws(() => epsilonOf([good], delta), RangeError);
  });
});

describe('the moments behind it', () => {
  it('are the same by the binomial sum and by quadrature', () => {
    for (const [q, sigma, order] of [
      [0.01, 0.7, 5],
      [0.04, 1.5, 12],
      [0.2, 2, 30],
      [0.5, 0.5, 3],
      [0.9, 0.3, 20],
      [0.02, 0.1, 7],
      [0.001, 5, 64],
    ] as const) {
      const exact = logMomentAtInteger(q, sigma, order);
      assert.ok(Math.abs(logMomentByQuadrature(q, sigma, order) - exact) < 1e-12 + 1e-10 * exact);
    }
  });

  it('lie between their neighbours at fractional orders, as a convex function does', () => {
    for (let order = 2.5; order < 10; order += 1) {
      const middle = logMomentByQuadrature(0.05, 0.8, order);
      const chord =
        (logMomentAtInteger(0.05, 0.8, order - 0.5) + logMomentAtInteger(0.05, 0.8, order + 0.5)) / 2;
      assert.ok(middle <= chord && middle >= logMomentAtInteger(0.05, 0.8, order - 0.5));
    }
  });
});

describe('solveNoiseMultiplier', () => {
  it('stays within the budget, and not by much', () => {
    for (const target of [
      { samplingRate: 0.05, steps: 1000, delta: 1e-5, epsilon: 8 },
      { samplingRate: 0.05, steps: 1000, delta: 1e-5, epsilon: 0.5 },
      { samplingRate: 1, steps: 10, delta: 1e-5, epsilon: 8 },
      { samplingRate: 0.001, steps: 1, delta: 1e-5, epsilon: 20 },
    ]) {
      const noiseMultiplier = solveNoiseMultiplier(target);
      const spent = (factor: number): number =>
        epsilonOf([{ ...target, noiseMultiplier: noiseMultiplier * factor }], target.delta);
      assert.ok(spent(1) <= target.epsilon);
      assert.ok(spent(1 - 1e-5) > target.epsilon);
    }
  });

  it('refuses budgets that are none', () => {
    for (const epsilon of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(
        () => solveNoiseMultiplier({ samplingRate: 0.1, steps: 1, delta: 1e-5, epsilon }),
        RangeError,
      );
    }
  });
});
