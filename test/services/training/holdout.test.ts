import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HoldBack, openHoldout, quota, type Role } from '../../../runtime/services/training/holdout.ts';
import { type GatewayState, newState } from '../gateway-state.ts';

const HOLD_BACK = { adopt: 0.2, calibrate: 0.3 };
const open = (state: GatewayState, holdBack: HoldBack = HOLD_BACK, trained = false) =>
  openHoldout({
    section: state.journal.section('holdout'),
    write: (writes) => state.journal.write(writes, { urgent: true }),
    holdBack,
    trained,
  });
const names = (count: number, from = 0) => Array.from({ length: count }, (_, index) => `m-${from + index}`);

test('of many machines the agreed parts are held back, and nobody is in two parts', async (t) => {
  const holdout = await open(await newState(t));
  await holdout.admit(names(20));
  assert.deepEqual(holdout.counts(), { train: 10, adopt: 4, calibrate: 6 });
  assert.equal(holdout.why(), undefined);
  assert.equal(names(20).filter((name) => holdout.trains(name)).length, 10);
  assert.equal(holdout.roleOf('stranger'), undefined);
  assert.equal(holdout.trains('stranger'), false, 'one that has no role yet does not train');
});

test('with three machines nothing can be held back, and that is said', async (t) => {
  const holdout = await open(await newState(t));
  await holdout.admit(names(3));
  assert.deepEqual(holdout.counts(), { train: 3, adopt: 0, calibrate: 0 });
  assert.match(holdout.why()!, /takes 4 machines/);
  // The fourth and fifth are: the first three have trained, and go on.
  await holdout.admit(names(5));
  assert.deepEqual(holdout.counts(), { train: 3, adopt: 1, calibrate: 1 });
  assert.ok(names(3).every((name) => holdout.trains(name)));
});

test('parts of 0 hold nothing back; impossible ones are refused', async (t) => {
  const state = await newState(t);
  const holdout = await open(state, { adopt: 0, calibrate: 0 });
  await holdout.admit(names(30));
  assert.equal(holdout.counts().train, 30);
  assert.match(holdout.why()!, /hold_back is 0/);
  await assert.rejects(open(state, { adopt: 0.5, calibrate: 0.5 }), RangeError);
  await assert.rejects(open(state, { adopt: -0.1, calibrate: 0.5 }), RangeError);
});

test('machines that come one by one, restarts between them: no role ever changes, and the parts stay balanced', async (t) => {
  const state = await newState(t);
  const known = new Map<string, Role>();
  for (let count = 1; count <= 40; count += 1) {
    const holdout = await open(state);
    await holdout.admit(names(count));
    for (const name of names(count)) {
      const role = holdout.roleOf(name)!;
      assert.equal(known.get(name) ?? role, role, `${name} at ${count}`);
      known.set(name, role);
    }
    const wanted = quota(count, HOLD_BACK);
    const { adopt, calibrate } = holdout.counts();
    assert.ok(Math.abs(adopt - wanted.adopt) <= 1 && Math.abs(calibrate - wanted.calibrate) <= 1, `${count}`);
  }
});

test('who is held back is drawn: another gateway holds back others of the same names', async (t) => {
  const drawn = new Set<string>();
  for (let gateway = 0; gateway < 4; gateway += 1) {
    const holdout = await open(await newState(t));
    await holdout.admit(names(20));
    drawn.add(
      names(20)
        .filter((name) => holdout.roleOf(name) === 'adopt')
        .join(),
    );
  }
  // 4,845 possible sets: four draws are all alike in one case of 10^11.
  assert.ok(drawn.size > 1);
});

test('where a model was trained before there were roles, the machines that are there have trained', async (t) => {
  const state = await newState(t);
  const holdout = await open(state, HOLD_BACK, true);
  await holdout.admit(names(10));
  assert.equal(holdout.counts().train, 10);
  await holdout.admit(names(12));
  assert.deepEqual(holdout.counts(), { train: 10, adopt: 1, calibrate: 1 });
});

test('a role counts when it is durable, and not before', async (t) => {
  const state = await newState(t);
  let writable = true;
  const holdout = await openHoldout({
    section: state.journal.section('holdout'),
    write: (writes) =>
      writable ? state.journal.write(writes) : Promise.reject(new Error('the disk is full')),
    holdBack: HOLD_BACK,
    trained: false,
  });
  writable = false;
  await assert.rejects(holdout.admit(names(8)), /disk is full/);
  assert.equal(holdout.roleOf('m-0'), undefined);
  writable = true;
  await holdout.admit(names(8));
  assert.ok(holdout.roleOf('m-0'));
});

test('a lot is the same every time, and spread evenly', async (t) => {
  const state = await newState(t);
  const [one, again] = [await open(state), await open(state)];
  const lots = names(2000).map((name) => one.lot(name));
  assert.deepEqual(
    lots,
    names(2000).map((name) => again.lot(name)),
  );
  const mean = lots.reduce((sum, lot) => sum + lot) / lots.length;
  assert.ok(Math.abs(mean - 0.5) < 0.04, `${mean}`);
  assert.ok(lots.every((lot) => lot >= 0 && lot < 1));
});
