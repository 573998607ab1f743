import assert from 'node:assert/strict';
import { createCipheriv } from 'node:crypto';
import { describe, it } from 'node:test';
import { createSampler } from '../../../runtime/core/learning/chance.ts';
import { seeded } from './jobs.ts';

/**
 * Two-sided normal quantile for an error of 10^-5. Each statistical bound below would be broken by one seed
 * in 10^5 or fewer if the draws are right; the seeds are fixed and were not searched for.
 */
const Z = 4.42;

describe('poissonDraw', () => {
  it('takes each index with the given probability, independently', () => {
    const sampler = createSampler(seeded('poisson')(32));
    const draws = 4000;
    const count = 50;
    const rate = 0.07;
    const taken = new Float64Array(count);
    let sizes = 0;
    let squares = 0;
    let neighbours = 0;
    let again = 0;
    let before: number[] = [];
    for (let draw = 0; draw < draws; draw += 1) {
      const drawn = sampler.poissonDraw(draw, count, rate);
      for (const index of drawn) taken[index]! += 1;
      sizes += drawn.length;
      squares += (drawn.length - count * rate) ** 2;
      neighbours += drawn.filter((index, place) => drawn[place + 1] === index + 1).length;
      again += drawn.filter((index) => before.includes(index)).length;
      before = drawn;
    }
    const variance = rate * (1 - rate);
    const chiSquare = taken.reduce((sum, times) => sum + (times - draws * rate) ** 2 / (draws * variance), 0);
    assert.ok(chiSquare < 108, `chi-square with 50 degrees of freedom is ${chiSquare}`);
    assert.ok(Math.abs(sizes - draws * count * rate) < Z * Math.sqrt(draws * count * variance));
    // A binomial's size: its variance tells Poisson sampling from a batch of a fixed size.
    assert.ok(Math.abs(squares / draws / (count * variance) - 1) < Z * Math.sqrt(2.3 / draws));
    const pairs = draws * (count - 1) * rate ** 2;
    assert.ok(Math.abs(neighbours - pairs) < Z * Math.sqrt(1.2 * pairs));
    // From one step to the next.
    const repeats = (draws - 1) * count * rate ** 2;
    assert.ok(Math.abs(again - repeats) < Z * Math.sqrt(1.3 * repeats));
  });

  it('keeps to rates that one byte does not settle', () => {
    const count = 2_000_000;
    for (const rate of [1 / 256, 0.1, 1 / 3, 0.999, 1e-4]) {
      const taken = createSampler(seeded(`rate ${rate}`)(32)).poissonDraw(0, count, rate).length;
      assert.ok(
        Math.abs(taken - count * rate) < Z * Math.sqrt(count * rate * (1 - rate)),
        `${rate}: ${taken}`,
      );
    }
  });

  it('takes nothing at 0 and everything at 1, in order', () => {
    const sampler = createSampler(new Uint8Array(32));
    assert.deepEqual(sampler.poissonDraw(0, 1000, 0), []);
    assert.deepEqual(
      sampler.poissonDraw(0, 1000, 1),
      Array.from({ length: 1000 }, (_, index) => index),
    );
  });

  it('is a function of seed and step', () => {
    const draw = (seed: string, step: number): number[] =>
      createSampler(seeded(seed)(32)).poissonDraw(step, 500, 0.3);
    assert.deepEqual(draw('a', 7), draw('a', 7));
    assert.notDeepEqual(draw('a', 7), draw('a', 8));
    assert.notDeepEqual(draw('a', 7), draw('b', 7));
    // A seed that is opened for an audit has to give the same draws in later versions too, and elsewhere:
    // one byte of ChaCha20 a unit, the nonce being 0 and the step, where a byte settles it.
    const nonce = Buffer.alloc(16);
    nonce.writeUInt32LE(3, 8);
    const bytes = createCipheriv('chacha20', Buffer.alloc(32), nonce).update(Buffer.alloc(300));
    const expected = [...bytes.keys()].filter((index) => bytes[index]! < 64);
    assert.deepEqual(createSampler(new Uint8Array(32)).poissonDraw(3, 300, 0.25), expected);
  });
});

describe('assignBatches', () => {
  it('is uniform, and does not move the others when one more is there', () => {
    const sampler = createSampler(seeded('batches')(32));
    const batches = sampler.assignBatches(70_000, 7);
    const sizes = new Float64Array(7);
    for (const batch of batches) sizes[batch]! += 1;
    const chiSquare = sizes.reduce((sum, size) => sum + (size - 10_000) ** 2 / 10_000, 0);
    // Six degrees of freedom, error 10^-5.
    assert.ok(chiSquare < 33.1, `${sizes}`);
    assert.deepEqual(sampler.assignBatches(1000, 7), batches.slice(0, 1000));
  });
});
