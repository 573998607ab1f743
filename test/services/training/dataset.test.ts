import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createSign1Signer } from '../../../runtime/core/encoding/cose.ts';
import { encodeSample } from '../../../runtime/core/encoding/sample.ts';
import { labelledWindows } from '../../../runtime/core/learning/episodes.ts';
import { createDataset } from '../../../runtime/services/training/dataset.ts';
import { newKeys, until } from '../consortium.ts';
import { type GatewayState, newState, openState } from '../gateway-state.ts';

const SHEET = { channels: [{ name: 'load', unit: '%', low: 0, high: 100, leastWidth: 1 }] };
const WINDOWS = { window: 2, minimum: 2, slopeScale: 1, cap: 4 };

function datasetOf(t: TestContext, state: Omit<GatewayState, 'directory'>, runRows?: number) {
  const logged: string[] = [];
  const changes: string[][] = [];
  const dataset = createDataset({
    journal: state.journal,
    book: state.book,
    verify: state.verify,
    stream: 'main',
    channels: 1,
    onChange: (machines) => void changes.push([...machines]),
    log: (level, message) => void logged.push(`${level} ${message}`),
    ...(runRows === undefined ? {} : { runRows }),
  });
  t.after(() => dataset.stop());
  dataset.start();
  const read = () =>
    until(
      () => dataset.lag() === 0,
      () => logged.join('\n'),
    );
  return { dataset, logged, changes, read };
}

/** Samples of one machine with these values; the last one's number. */
async function samples(
  state: GatewayState,
  values: readonly number[],
  machine = 'press',
  stream = 'main',
): Promise<number> {
  let last = 0;
  const durable = values.map((value) => {
    const made = state.recorder.sample({ machine, stream, values: [value] });
    last = made.sequence;
    return made.durable;
  });
  await Promise.all(durable);
  return last;
}

function event(
  state: GatewayState,
  type: 'failure' | 'maintenance' | 'fault',
  sequence?: number,
  stream = 'main',
  machine = 'press',
) {
  const at = sequence === undefined ? undefined : { stream, incarnation: 0, sequence };
  return state.book.record({ machine, faults: [], type, note: '', at });
}

const shapes = (dataset: {
  episodes(): readonly { machine: string; end: string; rows: readonly (readonly number[])[] }[];
}) =>
  dataset.episodes().map(({ machine, end, rows }) => `${machine} ${end} ${rows.map((row) => row[0]).join()}`);

test('episodes end with failure entries, and with nothing else', async (t) => {
  const state = await newState(t);
  const { dataset, read } = datasetOf(t, state);
  await samples(state, [1, 2, 3]);
  await read();
  assert.deepEqual(shapes(dataset), ['press running 1,2,3']);
  await event(state, 'fault', 2);
  await read();
  assert.deepEqual(shapes(dataset), ['press running 1,2,3'], 'a fault ends nothing');
  await event(state, 'failure', 2);
  await read();
  assert.deepEqual(shapes(dataset)[0], 'press failure 1,2,3');
  assert.equal(dataset.running('press'), undefined, 'it stands still');
  const first = (await samples(state, [10, 11])) - 1;
  await event(state, 'maintenance', first);
  await samples(state, [12]);
  await read();
  assert.deepEqual(shapes(dataset), ['press failure 1,2,3', 'press running 10,11,12']);
  assert.deepEqual(dataset.running('press'), [[10], [11], [12]]);
  assert.equal(dataset.counts().failures, 1);
});

test('what lies between a failure and the repair belongs to no episode', async (t) => {
  const state = await newState(t);
  const { dataset, read } = datasetOf(t, state);
  const failed = await samples(state, [1, 2]);
  await samples(state, [3, 4]);
  await event(state, 'failure', failed);
  await samples(state, [5, 6]);
  await event(state, 'maintenance');
  await samples(state, [7]);
  await read();
  assert.deepEqual(shapes(dataset), ['press failure 1,2', 'press running 7']);
});

test('a run that was ended by maintenance is censored: nobody knows how long it would have lasted', async (t) => {
  const state = await newState(t);
  const { dataset, read } = datasetOf(t, state);
  await samples(state, [1, 2, 3]);
  await event(state, 'maintenance');
  const last = await samples(state, [4, 5, 6]);
  await event(state, 'failure', last);
  await read();
  assert.deepEqual(shapes(dataset), ['press censored 1,2,3', 'press failure 4,5,6', 'press running ']);
  const { count, labels, episodes } = labelledWindows(dataset.episodes(), SHEET, WINDOWS);
  assert.equal(episodes, 1);
  assert.equal(count, 2);
  assert.deepEqual([...labels], [1 / 4, 0]);
});

test('without a failure entry there is no label, whatever the values say', async (t) => {
  const state = await newState(t);
  const { dataset, read } = datasetOf(t, state);
  await samples(state, [1, 50, 99, 100, 0]);
  await read();
  assert.equal(labelledWindows(dataset.episodes(), SHEET, WINDOWS).count, 0);
});

test('a failure noticed on another stream ends the episode where it arrived', async (t) => {
  const state = await newState(t);
  const { dataset, read } = datasetOf(t, state);
  await samples(state, [1, 2, 3, 4, 5]);
  const other = await samples(state, [9], 'press', 'contact');
  assert.equal(other, 0);
  await event(state, 'failure', other, 'contact');
  await read();
  assert.deepEqual(shapes(dataset)[0], 'press failure 1,2,3,4,5');
});

test('machines do not mix, and other streams are read past', async (t) => {
  const state = await newState(t);
  const { dataset, read } = datasetOf(t, state);
  await Promise.all([
    samples(state, [1, 2], 'press'),
    samples(state, [7, 8], 'lathe'),
    samples(state, [5], 'press', 'sound'),
  ]);
  await event(state, 'failure', 1, 'main', 'lathe');
  await read();
  assert.deepEqual([...shapes(dataset)].sort(), ['lathe failure 7,8', 'lathe running ', 'press running 1,2']);
});

test('a sample whose signature is broken never gets in, nor one that another key signed', async (t) => {
  const state = await newState(t);
  const { dataset, read, logged } = datasetOf(t, state);
  const payload = (value: number, sequence: number) =>
    encodeSample({
      machine: 'press',
      stream: 'main',
      incarnation: 0,
      sequence,
      time: 1,
      clock: 'free-running',
      values: [value],
    });
  const own = createSign1Signer(state.keys.sample);
  const stranger = createSign1Signer(newKeys().sample);
  const broken = own.sign(payload(666, 1));
  broken[broken.length - 1]! ^= 1;
  const swapped = own.sign(payload(667, 2));
  const at = Buffer.from(swapped).indexOf(Buffer.from(payload(667, 2))) + payload(667, 2).length - 1;
  swapped[at]! ^= 1;
  await state.journal.append([
    own.sign(payload(1, 0)),
    broken,
    swapped,
    stranger.sign(payload(668, 3)),
    Uint8Array.of(0xff),
    own.sign(payload(2, 4)),
  ]);
  await read();
  assert.deepEqual(shapes(dataset), ['press running 1,2']);
  assert.deepEqual([dataset.counts().verified, dataset.counts().rejected], [2, 4]);
  assert.equal(logged.length, 4);
});

test('a sample with too few values or one that is no number is not learned from', async (t) => {
  const state = await newState(t);
  const { dataset, read } = datasetOf(t, state);
  for (const values of [[1], [], [1, 2], [Number.NaN], [Number.POSITIVE_INFINITY], [2]]) {
    await state.recorder.sample({ machine: 'press', stream: 'main', values }).durable;
  }
  await read();
  assert.deepEqual(shapes(dataset), ['press running 1,2']);
});

test('a restart reads everything again and comes to the same', async (t) => {
  const state = await newState(t);
  const last = await samples(state, [1, 2, 3]);
  await event(state, 'failure', last);
  await event(state, 'maintenance');
  await samples(state, [4]);
  await state.journal.close();
  const again = await openState(state.directory, state.keys);
  t.after(() => again.journal.close());
  const { dataset, read } = datasetOf(t, again);
  await read();
  assert.deepEqual(shapes(dataset), ['press failure 1,2,3', 'press running 4']);
});

test('who listens hears of each machine that has something new', async (t) => {
  const state = await newState(t);
  const { changes, read } = datasetOf(t, state);
  await samples(state, [1], 'press');
  await samples(state, [1], 'lathe', 'sound');
  await samples(state, [1], 'lathe');
  await read();
  await until(() => changes.length === 2, 'both are told');
  assert.deepEqual(changes, [['press'], ['lathe']]);
});

test('the rows of a run that never ends are bounded, the newest kept', async (t) => {
  const state = await newState(t);
  const { dataset, read } = datasetOf(t, state, 100);
  await samples(
    state,
    Array.from({ length: 1234 }, (_, index) => index),
  );
  await read();
  const rows = dataset.running('press')!;
  assert.ok(rows.length >= 100 && rows.length < 200, `${rows.length} rows`);
  assert.deepEqual(rows.at(-1), [1233]);
  await event(state, 'failure', 1233);
  await read();
  assert.equal(dataset.episodes()[0]?.end, 'failure');
  assert.equal(dataset.episodes()[0]?.rows.length, rows.length);
});
