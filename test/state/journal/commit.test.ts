import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCommitter } from '../../../runtime/state/journal/commit.ts';
import { isPending, until } from './helpers.ts';

const HOUR = 3_600_000;

/** A committer whose writes end when the test says so, and fail when it says so. */
function withGate(maxPendingBytes: number) {
  const gates: { readonly batch: readonly string[]; open(error?: Error): void }[] = [];
  const recovered: number[] = [];
  const committer = createCommitter<{
    readonly bytes: number;
    readonly name: string;
    readonly droppable: boolean;
  }>(
    { intervalMs: HOUR, maxPendingBytes },
    (batch) => () =>
      new Promise((resolve, reject) => {
        const open = (error?: Error) => (error ? reject(error) : resolve());
        gates.push({ batch: batch.map(({ name }) => name), open });
      }),
    async () => {
      recovered.push(gates.length);
    },
  );
  const submit = (name: string, bytes = 1, droppable = false) =>
    committer.submit({ name, bytes, droppable }, true);
  const gate = async (index: number) => {
    await until(`write ${index}`, () => gates.length > index);
    return gates[index]!;
  };
  return { committer, submit, gate, gates, recovered };
}

test('one write at a time; what comes meanwhile is the next', async () => {
  const { committer, submit, gate, gates } = withGate(100);
  const first = submit('a');
  const { batch, open } = await gate(0);
  const rest = ['b', 'c'].map((name) => submit(name));
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual([batch, gates.length], [['a'], 1]);
  open();
  await first;
  const next = await gate(1);
  assert.deepEqual(next.batch, ['b', 'c']);
  assert.ok(await isPending(rest[0]!));
  next.open();
  await Promise.all(rest);
  await committer.close(1000);
});

test('bytes count until they are durable, not only until they are being written', async () => {
  const { committer, submit, gate } = withGate(100);
  const first = submit('a', 60);
  const writing = await gate(0);
  await assert.rejects(submit('b', 60), { name: 'JournalFull' });
  const small = submit('c', 40);
  await assert.rejects(submit('d', 1), { name: 'JournalFull' });
  writing.open();
  await first;
  const more = submit('e', 60);
  await assert.rejects(submit('g', 1), { name: 'JournalFull' });
  const next = await gate(1);
  assert.deepEqual(next.batch, ['c', 'e']);
  next.open();
  await Promise.all([small, more]);
  const last = submit('f', 100);
  (await gate(2)).open();
  await last;
  await committer.close(1000);
});

test('the oldest that may be given up make way for newer work; what is being written stays', async () => {
  const { committer, submit, gate } = withGate(100);
  const written = submit('a', 40, true);
  const writing = await gate(0);
  const work = [submit('b', 20, true), submit('c', 20), submit('d', 20, true)];
  // 'b' alone does not make room enough, and what cannot be taken costs nobody anything.
  await assert.rejects(submit('e', 61, true), { name: 'JournalFull' });
  const newest = submit('f', 40, true);
  await assert.rejects(work[0]!, { name: 'JournalFull' });
  await assert.rejects(work[2]!, { name: 'JournalFull' });
  writing.open();
  await written;
  const next = await gate(1);
  assert.deepEqual(next.batch, ['c', 'f']);
  next.open();
  await Promise.all([work[1], newest]);
  await committer.close(1000);
});

test('a write that fails is made again as it was, after recovering; the trouble is told meanwhile', async () => {
  const { committer, submit, gate, recovered } = withGate(100);
  const work = submit('a', 60);
  (await gate(0)).open(new Error('no space left'));
  await until('the trouble', () => committer.trouble() === 'no space left');
  await assert.rejects(
    submit('b', 60),
    /wait for the journal already, only the newest are kept: no space left/,
  );
  const again = await gate(1);
  assert.deepEqual([again.batch, recovered], [['a'], [1]]);
  again.open();
  await work;
  assert.equal(committer.trouble(), undefined);
  await committer.close(1000);
});

test('close gives up when nothing can be written, and says so to those who wait', async () => {
  const { committer, submit, gate, gates } = withGate(100);
  const work = submit('a');
  const refused = assert.rejects(work, /no space left/);
  (await gate(0)).open(new Error('no space left'));
  const closing = committer.close(300);
  for (let index = 1; index < 10 && (await isPending(closing)); index++) {
    await until(
      'another try, or the end',
      () => gates.length > index || committer.trouble() === 'ended',
      2000,
    ).catch(() => undefined);
    gates[index]?.open(new Error('no space left'));
  }
  await closing;
  await refused;
  await assert.rejects(submit('b'), /the journal is closed/);
});
