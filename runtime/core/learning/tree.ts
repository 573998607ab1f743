/** Fresh lattice noise for every coordinate. */
export type FillNoise = (target: Int32Array) => void;

/** Noise for running sums, correlated over steps so that it grows with the logarithm of their number. */
export interface TreeNoise {
  /** Writes what the noise on the running sum changes by in the next step; `restart` begins a new tree. */
  next(target: Int32Array, restart: boolean): void;
  /** The noise of the open nodes, from the leaves up; empty where a level has none. A secret like the data. */
  state(): { readonly step: number; readonly nodes: readonly Int32Array[] };
}

/**
 * The binary tree of Dwork et al. 2010 and Chan, Shi, Song 2011 as DP-FTRL uses it (Kairouz et al. 2021,
 * "Practical and private (deep) learning without sampling or shuffling"): the sum of the first t steps is
 * the sum of the nodes of t's binary digits, each with noise of its own. At step t the nodes below t's
 * lowest digit are closed, and one is opened in their place.
 */
export function createTreeNoise(
  fill: FillNoise,
  from?: { readonly step: number; readonly nodes: readonly Int32Array[] },
): TreeNoise {
  let step = from?.step ?? 0;
  let nodes = from?.nodes.map((node) => node.slice()) ?? [];
  return {
    next(target, restart) {
      if (restart) {
        step = 0;
        nodes = [];
      }
      step += 1;
      const level = 31 - Math.clz32(step & -step);
      fill(target);
      const opened = target.slice();
      for (let below = 0; below < level; below += 1) {
        const closed = nodes[below]!;
        for (let index = 0; index < target.length; index += 1) target[index]! -= closed[index]!;
        nodes[below] = new Int32Array(0);
      }
      nodes[level] = opened;
    },
    state: () => ({ step, nodes: nodes.map((node) => node.slice()) }),
  };
}

/** How many nodes of the tree over `steps` leaves a single leaf is part of at most. */
export function treeLevels(steps: number): number {
  return steps < 1 ? 0 : 32 - Math.clz32(steps);
}
