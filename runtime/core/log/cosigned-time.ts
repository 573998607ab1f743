import {
  createPolicyJudge,
  isQuorum,
  NO_QUORUM,
  type Policy,
  type PolicyContext,
  type Witnessed,
} from './policy.ts';

/** What cosignedTime may be given besides the policy. */
export interface CosignedTimeContext extends PolicyContext {
  /** Whether a cosignature counts, by the witness's name in the policy and the time it claims; all do when absent. */
  readonly counts?: (cosignature: Witnessed) => boolean;
}

/**
 * The earliest POSIX second T such that the cosignatures with a time of at most T satisfy the policy; undefined
 * when they never do, when the note is refused, and when the policy asks for no cosignature at all, since then
 * nobody vouches for a time.
 *
 * Times are what the cosigners claim. With q of n members needed and f of them lying, as in quorum(n):
 * - Early liars cannot make T earlier than the truth: whatever f of them claim, q - f >= 1 of the members counted
 *   at T are honest, and those had the checkpoint before their eyes by T on their own clocks. To date a checkpoint
 *   back, q members must lie together.
 * - Late liars, and such as do not cosign at all, cannot make T later than the q-th honest cosignature as long as
 *   n - f >= q: for 4 members and more. Of 3 members all must cosign, so one of them can delay T at will; then
 *   what was in time may be judged to have been late, never the other way round.
 * - A log that hides cosignatures of its own checkpoint makes T later, to its own harm.
 * - A witness whose key was stolen is one of the f, whatever times the thief claims.
 * A cosignature of time zero claims no time (C2SP tlog-cosignature), so it does not count.
 */
export function cosignedTime(
  policy: Policy,
  note: Uint8Array | string,
  context: CosignedTimeContext = {},
): number | undefined {
  return createTimeJudge(policy, context)(note);
}

/** As cosignedTime, for many checkpoints under one policy: keys are read once. */
export function createTimeJudge(
  policy: Policy,
  context: CosignedTimeContext = {},
): (note: Uint8Array | string) => number | undefined {
  const judge = createPolicyJudge(policy, context);
  const { counts = () => true } = context;
  return (note) => {
    const verdict = judge(note);
    if (verdict.kind === 'refused' || policy.quorum === NO_QUORUM) return undefined;
    const cosigned = verdict.cosigned
      .filter((one) => one.time > 0 && counts(one))
      .sort((a, b) => a.time - b.time);
    const seen = new Set<string>();
    for (const { witness, time } of cosigned) {
      seen.add(witness);
      if (isQuorum(policy, seen)) return time;
    }
    return undefined;
  };
}
