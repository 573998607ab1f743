import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, it } from 'node:test';
import { createChance } from '../../../runtime/core/learning/chance.ts';

/**
 * A generator with a fixed seed, so that a test that passes goes on passing. Each statistical bound below
 * would be broken by one seed in 10^5 or fewer if the draws are right; the seed was not searched for.
 */
function seeded(seed: string): (length: number) => Uint8Array {
  let counter = 0;
  return (length) => {
    const blocks = Array.from({ length: Math.ceil(length / 64) }, () => {
      counter += 1;
      return createHmac('sha512', seed).update(String(counter)).digest();
    });
    return new Uint8Array(Buffer.concat(blocks).subarray(0, length));
  };
}

/** Two-sided normal quantile for an error of 10^-5. */
const Z = 4.42;

describe('poissonDraw', () => {
  it('takes each index with the given probability, independently', () => {
    const chance = createChance(seeded('poisson'));
    const draws = 4000;
    const count = 50;
    const rate = 0.07;
    const taken = new Float64Array(count);
    let sizes = 0;
    let squares = 0;
    let neighbours = 0;
    for (let draw = 0; draw < draws; draw += 1) {
      const drawn = chance.poissonDraw(count, rate);
      for (const index of drawn) taken[index]! += 1;
      sizes += drawn.length;
      squares += (drawn.length - count * rate) ** 2;
      neighbours += drawn.filter((index, place) => drawn[place + 1] === index + 1).length;
    }
    const variance = rate * (1 - rate);
    const chiSquare = taken.reduce((sum, times) => sum + (times - draws * rate) ** 2 / (draws * variance), 0);
    assert.ok(chiSquare < 108, `chi-square with 50 degrees of freedom is ${chiSquare}`);
    assert.ok(Math.abs(sizes - draws * count * rate) < Z * Math.sqrt(draws * count * variance));
    // A binomial's size: its variance tells Poisson sampling from a batch of a fixed size.
    assert.ok(Math.abs(squares / draws / (count * variance) - 1) < Z * Math.sqrt(2.3 / draws));
    const pairs = draws * (count - 1) * rate ** 2;
    assert.ok(Math.abs(neighbours - pairs) < Z * Math.sqrt(1.2 * pairs));
  });

  it('takes nothing at 0 and everything at 1, in order', () => {
    const chance = createChance(seeded('ends'));
    assert.deepEqual(chance.poissonDraw(1000, 0), []);
    assert.deepEqual(
      chance.poissonDraw(1000, 1),
      Array.from({ length: 1000 }, (_, index) => index),
    );
  });
});

describe('gaussian', () => {
  it('is normal with the given deviation', () => {
    const chance = createChance(seeded('gauss'));
    const n = 50_000;
    const values = Float64Array.from({ length: n }, () => chance.gaussian(3)).sort();
    // Kolmogorov and Smirnov: 2 exp(-2 n d^2) = 10^-5.
    const bound = Math.sqrt(Math.log(2e5) / 2 / n);
    let distance = 0;
    values.forEach((value, index) => {
      distance = Math.max(distance, Math.abs(normalDistribution(value / 3) - (index + 0.5) / n));
    });
    assert.ok(distance < bound, `distance ${distance}, bound ${bound}`);
    const square = values.reduce((sum, value) => sum + value ** 2, 0) / n / 9;
    assert.ok(Math.abs(square - 1) < Z * Math.sqrt(2 / n));
    const fourth = values.reduce((sum, value) => sum + value ** 4, 0) / n / 81;
    assert.ok(Math.abs(fourth - 3) < Z * Math.sqrt(96 / n));
  });

  it('does not repeat itself from one value to the next', () => {
    const chance = createChance(seeded('serial'));
    const n = 50_000;
    const values = Float64Array.from({ length: n }, () => chance.gaussian(1));
    for (const lag of [1, 2, 4]) {
      let product = 0;
      for (let index = lag; index < n; index += 1) product += values[index]! * values[index - lag]!;
      assert.ok(Math.abs(product) < Z * Math.sqrt(n), `lag ${lag}`);
    }
  });

  it('comes from the bytes handed in and nothing else', () => {
    const draw = (seed: string): number[] => {
      const chance = createChance(seeded(seed));
      return Array.from({ length: 100 }, () => chance.gaussian(1));
    };
    assert.deepEqual(draw('a'), draw('a'));
    assert.notDeepEqual(draw('a'), draw('b'));
  });
});

/** By the trapezoidal rule from 0: far more exact than the test needs. */
function normalDistribution(x: number): number {
  const steps = 200;
  const width = x / steps;
  let sum = 0;
  for (let index = 0; index <= steps; index += 1) {
    const weight = index === 0 || index === steps ? 0.5 : 1;
    sum += weight * Math.exp(-((index * width) ** 2) / 2);
  }
  return 0.5 + (sum * width) / Math.sqrt(2 * Math.PI);
}
