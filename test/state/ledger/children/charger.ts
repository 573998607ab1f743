// Charges round after round, and writes each round to standard output when its charge is durable.
import { writeSync } from 'node:fs';
import { openJournal } from '../../../../runtime/state/journal/journal.ts';
import { ALL_TIME, openLedger } from '../../../../runtime/state/ledger/ledger.ts';
import { createClock } from '../../../../runtime/state/provenance/clock.ts';
import { loadGatewayKeys } from '../../../../runtime/state/provenance/keys.ts';
import { openRecorder } from '../../../../runtime/state/provenance/recorder.ts';

const [journalDirectory, keyDirectory, epsilon] = process.argv.slice(2) as [string, string, string];
const journal = await openJournal(journalDirectory, {
  commitIntervalMs: 3,
  maxBytes: 2_000_000_000,
  maxDiskBytes: 2_000_000_000,
  maxPendingBytes: 32_000_000,
});
const recorder = await openRecorder(journal, await loadGatewayKeys(keyDirectory), createClock());
const ledger = await openLedger(journal, recorder);
const budget = { epsilon: Number(epsilon), delta: 1e-5, unit: 'window' } as const;
const mechanism = { samplingRate: 0.05, noiseMultiplier: 1.2, steps: 10 };
writeSync(1, `opened ${ledger.charges().length}\n`);
for (let round = ledger.charges().length; ; round++) {
  try {
    await ledger.charge(
      { agreement: new Uint8Array(32), round, unit: 'window', mechanism, ...ALL_TIME },
      budget,
    );
  } catch (error) {
    writeSync(1, `${(error as Error).name}\n`);
    break;
  }
  writeSync(1, `charged ${round}\n`);
}
await journal.close();
