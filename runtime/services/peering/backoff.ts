/** Waiting longer after each failure, never the same time twice, never without an end. */

export interface BackoffOptions {
  /** Wait after the first failure, milliseconds. */
  readonly firstMs: number;
  /** The longest wait before jitter. */
  readonly lastMs: number;
  /** A connection that held this long counts as good: the next wait is the first again. */
  readonly lastedMs: number;
  /** A number of [0, 1). */
  readonly random: () => number;
}

export const BACKOFF: BackoffOptions = {
  firstMs: 250,
  lastMs: 10_000,
  lastedMs: 5000,
  random: Math.random,
};

export interface Backoff {
  /** The next wait in milliseconds, after a connection that held for `heldMs` (0: there was none). */
  next(heldMs: number): number;
}

/**
 * Waits double from `firstMs` to `lastMs`; each is multiplied by 0.5 to 1.5, or gateways that lost each other
 * together would dial together for ever. A connection that broke at once does not reset the wait: a peer that
 * takes connections only to drop them would be dialled without rest.
 */
export function createBackoff({ firstMs, lastMs, lastedMs, random }: BackoffOptions): Backoff {
  let wait = firstMs;
  return {
    next(heldMs) {
      if (heldMs >= lastedMs) wait = firstMs;
      const now = wait * (0.5 + random());
      wait = Math.min(lastMs, wait * 2);
      return now;
    },
  };
}

/** Takes `capacity` at once and `perSecond` in the long run; what is more is told no. */
export function createAllowance(
  capacity: number,
  perSecond: number,
  now: () => number = () => performance.now(),
): () => boolean {
  let left = capacity;
  let at = now();
  return () => {
    const then = at;
    at = now();
    left = Math.min(capacity, left + (Math.max(0, at - then) / 1000) * perSecond);
    if (left < 1) return false;
    left -= 1;
    return true;
  };
}
