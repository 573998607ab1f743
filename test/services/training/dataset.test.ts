import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createSign1Signer } from '../../../runtime/core/encoding/cose.ts';
import { encodeSample, type Sample } from '../../../runtime/core/encoding/sample.ts';
import { labelledWindows } from '../../../runtime/core/learning/episodes.ts';
import { createDataset, type DatasetOptions } from '../../../runtime/services/training/dataset.ts';
import { newKeys, until } from '../consortium.ts';
import { type GatewayState, newState, openState } from '../gateway-state.ts';

const SHEET = { channels: [{ name: 'load', unit: '%', low: 0, high: 100, leastWidth: 1 }] };
const WINDOWS = { window: 2, minimum: 2, slopeScale: 1, cap: 4 };

function datasetOf(
  t: TestContext,
  state: Omit<GatewayState, 'directory'>,
  runRows?: number,
  channels: DatasetOptions['channels'] = 1,
) {
  const logged: string[] = [];
  const changes: string[][] = [];
  const dataset = createDataset({
    journal: state.journal,
    book: state.book,
    verify: state.verify,
    stream: 'main',
    channels,
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

/** Signs samples of the press as this gateway does, with any number, time and more. */
function signer(state: GatewayState) {
  const own = createSign1Signer(state.keys.sample);
  const sign = (value: number, sequence: number, time = 1, more: Partial<Sample> = {}) =>
    own.sign(
      encodeSample({
        ...{ machine: 'press', stream: 'main', incarnation: 0, sequence, time },
        ...{ clock: 'free-running', values: [value] },
        ...more,
      }),
    );
  return { sign };
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
  const { count, labels, atLeast, episodes, failures } = labelledWindows(dataset.episodes(), SHEET, WINDOWS);
  assert.equal(episodes, 2);
  assert.equal(failures, 1);
  assert.equal(count, 4);
  assert.deepEqual([...labels], [1 / 4, 0, 1 / 4, 0]);
  assert.deepEqual([...atLeast], [1, 1, 0, 0]);
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
  const { rejected, notFinite, repeated } = dataset.counts();
  assert.deepEqual([rejected, notFinite, repeated], [4, 2, 0]);
});

test('a sample that is there twice, or late, makes no row', async (t) => {
  const state = await newState(t);
  const { dataset, read } = datasetOf(t, state);
  const { sign } = signer(state);
  await state.journal.append([sign(1, 0), sign(2, 1), sign(2, 1), sign(9, 0), sign(3, 5), sign(4, 4)]);
  await read();
  assert.deepEqual(shapes(dataset), ['press running 1,2,3']);
  assert.deepEqual([dataset.counts().repeated, dataset.counts().rejected], [3, 3]);
  // After a restore numbers count under a higher incarnation, from wherever they had got to.
  await state.journal.append([
    sign(5, 3, 100, { incarnation: 1 }),
    sign(6, 99, 100),
    sign(7, 4, 100, { incarnation: 1 }),
  ]);
  await read();
  assert.deepEqual(shapes(dataset), ['press running 1,2,3,5,7']);
});

test('a failure is found by incarnation and number, not by number alone', async (t) => {
  const state = await newState(t);
  const { dataset, read } = datasetOf(t, state);
  const { sign } = signer(state);
  const later = { incarnation: 1 };
  await state.journal.append([
    sign(1, 7),
    sign(2, 8),
    sign(3, 0, 1, later),
    sign(4, 1, 1, later),
    sign(5, 2, 1, later),
  ]);
  const at = { stream: 'main', incarnation: 1, sequence: 1 };
  await state.book.record({ machine: 'press', faults: [], type: 'failure', note: '', at });
  await read();
  assert.equal(shapes(dataset)[0], 'press failure 1,2,3,4');
});

test('rows bring their times, an episode the time of its last row, and a clock that was set shows', async (t) => {
  const state = await newState(t);
  const { dataset, read } = datasetOf(t, state);
  const { sign } = signer(state);
  const stepped = { clock: 'stepped' } as const;
  await state.journal.append([
    ...[sign(1, 0, 5000), sign(2, 1, 6000), sign(3, 2, 4000), sign(4, 3, 4500)],
    ...[sign(5, 4, 9000, stepped), sign(6, 5, 9500), sign(7, 6, 10_000, stepped)],
  ]);
  await event(state, 'failure', 5);
  await read();
  const [failed, running] = dataset.episodes();
  assert.deepEqual(failed?.times, [5000, 6000, 4000, 4500, 9000, 9500]);
  assert.deepEqual([failed?.steps, failed?.ended], [[2, 4], 9500]);
  assert.deepEqual([running?.times, running?.steps, running?.ended], [[10_000], [0], 10_000]);
  assert.equal(dataset.run('press'), undefined, 'it stands still');
  await event(state, 'maintenance', 6);
  await read();
  assert.deepEqual(dataset.run('press'), dataset.episodes()[1]);
  const gridded = { ...WINDOWS, window: 100, period: 500 };
  // Time ran backwards after two rows and was set after four: no window spans that, and the life before is not exact.
  const { count, labels, atLeast } = labelledWindows(dataset.episodes().slice(0, 1), SHEET, gridded);
  assert.equal(count, 1);
  assert.deepEqual([[...labels], [...atLeast]], [[0.5], [1]]);
});

test('a stream that declares other units or channels than the agreement is refused, with a reason', async (t) => {
  const state = await newState(t);
  const { dataset, read, logged } = datasetOf(t, state, undefined, [{ name: 'load', unit: '%' }]);
  const declare = (channels: readonly (readonly [string, string])[], stream = 'main') =>
    state.recorder.entry('stream', ['press', stream, 1000, channels.map((channel) => [...channel])]);
  await declare([['load', '%']]);
  await samples(state, [1, 2]);
  await declare([['sound', 'dB']], 'microphone');
  await declare([['load', 'kN']]);
  await samples(state, [3, 4]);
  await read();
  assert.deepEqual(shapes(dataset), ['press running 1,2']);
  assert.match(
    dataset.refusals().join(),
    /stream main of machine press.*load is in kN.*has it in %; set the driver/,
  );
  assert.equal(logged.length, 1);
  assert.equal(dataset.running('press'), undefined, 'nothing is foretold of it');
  await declare([['torque', '%']]);
  await read();
  assert.match(dataset.refusals().join(), /channel 1 is torque, the agreement’s load/);
  await declare([
    ['load', '%'],
    ['speed', '1/min'],
  ]);
  await read();
  assert.match(dataset.refusals().join(), /has 2 channels, the agreement 1/);
  await declare([['load', '%']]);
  await samples(state, [5]);
  await read();
  assert.deepEqual(dataset.refusals(), []);
  assert.deepEqual(shapes(dataset), ['press running 1,2,5']);
  assert.equal(dataset.counts().rejected, 2);
});

test('who learns from running machines hears when one has doubled its rows', async (t) => {
  const state = await newState(t);
  const { dataset, read } = datasetOf(t, state);
  await samples(state, [1]);
  await read();
  const before = dataset.revision();
  await samples(state, [2, 3, 4, 5, 6, 7]);
  await read();
  assert.equal(dataset.revision(), before + 2);
  const none = { ...WINDOWS, label: 'none' } as const;
  assert.equal(labelledWindows(dataset.episodes(), SHEET, none).count, 6);
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
