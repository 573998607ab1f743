/** What the federation needs of the rest of the house; the roof hands it in. */

import type { CborValue } from '../../core/encoding/cbor.ts';
import type { Sign1Signer } from '../../core/encoding/cose.ts';
import type { ModelSpec } from '../../core/learning/model.ts';
import type { Write } from '../../state/journal/store.ts';
import type { CertifiedModel, Memory } from './memory.ts';
import type { Parties } from './parties.ts';

/** Whether this gateway could train now, and if not, why. */
export type Readiness =
  | { readonly kind: 'ready' }
  /** It will be soon: data are still coming in. */
  | { readonly kind: 'waiting'; readonly why: string }
  | { readonly kind: 'unable'; readonly why: string };

export interface Learner {
  readiness(): Readiness;
  /**
   * The change of the parameters that this gateway's data ask for, already private: budget charged, noise added.
   * @throws Error when it cannot be had; then nothing leaves the gateway.
   */
  update(
    round: number,
    version: number,
    parameters: Float64Array,
    signal: AbortSignal,
  ): Promise<Float64Array>;
}

export interface FederationOptions {
  readonly parties: Parties;
  readonly model: ModelSpec;
  readonly memory: Memory;
  readonly signer: Sign1Signer;
  readonly learner: Learner;
  readonly request: (
    peer: string,
    path: string,
    body: Uint8Array,
    limitMs?: number,
  ) => Promise<{ readonly status: number; readonly body: Uint8Array }>;
  readonly connected: (peer: string) => boolean;
  /** Puts an entry about a finished round into the log, and `writes` into the same batch. */
  readonly logRound: (body: CborValue, writes: readonly Write[]) => Promise<void>;
  readonly onModel: (recent: readonly CertifiedModel[]) => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  readonly timing?: Timing;
}

/** How long the room waits for what, in milliseconds. What depends on the training is in the agreement. */
export interface Timing {
  readonly tick: number;
  /** Rest after a round that came to nothing; it grows from the first to the last. */
  readonly firstRetry: number;
  readonly lastRetry: number;
  /** A leader that has asked who is there goes on within this, or it will not go on. */
  readonly promisePatience: number;
  /** How much longer each further voter waits before it takes the lead from one that is gone. */
  readonly takeoverGone: number;
  /** The same where that one is connected: it may not know that its turn has come. */
  readonly takeoverIdle: number;
  /** From one question for a newer model to the next. */
  readonly gossip: number;
  readonly poll: number;
  /** How long a cohort waits for a contributor whose connection is down. */
  readonly lostPatience: number;
  /** For answers that need no work. */
  readonly shortLimit: number;
  /** Before a request is made again that came too early or was lost. */
  readonly retry: number;
}

export const TIMING: Timing = {
  tick: 100,
  firstRetry: 500,
  lastRetry: 8000,
  promisePatience: 7000,
  takeoverGone: 1500,
  takeoverIdle: 3000,
  gossip: 5000,
  poll: 50,
  lostPatience: 2000,
  shortLimit: 5000,
  retry: 250,
};
