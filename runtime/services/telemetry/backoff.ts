/** How long to wait before the next attempt. */
export interface Backoff {
  /** Milliseconds: doubles from one call to the next up to the limit, and half of it is left to chance. */
  next(): number;
  /** The next wait is the first one again. */
  reset(): void;
}

/** Chance spreads the gateways of a plant whose broker comes back. `first` and `limit` in milliseconds. */
export function createBackoff(first: number, limit: number, chance: () => number = Math.random): Backoff {
  let ceiling = Math.min(first, limit);
  return {
    next() {
      const wait = ceiling * (0.5 + chance() / 2);
      ceiling = Math.min(2 * ceiling, limit);
      return wait;
    },
    reset() {
      ceiling = Math.min(first, limit);
    },
  };
}
