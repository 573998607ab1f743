/** What a gateway keeps, for tests of the rooms that build on it. */
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createVerifier } from '#ed25519';
import { parseSign1 } from '../../runtime/core/encoding/cose.ts';
import { decodeEntry, type Entry } from '../../runtime/core/encoding/entry.ts';
import { KIND, kindOf } from '../../runtime/core/encoding/kind.ts';
import { decodeSample, type Sample } from '../../runtime/core/encoding/sample.ts';
import { type Journal, openJournal } from '../../runtime/state/journal/journal.ts';
import { openMaintenanceBook } from '../../runtime/state/maintenance/book.ts';
import { createClock } from '../../runtime/state/provenance/clock.ts';
import type { GatewayKeys } from '../../runtime/state/provenance/keys.ts';
import { openRecorder } from '../../runtime/state/provenance/recorder.ts';
import { newKeys, temporaryDirectory } from './consortium.ts';

export type GatewayState = Awaited<ReturnType<typeof openState>>;

export async function openState(directory: string, keys: GatewayKeys) {
  const journal = await openJournal(join(directory, 'journal'), {
    commitIntervalMs: 5,
    maxBytes: 1e9,
    maxDiskBytes: 2_000_000_000,
    maxPendingBytes: 1e8,
  });
  const recorder = await openRecorder(journal, keys, createClock());
  const book = await openMaintenanceBook(journal, recorder);
  return { directory, keys, journal, recorder, book, verify: createVerifier(keys.sample.publicKey) };
}

export async function newState(t: TestContext): Promise<GatewayState> {
  const state = await openState(await temporaryDirectory(t), newKeys());
  t.after(() => state.journal.close());
  return state;
}

/** Everything in a journal, in order. */
export async function contents(
  journal: Journal,
): Promise<{ readonly samples: readonly Sample[]; readonly entries: readonly Entry[] }> {
  const samples: Sample[] = [];
  const entries: Entry[] = [];
  for (let block = 0; block < journal.state().blocks; block++) {
    for (const bytes of (await journal.block(block)) ?? []) {
      const { payload } = parseSign1(bytes);
      if (kindOf(payload) === KIND.sample) samples.push(decodeSample(payload));
      else entries.push(decodeEntry(payload));
    }
  }
  return { samples, entries };
}
