import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createVerifier } from '#ed25519';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { parseSign1, verifySign1 } from '../../../runtime/core/encoding/cose.ts';
import { decodeEntry } from '../../../runtime/core/encoding/entry.ts';
import { KIND, kindOf } from '../../../runtime/core/encoding/kind.ts';
import { decodeSample } from '../../../runtime/core/encoding/sample.ts';
import { blockRoot, decodeOpening, leafDataOf } from '../../../runtime/core/log/block.ts';
import { leafHash } from '../../../runtime/core/log/hash.ts';
import { treeRoot } from '../../../runtime/core/log/tree.ts';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import { createGatewayKeys } from '../../../runtime/state/provenance/keys.ts';
import { bundled } from '../bundle.ts';
import { closing, SETTINGS, temporary, until } from './helpers.ts';

const KILLS = 20;

interface Appender {
  /** `machine sequence` of samples, `notebook` of entries, in the order in which they were acknowledged. */
  readonly acknowledged: readonly string[];
  kill(): Promise<void>;
}

function startAppender(t: TestContext, program: string, journal: string, keys: string): Appender {
  const child: ChildProcess = spawn(process.execPath, [program, journal, keys], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  closing(t, async () => child.kill('SIGKILL'));
  const acknowledged: string[] = [];
  let rest = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    acknowledged.push(...lines);
  });
  let complaint = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const closed = once(child, 'close');
  void closed.then(([code]) => {
    if (code !== null) acknowledged.push(`ended by itself: ${complaint}`);
  });
  return {
    acknowledged,
    async kill() {
      assert.ok(child.kill('SIGKILL'));
      const [code, signal] = await closed;
      assert.deepEqual([code, signal], [null, 'SIGKILL'], complaint);
    },
  };
}

/** All blocks of a journal, each entry checked, as `machine sequence` and `notebook sequence`, in order. */
async function readBack(directory: string, publicKey: Uint8Array): Promise<string[]> {
  const verify = createVerifier(publicKey);
  const journal = await openJournal(directory, SETTINGS);
  try {
    const names: string[] = [];
    const leaves: Uint8Array[] = [];
    for (let index = 0; index < journal.state().blocks; index++) {
      const record = await journal.record(index);
      assert.ok(record, `block ${index} is there`);
      const { entries, opening } = record;
      leaves.push(leafHash(leafDataOf(opening)));
      assert.deepEqual(decodeOpening(opening).root, blockRoot(entries));
      for (const bytes of entries) {
        const message = parseSign1(bytes);
        assert.ok(verifySign1(message, verify));
        names.push(nameOf(message.payload));
      }
    }
    assert.equal(journal.state().entries, names.length);
    assert.equal(toHex(journal.head()!.root), toHex(treeRoot(leaves)), 'the log is that of the blocks');
    return names;
  } finally {
    await journal.close();
  }
}

function nameOf(payload: Uint8Array): string {
  if (kindOf(payload) !== KIND.sample) return `notebook ${decodeEntry(payload).sequence}`;
  const { machine, sequence } = decodeSample(payload);
  return `${machine} ${sequence}`;
}

test(`${KILLS} times SIGKILL under load: nothing acknowledged is lost, no number is given twice`, async (t) => {
  const directory = await temporary(t);
  const program = await bundled(new URL('children/appender.ts', import.meta.url), directory);
  const data = join(directory, 'journal');
  const keys = await createGatewayKeys(directory);
  const acknowledged: string[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    const child = startAppender(t, program, data, directory);
    const enough = 1 + ((kill * 67) % 300);
    await until('acknowledged samples', () => child.acknowledged.length >= enough);
    if (kill === 0) {
      await assert.rejects(openJournal(data, SETTINGS), /in use by another kosmos process/);
    }
    await child.kill();
    acknowledged.push(...child.acknowledged);
  }
  assert.deepEqual(
    acknowledged.filter((line) => line.startsWith('ended')),
    [],
  );

  const stored = await readBack(data, keys.sample.publicKey);
  const counters = new Map<string, number>();
  for (const name of stored) {
    const [counted, sequence] = name.split(' ') as [string, string];
    assert.equal(Number(sequence), counters.get(counted) ?? 0, `${counted}: in order, without holes`);
    counters.set(counted, Number(sequence) + 1);
  }
  const there = new Set(stored);
  assert.deepEqual(
    acknowledged.filter((name) => name !== 'notebook' && !there.has(name)),
    [],
  );
  const entries = acknowledged.filter((name) => name === 'notebook').length;
  assert.ok(entries > 0 && (counters.get('notebook') ?? 0) >= entries);
  for (const machine of ['m1', 'm2', 'm3']) assert.ok(counters.get(machine)! > KILLS);
});
