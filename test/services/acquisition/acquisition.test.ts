import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createAcquisition } from '../../../runtime/services/acquisition/acquisition.ts';
import type { SensorLike } from '../../../runtime/services/acquisition/stream.ts';
import { until } from '../consortium.ts';
import { contents, type GatewayState, newState, openState } from '../gateway-state.ts';

type Read = SensorLike['read'];

/** A sensor whose readings a function gives. */
function sensor(read: Read, closed: () => void = () => {}): SensorLike {
  return { channels: [{ name: 'load', unit: '%' }], read, close: async () => closed() };
}

function counting(until = Number.POSITIVE_INFINITY): SensorLike {
  let next = 0;
  return sensor(async () => (next >= until ? 'end' : { values: [next++] }));
}

/** Streams by name (machine `m-<name>`), each with what opens its sensor. */
function acquisitionOf(
  state: GatewayState,
  streams: Readonly<Record<string, () => Promise<SensorLike>>>,
  intervalMs = 5,
) {
  const logged: string[] = [];
  let events = 0;
  const acquisition = createAcquisition({
    machines: Object.keys(streams).map((name) => ({
      id: `m-${name}`,
      stream: [
        {
          driver: 'test',
          name,
          intervalMs,
          phaseMs: 0,
          signing: 'sample',
          whenFull: 'drop-oldest',
          settings: {},
        },
      ],
    })),
    recorder: state.recorder,
    book: state.book,
    openSensor: (_machine, stream) => streams[stream.name]!(),
    onEvent: () => {
      events += 1;
    },
    log: (level, message) => void logged.push(`${level} ${message}`),
  });
  const statusOf = (name: string) => acquisition.status().find((status) => status.stream === name)!;
  return { acquisition, logged, statusOf, events: () => events };
}

const gapsOf = async (t: { journal: GatewayState['journal'] }, stream: string) =>
  (await contents(t.journal)).entries
    .filter((entry) => entry.kind === 'gap')
    .map((entry) => entry.body as readonly (string | number)[])
    .filter((body) => body[1] === stream);

async function started(
  t: TestContext,
  streams: Readonly<Record<string, () => Promise<SensorLike>>>,
  intervalMs?: number,
) {
  const state = await newState(t);
  const made = acquisitionOf(state, streams, intervalMs);
  t.after(() => made.acquisition.stop());
  made.acquisition.start();
  return { ...made, state };
}

test('samples are numbered without a hole, in order, and declared with their channels', async (t) => {
  const { acquisition, statusOf, state } = await started(t, {
    a: async () => counting(),
    b: async () => counting(),
  });
  await until(() => statusOf('a').samples >= 5 && statusOf('b').samples >= 5, 'samples of both');
  await acquisition.stop();
  const { samples, entries } = await contents(state.journal);
  for (const name of ['a', 'b']) {
    const own = samples.filter((sample) => sample.stream === name);
    assert.deepEqual(
      own.map(({ sequence }) => sequence),
      own.map((_, index) => index),
    );
    assert.deepEqual(
      own.map(({ values }) => values[0]),
      own.map((_, index) => index),
    );
    assert.equal(own.length, statusOf(name).samples);
  }
  const declared = entries.filter(({ kind }) => kind === 'stream').map(({ body }) => body);
  assert.deepEqual(declared, [
    ['m-a', 'a', 5, [['load', '%']]],
    ['m-b', 'b', 5, [['load', '%']]],
  ]);
});

test('a dead sensor makes a named gap, and the others go on; when it lives again that is said too', async (t) => {
  let alive = false;
  const next = counting();
  const { acquisition, statusOf, state } = await started(t, {
    good: async () => counting(),
    bad: async () =>
      sensor(async () => {
        if (!alive) throw new Error('no answer at address 0x76');
        return next.read();
      }),
  });
  await until(async () => (await gapsOf(state, 'bad')).length > 0, 'the gap is named');
  const [gap] = await gapsOf(state, 'bad');
  assert.equal(gap?.[0], 'm-bad');
  assert.equal(gap?.[4], 'no answer at address 0x76');
  assert.equal(statusOf('bad').state, 'failing');
  assert.equal(statusOf('bad').trouble, 'no answer at address 0x76');
  const before = statusOf('good').samples;
  await until(() => statusOf('good').samples > before + 3, 'the good one goes on');
  assert.equal(acquisition.settled(), true, 'sources without an end are not waited for');
  alive = true;
  await until(() => statusOf('bad').samples > 0, 'it lives again');
  assert.equal(statusOf('bad').state, 'running');
  assert.equal(statusOf('bad').trouble, undefined);
  const gaps = await gapsOf(state, 'bad');
  assert.ok(Number(gaps.at(-1)?.[3]) >= 1, 'how many were missed');
});

test('a sensor that cannot be opened is tried again', async (t) => {
  let tries = 0;
  const { statusOf, state } = await started(t, {
    a: async () => {
      tries += 1;
      if (tries === 1) throw new Error('no such bus: /dev/i2c-9');
      return counting();
    },
  });
  await until(() => statusOf('a').samples > 0, 'samples');
  assert.equal(tries, 2);
  assert.equal((await gapsOf(state, 'a'))[0]?.[4], 'no such bus: /dev/i2c-9');
});

test('a sensor that hangs becomes a gap in the end, while others go on, and is opened anew', {
  timeout: 60_000,
}, async (t) => {
  let opened = 0;
  let closed = 0;
  const { statusOf, state } = await started(t, {
    good: async () => counting(),
    hung: async () => {
      opened += 1;
      return opened === 1
        ? sensor(
            () => new Promise(() => {}),
            () => {
              closed += 1;
            },
          )
        : counting();
    },
  });
  await until(() => statusOf('good').samples > 10, 'the good one is not held up');
  assert.equal(statusOf('hung').state, 'starting');
  await until(() => statusOf('hung').samples > 0, 'it is opened anew');
  assert.equal(closed, 1);
  assert.match(String((await gapsOf(state, 'hung'))[0]?.[4]), /the sensor does not answer within/);
});

test('a stop does not wait for a sensor that hangs, be it read, opened or closed', {
  timeout: 8000,
}, async (t) => {
  const never = () => new Promise<never>(() => {});
  const { acquisition, statusOf, state } = await started(t, {
    reading: async () => sensor(never),
    opening: never,
    closing: async () => ({ ...counting(), close: never }),
    good: async () => counting(),
  });
  await until(() => statusOf('good').samples > 2, 'samples');
  // The limit of a read is 10 s, that of this test 8.
  await acquisition.stop();
  const { samples } = await contents(state.journal);
  assert.equal(samples.filter((sample) => sample.stream === 'good').length, statusOf('good').samples);
});

test('what is in hand when it stops is durable, and a restart goes on counting behind it', async (t) => {
  const { acquisition, state, statusOf } = await started(t, { a: async () => counting() }, 0);
  await until(() => statusOf('a').samples > 50, 'samples');
  await acquisition.stop();
  const signed = state.recorder.signed();
  const first = await contents(state.journal);
  assert.equal(
    first.samples.length + first.entries.length,
    signed,
    'every entry that was signed is in the journal',
  );
  await state.journal.close();
  const again = await openState(state.directory, state.keys);
  t.after(() => again.journal.close());
  const second = acquisitionOf(again, { a: async () => counting() });
  second.acquisition.start();
  await until(() => second.statusOf('a').samples > 2, 'more samples');
  await second.acquisition.stop();
  const { samples } = await contents(again.journal);
  assert.deepEqual(
    samples.map(({ sequence }) => sequence),
    samples.map((_, index) => index),
  );
});

test('a failure and a repair become maintenance entries that refer to their samples', async (t) => {
  let next = 0;
  const { acquisition, state, statusOf, events } = await started(t, {
    a: async () =>
      sensor(async () => {
        next += 1;
        const event = next === 4 ? 'failure' : next === 7 ? 'repair' : undefined;
        return { values: [next], ...(event ? { event } : {}) };
      }),
  });
  await until(() => statusOf('a').samples >= 8, 'samples');
  await acquisition.stop();
  const { samples, entries } = await contents(state.journal);
  const made = await Promise.all(
    entries.filter(({ kind }) => kind === 'maintenance').map(({ body }) => state.book.open(body)),
  );
  assert.deepEqual(
    made.map(({ machine, type, at }) => ({ machine, type, at })),
    [
      { machine: 'm-a', type: 'failure', at: { stream: 'a', incarnation: 0, sequence: 3 } },
      { machine: 'm-a', type: 'maintenance', at: { stream: 'a', incarnation: 0, sequence: 6 } },
    ],
  );
  assert.equal(samples.find(({ sequence }) => sequence === 3)?.values[0], 4);
  assert.equal(events(), 2);
});

test('a recording comes to its end, and only then is everything settled', async (t) => {
  let release: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const recording = counting(100);
  const { acquisition, statusOf, state } = await started(
    t,
    {
      a: async () =>
        sensor(async () => {
          await gate;
          return recording.read();
        }),
    },
    0,
  );
  assert.equal(acquisition.settled(), false);
  release();
  await until(() => acquisition.settled(), 'settled');
  assert.equal(statusOf('a').state, 'ended');
  await acquisition.stop();
  assert.equal((await contents(state.journal)).samples.length, 100);
});
