import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type AlarmRule, ruleFor } from '../../../runtime/core/learning/alarm.ts';
import type { Episode, LabelSpec } from '../../../runtime/core/learning/episodes.ts';
import type { ModelSpec } from '../../../runtime/core/learning/model.ts';
import { openAlarms } from '../../../runtime/services/training/alarm.ts';
import { createCalibration } from '../../../runtime/services/training/calibration.ts';
import {
  createPredictor,
  describePrediction,
  type Prediction,
} from '../../../runtime/services/training/prediction.ts';
import type { MaintenanceFields } from '../../../runtime/state/maintenance/entry.ts';
import { createRandom } from '../../core/learning/random.ts';
import { type GatewayState, newState } from '../gateway-state.ts';

const MODEL: ModelSpec = { kind: 'dense', inputs: 2, hidden: [], activation: 'tanh' };
const SHEET = { channels: [{ name: 'a', unit: '/', low: -100, high: 100, leastWidth: 1 }] };
const SPEC: LabelSpec = { window: 2, minimum: 2, slopeScale: 1, cap: 100 };
/** Says the mean of the last two rows. */
const MEAN = Float64Array.of(1, 0, 0);
const RULE: AlarmRule = { raise: 30, clear: 40, persistence: 3 };

/** Machines whose rows a test writes. */
function plant() {
  const runs = new Map<string, { rows: number[][]; times: number[] }>();
  let now = 1_000_000;
  return {
    dataset: {
      machines: () => [...runs.keys()],
      run(machine: string): Episode | undefined {
        const run = runs.get(machine);
        return run && { machine, ...run, end: 'running', ended: run.times.at(-1) ?? Number.NaN };
      },
    },
    add(machine: string, ...values: number[]) {
      const run = runs.get(machine) ?? { rows: [], times: [] };
      runs.set(machine, run);
      for (const value of values) {
        run.rows.push([value]);
        run.times.push(now);
        now += 1000;
      }
    },
    repair: (machine: string) => void runs.set(machine, { rows: [], times: [] }),
    fail: (machine: string) => void runs.delete(machine),
  };
}

async function alarmsOf(state: GatewayState, rule = RULE) {
  const faults: Omit<MaintenanceFields, 'previous'>[] = [];
  const section = state.journal.section('alarm');
  const alarms = await openAlarms({
    rule,
    section,
    write: (writes) => state.journal.write(writes),
    async record(fields, writes) {
      const digest = await state.book.record(fields);
      await state.journal.write(writes);
      faults.push(fields);
      return digest;
    },
    log: () => {},
  });
  return { alarms, faults };
}

async function predictorOf(t: TestContext, state?: GatewayState) {
  const kept = state ?? (await newState(t));
  const machines = plant();
  const { alarms, faults } = await alarmsOf(kept);
  const emitted: Prediction[] = [];
  const make = (other = alarms) =>
    createPredictor({
      model: MODEL,
      sheet: SHEET,
      windows: SPEC,
      dataset: machines.dataset,
      alarms: other,
      roleOf: () => 'train',
      emit: (prediction) => void emitted.push(prediction),
    });
  const predictor = make();
  predictor.use(3, MEAN, true);
  const add = (machine: string, ...values: number[]) => {
    machines.add(machine, ...values);
    predictor.refresh([machine]);
  };
  return { state: kept, machines, predictor, alarms, faults, emitted, add, make };
}

test('an alarm is one fault entry, however many predictions there are and however they come', async (t) => {
  const { add, alarms, faults, predictor, state } = await predictorOf(t);
  add('press', 90, 90, 20, 20, 20);
  await alarms.settled();
  assert.equal(faults.length, 0, 'the mean of two rows was at or below 30 twice');
  assert.deepEqual(predictor.latest()[0]?.alarm, { on: false, since: null });
  add('press', 20);
  add('press', 20);
  add('press', 10, 10, 10, 10);
  await alarms.settled();
  assert.equal(faults.length, 1);
  assert.equal(faults[0]?.type, 'fault');
  assert.equal(faults[0]?.machine, 'press');
  assert.match(faults[0]!.note, /^model 3 of the federation: 20 rows left, 3 predictions in a row$/);
  assert.deepEqual(predictor.latest()[0]?.alarm, { on: true, since: 1_005_000 });
  assert.equal(state.book.count(), 1);
});

test('rows that come together are looked at one by one', async (t) => {
  const { add, alarms, faults } = await predictorOf(t);
  add('press', 90, 90);
  // The last prediction is healthy; the three bad ones before it came in the same block.
  add('press', 20, 20, 20, 20, 90, 90);
  await alarms.settled();
  assert.equal(faults.length, 1);
  assert.equal(alarms.since('press'), undefined, 'and it has ended again');
});

test('an alarm ends above the hysteresis, on a repair, or when the machine stands; then there can be another', async (t) => {
  const { add, alarms, faults, machines, predictor } = await predictorOf(t);
  add('press', 10, 10, 10, 10);
  assert.ok(alarms.since('press'));
  add('press', 38, 38);
  assert.ok(alarms.since('press'), 'above 30 and not above 40');
  add('press', 80, 80);
  assert.equal(alarms.since('press'), undefined);
  add('press', 10, 10, 10, 10);
  await alarms.settled();
  assert.equal(faults.length, 2);
  machines.repair('press');
  add('press', 10, 10, 10);
  assert.equal(alarms.since('press'), undefined, 'two predictions of the new run');
  add('press', 10);
  await alarms.settled();
  assert.equal(faults.length, 3);
  machines.fail('press');
  predictor.refresh(['press']);
  assert.equal(alarms.since('press'), undefined);
  assert.deepEqual(predictor.latest(), []);
});

test('after a restart a standing alarm stands, without a second entry; one that was coming comes', async (t) => {
  const { add, alarms, machines, state, make } = await predictorOf(t);
  add('press', 10, 10, 10, 10);
  add('lathe', 10, 10, 10);
  await alarms.settled();
  assert.equal(state.book.count(), 1);

  const again = await alarmsOf(state);
  const predictor = make(again.alarms);
  predictor.use(3, MEAN, true);
  await again.alarms.settled();
  assert.equal(state.book.count(), 1);
  assert.ok(again.alarms.since('press'));
  // Each further sample of both.
  for (const machine of ['press', 'lathe', 'press', 'lathe']) {
    machines.add(machine, 10);
    predictor.refresh([machine]);
  }
  await again.alarms.settled();
  assert.deepEqual(
    again.faults.map(({ machine }) => machine),
    ['lathe'],
  );
  // Repaired while the gateway was down: the next run has an alarm of its own.
  machines.repair('press');
  machines.add('press', 10, 10, 10, 10);
  const third = await alarmsOf(state);
  make(third.alarms).use(3, MEAN, true);
  await third.alarms.settled();
  assert.deepEqual(
    third.faults.map(({ machine }) => machine),
    ['press'],
  );
});

test('a fault entry that could not be written is tried again', async (t) => {
  const state = await newState(t);
  let full = true;
  let made = 0;
  const alarms = await openAlarms({
    rule: { ...RULE, persistence: 1 },
    section: state.journal.section('alarm'),
    write: (writes) => state.journal.write(writes),
    async record() {
      if (full) throw new Error('the disk is full');
      made += 1;
      return new Uint8Array(32);
    },
    log: () => {},
  });
  const look = (time: number) =>
    alarms.look({ machine: 'press', began: 1, time, levels: [5], follows: true, note: '' });
  look(10);
  await alarms.settled();
  assert.equal(alarms.since('press'), undefined);
  full = false;
  look(20);
  look(30);
  await alarms.settled();
  assert.equal(made, 1);
  assert.equal(alarms.since('press'), 20);
});

test('a prediction says all there is to say, as JSON too', async (t) => {
  const { add, emitted } = await predictorOf(t);
  add('press', 90, 150, 150);
  const given = JSON.parse(JSON.stringify(emitted.at(-1))) as Prediction;
  const { time, ...rest } = given;
  assert.ok(time > 0);
  assert.deepEqual(rest, {
    machine: 'press',
    label: 'remaining-life',
    remaining: 100,
    cap: 100,
    atCap: true,
    interval: null,
    probability: null,
    horizon: null,
    outcomes: null,
    anomaly: null,
    unusual: null,
    model: 3,
    evaluated: true,
    role: 'train',
    age: 3,
    at: 1_002_000,
    drift: null,
    alarm: { on: false, since: null },
  });
  assert.equal(describePrediction(emitted.at(-1)!), '100 rows or more left');
});

test('a machine whose rows cannot be read does not keep the others from being predicted', async (t) => {
  const { machines, predictor, emitted } = await predictorOf(t);
  machines.add('broken', 1, Number.NaN);
  machines.add('press', 50, 50);
  predictor.refresh(['broken', 'press']);
  assert.deepEqual(
    emitted.map(({ machine }) => machine),
    ['press'],
  );
});

test('a run that drifts from its own beginning shows it', async (t) => {
  const { add, predictor } = await predictorOf(t);
  const random = createRandom(4);
  const rows = (count: number, middle: number) =>
    Array.from({ length: count }, () => middle + 5 * random.normal());
  add('press', ...rows(130, 50));
  assert.deepEqual(predictor.latest()[0]?.drift?.shifted, []);
  add('press', ...rows(70, 98));
  const { drift } = predictor.latest()[0]!;
  assert.deepEqual(
    drift?.shifted.map(({ channel }) => channel),
    ['a'],
  );
  assert.ok(drift!.clipped > 0, 'some values lie above the range');
});

test('without a label: an anomaly is judged by the healthy windows of nine other machines', async (t) => {
  const spec: LabelSpec = { ...SPEC, label: 'none' };
  const model: ModelSpec = { kind: 'autoencoder', inputs: 2, hidden: [1], activation: 'tanh' };
  const random = createRandom(8);
  const episodes = Array.from({ length: 9 }, (_, index): Episode => {
    const rows = Array.from({ length: 50 }, () => [10 * random.normal()]);
    return { machine: `m-${index}`, rows, end: 'censored', ended: 1 };
  });
  const calibration = createCalibration({
    model,
    sheet: SHEET,
    windows: spec,
    coverage: 0.9,
    dataset: { episodes: () => episodes, revision: () => 1 },
    holdout: {
      roleOf: () => 'calibrate',
      counts: () => ({ train: 0, adopt: 0, calibrate: 9 }),
      lot: () => 0,
    },
  });
  const state = await newState(t);
  const terms = { horizon: 1, persistence: 2, hysteresis: 0 };
  const { alarms, faults } = await alarmsOf(state, ruleFor('none', terms, 0.9));
  const machines = plant();
  const predictor = createPredictor({
    model,
    sheet: SHEET,
    windows: spec,
    dataset: machines.dataset,
    calibration,
    alarms,
    emit: () => {},
  });
  predictor.use(1, new Float64Array(7));
  machines.add('press', 5, -5, 3, 8, -2);
  predictor.refresh(['press']);
  const healthy = predictor.latest()[0]!;
  assert.ok(healthy.unusual!.p > 0.1 && healthy.unusual!.guaranteed);
  assert.ok(Number.isNaN(healthy.remaining));
  machines.add('press', 90, 95, 92);
  predictor.refresh(['press']);
  await alarms.settled();
  assert.ok(Math.abs(predictor.latest()[0]!.unusual!.p - 0.1) < 1e-12);
  assert.equal(faults.length, 1);
  assert.match(faults[0]!.note, /anomaly score 0.4\d+ \(p 0.10; 90 %\)/);
});
