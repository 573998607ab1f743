/** Three companies on disk: a signed agreement, and the directory of one gateway with a log of its own. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createSigner, type Signer } from '#ed25519';
import { randomBytes } from '#random';
import { exportCommand } from '../../runtime/cli/export.ts';
import { draftAgreement } from '../../runtime/cli/setup/draft.ts';
import { draftTerms } from '../../runtime/cli/setup/terms.ts';
import type { Io } from '../../runtime/cli/terminal/io.ts';
import { runProgram } from '../../runtime/cli/terminal/program.ts';
import { verify } from '../../runtime/cli/verify.ts';
import { toBase64 } from '../../runtime/core/encoding/base64.ts';
import { createSign1Signer } from '../../runtime/core/encoding/cose.ts';
import { simulatedPreset } from '../../runtime/core/learning/presets.ts';
import { formatCheckpoint } from '../../runtime/core/log/checkpoint.ts';
import { cosign } from '../../runtime/core/log/cosignature.ts';
import { decodeExport, type ExportBundle } from '../../runtime/core/log/export.ts';
import { addSignatures, formatNote, signNote } from '../../runtime/core/log/note.ts';
import { ownSigners } from '../../runtime/services/witnessing/names.ts';
import {
  type Agreement,
  originOf,
  readAgreement,
  signAgreement,
} from '../../runtime/state/agreement/agreement.ts';
import { type Journal, openJournal } from '../../runtime/state/journal/journal.ts';
import { ordered } from '../../runtime/state/journal/keys.ts';
import { type MaintenanceBook, openMaintenanceBook } from '../../runtime/state/maintenance/book.ts';
import { endorse } from '../../runtime/state/provenance/endorsement.ts';
import type { GatewayKeys } from '../../runtime/state/provenance/keys.ts';
import { openRecorder, type Recorder } from '../../runtime/state/provenance/recorder.ts';
import { revoke } from '../../runtime/state/provenance/revocation.ts';
import { newKeys, temporaryDirectory } from '../services/consortium.ts';

/** 2026-03-01T06:00:00Z */
export const T0 = Date.UTC(2026, 2, 1, 6);
export const at = (seconds: number) => new Date(T0 + seconds * 1000).toISOString();

export interface Party {
  readonly member: string;
  readonly name: string;
  readonly keys: GatewayKeys;
  readonly memberKey: Signer;
}

export interface Plant {
  readonly directory: string;
  readonly agreementFile: string;
  readonly agreement: Agreement;
  readonly parties: readonly Party[];
  readonly journal: Journal;
  readonly recorder: Recorder;
  readonly book: MaintenanceBook;
  /** What the gateway takes for the time, in milliseconds. */
  setTime(time: number): void;
  /** A checkpoint over all there is; cosigned by the parties of these numbers, each at `time` (POSIX seconds). */
  checkpoint(options?: { readonly by?: readonly number[]; readonly time?: number }): Promise<string>;
  /** Lets go of the directory. */
  close(): Promise<void>;
  path(name: string): string;
}

const SETTINGS = { commitIntervalMs: 2, maxBytes: 1e9, maxDiskBytes: 2_000_000_000, maxPendingBytes: 1e8 };

export async function createPlant(t: TestContext, consortium = 'plant'): Promise<Plant> {
  const home = await temporaryDirectory(t);
  const parties = ['acme', 'bolt', 'cog'].map((member): Party => {
    return { member, name: `${member}-1`, keys: newKeys(), memberKey: createSigner(randomBytes(32)) };
  });
  const text = draftAgreement(
    draftTerms({
      consortium,
      stream: 'monitor',
      preset: simulatedPreset,
      fleet: { episodes: 4, windowsALife: 60 },
      unit: 'window',
      epsilon: 'off',
      delta: 1e-5,
      rounds: 3,
      checkpointIntervalMs: 5000,
      intervalMs: 200,
    }),
    { channels: [{ name: 'load', unit: '%', low: 0, high: 100, leastWidth: 1 }] },
    parties.map(({ member, name, keys, memberKey }) => ({
      name: member,
      key: toBase64(memberKey.publicKey),
      gateways: [
        {
          member,
          name,
          address: '127.0.0.1:7400',
          identity: toBase64(keys.identity.publicKey),
          endorsement: toBase64(endorse(keys, member, name, T0)),
        },
      ],
    })),
  );
  const read = readAgreement(text, 'agreement.toml');
  assert.ok(read.ok, JSON.stringify(read));
  const agreement = read.value;
  const directory = join(home, 'acme');
  await mkdir(directory);
  const agreementFile = join(directory, 'agreement.toml');
  await writeFile(agreementFile, text);
  let signatures: string | undefined;
  for (const { memberKey } of parties) signatures = signAgreement(agreement, signatures, memberKey);
  await writeFile(`${agreementFile}.sigs`, signatures!);
  await writeFile(join(directory, 'card.json'), JSON.stringify({ name: 'acme-1' }));
  const [self] = parties as [Party];
  const journal = await openJournal(
    join(directory, 'journal'),
    SETTINGS,
    createSign1Signer(self.keys.sample),
  );
  let open = true;
  const close = async () => {
    if (open) await journal.close();
    open = false;
  };
  t.after(close);
  let time = T0;
  const recorder = await openRecorder(journal, self.keys, { now: () => ({ time, clock: 'synchronised' }) });
  const book = await openMaintenanceBook(journal, recorder);
  return {
    directory,
    agreementFile,
    agreement,
    parties,
    journal,
    recorder,
    book,
    setTime(to) {
      time = to;
    },
    async checkpoint({ by = [0, 1, 2], time: when = Math.floor(time / 1000) + 60 } = {}) {
      const { size, root } = journal.head()!;
      const origin = originOf(agreement, agreement.gateways[0]!);
      const note = formatCheckpoint({ origin, size, root, extensions: [] });
      const cosignatures = by.map((number) => {
        const { keys } = parties[number]!;
        const own = originOf(agreement, agreement.gateways[number]!);
        return cosign(ownSigners(keys, own).cosigner, note, when);
      });
      const signed = signNote(note, [ownSigners(self.keys, origin).log]);
      const message = formatNote(addSignatures(signed, cosignatures));
      const section = journal.section('checkpoint');
      await journal.write([section.put(ordered(size), new TextEncoder().encode(message))]);
      return message;
    },
    close,
    path: (name) => join(home, name),
  };
}

/**
 * A start, declarations, ten seconds of two machines, a burst of press-1 that is signed with its block, and a
 * failure of press-1 and a repair of press-2, each in a block of its own.
 */
export async function fill({ recorder, book, setTime, journal }: Plant): Promise<void> {
  await recorder.entry('start', ['1.0.0']);
  const declare = (machine: string, stream: string) =>
    recorder.entry('stream', [machine, stream, 1000, [['load', '%']]]);
  await declare('press-1', 'monitor');
  await declare('press-2', 'monitor');
  await declare('press-1', 'burst');
  for (let second = 0; second < 10; second++) {
    setTime(T0 + second * 1000);
    for (const machine of ['press-1', 'press-2']) {
      await recorder.sample({ machine, stream: 'monitor', values: [second + 0.5] }).durable;
    }
  }
  const burst = recorder.stream('press-1', 'burst', { signing: 'block', whenFull: 'drop-oldest' });
  setTime(T0 + 20_000);
  await burst.batch(Array.from({ length: 20 }, (_, index) => ({ values: [index, -index] }))).durable;
  const note = { faults: [], at: undefined } as const;
  setTime(T0 + 30_000);
  await book.record({ ...note, machine: 'press-1', type: 'failure', note: 'bearing seized' });
  setTime(T0 + 40_000);
  await book.record({ ...note, machine: 'press-2', type: 'maintenance', note: 'oil changed' });
  await journal.pad(3);
}

export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line in this process. */
export async function kosmosHere(...args: string[]): Promise<Said> {
  const said = { stdout: '', stderr: '' };
  const writer = (stream: keyof typeof said) => ({
    write(text: string) {
      said[stream] += text;
    },
  });
  const io: Io = { stdout: writer('stdout'), stderr: writer('stderr'), env: { NO_COLOR: '1' } };
  const commands = [exportCommand, verify].map((command) => ({
    name: command.name,
    summary: command.summary,
    load: async () => command,
  }));
  const code = await runProgram({ name: 'kosmos', summary: '', version: '1.0.0', commands }, args, io);
  return { code, ...said };
}

/** As kosmosHere, with --json, and the answer read. */
export async function answered(
  ...args: string[]
): Promise<Said & { readonly json: Record<string, unknown> }> {
  const said = await kosmosHere(...args, '--json');
  const last = said.stdout.trimEnd().split('\n').at(-1) ?? '';
  return { ...said, json: last === '' ? {} : (JSON.parse(last) as Record<string, unknown>) };
}

export async function succeeded(...args: string[]): Promise<Record<string, unknown>> {
  const { code, json, stderr } = await answered(...args);
  assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
  return json;
}

/** When witnesses cosign, POSIX seconds. */
export const SEEN = T0 / 1000 + 3600;

export interface Made {
  readonly plant: Plant;
  readonly file: string;
  readonly bundle: ExportBundle;
}

/** A bundle of all that there is of press-1. */
export async function made(
  t: TestContext,
  name = 'plant',
  more?: (plant: Plant) => Promise<void>,
): Promise<Made> {
  const plant = await createPlant(t, name);
  await fill(plant);
  await more?.(plant);
  await plant.checkpoint({ time: SEEN });
  await plant.close();
  const file = plant.path('out.kosmos');
  await succeeded('export', '--directory', plant.directory, '--output', file, '--machine', 'press-1');
  return { plant, file, bundle: decodeExport(new Uint8Array(await readFile(file))) };
}

export async function assertRefused(file: string, named: RegExp, ...more: string[]): Promise<void> {
  const { code, stdout, stderr } = await kosmosHere('verify', file, ...more);
  assert.equal(code, 1, `${named}: ${stdout}`);
  assert.match(stderr, named);
  assert.equal(stdout, '');
}

export function flipped(bytes: Uint8Array, place = bytes.length >> 1): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[place]! ^= 1;
  return copy;
}

export function revokedBy(
  plant: Plant,
  purpose: 'sample' | 'log' | 'witness',
  time: number,
  number = 0,
): Uint8Array {
  const { member, name: gateway, keys } = plant.parties[number]!;
  return revoke(keys.identity, {
    member,
    gateway,
    purpose,
    key: keys[purpose].publicKey,
    time,
    reason: 'stolen',
  });
}
