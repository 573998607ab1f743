import type { DataSheet } from '../../runtime/core/learning/features.ts';
import { dataSheetSchema } from '../../runtime/state/agreement/schema.ts';
import { formatFaults } from '../../runtime/state/settings/format.ts';
import { readSettingsFile } from '../../runtime/state/settings/read.ts';
import type { Federated } from './federation.ts';

/** Reads a data sheet file. @throws Error naming every fault in it. */
export async function readDataSheet(path: string): Promise<DataSheet> {
  const judged = await readSettingsFile(path, dataSheetSchema);
  if (!judged.ok) throw new Error(formatFaults(judged.faults));
  return { channels: judged.value.channel, conditions: judged.value.condition };
}

/** How large updates were: what the bound of their fixed-point encoding has to hold. */
export function describeUpdates(updates: Federated['updates']): string {
  const greatest = updates.map((update) => update.greatest).sort((a, b) => a - b);
  const norms = updates.map((update) => update.norm).sort((a, b) => a - b);
  const middle = Math.floor(updates.length / 2);
  return (
    `greatest value of an update ${greatest[middle]!.toFixed(2)} (median), ${greatest.at(-1)!.toFixed(2)} (most), ` +
    `L2 norm ${norms[middle]!.toFixed(2)} (median), ${norms.at(-1)!.toFixed(2)} (most)`
  );
}
