/** One signed sample, ready to go out. */
export interface OutgoingSample {
  readonly machine: string;
  readonly stream: string;
  /** COSE_Sign1. */
  readonly bytes: Uint8Array;
  /** Where it stands in the journal: to be handed to `commit`, never looked into. */
  readonly position: unknown;
}

/** The journal as telemetry sees it: a reader with a durable cursor. Its calls come one at a time, but for `commit` during `next`. */
export interface SampleSource {
  /**
   * The samples after the last ones it gave (at first after the cursor), 1 to `limit` of them; waits until
   * there is one. When `signal` is aborted it rejects or gives what it has; what it did not give is not lost.
   */
  next(limit: number, signal: AbortSignal): Promise<readonly OutgoingSample[]>;
  /** Moves the cursor: everything up to and including `position` need not be given again after a restart. */
  commit(position: unknown): Promise<void>;
  /**
   * Makes `next` start after the cursor again. With it, samples that no persistent session of the embedded
   * broker holds are still shown to whoever looks on; without it they wait.
   */
  rewind?(): Promise<void>;
}

/**
 * What became of a published sample. "held": the broker has taken it over. Only the embedded broker says
 * otherwise: "seen" went to those who look on, "unseen" to nobody; no session keeps either. "passed": it has
 * no topic and was not published.
 */
export type Delivery = 'held' | 'seen' | 'unseen' | 'passed';

/** A connection to a broker as the pump sees it. */
export interface SampleLink {
  /** Sends with QoS 1; `done` is called at the PUBACK, later than this returns and never after the connection has ended. */
  publish(sample: OutgoingSample, done: (delivery: Delivery) => void): void;
  /** Ends the connection, for `reason`. */
  fail(reason: Error): void;
}
