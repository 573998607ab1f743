import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { gaussianDelta, gaussianEpsilon } from '../../../runtime/core/privacy/gaussian.ts';
import { density, logUpperTail, upperQuantile, upperTail } from '../../../runtime/core/privacy/normal.ts';

describe('the normal tail', () => {
  it('has the tabulated values', () => {
    // Abramowitz and Stegun, tables 26.1 and 26.2, and quantiles everybody knows.
    for (const [x, tail] of [
      [0, 0.5],
      [1, 0.158655253931457],
      [2, 0.0227501319481792],
      [3, 0.00134989803163009],
      [5, 2.866515718791939e-7],
      [10, 7.619853024160527e-24],
      [-1, 0.841344746068543],
      [1.959963984540054, 0.025],
    ] as const) {
      assert.ok(Math.abs(upperTail(x) / tail - 1) < 1e-12, `${x}: ${upperTail(x)}`);
    }
    // -log10 of the tail at 50 is 544.96634 (table 26.2).
    assert.ok(Math.abs(-logUpperTail(50) / Math.LN10 - 544.96634) < 1e-5);
  });

  it('falls by its density, across the change of methods too', () => {
    for (let x = -6; x < 30; x += 0.037) {
      const step = 1e-3;
      const fallen = upperTail(x) - upperTail(x + step);
      const simpson = ((density(x) + 4 * density(x + step / 2) + density(x + step)) * step) / 6;
      assert.ok(Math.abs(fallen - simpson) < 1e-9 * simpson + 1e-15, `${x}`);
    }
  });

  it('has a quantile', () => {
    fc.assert(
      fc.property(fc.double({ min: -8, max: 30, noNaN: true }), (x) => {
        const back = upperQuantile(upperTail(x));
        assert.ok(Math.abs(upperTail(back) / upperTail(x) - 1) < 1e-10);
      }),
    );
  });
});

describe('the Gaussian mechanism', () => {
  it('is the integral of the positive part of p - exp(epsilon) q', () => {
    for (const [sigma, epsilon] of [
      [0.3, 12],
      [1, 0],
      [1, 1],
      [2, 3],
      [5, 0.1],
      [0.5, 20],
      [50, 0.05],
    ] as const) {
      let sum = 0;
      const step = sigma / 2000;
      const from = 0.5 + epsilon * sigma ** 2;
      for (let x = from + step / 2; x < from + 12 * sigma + 1; x += step) {
        const p = density((x - 1) / sigma) / sigma;
        sum += p * -Math.expm1(epsilon - (2 * x - 1) / (2 * sigma ** 2)) * step;
      }
      assert.ok(Math.abs(gaussianDelta(sigma, epsilon) / sum - 1) < 1e-5, `${sigma} ${epsilon}`);
    }
  });

  it('goes back and forth between epsilon and delta', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.05, max: 100, noNaN: true }),
        fc.double({ min: -12, max: -1, noNaN: true }),
        (sigma, logDelta) => {
          const delta = 10 ** logDelta;
          const epsilon = gaussianEpsilon(sigma, delta);
          assert.ok(gaussianDelta(sigma, epsilon) <= delta * (1 + 1e-10));
          if (epsilon > 1e-3) assert.ok(gaussianDelta(sigma, epsilon * (1 - 1e-6)) > delta);
        },
      ),
    );
  });
});
