import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { afterEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { TrainingJob } from '../../../runtime/core/learning/job.ts';
import { predict } from '../../../runtime/core/learning/model.ts';
import {
  BADLY_BEHAVED,
  CHILD,
  children,
  endless,
  lines,
  makeJob,
  model,
  never,
  skip,
  start,
  stopTrainer,
  untilChildren,
} from './trainers.ts';

afterEach(stopTrainer);

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
