/** A journal to be damaged, and what must hold of whatever is opened afterwards. */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { type Journal, openJournal } from '../../../runtime/state/journal/journal.ts';
import { openStore } from '../../../runtime/state/journal/store.ts';
import { createClock } from '../../../runtime/state/provenance/clock.ts';
import { createGatewayKeys } from '../../../runtime/state/provenance/keys.ts';
import { openRecorder } from '../../../runtime/state/provenance/recorder.ts';
import { SETTINGS } from './helpers.ts';

export const BLOCKS = 600;

export interface Made {
  /** A directory of its own for each copy, the journal within. */
  copy(name: string): Promise<string>;
  remove(): Promise<void>;
  readonly root: string;
  /** Entries of each block, as hex. */
  readonly blocks: readonly (readonly string[])[];
}

/** A journal of 600 blocks with two streams and a notebook; part of it in tables, the newest in the write-ahead file. */
export async function made(): Promise<Made> {
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-damaged-'));
  const path = join(directory, 'whole', 'journal');
  await mkdir(join(directory, 'whole'));
  const keys = await createGatewayKeys(directory);
  let journal = await openJournal(path, SETTINGS);
  let recorder = await openRecorder(journal, keys, createClock());
  for (let block = 0; block < BLOCKS; block++) {
    if (block % 50 === 7) await recorder.entry('gap', [block]);
    else {
      await Promise.all(
        ['a', 'b'].map(
          (machine) => recorder.sample({ machine, stream: 's', values: [block, Math.random()] }).durable,
        ),
      );
    }
    if (block % 100 === 50) await journal.moveCursor('reader', { block, entry: 0 });
    if (block !== 520) continue;
    await journal.close();
    const store = await openStore(path, 'existing');
    await store.compact({ from: '', to: '\uffff' });
    await store.close();
    journal = await openJournal(path, SETTINGS);
    recorder = await openRecorder(journal, keys, createClock());
  }
  const blocks = await contents(journal);
  const root = toHex(journal.head()!.root);
  await journal.close();
  assert.equal(blocks.length, BLOCKS);
  return {
    root,
    blocks: blocks.map((one) => one!),
    remove: () => rm(directory, { recursive: true }),
    async copy(name) {
      await cp(join(directory, 'whole'), join(directory, name), { recursive: true });
      return join(directory, name, 'journal');
    },
  };
}

export async function contents(journal: Journal): Promise<(readonly string[] | undefined)[]> {
  const all: (readonly string[] | undefined)[] = [];
  for (let block = 0; block < journal.state().blocks; block++)
    all.push((await journal.block(block))?.map(toHex));
  return all;
}

/** Everything that can be read is what was written; what cannot is among the lost blocks. */
export async function assertTrue(whole: Made, journal: Journal): Promise<number> {
  const { lost, blocks } = journal.state();
  let gone = 0;
  for (const [block, entries] of (await contents(journal)).entries()) {
    if (entries) assert.deepEqual(entries, whole.blocks[block], `block ${block}`);
    else {
      gone += 1;
      assert.ok(
        lost.some(([from, to]) => block >= from && block < to),
        `block ${block} is gone without a word`,
      );
    }
  }
  if (blocks === BLOCKS) assert.equal(toHex(journal.head()!.root), whole.root);
  assert.equal(
    lost.reduce((sum, [from, to]) => sum + to - from, 0),
    gone,
  );
  return gone;
}

export async function fileOf(path: string, pattern: RegExp): Promise<string> {
  const names = (await readdir(path)).filter((name) => pattern.test(name)).sort();
  return join(path, names.at(-1)!);
}

/** Changes one byte in its place: somebody may be reading the file. */
export async function flip(file: string, at: number): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    const byte = new Uint8Array(1);
    await handle.read(byte, 0, 1, at);
    byte[0]! ^= 0x20;
    await handle.write(byte, 0, 1, at);
  } finally {
    await handle.close();
  }
}
