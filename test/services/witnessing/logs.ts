/** Gateways as logs and witnesses, with real journals; what one asks another can be changed on the way. */
import { join } from 'node:path';
import { quorum } from '../../../runtime/core/log/policy.ts';
import { logParties, ownSigners } from '../../../runtime/services/witnessing/names.ts';
import { type AskWitness, createPublisher } from '../../../runtime/services/witnessing/publisher.ts';
import { createWitness } from '../../../runtime/services/witnessing/witness.ts';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import type { Consortium } from '../consortium.ts';

const SETTINGS = { commitIntervalMs: 2, maxBytes: 1e9, maxDiskBytes: 2_000_000_000, maxPendingBytes: 1e8 };

export type Log = Awaited<ReturnType<typeof openLog>>;

export async function openLog(
  consortium: Consortium,
  name: string,
  directory: string,
  ask: AskWitness,
  padding = 0,
) {
  const { agreement } = consortium;
  const { keys } = consortium.gateways.find((gateway) => gateway.name === name)!;
  const journal = await openJournal(join(directory, name), SETTINGS);
  const all = logParties(agreement);
  const self = all.find((party) => party.gateway === name)!;
  const signers = ownSigners(keys, self.origin);
  const reports: string[] = [];
  const report = (level: string, message: string) => void reports.push(`${level} ${message}`);
  const witness = createWitness({
    journal,
    cosigner: signers.cosigner,
    verifiersOf: (origin) => {
      const party = all.find((candidate) => candidate.origin === origin);
      return party && [party.log];
    },
    log: report,
  });
  const publisher = createPublisher({
    journal,
    self,
    others: all.filter((party) => party !== self),
    ...signers,
    quorum: quorum(agreement.members.length),
    ask,
    connected: () => true,
    padding,
    report,
  });
  return {
    name,
    self,
    all,
    journal,
    witness,
    publisher,
    signers,
    reports,
    /** Makes `count` blocks, and so as many leaves. */
    async grow(count: number) {
      for (let index = 0; index < count; index++) {
        await journal.append([new TextEncoder().encode(`entry ${index}`)], { urgent: true });
      }
    },
    async publish() {
      await publisher.publish();
      await publisher.asked();
    },
  };
}
