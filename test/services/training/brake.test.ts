import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { afterEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { predict } from '../../../runtime/core/learning/model.ts';
import type { Brake } from '../../../runtime/services/training/trainer.ts';
import {
  children,
  endless,
  makeJob,
  model,
  never,
  skip,
  start,
  stopTrainer,
  until,
  untilChildren,
} from './trainers.ts';

afterEach(stopTrainer);

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
