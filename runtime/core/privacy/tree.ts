/** What the mechanisms beside DP-SGD's plain step cost, said as the {@link Mechanism} that costs the same. */
import type { Mechanism } from './rdp.ts';

/** Tree-aggregated noise, as DP-FTRL uses it. */
export interface TreeTraining {
  /** Leaves (batches) of one pass's tree; each unit is in one of them. */
  readonly leaves: number;
  /** Deviation of the noise at every node, over the clip norm. */
  readonly noiseMultiplier: number;
  /** Passes over the data, each with a tree of its own. */
  readonly passes: number;
}

/** The height of the tree over `leaves`: how many nodes, itself included, cover a leaf. */
export function treeHeight(leaves: number): number {
  if (!(Number.isSafeInteger(leaves) && leaves >= 1)) {
    throw new RangeError(`a tree of ${leaves} leaves: it has to be a whole number, 1 or more`);
  }
  let height = 1;
  for (let covered = 1; covered < leaves; covered *= 2) height += 1;
  return height;
}

/**
 * Tree aggregation as a plain Gaussian: a unit is in one leaf a pass and so in `height` nodes' sums, each by at
 * most the clip norm; all nodes of a pass together are one Gaussian release of sensitivity sqrt(height), whoever
 * sees which of them (Kairouz et al. 2021, "Practical and Private (Deep) Learning without Sampling or Shuffling",
 * theorem 4.1). Prefix sums made of the nodes are post-processing.
 *
 * @throws RangeError when a figure is out of range.
 */
export function treeMechanism({ leaves, noiseMultiplier, passes }: TreeTraining): Mechanism {
  return { samplingRate: 1, noiseMultiplier: noiseMultiplier / Math.sqrt(treeHeight(leaves)), steps: passes };
}

/**
 * The noise multiplier that gradients have to get so that they and the count of unclipped examples, released with
 * noise of deviation `countNoise`, cost together what noise multiplier `noiseMultiplier` costs alone:
 * (z^-2 - (2 sigma_b)^-2)^(-1/2), the count being of sensitivity 1/2 after it is centred (Andrew et al. 2021,
 * "Differentially Private Learning with Adaptive Clipping", theorem 1).
 *
 * @throws RangeError when the count alone would cost as much.
 */
export function adaptiveClipNoise(noiseMultiplier: number, countNoise: number): number {
  const left = noiseMultiplier ** -2 - (2 * countNoise) ** -2;
  if (!(noiseMultiplier > 0 && countNoise > 0 && left > 0)) {
    throw new RangeError(
      `a count noised by ${countNoise} costs as much as a noise multiplier of ${noiseMultiplier} gives: ` +
        `it has to be above ${noiseMultiplier / 2}`,
    );
  }
  return 1 / Math.sqrt(left);
}

/** The other way: the noise multiplier that both releases together amount to. */
export function combinedNoise(gradientNoise: number, countNoise: number): number {
  return 1 / Math.sqrt(gradientNoise ** -2 + (2 * countNoise) ** -2);
}
