import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { epsilonOf, groupEpsilonOf, type Mechanism } from '../../../runtime/core/privacy/accountant.ts';
import { gaussianEpsilon } from '../../../runtime/core/privacy/gaussian.ts';
import { upperTail } from '../../../runtime/core/privacy/normal.ts';
import { groupBound, MEANINGFUL, meaning } from '../../../runtime/core/privacy/units.ts';

const step = (samplingRate: number, noiseMultiplier: number, steps = 1): Mechanism => ({
  samplingRate,
  noiseMultiplier,
  steps,
});

/** delta of one step for a group, removing and adding: the densities integrated, the number drawn being binomial. */
function integrated(
  { samplingRate: q, noiseMultiplier: sigma }: Mechanism,
  group: number,
  epsilon: number,
): number {
  const weights: number[] = [];
  for (let j = 0, choose = 1; j <= group; j += 1) {
    weights.push(choose * q ** j * (1 - q) ** (group - j));
    choose = (choose * (group - j)) / (j + 1);
  }
  const normal = (x: number): number =>
    Math.exp((-x * x) / (2 * sigma ** 2)) / (sigma * Math.sqrt(2 * Math.PI));
  const width = sigma / 500;
  let [remove, add] = [0, 0];
  for (let x = -12 * sigma; x < group + 12 * sigma; x += width) {
    const mixed = weights.reduce((sum, weight, j) => sum + weight * normal(x - j), 0);
    remove += width * Math.max(0, mixed - Math.exp(epsilon) * normal(x));
    add += width * Math.max(0, normal(x) - Math.exp(epsilon) * mixed);
  }
  return Math.max(remove, add);
}

describe('a group of records', () => {
  it('is the mixture over how many of them are drawn', () => {
    for (const [one, group] of [
      [step(0.1, 2), 3],
      [step(0.02, 1), 10],
      [step(0.3, 4), 5],
    ] as const) {
      const epsilon = groupEpsilonOf([one], 1e-5, group);
      const delta = integrated(one, group, epsilon);
      assert.ok(delta <= 1e-5 * (1 + 1e-3), `${JSON.stringify(one)} ${group}: ${delta}`);
      assert.ok(integrated(one, group, epsilon * (1 - 2e-3)) > 1e-5, 'and not far above the least');
    }
  });

  it('of plain Gaussians is a Gaussian of so much less noise', () => {
    assert.equal(groupEpsilonOf([step(1, 60, 4)], 1e-5, 3), gaussianEpsilon(10, 1e-5));
  });

  it('of one is the record, and more records reveal more', () => {
    const mechanisms = [step(0.001, 2, 500), step(1, 100, 2)];
    assert.equal(groupEpsilonOf(mechanisms, 1e-5, 1), epsilonOf(mechanisms, 1e-5));
    let before = 0;
    for (const group of [1, 2, 5, 20]) {
      const epsilon = groupEpsilonOf(mechanisms, 1e-5, group);
      assert.ok(epsilon > before, `${group}: ${epsilon}`);
      before = epsilon;
    }
  });

  it('is bounded far better by its mechanism than by multiplying', () => {
    const mechanisms = [step(0.001, 2, 500)];
    // Lemma 2.2 wants a smaller delta for one record, and then a multiple of its epsilon.
    const [single, group] = [epsilonOf(mechanisms, 1e-9), 30];
    const multiplied = groupBound(single, 1e-9, group);
    assert.ok(groupEpsilonOf(mechanisms, Math.min(0.5, multiplied.delta), group) < multiplied.epsilon);
  });

  it('has no epsilon beyond the limit', () => {
    assert.equal(groupEpsilonOf([step(0.04, 1.5, 2250)], 1e-5, 30, 50), Number.POSITIVE_INFINITY);
    for (const group of [0, 1.5, -1, Number.NaN])
      assert.throws(() => groupEpsilonOf([], 1e-5, group), RangeError);
  });
});

describe('what a claim means', () => {
  const sizes = { windowsASample: 30, windowsAnEpisode: 200 };

  it('for windows of stride 1 is nothing for a sample or an episode, at epsilon 7', () => {
    const claim = meaning({ unit: 'window', delta: 1e-5, mechanisms: [step(0.04, 1.5, 2250)], ...sizes });
    assert.ok(claim.window! > 6 && claim.window! < 8);
    assert.deepEqual([claim.sample, claim.episode], [undefined, undefined]);
  });

  it('for rarely drawn windows grows from window to sample to episode', () => {
    const claim = meaning({ unit: 'window', delta: 1e-5, mechanisms: [step(0.0005, 4, 2000)], ...sizes });
    assert.ok(claim.window! < claim.sample! && claim.sample! < claim.episode! && claim.episode! < MEANINGFUL);
  });

  it('for episodes holds for all that is in them', () => {
    const mechanisms = [step(1, 5, 10)];
    const epsilon = epsilonOf(mechanisms, 1e-5);
    assert.deepEqual(meaning({ unit: 'episode', delta: 1e-5, mechanisms, ...sizes }), {
      window: epsilon,
      sample: epsilon,
      episode: epsilon,
    });
  });

  it('for samples says nothing of episodes whose length is not known', () => {
    const mechanisms = [step(1, 500, 10)];
    const unknown = meaning({ unit: 'sample', delta: 1e-5, mechanisms, ...sizes });
    assert.equal(unknown.episode, undefined);
    const known = meaning({ unit: 'sample', delta: 1e-5, mechanisms, ...sizes, samplesAnEpisode: 100 });
    assert.equal(known.episode, groupEpsilonOf(mechanisms, 1e-5, 100));
  });
});

describe('the bound by multiplication', () => {
  it('is lemma 2.2', () => {
    assert.deepEqual(groupBound(0.5, 1e-6, 1), { epsilon: 0.5, delta: 1e-6 });
    const { epsilon, delta } = groupBound(0.1, 1e-6, 10);
    assert.ok(Math.abs(epsilon - 1) < 1e-12 && Math.abs(delta - 10 * Math.exp(0.9) * 1e-6) < 1e-15);
    assert.equal(groupBound(8, 1e-5, 30).delta, 1);
    // It holds of a Gaussian: mu for ten records is ten times that of one.
    const one = gaussianEpsilon(100, 1e-8);
    const ten = groupBound(one, 1e-8, 10);
    const exact =
      upperTail(ten.epsilon * 10 - 0.05) - Math.exp(ten.epsilon) * upperTail(ten.epsilon * 10 + 0.05);
    assert.ok(exact <= ten.delta);
  });
});
