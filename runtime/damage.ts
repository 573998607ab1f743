/** What a gateway does about a journal that was damaged: says so, and lets no number be given twice. */
import type { GatewayOptions } from './gateway-options.ts';
import { describeDamage } from './state/journal/damage-report.ts';
import type { Journal } from './state/journal/journal.ts';
import { createScrub } from './state/journal/scrub.ts';
import { GATEWAY, raiseIncarnation } from './state/provenance/incarnation.ts';

const SCRUB_BYTES_PER_SECOND = 1_000_000;
const SCRUB_PAUSE_MS = 24 * 3_600_000;

/** To be called before anything is recorded: counters and witnessed heads may be older than what was said. */
export async function answerDamage(journal: Journal, { keys, log }: GatewayOptions): Promise<void> {
  const damage = journal.damage();
  if (!damage) return;
  for (const line of describeDamage(damage)) log('journal')('error', line);
  const size = journal.state().blocks;
  const raise = { reason: 'the journal was damaged', sizeBefore: size, sizeAdopted: size };
  await journal.write(await raiseIncarnation(journal.section(GATEWAY), raise, keys.witness.publicKey));
}

/** Reads all that is stored once a day, slowly: damage in what nobody asks for shows too. */
export function createDailyScrub(journal: Journal, { log }: GatewayOptions) {
  return createScrub({
    journal,
    bytesPerSecond: SCRUB_BYTES_PER_SECOND,
    pauseMs: SCRUB_PAUSE_MS,
    report: (lines) => {
      for (const line of lines) log('journal')('error', line);
    },
  });
}
