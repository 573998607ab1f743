import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createGuard } from '../../../drivers/bus/guard.ts';

function deferred<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

test('one call in flight, the others in order', async () => {
  const guard = createGuard({ name: 'bus' });
  const log: string[] = [];
  const call = (name: string, pause: number) => async () => {
    log.push(`${name} begins`);
    await new Promise((resolve) => setTimeout(resolve, pause));
    log.push(`${name} ends`);
    return name;
  };
  const results = await Promise.all([
    guard.run('a', call('a', 5)),
    guard.run('b', call('b', 0)),
    guard.run('c', call('c', 1)),
  ]);
  assert.deepEqual(results, ['a', 'b', 'c']);
  assert.deepEqual(log, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
});

test('an error is told to its caller alone', async () => {
  const guard = createGuard({ name: 'bus' });
  const bad = guard.run('bad', () => {
    throw new Error('no');
  });
  const good = guard.run('good', async () => 1);
  await assert.rejects(bad, /no/);
  assert.equal(await good, 1);
});

test('a hung call fails, those behind it fail at once, and the bus serves again when it comes back', async () => {
  const guard = createGuard({ name: 'bus 7', timeLimitMs: 10 });
  const hung = deferred<number>();
  const first = guard.run('reading the pump', () => hung.promise);
  const second = guard.run('second', async () => 2);
  await assert.rejects(first, {
    code: 'EBUSTIMEOUT',
    message: /bus 7: reading the pump gave no answer within 10 ms/,
  });
  await assert.rejects(second, { code: 'EBUSSTUCK', message: /reading the pump has not come back/ });
  assert.equal(guard.stuck, true);
  let tried = false;
  await assert.rejects(
    guard.run('third', async () => {
      tried = true;
    }),
    { code: 'EBUSSTUCK' },
  );
  assert.equal(tried, false);
  hung.resolve(1);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(guard.stuck, false);
  assert.equal(await guard.run('fourth', async () => 4), 4);
});

test('the queue is bounded', async () => {
  const guard = createGuard({ name: 'bus', maxWaiting: 2 });
  const gate = deferred<number>();
  const calls = [
    guard.run('0', () => gate.promise),
    guard.run('1', async () => 1),
    guard.run('2', async () => 2),
  ];
  await assert.rejects(
    guard.run('3', async () => 3),
    { code: 'EBUSQUEUE' },
  );
  gate.resolve(0);
  assert.deepEqual(await Promise.all(calls), [0, 1, 2]);
});

test('closing waits for the call in flight and refuses the rest', async () => {
  const guard = createGuard({ name: 'bus' });
  const gate = deferred<number>();
  const inFlight = guard.run('0', () => gate.promise);
  const waiting = guard.run('1', async () => 1);
  let finished = false;
  const closing = guard.close(async () => {
    finished = true;
  });
  await assert.rejects(waiting, { code: 'EBUSCLOSED' });
  assert.equal(finished, false);
  gate.resolve(0);
  assert.equal(await inFlight, 0);
  await closing;
  assert.equal(finished, true);
  await assert.rejects(
    guard.run('2', async () => 2),
    { code: 'EBUSCLOSED' },
  );
});

test('closing a stuck bus does not wait, and closes underneath only when the hung call is back', async () => {
  const guard = createGuard({ name: 'bus', timeLimitMs: 5 });
  const hung = deferred<number>();
  let finished = false;
  const call = guard.run('hung', () => hung.promise);
  const closing = guard.close(async () => {
    finished = true;
  });
  await assert.rejects(call, { code: 'EBUSTIMEOUT' });
  await closing;
  assert.equal(finished, false);
  hung.reject(new Error('late'));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(finished, true);
});
