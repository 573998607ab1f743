import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { TrainingJob } from '../../../runtime/core/learning/job.ts';
import {
  createCheckpoints,
  jobDigest,
  LARGEST_CHECKPOINT,
  packState,
  unpackState,
} from '../../../runtime/services/training/checkpoint.ts';
import { trialJob } from '../../../runtime/services/training/trial.ts';
import type { Journal } from '../../../runtime/state/journal/journal.ts';
import type { Write } from '../../../runtime/state/journal/store.ts';
import { newKeys, temporaryDirectory } from '../consortium.ts';
import { openState } from '../gateway-state.ts';

function checkpointsOver(journal: Pick<Journal, 'section' | 'write'>) {
  const lines: string[] = [];
  return { lines, ...createCheckpoints(journal, (level, message) => lines.push(`${level} ${message}`)) };
}

async function journalIn(t: TestContext, directory: string) {
  const { journal } = await openState(directory, newKeys());
  t.after(() => journal.close());
  return journal;
}

/** What was handed in before is durable when a later write is. */
async function settled(journal: Journal): Promise<void> {
  await journal.write([journal.section('test').put('turn', Uint8Array.of(1))]);
  await new Promise((resolve) => setImmediate(resolve));
}

test('a state is kept under its name, the newest one, over a restart', async (t) => {
  const directory = await temporaryDirectory(t);
  const journal = await journalIn(t, directory);
  const { load, save } = checkpointsOver(journal);
  assert.equal(await load('round'), undefined);
  save('round', Uint8Array.of(1, 2));
  await settled(journal);
  save('round', Uint8Array.of(3));
  await settled(journal);
  await journal.close();
  const again = await journalIn(t, directory);
  const reopened = checkpointsOver(again);
  assert.deepEqual(await reopened.load('round'), Uint8Array.of(3));
  assert.deepEqual(reopened.lines, []);
});

test('another run’s state is dropped with a warning, and there is never more than one', async (t) => {
  const journal = await journalIn(t, await temporaryDirectory(t));
  const { load, save, lines } = checkpointsOver(journal);
  save('first', Uint8Array.of(1));
  await settled(journal);
  save('second', Uint8Array.of(2));
  await settled(journal);
  let records = 0;
  for await (const _ of journal.section('training-checkpoint').entries()) records += 1;
  assert.equal(records, 1);
  assert.equal(await load('first'), undefined);
  assert.deepEqual(lines, ['warn a training checkpoint is ignored: it is of another run']);
  assert.equal(await load('second'), undefined, 'it is gone');
});

test('what forgets comes after what saves, alone or in the batch of a charge', async (t) => {
  const journal = await journalIn(t, await temporaryDirectory(t));
  const { load, save, forget, forgetting } = checkpointsOver(journal);
  save('run', Uint8Array.of(1));
  await forget();
  assert.equal(await load('run'), undefined);
  save('run', Uint8Array.of(2));
  const charge = journal.section('test').put('charge', Uint8Array.of(9));
  await journal.write([charge, ...forgetting()]);
  assert.equal(await load('run'), undefined);
});

test('a damaged record is ignored with a warning, not taken and not fatal', async (t) => {
  const journal = await journalIn(t, await temporaryDirectory(t));
  const section = journal.section('training-checkpoint');
  for (const damaged of [[], [0], [0, 9, 1], [255, 255, 114]]) {
    const { load, lines } = checkpointsOver(journal);
    await journal.write([section.put('current', Uint8Array.from(damaged))]);
    assert.equal(await load('run'), undefined);
    assert.match(lines.join(), /^warn a training checkpoint is ignored: it is cut off$/);
  }
  const { load, lines } = checkpointsOver({
    section: (name) => ({
      ...journal.section(name),
      get: () => Promise.reject(new Error('the checksum does not match')),
    }),
    write: journal.write,
  });
  assert.equal(await load('run'), undefined);
  assert.match(lines.join(), /^warn a training checkpoint is ignored: the checksum does not match$/);
});

test('what is too large is not kept, and that is said once a run', async (t) => {
  const journal = await journalIn(t, await temporaryDirectory(t));
  const { load, save, lines } = checkpointsOver(journal);
  save('run', new Uint8Array(LARGEST_CHECKPOINT + 1));
  save('run', new Uint8Array(LARGEST_CHECKPOINT + 1));
  save('n'.repeat(2000), Uint8Array.of(1));
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /cannot go on after a crash: its state of \d+ bytes is over the limit/);
  assert.equal(await load('run'), undefined);
});

test('a disk that takes nothing is handed one state, not a queue of them', async () => {
  const handed: number[] = [];
  let written = () => {};
  const { save } = checkpointsOver({
    section: () => ({
      get: async () => undefined,
      put: (key: string, value: Uint8Array) => ({ type: 'put', key, value }),
      del: (key: string) => ({ type: 'del', key }),
    }),
    write: (writes: readonly Write[]) => {
      handed.push(writes.length);
      return new Promise<void>((resolve) => {
        written = resolve;
      });
    },
  } as unknown as Journal);
  for (let count = 0; count < 50; count += 1) save('run', Uint8Array.of(count));
  assert.equal(handed.length, 1);
  written();
  await new Promise((resolve) => setImmediate(resolve));
  save('run', Uint8Array.of(51));
  assert.equal(handed.length, 2);
});

const model = { kind: 'dense', inputs: 3, hidden: [2], activation: 'tanh' } as const;
const job = trialJob({
  model,
  unit: 'window',
  windows: 6,
  episodeLength: 3,
  samplingRate: 0.5,
  steps: 4,
});

test('a state goes back into its own job only', () => {
  const state = { done: 3, parameters: Float64Array.of(1, 2), of: { 'a b': [Uint8Array.of(7)] } };
  const digest = jobDigest(job);
  const bytes = packState(digest, state);
  assert.deepEqual(unpackState(digest, bytes), state);
  const changed: Partial<TrainingJob>[] = [
    { steps: 5 },
    { clipNorm: 0.2 },
    { labels: job.labels.map((label) => label + 1e-6) },
    { features: job.features.map((value, index) => (index === 4 ? -value : value)) },
    { parameters: job.parameters.map((value) => value * 2) },
    { episodeOf: Int32Array.from([0, 0, 0, 1, 1, 2]) },
    { optimiser: { kind: 'sgd', momentum: 0 } },
    { model: { ...model, activation: 'relu' } },
  ];
  for (const change of changed) {
    const other = jobDigest({ ...job, ...change });
    assert.throws(() => unpackState(other, bytes), /other data or settings/, Object.keys(change).join());
  }
  assert.equal(jobDigest({ ...job, features: job.features.slice() }), digest);
});

test('a state that is cut off, turned over or of another program is refused', () => {
  const digest = jobDigest(job);
  const bytes = packState(digest, { done: 3 });
  for (const bad of [new Uint8Array(0), bytes.subarray(0, bytes.length / 2), Uint8Array.from([1, 2, 3])]) {
    assert.throws(() => unpackState(digest, bad), /damaged/);
  }
  for (let at = 0; at < bytes.length; at += 1) {
    const flipped = Uint8Array.from(bytes, (byte, index) => (index === at ? byte ^ 1 : byte));
    try {
      // A flip that still reads is one within the state; the journal's checksum is what finds that.
      unpackState(digest, flipped);
    } catch (error) {
      assert.match((error as Error).message, /^it is (damaged|of another version|of a job with other)/);
    }
  }
});
