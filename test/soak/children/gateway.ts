// A gateway's log under load: samples of three streams, entries, checkpoints. Writes to standard output what it
// has acknowledged (`a machine incarnation sequence`) and published (`c size root`), each before anything else.
import { writeSync } from 'node:fs';
import { toBase64 } from '../../../runtime/core/encoding/base64.ts';
import { createSign1Signer } from '../../../runtime/core/encoding/cose.ts';
import { openCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { createCosignatureVerifier, createCosigner } from '../../../runtime/core/log/cosignature.ts';
import { createNoteSigner, createNoteVerifier } from '../../../runtime/core/log/note.ts';
import type { LogParty } from '../../../runtime/services/witnessing/names.ts';
import { createPublisher } from '../../../runtime/services/witnessing/publisher.ts';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import { createJournalReader } from '../../../runtime/state/journal/reader.ts';
import type { WhenFull } from '../../../runtime/state/journal/retention.ts';
import { journalSettings } from '../../../runtime/state/journal/settings.ts';
import { createClock } from '../../../runtime/state/provenance/clock.ts';
import { loadGatewayKeys } from '../../../runtime/state/provenance/keys.ts';
import { openRecorder } from '../../../runtime/state/provenance/recorder.ts';

const [directory, keyDirectory] = process.argv.slice(2) as [string, string];
const ORIGIN = 'soak/acme/acme-1';
const keys = await loadGatewayKeys(keyDirectory);
const settings = journalSettings.parse({ commitInterval: '3ms', maxBytes: '2GB' });
const journal = await openJournal(directory, settings, createSign1Signer(keys.sample));
const recorder = await openRecorder(journal, keys, createClock());
const log = createNoteSigner(ORIGIN, keys.log);
const cosigner = createCosigner(`${ORIGIN}/witness`, keys.witness);
const logVerifier = createNoteVerifier(log.vkey);
const witnessVerifier = createCosignatureVerifier(cosigner.vkey);
const self: LogParty = {
  gateway: 'acme-1',
  member: 'acme',
  origin: ORIGIN,
  log: logVerifier,
  witness: witnessVerifier,
  logs: [logVerifier],
  witnesses: [witnessVerifier],
  logKeys: [log.vkey],
  witnessKeys: [cosigner.vkey],
};
const publisher = createPublisher({
  journal,
  self,
  others: [],
  log,
  cosigner,
  quorum: 2,
  ask: () => Promise.reject(new Error('there is nobody')),
  connected: () => false,
  report: (_level, message) => tell(`r ${message}`),
});
await publisher.open();

function tell(line: string): void {
  writeSync(1, `${line}\n`);
}

async function sample(machine: string, signing: 'sample' | 'block', whenFull: WhenFull): Promise<never> {
  const stream = recorder.stream(machine, 's', { signing, whenFull });
  for (;;) {
    const readings = Array.from({ length: 1 + Math.floor(Math.random() * 20) }, () => ({
      values: [Math.random(), 1],
    }));
    const { sequence, durable } = stream.batch(readings);
    await durable;
    for (let index = 0; index < readings.length; index++)
      tell(`a ${machine} ${recorder.incarnation} ${sequence + index}`);
  }
}

async function note(): Promise<never> {
  for (let count = 0; ; count++) {
    await recorder.entry('gap', [count]);
    tell(`n ${count}`);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
  }
}

async function publish(): Promise<never> {
  for (;;) {
    await publisher.publish();
    const newest = publisher.newest();
    if (newest !== undefined) {
      const { checkpoint } = openCheckpoint(newest, logVerifier);
      tell(`c ${checkpoint.size} ${toBase64(checkpoint.root)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 40));
  }
}

async function read(): Promise<never> {
  const reader = createJournalReader(journal, 'telemetry');
  const { signal } = new AbortController();
  for (;;) {
    const entries = await reader.next(500, signal);
    await reader.commit(entries.at(-1)!.after);
  }
}

await Promise.all([
  sample('m1', 'sample', 'drop-oldest'),
  sample('m2', 'block', 'drop-published'),
  sample('m3', 'sample', 'stop'),
  note(),
  publish(),
  read(),
]);
