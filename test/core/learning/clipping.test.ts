import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chachaStream } from '../../../runtime/core/learning/chacha.ts';
import {
  latticeStep,
  nextClipNorm,
  sumMultiplier,
  summation,
} from '../../../runtime/core/learning/clipping.ts';
import { createLatticeNoise, DEVIATION } from '../../../runtime/core/learning/noise.ts';
import { createTreeNoise, treeLevels } from '../../../runtime/core/learning/tree.ts';

const adaptive = { kind: 'adaptive', quantile: 0.5, learningRate: 0.2, countNoise: 5 } as const;

describe('the lattice', () => {
  it('counts what rounding adds to the sensitivity', () => {
    for (const [bound, multiplier, coordinates] of [
      [1, 1, 1921],
      [0.1, 2, 29_057],
      [3, 0.5, 100_000],
    ] as const) {
      const step = latticeStep(bound, multiplier, coordinates);
      const sensitivity = bound + step * Math.sqrt(coordinates);
      assert.ok(Math.abs((step * DEVIATION) / (multiplier * sensitivity) - 1) < 1e-12);
      assert.ok(sensitivity < 1.006 * bound);
    }
    assert.throws(() => latticeStep(1, 1e6, 2), RangeError);
  });

  it('has rounded vectors no farther apart than that', () => {
    const step = latticeStep(1, 1, 400);
    const next = createLatticeNoise(chachaStream(new Uint8Array(32), new Uint8Array(12)));
    for (let trial = 0; trial < 200; trial += 1) {
      const [base, away] = [new Int32Array(400), new Int32Array(400)];
      next.fill(base);
      next.fill(away);
      const length = Math.hypot(...away);
      const rounded = (scale: number): number[] =>
        [...base].map((value, index) => Math.round((value / 1e5 + (scale * away[index]!) / length) / step));
      const there = rounded(1);
      const distance = step * Math.hypot(...rounded(0).map((value, index) => value - there[index]!));
      assert.ok(distance <= 1 + step * 20);
    }
  });
});

describe('summation', () => {
  it('bounds what float32 adds for every draw', () => {
    for (const batch of [1, 16, 64, 256, 1000]) {
      const { share, rows } = summation(batch);
      assert.ok(share < 0.03, `${batch}: ${share}`);
      for (const drawn of [1, batch, 2 * batch, 10 * batch]) {
        const most = rows(drawn);
        assert.ok(most >= 1 && most <= 384);
        if (most > 1) assert.ok(2 ** -24 * drawn * (Math.min(most, drawn) + 3) <= share);
      }
    }
  });

  it('is more than what float32 adds to a sum that was made to go wrong', () => {
    // The same values with and without one more in front, summed as the backend does.
    const sum = (values: readonly number[]): number =>
      values.reduce((a, b) => Math.fround(a + Math.fround(b)), 0);
    const { share, rows } = summation(300);
    const values = Array.from({ length: rows(300) - 1 }, (_, index) => 1 - 2 ** -24 * (index % 7));
    const extra = 1 - 2 ** -24;
    const off = Math.abs(sum([extra, ...values]) - sum(values) - extra);
    assert.ok(off > 0 && off < share, `${off}, bound ${share}`);
  });
});

describe('adaptive clipping', () => {
  it('costs with its count what the multiplier says', () => {
    assert.equal(sumMultiplier(1.3, { kind: 'flat' }), 1.3);
    const sum = sumMultiplier(1.3, adaptive);
    assert.ok(Math.abs((sum ** -2 + (2 * adaptive.countNoise) ** -2) ** -0.5 - 1.3) < 1e-12);
    assert.throws(() => sumMultiplier(10, adaptive), RangeError);
  });

  it('moves the clip norm towards the quantile, by what the noised count says', () => {
    const next = (sum: number, noise = 0): number =>
      nextClipNorm(2, adaptive, { sum, noise, expectedBatch: 100 });
    assert.ok(Math.abs(next(0) - 2) < 1e-6);
    assert.ok(Math.abs(next(50) - 2 * Math.exp(-0.2 * 0.5)) < 1e-5);
    assert.ok(Math.abs(next(-50) - 2 * Math.exp(0.2 * 0.5)) < 1e-5);
    // One deviation of noise is five units.
    assert.ok(Math.abs(next(0, DEVIATION) - 2 * Math.exp(-0.2 * 0.05)) < 1e-4);
  });
});

describe('tree noise', () => {
  it('is on every running sum that of the nodes of its binary digits, and starts anew', () => {
    // Nodes with noise 1, 2, 4, ...: a running sum shows which it is made of.
    let node = 0;
    const tree = createTreeNoise((target) => {
      target[0] = 2 ** node;
      node += 1;
    });
    const target = new Int32Array(1);
    let sum = 0;
    const opened: number[] = [];
    for (let step = 1; step <= 16; step += 1) {
      opened.push(step);
      tree.next(target, step === 1);
      sum += target[0]!;
      // The node opened at step t has bit t - 1. Step t is made of the nodes at its digits, from the top.
      let expected = 0;
      for (let end = step; end > 0; end -= end & -end) expected += 2 ** (end - 1);
      assert.equal(sum, expected, `step ${step}`);
    }
    node = 0;
    tree.next(target, true);
    assert.equal(target[0], 1);
  });

  it('has a unit in as many nodes as the tree has levels', () => {
    assert.deepEqual([0, 1, 2, 3, 4, 7, 8, 9].map(treeLevels), [0, 1, 2, 2, 3, 3, 4, 4]);
    for (let steps = 1; steps <= 40; steps += 1) {
      // Node t covers the steps from t - (lowest digit of t) + 1 to t.
      const covering = Array.from({ length: steps }, (_, leaf) => {
        let nodes = 0;
        for (let t = 1; t <= steps; t += 1) if (leaf + 1 <= t && leaf + 1 > t - (t & -t)) nodes += 1;
        return nodes;
      });
      assert.equal(Math.max(...covering), treeLevels(steps));
    }
  });

  it('goes on from its state', () => {
    const make = () => {
      const noise = createLatticeNoise(chachaStream(new Uint8Array(32), new Uint8Array(12)));
      return (target: Int32Array) => noise.fill(target);
    };
    const fill = make();
    const whole = createTreeNoise(make());
    let tree = createTreeNoise(fill);
    const [one, other] = [new Int32Array(3), new Int32Array(3)];
    for (let step = 0; step < 13; step += 1) {
      whole.next(one, step % 6 === 0);
      tree.next(other, step % 6 === 0);
      assert.deepEqual(other, one);
      tree = createTreeNoise(fill, structuredClone(tree.state()));
    }
  });
});
