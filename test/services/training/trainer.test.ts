import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { afterEach, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { TrainingJob, TrainingState } from '../../../runtime/core/learning/job.ts';
import { initialParameters, type ModelSpec, predict } from '../../../runtime/core/learning/model.ts';
import {
  createCheckpoints,
  jobDigest,
  packState,
  unpackState,
} from '../../../runtime/services/training/checkpoint.ts';
import {
  type Brake,
  createTrainer,
  type TrainerOptions,
  type WatchedTrainer,
} from '../../../runtime/services/training/trainer.ts';
import type { Journal } from '../../../runtime/state/journal/journal.ts';
import { newKeys, temporaryDirectory } from '../consortium.ts';
import { openState } from '../gateway-state.ts';

const CHILD = new URL('../../../runtime/services/training/child.ts', import.meta.url);
const BADLY_BEHAVED = new URL('./children/badly-behaved.ts', import.meta.url);
const model: ModelSpec = { kind: 'dense', inputs: 2, hidden: [4], activation: 'tanh' };
const never = new AbortController().signal;

let lines: string[] = [];
let trainer: WatchedTrainer | undefined;

function start(change: Partial<TrainerOptions>): WatchedTrainer {
  lines = [];
  trainer = createTrainer({
    childModule: CHILD,
    execArgv: ['--import', 'tsx'],
    nice: 5,
    memoryLimitBytes: 2 ** 30,
    idleMs: 60_000,
    timeLimitMs: 60_000,
    log: (level, message) => lines.push(`${level} ${message}`),
    ...change,
  });
  return trainer;
}

/** y = (a + 1) / 2, learned without privacy. `what` is read by the badly behaved process only. */
function makeJob(change: Partial<TrainingJob> = {}, what = 0.5): TrainingJob {
  const features = Float32Array.from({ length: 200 }, (_, index) => Math.sin(index * 1.7));
  features[0] = what;
  return {
    model,
    parameters: initialParameters(model, Uint8Array.of(1)),
    features,
    labels: Float32Array.from({ length: 100 }, (_, index) => (features[2 * index]! + 1) / 2),
    episodeOf: new Int32Array(100),
    unit: 'none',
    clipNorm: 1,
    noiseMultiplier: 1,
    samplingRate: 0.5,
    steps: 200,
    learningRate: 0.05,
    optimiser: { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    expectedBatch: 50,
    ...change,
  };
}

/** A job that goes on until it is stopped. */
const endless = (): TrainingJob => makeJob({ steps: 1_000_000 });

/** The training processes this one has started that are still there, from proc(5), with their priority. */
async function children(): Promise<{ pid: number; nice: number }[]> {
  const found: { pid: number; nice: number }[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    // A process may be gone between the two reads.
    const [stat, line] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''),
      readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''),
    ]);
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ours = Number(fields[1]) === process.pid && /(child|badly-behaved)\.ts/.test(line);
    if (ours && fields[0] !== 'Z') found.push({ pid: Number(pid), nice: Number(fields[16]) });
  }
  return found;
}

/** Waits for a process to come or go, within the limit of the test runner. */
async function untilChildren(count: number): Promise<void> {
  while ((await children()).length !== count) await sleep(20);
}

afterEach(async () => {
  await trainer?.stop();
  trainer = undefined;
});

const skip = existsSync('/proc/self/stat') ? false : 'processes are looked up in /proc, which is not here';

describe('a trainer', { timeout: 120_000, skip }, () => {
  it('starts no process before there is work, and one with the priority asked for', async () => {
    const { train } = start({});
    assert.deepEqual(await children(), []);
    await train(makeJob({ steps: 1 }), never);
    assert.deepEqual(
      (await children()).map(({ nice }) => nice),
      [5],
    );
  });

  it('gives back a model that has learned', async () => {
    const { train } = start({});
    const job = makeJob();
    const { parameters, steps, losses } = await train(job, never);
    assert.equal(steps, 200);
    assert.equal(losses.length, 200);
    let before = 0;
    let after = 0;
    for (let window = 0; window < 100; window += 1) {
      const features = job.features.subarray(2 * window, 2 * window + 2);
      before += (predict(model, job.parameters, features) - job.labels[window]!) ** 2;
      after += (predict(model, parameters, features) - job.labels[window]!) ** 2;
    }
    assert.ok(after < before / 20, `${before} to ${after}`);
  });

  it('trains privately for either unit, with noise that is fresh each time', async () => {
    const { train } = start({});
    for (const unit of ['window', 'episode'] as const) {
      const job = makeJob({ unit, steps: 3, samplingRate: 1 });
      const first = await train(job, never);
      assert.notDeepEqual((await train(job, never)).parameters, first.parameters);
    }
    assert.equal((await children()).length, 1, 'one process does all jobs');
  });

  it('tells how far it is', async () => {
    const { train } = start({});
    const told: number[] = [];
    const enough = new AbortController();
    const outcome = train(endless(), enough.signal, {
      progress(done, steps) {
        assert.equal(steps, 1_000_000);
        told.push(done);
        if (told.length === 3) enough.abort();
      },
    });
    await assert.rejects(outcome, /called off/);
    assert.ok(told.every((done, index) => done > (told[index - 1] ?? 0)));
  });

  it('ends its process when idle, and starts another for the next job', async () => {
    const { train } = start({ idleMs: 50 });
    await train(makeJob({ steps: 1 }), never);
    await untilChildren(0);
    assert.equal((await train(makeJob({ steps: 1 }), never)).steps, 1);
  });

  it('keeps its process after a job that cannot run, and says why', async () => {
    const { train } = start({});
    await assert.rejects(
      train(makeJob({ clipNorm: 0, unit: 'window' }), never),
      /training failed: .*clip norm 0/,
    );
    await assert.rejects(
      train(makeJob({ learningRate: 1e300, optimiser: { kind: 'sgd', momentum: 0 } }), never),
      /training failed: training diverged/,
    );
    assert.equal((await children()).length, 1);
    assert.equal((await train(makeJob({ steps: 1 }), never)).steps, 1);
  });

  it('kills its process when a job takes too long', async () => {
    const { train } = start({ timeLimitMs: 1500 });
    await assert.rejects(train(endless(), never), /longer than 1500 ms and was killed/);
    await untilChildren(0);
  });

  it('kills it even when it no longer listens', async () => {
    const { train } = start({ childModule: BADLY_BEHAVED, timeLimitMs: 1500 });
    await assert.rejects(train(makeJob({}, 4), never), /longer than 1500 ms and was killed/);
    await untilChildren(0);
  });

  it('kills it when it takes too much memory outside the JavaScript heap', async () => {
    const { train } = start({ childModule: BADLY_BEHAVED, memoryLimitBytes: 300 * 2 ** 20 });
    await assert.rejects(train(makeJob({}, 5), never), /MiB and was killed: its limit is 300 MiB/);
    await untilChildren(0);
  });

  it('says how its process ended in the middle of a job, and goes on with the next', async () => {
    const { train } = start({ childModule: BADLY_BEHAVED });
    await assert.rejects(train(makeJob({}, 1), never), /ended in the middle of a job \(exit code 7\)/);
    await assert.rejects(train(makeJob({}, 2), never), /ended in the middle of a job \(signal SIGSEGV\)/);
    await assert.rejects(train(makeJob({}, 3), never), /exit code 1/);
    await assert.rejects(train(makeJob({}, 6), never), /result that does not fit/);
  });

  it('survives its process being killed from outside', async () => {
    const { train } = start({});
    const outcome = assert.rejects(train(endless(), never), /signal SIGKILL/);
    await untilChildren(1);
    process.kill((await children())[0]!.pid, 'SIGKILL');
    await outcome;
    assert.equal((await train(makeJob({ steps: 1 }), never)).steps, 1);
  });

  it('says so when there is no such process to start', async () => {
    const { train } = start({ childModule: new URL('./children/nobody.ts', import.meta.url) });
    await assert.rejects(train(makeJob(), never), /training process ended .*exit code 1/);
  });

  it('says so when the backend is not there', async () => {
    const { train } = start({ wasmDirectory: '/nowhere' });
    await assert.rejects(train(makeJob(), never), /cannot work: .*no tfjs-backend-wasm.wasm in \/nowhere/);
  });

  it('does one job at a time', async () => {
    const { train, stop } = start({});
    const first = assert.rejects(train(endless(), never), /has been stopped/);
    await assert.rejects(train(makeJob(), never), /one at a time/);
    await stop();
    await first;
  });

  it('can be called off and stopped at any moment', async () => {
    const { train, stop } = start({});
    await assert.rejects(train(makeJob(), AbortSignal.abort(new Error('no more'))), /no more/);
    assert.deepEqual(await children(), []);
    const off = new AbortController();
    const outcome = assert.rejects(train(endless(), off.signal), /called off/);
    off.abort();
    await outcome;
    await untilChildren(0);
    await stop();
    await assert.rejects(train(makeJob(), never), /has been stopped/);
    await stop();
  });

  it('logs no data', async () => {
    const { train } = start({});
    await train(makeJob(), never);
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /^info the training process uses @tensorflow\/tfjs-/);
  });
});

/** A brake that a test holds. */
function brakeOf() {
  let pause: ReturnType<Brake['paused']>;
  const listeners = new Set<Parameters<Brake['onChange']>[0]>();
  const set = (next: typeof pause) => {
    pause = next;
    for (const listener of listeners) listener(pause);
  };
  return {
    on: () => set({ why: 'the test says so', since: 1 }),
    off: () => set(undefined),
    look: async () => pause,
    paused: () => pause,
    onChange(listener: Parameters<Brake['onChange']>[0]) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    listeners,
  };
}

/** CPU time of a process so far, in ticks of 10 ms: utime and stime of proc(5). */
async function ticks(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(10);
}

describe('a trainer on a device that has other things to do', { timeout: 120_000, skip }, () => {
  it('stands still between two steps while the brake is on, and goes on', async () => {
    const brake = brakeOf();
    const { train, status } = start({ brake });
    const off = new AbortController();
    const outcome = assert.rejects(train(endless(), off.signal), /called off/);
    await until(() => (status().job?.done ?? 0) > 0);
    assert.equal(status().paused, null);
    brake.on();
    await until(() => status().paused?.standing === true);
    assert.equal(status().paused?.why, 'the test says so');
    const { pid } = status().child!;
    const { done } = status().job!;
    const before = await ticks(pid);
    await sleep(700);
    assert.equal(status().job!.done, done);
    assert.ok((await ticks(pid)) - before <= 10, 'it computes nothing');
    brake.off();
    await until(() => status().job!.done > done);
    assert.equal(status().paused, null);
    brake.on();
    await until(() => status().paused?.standing === true);
    off.abort();
    await outcome;
    await untilChildren(0);
    assert.equal(brake.listeners.size, 0);
  });

  it('starts no process while the brake is on, and then does the job', async () => {
    const brake = brakeOf();
    brake.on();
    const { train, status } = start({ brake });
    const outcome = train(makeJob({ steps: 3 }), never);
    await sleep(300);
    assert.deepEqual(await children(), []);
    assert.deepEqual(
      { paused: status().paused, child: status().child, done: status().job?.done },
      { paused: { why: 'the test says so', since: 1, standing: true }, child: null, done: 0 },
    );
    brake.off();
    assert.equal((await outcome).steps, 3);
    assert.equal(brake.listeners.size, 0);
  });

  it('ends a job that waits: called off, out of time, stopped', async () => {
    const brake = brakeOf();
    brake.on();
    const { train, stop } = start({ brake, timeLimitMs: 500 });
    const off = new AbortController();
    const first = assert.rejects(train(makeJob(), off.signal), /called off/);
    await sleep(20);
    off.abort();
    await first;
    await assert.rejects(train(makeJob(), never), /longer than 500 ms/);
    const last = assert.rejects(train(makeJob(), never), /has been stopped/);
    await stop();
    await last;
    assert.deepEqual(await children(), []);
    assert.equal(brake.listeners.size, 0);
  });

  it('keeps to its share of a core', async () => {
    const share = 0.2;
    const { train, status } = start({ cpuShare: share });
    const off = new AbortController();
    const outcome = assert.rejects(train(endless(), off.signal), /called off/);
    await until(() => (status().job?.done ?? 0) > 0);
    const { pid } = status().child!;
    const [before, began] = [await ticks(pid), performance.now()];
    await sleep(3000);
    const used = 10 * ((await ticks(pid)) - before);
    const passed = performance.now() - began;
    off.abort();
    await outcome;
    // A second's worth may have been saved up before, and one step is never cut short.
    assert.ok(used <= share * (passed + 1000) + 100, `${used} ms of ${passed}`);
    assert.ok(used > 0);
  });

  it('tells what it does', async () => {
    const { train, status } = start({});
    assert.deepEqual(status(), { backend: null, job: null, paused: null, child: null, lastStepMs: null });
    await train(makeJob({ steps: 50 }), never);
    const { backend, job, child, lastStepMs } = status();
    assert.match(backend!.name, /^(wasm|tfjs-node)$/);
    assert.equal(job, null);
    assert.equal(child!.pid, (await children())[0]!.pid);
    assert.ok(child!.residentBytes > 20 * 2 ** 20);
    assert.ok(lastStepMs! > 0);
  });

  it('gives its process no core file, no secrets and the data in parts', async () => {
    process.env.NOTIFY_SOCKET = '/run/nothing';
    process.env.KOSMOS_TEST_PASSWORD = 'open sesame';
    const { train } = start({});
    const features = Float32Array.from({ length: 200_000 }, (_, index) => Math.sin(index * 1.7));
    const labels = Float32Array.from({ length: 100_000 }, (_, index) => (features[2 * index]! + 1) / 2);
    const many = { features, labels, episodeOf: new Int32Array(100_000), atLeast: new Uint8Array(100_000) };
    try {
      const { losses } = await train(makeJob({ ...many, samplingRate: 1, steps: 1 }), never);
      let sum = 0;
      const { parameters } = makeJob();
      for (let window = 0; window < 100_000; window += 1) {
        const output = predict(model, parameters, features.subarray(2 * window, 2 * window + 2));
        sum += (output - labels[window]!) ** 2;
      }
      assert.ok(Math.abs(losses[0]! / (sum / 100_000) - 1) < 1e-4, 'the loss of all the data handed in');
      const [{ pid } = { pid: 0 }] = await children();
      const read = (file: string) => readFile(`/proc/${pid}/${file}`, 'utf8');
      assert.match(await read('limits'), /^Max core file size +0 +0 +bytes/m);
      assert.match(await read('coredump_filter'), /^0+\n$/);
      assert.doesNotMatch(await read('environ'), /NOTIFY_SOCKET|sesame/);
      for (const thread of await readdir(`/proc/${pid}/task`)) {
        const stat = await read(`task/${thread}/stat`);
        assert.equal(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16], '5');
      }
    } finally {
      delete process.env.NOTIFY_SOCKET;
      delete process.env.KOSMOS_TEST_PASSWORD;
    }
  });
});

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
      await trainer?.stop();
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

describe('the training process', { timeout: 60_000 }, () => {
  it('ends when its parent is gone, even in the middle of a job', async () => {
    // A parent that starts an endless job, tells the process's id and is then killed.
    const script = `
      import { fork } from 'node:child_process';
      const child = fork(new URL(${JSON.stringify(CHILD.href)}), { execArgv: ['--import', 'tsx'], serialization: 'advanced' });
      child.on('message', (message) => {
        if (message.kind === 'ready') child.send({ kind: 'train', id: 1, cpuShare: 1, checkpointMs: 0, job: ${serialised(endless())} });
        if (message.kind === 'progress') { console.log(child.pid); process.kill(process.pid, 'SIGKILL'); }
      });`;
    const parent = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
    const pid = await parent.then(
      () => assert.fail('the parent kills itself'),
      ({ stdout, signal }: { stdout: string; signal: string }) => {
        assert.equal(signal, 'SIGKILL');
        return Number(stdout);
      },
    );
    while (isAlive(pid)) await sleep(20);
  });

  it('started by hand says what it is', async () => {
    const run = promisify(execFile)(process.execPath, ['--import', 'tsx', CHILD.pathname]);
    await assert.rejects(run, { code: 2, stderr: /training process of a gateway/ });
  });
});

function serialised(job: TrainingJob): string {
  const fields = Object.entries(job).map(([name, value]) => {
    const text = ArrayBuffer.isView(value)
      ? `${value.constructor.name}.from(${JSON.stringify([...(value as Float32Array)])})`
      : JSON.stringify(value);
    return `${name}: ${text}`;
  });
  return `{${fields.join(', ')}}`;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
