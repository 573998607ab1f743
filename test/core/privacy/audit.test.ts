import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { auditBound, epsilonFromRates, gaussianMu } from '../../../runtime/core/privacy/audit.ts';
import { incompleteBeta, logGamma, lowerLimit, upperLimit } from '../../../runtime/core/privacy/binomial.ts';
import { gaussianEpsilon } from '../../../runtime/core/privacy/gaussian.ts';
import { upperTail } from '../../../runtime/core/privacy/normal.ts';

const near = (found: number, wanted: number, part = 1e-9): void =>
  assert.ok(Math.abs(found - wanted) <= part * Math.abs(wanted), `${found} is not ${wanted}`);

describe('the incomplete beta function', () => {
  it('has the values of closed forms and of others', () => {
    near(logGamma(0.5), Math.log(Math.PI) / 2);
    near(logGamma(100), 359.134205369575);
    // I_x(1, b), I_x(a, 1), the arcsine law.
    near(incompleteBeta(0.3, 1, 7), 1 - 0.7 ** 7);
    near(incompleteBeta(0.3, 7, 1), 0.3 ** 7);
    near(incompleteBeta(0.2, 0.5, 0.5), (2 / Math.PI) * Math.asin(Math.sqrt(0.2)));
    // scipy.special.betainc.
    near(incompleteBeta(0.3, 2, 5), 0.579825);
    near(incompleteBeta(0.9, 100, 10), 0.3403098493827792);
    near(incompleteBeta(0.499, 50_000, 50_000), 0.26354493829704484, 1e-8);
    near(incompleteBeta(1e-5, 3, 20_000), 0.0011486613726061756, 1e-8);
  });

  it('is the binomial tail', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.nat(59),
        fc.double({ min: 0.01, max: 0.99, noNaN: true }),
        (n, k, p) => {
          const from = Math.min(n, k + 1);
          let [tail, term] = [0, (1 - p) ** n];
          for (let j = 0; j <= n; j += 1) {
            if (j >= from) tail += term;
            term *= ((n - j) / (j + 1)) * (p / (1 - p));
          }
          assert.ok(Math.abs(incompleteBeta(p, from, n - from + 1) - tail) < 1e-10);
        },
      ),
    );
  });
});

describe("Clopper and Pearson's limits", () => {
  it('have the tabulated values', () => {
    near(lowerLimit(5, 10, 0.025), 0.18708602844739855);
    near(upperLimit(5, 10, 0.025), 0.8129139715526015);
    near(upperLimit(3, 100_000, 0.025), 8.7670202566362e-5, 1e-7);
    // The rule of three's exact form, both ends.
    near(upperLimit(0, 100, 0.05), 1 - 0.05 ** (1 / 100));
    near(lowerLimit(100, 100, 0.05), 0.05 ** (1 / 100));
    assert.equal(lowerLimit(0, 10, 0.05), 0);
    assert.equal(upperLimit(10, 10, 0.05), 1);
  });

  it('are wrong no more often than they say, computed for every outcome', () => {
    const [n, error] = [40, 0.05];
    for (let p = 0.01; p < 1; p += 0.0173) {
      let [missedAbove, missedBelow, term] = [0, 0, (1 - p) ** n];
      for (let k = 0; k <= n; k += 1) {
        if (upperLimit(k, n, error) < p) missedAbove += term;
        if (lowerLimit(k, n, error) > p) missedBelow += term;
        term *= ((n - k) / (k + 1)) * (p / (1 - p));
      }
      assert.ok(missedAbove <= error + 1e-9 && missedBelow <= error + 1e-9, `${p}`);
    }
  });

  it('refuse what was not counted', () => {
    assert.throws(() => upperLimit(5, 4, 0.05), RangeError);
    assert.throws(() => upperLimit(1, 0, 0.05), RangeError);
    assert.throws(() => lowerLimit(1, 4, 0), RangeError);
  });
});

describe('epsilon from error rates', () => {
  it('is what both tests allow', () => {
    near(epsilonFromRates(0.1, 0.2, 0), Math.log(8));
    near(epsilonFromRates(0.3, 0.01, 0), Math.log(70));
    near(epsilonFromRates(0.1, 0.2, 0.05), Math.log(7.5));
    assert.equal(epsilonFromRates(0.5, 0.5, 0), 0);
    assert.equal(epsilonFromRates(1, 1, 1e-5), 0);
  });

  it('is mu on the Gaussian trade-off curve', () => {
    for (const [mu, threshold] of [
      [1, 0.3],
      [3, 2],
      [0.2, -1],
    ] as const) {
      near(gaussianMu(upperTail(threshold), upperTail(mu - threshold)), mu, 1e-8);
    }
    assert.equal(gaussianMu(0.7, 0.7), 0);
  });
});

/** A stream of standard normal numbers from a seed. */
function normals(seed: number): () => number {
  let state = seed;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Scores of a Gaussian mechanism of noise sigma, whose canary shifts them by `shift`. */
function observed(seed: number, count: number, sigma: number, shift = 1) {
  const normal = normals(seed);
  const scores = (by: number): number[] => Array.from({ length: count }, () => by + sigma * normal());
  return { withCanary: scores(shift), withoutCanary: scores(0) };
}

describe('an audit', () => {
  const options = { delta: 1e-5, confidence: 0.95 };

  it('of an honest Gaussian exceeds the truth no more often than it says', () => {
    // 200 audits at 95 %: more than 20 failures have a chance of less than 0.2 %; the seeds are fixed.
    for (const sigma of [0.6, 2]) {
      const truth = gaussianEpsilon(sigma, 1e-5);
      let [wrong, wrongMu] = [0, 0];
      for (let seed = 1; seed <= 200; seed += 1) {
        const bound = auditBound(observed(seed, 150, sigma), options);
        if (bound.epsilon > truth) wrong += 1;
        if (bound.mu > 1 / sigma) wrongMu += 1;
      }
      assert.ok(wrong <= 20 && wrongMu <= 20, `${wrong} ${wrongMu}`);
    }
  });

  it('of another trainer than was claimed finds it out, in either direction of the score', () => {
    const claimed = gaussianEpsilon(2, 1e-5);
    // No noise, and half the noise by the Gaussian curve.
    assert.ok(auditBound(observed(1, 2000, 0.01), options).epsilon > claimed);
    assert.ok(auditBound(observed(2, 2000, 0.01, -1), options).epsilon > claimed);
    assert.equal(auditBound(observed(2, 2000, 0.01, -1), options).above, false);
    assert.ok(auditBound(observed(3, 5000, 1), { ...options, aim: 'mu' }).gaussianEpsilon > claimed);
    // No clipping: a canary that shifts ten times as much.
    assert.ok(auditBound(observed(4, 2000, 2, 10), options).epsilon > claimed);
    assert.ok(auditBound(observed(5, 5000, 2), { ...options, aim: 'mu' }).gaussianEpsilon <= claimed);
  });

  it('comes near the truth with many observations', () => {
    const scores = observed(6, 40_000, 1);
    const { mu } = auditBound(scores, { ...options, aim: 'mu' });
    assert.ok(mu > 0.95 && mu <= 1, `${mu}`);
    const { epsilon } = auditBound(scores, options);
    assert.ok(epsilon > 1.5 && epsilon < gaussianEpsilon(1, 1e-5), `${epsilon}`);
  });

  it('proves nothing from equal or too few scores', () => {
    const same = new Float64Array(500);
    const bound = auditBound({ withCanary: same, withoutCanary: same }, options);
    assert.deepEqual([bound.epsilon, bound.mu, bound.gaussianEpsilon], [0, 0, 0]);
    assert.throws(() => auditBound({ withCanary: [1, 2, 3], withoutCanary: [1, 2, 3] }, options), RangeError);
    const bad = { withCanary: [1, 2, 3, Number.NaN], withoutCanary: [1, 2, 3, 4] };
    assert.throws(() => auditBound(bad, options), RangeError);
    assert.throws(
      () => auditBound({ ...bad, withCanary: [1, 2, 3, 4] }, { delta: 0, confidence: 1 }),
      RangeError,
    );
  });
});
