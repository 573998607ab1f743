import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { sha256 } from '#sha256';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { type Episode, type LabelSpec, requireApart } from '../../../runtime/core/learning/episodes.ts';
import type { TrainingJob } from '../../../runtime/core/learning/job.ts';
import { type ModelSpec, modelHash } from '../../../runtime/core/learning/model.ts';
import {
  ADOPTION,
  openAdoption,
  type Present,
  readPresent,
} from '../../../runtime/services/training/adoption.ts';
import { createCalibration } from '../../../runtime/services/training/calibration.ts';
import { openHoldout, type Role } from '../../../runtime/services/training/holdout.ts';
import { createLearner } from '../../../runtime/services/training/learner.ts';
import { openLedger } from '../../../runtime/state/ledger/ledger.ts';
import { createConsortium, until } from '../consortium.ts';
import { contents, type GatewayState, newState } from '../gateway-state.ts';

const AGREEMENT = new Uint8Array(32).fill(7);
const MODEL: ModelSpec = { kind: 'dense', inputs: 2, hidden: [], activation: 'tanh' };
const SHEET = { channels: [{ name: 'a', unit: '/', low: -100, high: 100, leastWidth: 1 }] };
const SPEC: LabelSpec = { window: 2, minimum: 2, slopeScale: 1, cap: 100 };
/** Rows that say what is left: the mean of a window over the range is the label, half a row off. */
const run = (machine: string, rows: number, end: Episode['end'] = 'failure'): Episode => ({
  machine,
  rows: Array.from({ length: rows }, (_, index) => [rows - 1 - index]),
  times: Array.from({ length: rows }, (_, index) => 1000 * index),
  end,
  ended: 1000 * rows,
});
/** Says `factor` times what is left. */
const saying = (factor: number) => Float64Array.of(factor, 0, 0);

async function adoptionOf(
  t: TestContext,
  state: GatewayState,
  episodes: Episode[],
  roles: Record<string, Role>,
  behind = 0,
) {
  const told: (Present | undefined)[] = [];
  let lag = behind;
  const adoption = await openAdoption({
    agreement: AGREEMENT,
    model: MODEL,
    sheet: SHEET,
    windows: SPEC,
    dataset: { episodes: () => episodes, lag: () => lag },
    roleOf: (machine) => roles[machine],
    whyNone: () => (Object.values(roles).includes('adopt') ? undefined : 'no machine is held back'),
    section: state.journal.section(ADOPTION),
    enter: (body, writes) => state.recorder.entry('adoption', body, writes),
    onAdopted: (present) => void told.push(present),
    log: () => {},
    pauseMs: 5,
  });
  t.after(() => adoption.stop());
  adoption.start();
  const offer = async (version: number, parameters: Float64Array) => {
    adoption.consider(version, modelHash(MODEL, parameters), parameters);
    await until(() => adoption.status().latest?.version === version, `model ${version} is judged`);
    return adoption.status();
  };
  return {
    adoption,
    offer,
    told,
    catchUp: () => {
      lag = 0;
    },
  };
}

const ROLES: Record<string, Role> = { a: 'adopt', b: 'adopt', c: 'train' };
const RUNS = [run('a', 60), run('b', 90), run('c', 50)];

test('a worse model is refused here, and the one before it goes on predicting', async (t) => {
  const { offer, told } = await adoptionOf(t, await newState(t), RUNS, ROLES);
  const first = await offer(1, saying(0.9));
  assert.equal(first.latest?.outcome, 'adopted');
  assert.equal(first.latest.figures?.machines, 2, 'the machine that trains does not judge');
  const worse = await offer(2, saying(0.6));
  assert.equal(worse.latest?.outcome, 'refused');
  assert.deepEqual([worse.using, worse.evaluated], [1, true]);
  assert.match(worse.latest.why, /a model before it has/);
  const better = await offer(3, saying(1));
  assert.deepEqual([better.using, better.latest?.outcome], [3, 'adopted']);
  assert.deepEqual(
    told.map((present) => present?.version),
    [1, 1, 3],
  );
});

test('a model that is no better than a constant answer predicts nowhere', async (t) => {
  const { offer, told } = await adoptionOf(t, await newState(t), RUNS, ROLES);
  const { using, latest } = await offer(1, saying(0));
  assert.deepEqual([using, latest?.outcome], [null, 'refused']);
  assert.match(latest!.why, /always the same answer/);
  assert.deepEqual(told, [undefined]);
});

test('small losses do not add up over the versions: it is the best so far that counts', async (t) => {
  const { offer } = await adoptionOf(t, await newState(t), RUNS, ROLES);
  const best = (await offer(1, saying(0.9))).latest!.figures!.error;
  let factor = 0.9;
  for (let version = 2; version < 12; version += 1) {
    factor -= 0.003;
    const { latest, using } = await offer(version, saying(factor));
    if (latest!.outcome === 'adopted') assert.ok(latest!.figures!.error <= best * 1.05 + 1e-9);
    else assert.ok(using! < version);
  }
  assert.equal((await offer(12, saying(factor))).latest?.outcome, 'refused');
});

test('where no machine is held back or none has failed, models are used unseen, and that is said', async (t) => {
  const none = await adoptionOf(t, await newState(t), RUNS, { a: 'train', b: 'train', c: 'train' });
  const given = await none.offer(1, saying(0.5));
  assert.deepEqual([given.using, given.evaluated, given.latest?.outcome], [1, false, 'not evaluated']);
  assert.equal(given.latest?.why, 'not evaluated: no machine is held back');

  const runs = [run('a', 60, 'running'), run('c', 50)];
  const young = await adoptionOf(t, await newState(t), runs, ROLES);
  assert.match((await young.offer(1, saying(0))).latest!.why, /has a finished run yet/);
  assert.equal(young.adoption.status().using, 1);
  // Its first failure shows that the model says nothing.
  runs.push(run('a', 60));
  young.adoption.reconsider();
  await until(() => young.adoption.status().using === null, 'the model is withdrawn');
  assert.equal(young.adoption.status().latest?.outcome, 'refused');
  assert.equal(young.told.at(-1), undefined);
});

test('which model predicts outlives a restart, and nothing is judged before the journal is read', async (t) => {
  const state = await newState(t);
  const { offer, adoption } = await adoptionOf(t, state, RUNS, ROLES);
  await offer(1, saying(0.95));
  await offer(2, saying(0.3));
  await adoption.stop();
  const entries = async () =>
    (await contents(state.journal)).entries.filter(({ kind }) => kind === 'adoption');
  assert.equal((await entries()).length, 2);

  const present = await readPresent(state.journal.section(ADOPTION), AGREEMENT, MODEL);
  assert.deepEqual([present?.version, present?.parameters], [1, saying(0.95)]);
  const other = await readPresent(state.journal.section(ADOPTION), new Uint8Array(32), MODEL);
  assert.equal(other, undefined, 'what was decided under another agreement does not count');

  const runs: Episode[] = [];
  const again = await adoptionOf(t, state, runs, ROLES, 3);
  again.adoption.consider(2, modelHash(MODEL, saying(0.3)), saying(0.3));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(again.told.length, 0, 'no run has been read: it would be let in unseen');
  runs.push(...RUNS);
  again.catchUp();
  await until(() => again.told.length > 0, 'the journal is read');
  assert.equal(again.told[0]?.version, 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(again.adoption.status().using, 1);
  assert.equal((await entries()).length, 2, 'the same decision is not entered again');
});

test('the log gets a digest that tells nothing, and the journal keeps what opens it', async (t) => {
  const state = await newState(t);
  const { offer } = await adoptionOf(t, state, RUNS, ROLES);
  await offer(1, saying(0.9));
  const { entries } = await contents(state.journal);
  const body = entries.find(({ kind }) => kind === 'adoption')!.body as [number, Uint8Array, Uint8Array];
  assert.equal(body.length, 3);
  assert.deepEqual([body[0], toHex(body[1])], [1, toHex(modelHash(MODEL, saying(0.9)))]);
  const openings: Uint8Array[] = [];
  for await (const [, value] of state.journal.section(ADOPTION).entries({ prefix: 'opening/' }))
    openings.push(value);
  assert.equal(openings.length, 1);
  assert.equal(toHex(sha256(openings[0]!)), toHex(body[2]));
  // Salted: the same decision elsewhere has another digest.
  const other = await newState(t);
  await (await adoptionOf(t, other, RUNS, ROLES)).offer(1, saying(0.9));
  const elsewhere = (await contents(other.journal)).entries.find(({ kind }) => kind === 'adoption')!;
  assert.notDeepEqual((elsewhere.body as Uint8Array[])[2], body[2]);
  assert.ok(encodeCbor(body).length < 100);
});

test('a machine that cannot be judged leaves what predicts as it is', async (t) => {
  const { adoption, offer, told } = await adoptionOf(t, await newState(t), [...RUNS], ROLES);
  await offer(1, saying(0.9));
  RUNS.push({ ...run('a', 5), rows: [[1], [2], [Number.NaN]] });
  t.after(() => void RUNS.pop());
  adoption.consider(2, modelHash(MODEL, saying(1)), saying(1));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(told.every((present) => present !== undefined));
});

test('calibration machines say how wide intervals are, nine of them with a guarantee', () => {
  const episodes: Episode[] = [];
  const calibration = createCalibration({
    model: MODEL,
    sheet: SHEET,
    windows: SPEC,
    coverage: 0.9,
    dataset: { episodes: () => episodes, revision: () => episodes.length },
    holdout: {
      roleOf: (machine) => (machine.startsWith('calibrate') ? 'calibrate' : 'train'),
      counts: () => ({ train: 0, adopt: 0, calibrate: 0 }),
      lot: (name) => (name.length % 10) / 10,
    },
  });
  assert.equal(calibration.interval(50), undefined, 'no model yet');
  calibration.use(saying(0.8));
  assert.equal(calibration.interval(50), undefined, 'no machine yet');
  assert.deepEqual(calibration.status(), { coverage: 0.9, guaranteed: false, machines: 0, needed: 9 });
  for (let count = 1; count <= 9; count += 1) {
    episodes.push(run(`calibrate-${count}`, 40 + 5 * count), run(`train-${count}`, 30));
    const interval = calibration.interval(50)!;
    assert.deepEqual([interval.machines, interval.guaranteed], [count, count >= 9]);
    assert.ok(interval.low < 50 && interval.high! > 50);
  }
  const wide = calibration.interval(50)!;
  assert.equal(calibration.interval(98)!.high, null, 'at the cap it is open');
  calibration.use(saying(0.99));
  assert.ok(calibration.interval(50)!.low > wide.low, 'a better model has narrower intervals');
});

test('what judges never teaches: a training job holds no window of a held-back machine', async (t) => {
  const state = await newState(t);
  const names = Array.from({ length: 12 }, (_, index) => `m-${index}`);
  const holdout = await openHoldout({
    section: state.journal.section('holdout'),
    write: (writes) => state.journal.write(writes, { urgent: true }),
    holdBack: { adopt: 0.25, calibrate: 0.25 },
    trained: false,
  });
  // One machine is not admitted yet: it has no role, and may become one that judges.
  await holdout.admit(names.slice(1));
  // Every machine's rows bear its number: means of a window tell whose they are.
  const episodes = names.flatMap((machine, number): Episode[] => {
    const one = { ...run(machine, 8), rows: Array.from({ length: 8 }, () => [number]) };
    return [one, { ...one, end: 'censored' }];
  });
  const { terms } = createConsortium({ fleets: [1, 1, 1] }).agreement;
  const jobs: TrainingJob[] = [];
  const learner = createLearner({
    terms: { ...terms, training: { ...terms.training, unit: 'none' }, privacy: undefined },
    agreement: AGREEMENT,
    model: MODEL,
    sheet: SHEET,
    windows: SPEC,
    dataset: { episodes: () => episodes, revision: () => 1, lag: () => 0 },
    ledger: await openLedger(state.journal, state.recorder),
    trainer: {
      async train(job) {
        jobs.push(job);
        return { parameters: job.parameters, steps: job.steps, losses: new Float64Array(0) } as Awaited<
          ReturnType<Parameters<typeof createLearner>[0]['trainer']['train']>
        >;
      },
    },
    trains: holdout.trains,
    settled: () => true,
    live: false,
    hasStream: true,
  });
  await learner.update(1, 0, saying(0), new AbortController().signal);
  const { features } = jobs[0]!;
  const taught = new Set(
    [...features].filter((_, index) => index % 2 === 0).map((mean) => names[Math.round(100 * mean)]!),
  );
  assert.deepEqual([...taught].sort(), names.filter((name) => holdout.roleOf(name) === 'train').sort());
  assert.deepEqual(holdout.counts(), { train: 5, adopt: 3, calibrate: 3 });
  const of = (role: Role) => episodes.filter(({ machine }) => holdout.roleOf(machine) === role);
  requireApart(of('train'), [...of('adopt'), ...of('calibrate')]);
  requireApart(of('adopt'), of('calibrate'));
});
