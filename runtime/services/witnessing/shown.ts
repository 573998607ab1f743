/** Which of a log's checkpoints the public is shown. */

/** A final checkpoint older than this, in milliseconds, gives way to a newer one that is not final. */
const PATIENCE_MS = 60_000;

export interface Shown<C extends { readonly size: number }> {
  /** A checkpoint was signed, or has got cosignatures. */
  offer(checkpoint: C, worth: { readonly final: boolean; readonly foreign: boolean }): void;
  pick(): C | undefined;
}

interface Best<C> {
  readonly checkpoint: C;
  readonly at: number;
}

/**
 * Chooses among them. Cosignatures come some time after the log's own signature, and often when a newer
 * checkpoint has been signed already: a client that asks for a quorum would never see one on the newest. So the
 * newest final one is shown, with the cosignature of a witness from outside when such are asked; but when none
 * comes for long, the newest is, so that a peer that is down does not hide what is logged. What is shown never
 * goes back to a smaller size.
 */
export function createShown<C extends { readonly size: number }>(options: {
  readonly foreignIntervalMs: number;
  readonly now?: () => number;
}): Shown<C> {
  const { foreignIntervalMs, now = () => performance.now() } = options;
  let newest: Best<C> | undefined;
  let final: Best<C> | undefined;
  let witnessed: Best<C> | undefined;
  let last: C | undefined;

  const better = (old: Best<C> | undefined, checkpoint: C): Best<C> =>
    old && old.checkpoint.size >= checkpoint.size ? old : { checkpoint, at: now() };

  const fresh = (best: Best<C> | undefined, patience: number): C | undefined =>
    best && now() - best.at <= patience ? best.checkpoint : undefined;

  return {
    offer(checkpoint, worth) {
      newest = better(newest, checkpoint);
      if (!worth.final) return;
      final = better(final, checkpoint);
      if (worth.foreign) witnessed = better(witnessed, checkpoint);
    },
    pick() {
      const choice =
        (foreignIntervalMs > 0 ? fresh(witnessed, 2 * foreignIntervalMs + PATIENCE_MS) : undefined) ??
        fresh(final, PATIENCE_MS) ??
        newest?.checkpoint;
      if (choice && (!last || choice.size >= last.size)) last = choice;
      return last;
    },
  };
}
