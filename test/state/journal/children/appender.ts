// Signs and appends without end, and writes each sample's number to standard output when it is durable.
import { writeSync } from 'node:fs';
import { openJournal } from '../../../../runtime/state/journal/journal.ts';
import { createClock } from '../../../../runtime/state/provenance/clock.ts';
import { loadGatewayKeys } from '../../../../runtime/state/provenance/keys.ts';
import { openRecorder } from '../../../../runtime/state/provenance/recorder.ts';

const [journalDirectory, keyDirectory] = process.argv.slice(2) as [string, string];
const journal = await openJournal(journalDirectory, {
  commitIntervalMs: 3,
  maxBytes: 2_000_000_000,
  maxDiskBytes: 2_000_000_000,
  maxPendingBytes: 32_000_000,
});
const recorder = await openRecorder(journal, await loadGatewayKeys(keyDirectory), createClock());
const acknowledge = (name: string) => writeSync(1, `${name}\n`);

/** Hands in again as soon as the last one is durable; several at a time, so that commits have work. */
async function pump(machine: string): Promise<never> {
  for (;;) {
    const handed = Array.from({ length: 5 }, () =>
      recorder.sample({ machine, stream: 's', values: [Math.random(), 1] }),
    );
    for (const { sequence, durable } of handed) {
      await durable;
      acknowledge(`${machine} ${sequence}`);
    }
  }
}

async function write(): Promise<never> {
  for (let count = 0; ; count++) {
    await recorder.entry('gap', [count]);
    acknowledge('notebook');
    await new Promise((resolve) => setTimeout(resolve, 7));
  }
}

await Promise.all([pump('m1'), pump('m2'), pump('m3'), write()]);
