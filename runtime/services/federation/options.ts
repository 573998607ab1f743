/** What the federation needs of the rest of the house; the roof hands it in. */

import type { CborValue } from '../../core/encoding/cbor.ts';
import type { Sign1Signer } from '../../core/encoding/cose.ts';
import type { ModelSpec } from '../../core/learning/model.ts';
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
  /** Puts an entry about a finished round into the log. */
  readonly logRound: (body: CborValue) => Promise<void>;
  readonly onModel: (recent: readonly CertifiedModel[]) => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}
