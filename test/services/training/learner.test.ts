import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { windowFeatures } from '../../../runtime/core/learning/features.ts';
import type { TrainingJob } from '../../../runtime/core/learning/job.ts';
import { initialParameters, type ModelSpec, predictRul } from '../../../runtime/core/learning/model.ts';
import { epsilonOf } from '../../../runtime/core/privacy/accountant.ts';
import { createDataset } from '../../../runtime/services/training/dataset.ts';
import { createLearner } from '../../../runtime/services/training/learner.ts';
import { createPredictor, type Prediction } from '../../../runtime/services/training/prediction.ts';
import type { AgreementTerms } from '../../../runtime/state/agreement/schema.ts';
import { openLedger } from '../../../runtime/state/ledger/ledger.ts';
import { createConsortium, until } from '../consortium.ts';
import { contents, newState } from '../gateway-state.ts';

const DELTA = 1e-5;
const MECHANISM = { samplingRate: 0.5, noiseMultiplier: 2, steps: 1 };
/** What so many rounds cost, and a little more. */
const budgetFor = (rounds: number) => epsilonOf([{ ...MECHANISM, steps: rounds }], DELTA) * 1.0001;
const MODEL: ModelSpec = { kind: 'dense', inputs: 2, hidden: [], activation: 'tanh' };
const never = new AbortController().signal;

async function learnerOf(
  t: TestContext,
  privacy: AgreementTerms['privacy'],
  train?: (job: TrainingJob) => Promise<Float64Array>,
) {
  const state = await newState(t);
  const base = createConsortium({ fleets: [1, 1, 1] }).agreement;
  const terms: AgreementTerms = {
    ...base.terms,
    training: {
      ...base.terms.training,
      unit: privacy ? 'window' : 'none',
      samplingRate: MECHANISM.samplingRate,
      minimumEpisodes: 2,
    },
    privacy,
  };
  const { window, minimum, slopeScale, cap } = terms.learning;
  const windows = { window, minimum, slopeScale, cap };
  const sheet = { channels: terms.channel };
  const dataset = createDataset({
    journal: state.journal,
    book: state.book,
    verify: state.verify,
    stream: 'main',
    channels: 1,
    onChange: () => {},
    log: () => {},
  });
  t.after(() => dataset.stop());
  dataset.start();
  const ledger = await openLedger(state.journal, state.recorder);
  const jobs: TrainingJob[] = [];
  let settled = true;
  const learner = createLearner({
    terms,
    agreement: base.hash,
    model: MODEL,
    sheet,
    windows,
    dataset,
    ledger,
    trainer: {
      async train(job) {
        jobs.push(job);
        const parameters = (await train?.(job)) ?? job.parameters.map((value) => value + 0.25);
        return { parameters, steps: job.steps } as Awaited<
          ReturnType<Parameters<typeof createLearner>[0]['trainer']['train']>
        >;
      },
    },
    settled: () => settled,
    hasStream: true,
    live: false,
  });
  async function episode(machine: string, values: readonly number[]): Promise<void> {
    for (const value of values)
      await state.recorder.sample({ machine, stream: 'main', values: [value] }).durable;
    await state.book.record({ machine, faults: [], type: 'failure', note: '', at: undefined });
    await until(() => dataset.lag() === 0, 'read');
  }
  return {
    state,
    dataset,
    ledger,
    learner,
    jobs,
    windows,
    sheet,
    episode,
    settle: (to: boolean) => {
      settled = to;
    },
  };
}

const parameters = initialParameters(MODEL, Uint8Array.of(1));
const privacyOf = (rounds: number) => ({
  epsilon: budgetFor(rounds),
  delta: DELTA,
  noiseMultiplier: MECHANISM.noiseMultiplier,
});

test('ready only when data are read, enough machines have failed, and the budget allows a round', async (t) => {
  const { learner, episode, settle, dataset } = await learnerOf(t, privacyOf(1));
  settle(false);
  assert.deepEqual(learner.readiness(), { kind: 'waiting', why: 'data are still being read' });
  settle(true);
  assert.deepEqual(learner.readiness(), { kind: 'unable', why: 'no machine has failed yet' });
  await episode('press', [1, 2, 3, 4]);
  assert.deepEqual(learner.readiness(), { kind: 'unable', why: 'too few machines have failed yet' });
  await episode('lathe', [5, 6, 7, 8]);
  assert.deepEqual(learner.readiness(), { kind: 'ready' });
  await learner.update(1, 0, parameters, never);
  // The charge is an entry of the journal, and has to be read past.
  await until(() => dataset.lag() === 0, 'read');
  assert.deepEqual(learner.readiness(), { kind: 'unable', why: 'the privacy budget is spent' });
});

test('the job is what the agreement says, on windows of failed episodes alone; the update is the change', async (t) => {
  const { learner, episode, jobs, state, dataset } = await learnerOf(t, privacyOf(3));
  await episode('press', [10, 20, 30]);
  await episode('lathe', [40, 50]);
  await state.recorder.sample({ machine: 'saw', stream: 'main', values: [60] }).durable;
  await until(() => dataset.lag() === 0, 'read');
  const update = await learner.update(1, 0, parameters, never);
  assert.ok(update.every((value) => Math.abs(value - 0.25) < 1e-12));
  const [job] = jobs;
  assert.ok(job);
  assert.deepEqual([...job.labels], [Math.fround(0.1), 0, 0]);
  assert.deepEqual([...job.episodeOf], [0, 0, 1]);
  const { unit, noiseMultiplier, samplingRate, steps } = job;
  assert.deepEqual({ unit, noiseMultiplier, samplingRate, steps }, { unit: 'window', ...MECHANISM });
});

test('every round is charged, durably, before its update is handed out; beyond the budget nothing is trained', async (t) => {
  const { learner, episode, ledger, jobs, state } = await learnerOf(t, privacyOf(2));
  await episode('press', [1, 2, 3]);
  await learner.update(1, 0, parameters, never);
  await learner.update(2, 1, parameters, never);
  assert.deepEqual(
    ledger.charges().map(({ round, unit }) => ({ round, unit })),
    [
      { round: 1, unit: 'window' },
      { round: 2, unit: 'window' },
    ],
  );
  const { entries } = await contents(state.journal);
  assert.equal(entries.filter(({ kind }) => kind === 'charge').length, 2);
  await assert.rejects(learner.update(3, 2, parameters, never), { message: /budget is spent/ });
  assert.equal(jobs.length, 2, 'the third was not even trained');
  assert.ok(ledger.spent('window', DELTA) <= budgetFor(2));
});

test('what is charged after a restart is what was charged before', async (t) => {
  const { learner, episode, state } = await learnerOf(t, privacyOf(1));
  await episode('press', [1, 2, 3]);
  await learner.update(1, 0, parameters, never);
  const again = await openLedger(state.journal, state.recorder);
  assert.equal(again.charges().length, 1);
  const charge = { ...again.charges()[0]!, round: 2 };
  assert.equal(again.allows(charge, { epsilon: budgetFor(1), delta: DELTA, unit: 'window' }), false);
});

test('two rounds at a time do not get the same rest of the budget', async (t) => {
  const { learner, episode, ledger } = await learnerOf(t, privacyOf(1));
  await episode('press', [1, 2, 3]);
  const outcomes = await Promise.allSettled([
    learner.update(1, 0, parameters, never),
    learner.update(2, 0, parameters, never),
  ]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  );
  assert.equal(ledger.charges().length, 1);
});

test('a training that fails gives no update', async (t) => {
  const { learner, episode, ledger } = await learnerOf(t, privacyOf(1), async () => {
    throw new Error('the training process ended');
  });
  await episode('press', [1, 2, 3]);
  await assert.rejects(learner.update(1, 0, parameters, never), { message: /the training process ended/ });
  assert.equal(ledger.charges().length, 0, 'nothing was learned, nothing is spent');
});

test('without privacy nothing is charged, and no noise asked for', async (t) => {
  const { learner, episode, ledger, jobs } = await learnerOf(t, undefined);
  await episode('press', [1, 2, 3]);
  await learner.update(1, 0, parameters, never);
  assert.equal(ledger.charges().length, 0);
  assert.deepEqual([jobs[0]?.unit, jobs[0]?.noiseMultiplier], ['none', 0]);
});

test('predictions: of running machines that have a window, with the model in force, the nearest failure first', async (t) => {
  const { dataset, episode, state, windows, sheet } = await learnerOf(t, undefined);
  const emitted: Prediction[] = [];
  const predictor = createPredictor({
    model: MODEL,
    sheet,
    windows,
    dataset,
    emit: (prediction) => void emitted.push(prediction),
  });
  const feed = async (machine: string, values: readonly number[]) => {
    for (const value of values)
      await state.recorder.sample({ machine, stream: 'main', values: [value] }).durable;
    await until(() => dataset.lag() === 0, 'read');
  };
  await feed('press', [10, 12, 14, 16, 18]);
  await feed('lathe', [90, 91, 92]);
  await feed('saw', [50]);
  predictor.refresh(['press', 'lathe']);
  assert.deepEqual(emitted, [], 'without a model nothing is predicted');
  // Weights on mean and slope: the higher the load, the nearer the failure.
  const model = Float64Array.of(-0.4, 0, 0.5);
  predictor.use(7, model);
  assert.deepEqual(
    predictor.latest().map(({ machine }) => machine),
    ['lathe', 'press'],
  );
  for (const prediction of predictor.latest()) {
    const rows = dataset.running(prediction.machine)!;
    assert.equal(
      prediction.remaining,
      predictRul(MODEL, model, windowFeatures(rows, sheet, windows), windows.cap),
    );
    assert.deepEqual([prediction.model, prediction.age, prediction.cap], [7, rows.length, windows.cap]);
  }
  assert.equal(emitted.length, 2);
  await episode('lathe', [93]);
  predictor.refresh(['lathe']);
  assert.deepEqual(
    predictor.latest().map(({ machine }) => machine),
    ['press'],
    'one that stands still has no prediction',
  );
});
