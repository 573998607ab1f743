/** What a gateway is made from. */
import type { createLog } from './log.ts';
import type { GatewaySettings } from './settings.ts';
import type { Agreement } from './state/agreement/agreement.ts';
import type { GatewayKeys } from './state/provenance/keys.ts';

export interface GatewayOptions {
  readonly settings: GatewaySettings;
  readonly agreement: Agreement;
  readonly keys: GatewayKeys;
  /** Main module of the training process. */
  readonly trainerModule: URL;
  readonly version: string;
  readonly log: ReturnType<typeof createLog>;
}
