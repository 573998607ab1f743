import assert from 'node:assert/strict';
import { afterEach, describe, it, type TestContext } from 'node:test';
import type { TrainingJob, TrainingState } from '../../../runtime/core/learning/job.ts';
import {
  createCheckpoints,
  jobDigest,
  packState,
  unpackState,
} from '../../../runtime/services/training/checkpoint.ts';
import type { Journal } from '../../../runtime/state/journal/journal.ts';
import { newKeys, temporaryDirectory } from '../consortium.ts';
import { openState } from '../gateway-state.ts';
import { lines, makeJob, never, skip, start, stopTrainer, until } from './trainers.ts';

afterEach(stopTrainer);

/** A journal's directory, opened as a daemon does at its start; closed with the test. */
async function kept(t: TestContext, directory: string) {
  const { journal } = await openState(directory, newKeys());
  t.after(() => journal.close());
  return { journal, checkpoints: checkpointsOver(journal) };
}

/** Trains until a checkpoint is durable and its process has gone on, and then kills the process. */
async function killInTheMiddle(t: TestContext, directory: string, job: TrainingJob, name: string) {
  const { journal, checkpoints } = await kept(t, directory);
  const saved: number[] = [];
  const watched = {
    ...checkpoints,
    save(key: string, bytes: Uint8Array) {
      const state = unpackState(jobDigest(job), bytes) as TrainingState;
      saved.push(state.done);
      checkpoints.save(key, bytes);
    },
  };
  const { train, status } = start({ checkpoints: watched, checkpointMs: 50 });
  const outcome = assert.rejects(train(job, never, { resume: name }), /signal SIGKILL/);
  await until(() => saved.length > 0 && status().job!.done > saved.at(-1)!);
  await journal.write([journal.section('test').put('turn', Uint8Array.of(1))]);
  process.kill(status().child!.pid, 'SIGKILL');
  await outcome;
  return { journal, saved };
}

describe('a trainer after a crash', { timeout: 120_000, skip }, () => {
  const seed = new Uint8Array(32).fill(3);
  /** Long enough to be killed in, short enough to be ended. */
  const long = (change: Partial<TrainingJob> = {}) => makeJob({ steps: 1500, samplerSeed: seed, ...change });

  it('goes on from the last checkpoint, in another process of another daemon', async (t) => {
    const directory = await temporaryDirectory(t);
    const job = long();
    const { journal, saved } = await killInTheMiddle(t, directory, job, 'job');
    await journal.close();
    const { checkpoints } = await kept(t, directory);
    const { train, status } = start({ checkpoints, checkpointMs: 60_000 });
    const told: number[] = [];
    let resumedAt = 0;
    const progress = (done: number) => {
      told.push(done);
      resumedAt = status().job!.resumedAt;
    };
    const { parameters, steps, losses } = await train(job, never, { resume: 'job', progress });
    assert.ok(resumedAt > 0 && saved.includes(resumedAt), `${resumedAt} of ${saved.join()}`);
    assert.ok(told.every((done) => done > resumedAt));
    assert.match(lines.join('\n'), new RegExp(`info training goes on after step ${resumedAt} of 1500`));
    assert.equal(steps, 1500);
    assert.equal(losses.length, 1500);
    // Nothing is drawn twice and there is no noise: the break shows nowhere.
    const whole = await train(job, never);
    assert.deepEqual(parameters, whole.parameters);
    assert.deepEqual(losses, whole.losses);
  });

  it('goes on with private training, the budget’s steps done once', async (t) => {
    const directory = await temporaryDirectory(t);
    const job = long({ unit: 'window', sampler: 'passes' });
    const { journal, saved } = await killInTheMiddle(t, directory, job, 'job');
    const checkpoints = checkpointsOver(journal);
    const { train, status } = start({ checkpoints });
    let resumedAt = 0;
    const progress = () => {
      resumedAt = status().job!.resumedAt;
    };
    const { steps, losses } = await train(job, never, { resume: 'job', progress });
    assert.ok(saved.includes(resumedAt));
    assert.equal(steps, 1500);
    assert.equal(losses.length, 1500);
    // What has been released is not gone on from.
    await checkpoints.forget();
    assert.equal(await checkpoints.load('job'), undefined);
  });

  it('does not go on with other data, another seed or a damaged state, and says so', async (t) => {
    const directory = await temporaryDirectory(t);
    const { journal } = await killInTheMiddle(t, directory, long(), 'job');
    const checkpoints = checkpointsOver(journal);
    const state = (await checkpoints.load('job'))!;
    for (const [job, stored, why] of [
      [long({ labels: makeJob().labels.map((label) => label / 2) }), state, /other data or settings/],
      [long({ samplerSeed: new Uint8Array(32).fill(4) }), state, /other data or settings/],
      [long(), state.subarray(0, state.length - 9), /damaged/],
      [long(), packState(jobDigest(long()), { done: 7 }), /./],
      [long(), packState(jobDigest(long()), undefined), /./],
    ] as const) {
      checkpoints.save('job', stored);
      await journal.write([journal.section('test').put('turn', Uint8Array.of(2))]);
      const { train, status } = start({ checkpoints, checkpointMs: 60_000 });
      const first: number[] = [];
      const progress = () => first.push(status().job!.resumedAt);
      const { losses } = await train({ ...job, steps: job.steps }, never, { resume: 'job', progress });
      assert.equal(losses.length, 1500);
      assert.ok(first.every((done) => done === 0));
      const warning = lines.find((line) => line.startsWith('warn a training checkpoint is ignored: '));
      assert.match(warning ?? '', why);
      await stopTrainer();
    }
  });

  it('keeps nothing of a job that has no name', async (t) => {
    const { journal, checkpoints } = await kept(t, await temporaryDirectory(t));
    const { train } = start({ checkpoints, checkpointMs: 1 });
    await train(makeJob(), never);
    for await (const [key] of journal.section('training-checkpoint').entries()) assert.fail(key);
  });
});

/** Checkpoints over a journal that is open already. */
function checkpointsOver(journal: Journal) {
  return createCheckpoints(journal, (level, message) => lines.push(`${level} ${message}`));
}
