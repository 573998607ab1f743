/** What a running daemon does for the commands that reach it through its socket. */
import { z } from 'zod';
import { toHex } from '../core/encoding/base64.ts';
import type { Gateway } from '../gateway.ts';
import type { ControlHandler } from '../services/control/server.ts';
import type { Agreement } from '../state/agreement/agreement.ts';
import { MAINTENANCE_TYPES } from '../state/maintenance/entry.ts';
import { didYouMean } from '../state/settings/suggest.ts';
import { exportHandlers } from './export/handlers.ts';
import { keysHandlers } from './keys/handlers.ts';
import { privacyHandlers } from './privacy/handlers.ts';

const maintenanceRequest = z.strictObject({
  machine: z.string().min(1).max(64),
  type: z.enum(MAINTENANCE_TYPES),
  note: z.string().max(4096),
});

export function controlHandlers(
  gateway: Gateway,
  agreement: Agreement,
): Readonly<Record<string, ControlHandler>> {
  return {
    ...keysHandlers(agreement, gateway.roster),
    ...exportHandlers(gateway, agreement),
    ...privacyHandlers(agreement, gateway),
    status: async () => gateway.status(),
    model: async () => gateway.model(),
    'federated-model': async () => gateway.federatedModel(),
    maintenance: async (given) => {
      const judged = maintenanceRequest.safeParse(given);
      if (!judged.success) throw new Error(z.prettifyError(judged.error));
      const { machine } = judged.data;
      if (!gateway.machines.includes(machine)) {
        const meant = didYouMean(machine, gateway.machines);
        throw new Error(`no machine here is called ${machine}${meant ? `; did you mean ${meant}?` : ''}`);
      }
      const digest = await gateway.book.record({ ...judged.data, faults: [], at: undefined });
      gateway.publishSoon();
      return { digest: toHex(digest) };
    },
  };
}
