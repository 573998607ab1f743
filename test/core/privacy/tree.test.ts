import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { epsilonOf } from '../../../runtime/core/privacy/accountant.ts';
import { gaussianEpsilon } from '../../../runtime/core/privacy/gaussian.ts';
import {
  adaptiveClipNoise,
  combinedNoise,
  treeHeight,
  treeMechanism,
} from '../../../runtime/core/privacy/tree.ts';

describe('tree aggregation', () => {
  it('covers a leaf by as many nodes as the tree is high', () => {
    for (let leaves = 1; leaves <= 300; leaves += 1) {
      // Counted: the nodes on the way from the last leaf to the root of the smallest full binary tree.
      let nodes = 1;
      for (let width = leaves; width > 1; width = Math.ceil(width / 2)) nodes += 1;
      assert.equal(treeHeight(leaves), nodes, `${leaves}`);
    }
    for (const leaves of [0, 1.5, -1]) assert.throws(() => treeHeight(leaves), RangeError);
  });

  it('costs as one Gaussian of sensitivity sqrt(height) a pass', () => {
    const mechanism = treeMechanism({ leaves: 8, noiseMultiplier: 6, passes: 9 });
    assert.equal(mechanism.samplingRate, 1);
    assert.equal(mechanism.steps, 9);
    // Four nodes cover a leaf: sigma 6 / 2, nine times: sigma 1.
    assert.ok(Math.abs(epsilonOf([mechanism], 1e-5) - gaussianEpsilon(1, 1e-5)) < 1e-9);
  });
});

describe('adaptive clipping', () => {
  it('gives gradients the noise that is left when the count has had its own', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.3, max: 20, noNaN: true }),
        fc.double({ min: 1, max: 50, noNaN: true }),
        (noise, times) => {
          const countNoise = noise * (0.5 + times);
          const gradientNoise = adaptiveClipNoise(noise, countNoise);
          assert.ok(gradientNoise > noise);
          assert.ok(Math.abs(combinedNoise(gradientNoise, countNoise) / noise - 1) < 1e-12);
          // Two Gaussians, of sensitivity 1 and 1/2, cost what the one does.
          const both = epsilonOf(
            [
              { samplingRate: 1, noiseMultiplier: gradientNoise, steps: 1 },
              { samplingRate: 1, noiseMultiplier: 2 * countNoise, steps: 1 },
            ],
            1e-5,
          );
          assert.ok(Math.abs(both - gaussianEpsilon(noise, 1e-5)) < 1e-8 * (1 + both));
        },
      ),
    );
  });

  it('is refused where the count alone costs as much', () => {
    for (const [noise, count] of [
      [1, 0.5],
      [1, 0.2],
      [0, 1],
      [-1, 5],
    ] as const) {
      assert.throws(() => adaptiveClipNoise(noise, count), RangeError);
    }
  });
});
