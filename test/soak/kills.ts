/**
 * Kills a gateway's log under load at random moments, and checks what is left each time: nothing acknowledged is
 * lost, no number is given twice, every checkpoint that was ever published is of the log as it is now.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createVerifier } from '#ed25519';
import { toBase64 } from '../../runtime/core/encoding/base64.ts';
import { verifySign1 } from '../../runtime/core/encoding/cose.ts';
import { KIND, kindOf } from '../../runtime/core/encoding/kind.ts';
import { decodeSample } from '../../runtime/core/encoding/sample.ts';
import { decodeOpening, leafDataOf, readEntry, verifyBlock } from '../../runtime/core/log/block.ts';
import { decodeBundle } from '../../runtime/core/log/bundle.ts';
import { readRoot } from '../../runtime/core/log/proof.ts';
import { hashReaderFromTiles, TILE_WIDTH } from '../../runtime/core/log/tiles.ts';
import { type Journal, openJournal } from '../../runtime/state/journal/journal.ts';
import { journalSettings } from '../../runtime/state/journal/settings.ts';
import { createGatewayKeys } from '../../runtime/state/provenance/keys.ts';
import { bundled } from '../state/bundle.ts';

export interface KillOptions {
  readonly directory: string;
  readonly kills: number;
  /** The longest that a process lives before it is killed. */
  readonly maxLifeMs: number;
  readonly progress: (done: number, told: Told) => void;
}

/** What all processes so far have told. */
export interface Told {
  readonly acknowledged: number;
  readonly checkpoints: number;
}

interface Heard {
  /** Numbers acknowledged since the last look, by machine. */
  readonly acknowledged: Map<string, number[]>;
  readonly checkpoints: Map<number, string>;
  readonly complaints: string[];
}

/** @throws AssertionError that says what was lost, given twice or contradicted. */
export async function killAgainAndAgain({
  directory,
  kills,
  maxLifeMs,
  progress,
}: KillOptions): Promise<Told> {
  const program = await bundled(new URL('children/gateway.ts', import.meta.url), directory);
  const data = join(directory, 'journal');
  const keys = await createGatewayKeys(directory);
  const verify = createVerifier(keys.sample.publicKey);
  const checkpoints = new Map<number, string>();
  const seen = createSeen();
  let acknowledged = 0;
  for (let kill = 1; kill <= kills; kill++) {
    const heard = await liveAndDie(program, data, directory, Math.random() * maxLifeMs);
    assert.deepEqual(heard.complaints, []);
    for (const numbers of heard.acknowledged.values()) acknowledged += numbers.length;
    for (const [size, root] of heard.checkpoints) {
      assert.equal(checkpoints.get(size) ?? root, root, `two checkpoints of size ${size}`);
      checkpoints.set(size, root);
    }
    const journal = await openJournal(data, journalSettings.parse({ maxBytes: '2GB' }));
    try {
      await seen.readOn(journal, verify);
      seen.expect(heard.acknowledged);
      await checkRoots(journal, heard.checkpoints);
      if (kill === kills || kill % 100 === 0) await checkRoots(journal, checkpoints);
    } finally {
      await journal.close();
    }
    progress(kill, { acknowledged, checkpoints: checkpoints.size });
  }
  return { acknowledged, checkpoints: checkpoints.size };
}

/** Runs the program until it has told something, and for a while, then kills it in whatever it does. */
async function liveAndDie(program: string, data: string, keys: string, lifeMs: number): Promise<Heard> {
  const child: ChildProcess = spawn(process.execPath, [program, data, keys], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const heard: Heard = { acknowledged: new Map(), checkpoints: new Map(), complaints: [] };
  const closed = once(child, 'close');
  child.stderr!.setEncoding('utf8').on('data', (text: string) => heard.complaints.push(text));
  const lines = createInterface({ input: child.stdout! });
  const first = new Promise<void>((resolve) => lines.once('line', () => resolve()));
  lines.on('line', (line) => take(heard, line));
  await Promise.race([first, closed]);
  await new Promise((resolve) => setTimeout(resolve, lifeMs));
  child.kill('SIGKILL');
  const [code, signal] = await closed;
  if (signal !== 'SIGKILL') heard.complaints.push(`it ended by itself, code ${code}`);
  return heard;
}

function take(heard: Heard, line: string): void {
  const [what, a, b, c] = line.split(' ');
  if (what === 'a') {
    const name = `${a} ${b}`;
    const numbers = heard.acknowledged.get(name) ?? [];
    numbers.push(Number(c));
    heard.acknowledged.set(name, numbers);
  } else if (what === 'c' && b?.length === 44) {
    const before = heard.checkpoints.get(Number(a));
    if (before !== undefined && before !== b) heard.complaints.push(`two checkpoints of size ${a}`);
    heard.checkpoints.set(Number(a), b);
  } else if (what === 'r') heard.complaints.push(line);
}

/** Reads each block once, as it comes, and keeps how far each stream has been seen. */
function createSeen() {
  const next = new Map<string, number>();
  let block = 0;
  return {
    async readOn(journal: Journal, verify: ReturnType<typeof createVerifier>): Promise<void> {
      assert.ok(journal.state().blocks >= block, 'blocks that were there have gone');
      for (; block < journal.state().blocks; block++) {
        const record = await journal.record(block);
        // Retention drops the oldest; the newest are not among them.
        if (!record) {
          assert.ok(block < journal.state().blocks - 100, `block ${block} is there`);
          continue;
        }
        const opening = decodeOpening(record.opening);
        if (opening.signature) assert.ok(verifyBlock(opening, verify));
        for (const bytes of record.entries) {
          const entry = readEntry(bytes);
          if (entry.form === 'signed') assert.ok(verifySign1(entry.message, verify));
          if (kindOf(entry.payload) !== KIND.sample) continue;
          const { machine, incarnation, sequence } = decodeSample(entry.payload);
          const name = `${machine} ${incarnation}`;
          assert.equal(sequence, next.get(name) ?? 0, `${name}: in order, none missing, none twice`);
          next.set(name, sequence + 1);
        }
        await checkLeaf(journal, block, record.opening);
      }
    },
    expect(acknowledged: ReadonlyMap<string, readonly number[]>): void {
      for (const [name, numbers] of acknowledged) {
        const highest = Math.max(...numbers);
        assert.ok(highest < (next.get(name) ?? 0), `${name}: ${highest} was acknowledged and is lost`);
        assert.equal(new Set(numbers).size, numbers.length, `${name}: a number was acknowledged twice`);
      }
    },
  };
}

async function checkLeaf(journal: Journal, block: number, opening: Uint8Array): Promise<void> {
  const column = block % TILE_WIDTH;
  const leaves = decodeBundle(await journal.bundle(Math.floor(block / TILE_WIDTH), column + 1), column + 1);
  assert.deepEqual(leaves[column], leafDataOf(opening), `leaf ${block} is that of its block`);
}

async function checkRoots(journal: Journal, checkpoints: ReadonlyMap<number, string>): Promise<void> {
  for (const [size, root] of checkpoints) {
    assert.ok(
      size <= journal.state().blocks,
      `a checkpoint of size ${size} was published, and the log is shorter`,
    );
    const reader = hashReaderFromTiles(journal.state().blocks, (level, index, width) =>
      journal.tile(level, index, width),
    );
    assert.equal(toBase64(await readRoot(size, reader)), root, `the root at size ${size}`);
  }
}
