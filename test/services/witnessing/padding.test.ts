/** A log that grows in steps: what is signed tells nobody how much was recorded. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { unordered } from '../../../runtime/state/journal/keys.ts';
import { createConsortium, temporaryDirectory } from '../consortium.ts';
import { type Log, openLog } from './logs.ts';

const STEP = 8;

async function paddedLog(t: TestContext): Promise<{ log: Log; reopen: (padding?: number) => Promise<Log> }> {
  const consortium = createConsortium({ fleets: [1, 1, 1] });
  const directory = await temporaryDirectory(t);
  const refuse = () => Promise.resolve({ status: 404, body: new Uint8Array() });
  const open = (padding = STEP) => openLog(consortium, 'gateway-0', directory, refuse, padding);
  let log = await open();
  t.after(() => log.journal.close());
  return {
    log,
    async reopen(padding) {
      await log.journal.close();
      log = await open(padding);
      await log.publisher.open();
      return log;
    },
  };
}

async function signedSizes(log: Log): Promise<readonly number[]> {
  const sizes: number[] = [];
  for await (const [key] of log.journal.section('checkpoint').entries()) sizes.push(unordered(key));
  return sizes;
}

test('where nothing is recorded the log grows by a step at each checkpoint all the same', async (t) => {
  const { log } = await paddedLog(t);
  for (let count = 0; count < 4; count++) await log.publish();
  assert.deepEqual(await signedSizes(log), [8, 16, 24, 32]);
  assert.equal(log.journal.state().entries, 0);
});

test('what was recorded is filled up to the next step', async (t) => {
  const { log } = await paddedLog(t);
  for (const blocks of [1, 7, 8, 9, 20]) {
    await log.grow(blocks);
    await log.publish();
  }
  // One and seven, then seven and one, eight, nine and seven, twenty and four.
  assert.deepEqual(await signedSizes(log), [8, 16, 24, 40, 64]);
});

test('commits between the padding and the signature change no size', async (t) => {
  const { log } = await paddedLog(t);
  let running = true;
  let appended = 0;
  const writers = Array.from({ length: 4 }, async (_, writer) => {
    while (running) {
      // Commits at once, commits at the next interval, and commits that make no block.
      const section = log.journal.section('other');
      if (writer === 3) await log.journal.write([section.put('key', Uint8Array.of(1))]);
      else await log.journal.append([Uint8Array.of(writer)], { urgent: writer > 0 });
      appended += 1;
    }
  });
  for (let count = 0; count < 60; count++) {
    await log.publisher.publish();
    // Some follow at once, as after a failure entry.
    if (count % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 3));
  }
  running = false;
  await Promise.all(writers);
  const sizes = await signedSizes(log);
  assert.equal(sizes.length, 60);
  assert.ok(appended > 60, `${appended} commits`);
  assert.deepEqual(
    sizes.filter((size) => size % STEP !== 0),
    [],
  );
});

test('checkpoints that are asked for at once are of whole steps, each above the one before', async (t) => {
  const { log } = await paddedLog(t);
  await log.grow(3);
  await Promise.all(Array.from({ length: 5 }, () => log.publisher.publish()));
  const sizes = await signedSizes(log);
  assert.deepEqual(
    sizes.filter((size) => size % STEP !== 0),
    [],
  );
  assert.equal(log.publisher.status().published, Math.max(...sizes));
});

test('a log that was published without padding comes to whole steps with the next checkpoint', async (t) => {
  const { reopen } = await paddedLog(t);
  const before = await reopen(0);
  await before.grow(3);
  await before.publish();
  const after = await reopen();
  await after.publish();
  await after.publish();
  assert.deepEqual(await signedSizes(after), [3, 8, 16]);
});
