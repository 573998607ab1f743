import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Level } from 'level';
import { inclusionProof } from '../../../runtime/core/log/proof.ts';
import { hashReaderFromTiles } from '../../../runtime/core/log/tiles.ts';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import { closing, entry, opened, SETTINGS, temporary, until } from './helpers.ts';

const BIG = 4_000_000;

test('on a disk with room for little, a journal that closes acknowledges nothing behind what it gave up', async (t) => {
  const directory = join(await temporary(t), 'journal');
  let journal = await openJournal(directory, SETTINGS);
  closing(t, () => journal.close());
  for (let number = 0; number < 5; number++) await journal.append([entry(number)], { urgent: true });

  // What the system says of a write that is too large for what is left, while smaller ones still fit.
  const { batch } = Level.prototype;
  const restore = () => {
    Level.prototype.batch = batch;
  };
  t.after(restore);
  let failures = 0;
  const full = function (this: object, operations: readonly { value?: Uint8Array }[], ...rest: unknown[]) {
    const bytes = operations.reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
    if (bytes < BIG / 4) return Reflect.apply(batch, this, [operations, ...rest]);
    failures += 1;
    return Promise.reject(new Error('IO error: No space left on device'));
  };
  Level.prototype.batch = full as unknown as typeof batch;

  const outcome = (durable: Promise<unknown>) =>
    durable.then(
      () => 'durable' as const,
      (error: Error) => error,
    );
  const big = outcome(journal.append([entry(5, BIG)]));
  await until('the large write has failed', () => failures > 0);
  const small = outcome(journal.append([entry(6)]));
  await journal.close();
  restore();
  assert.match(String(await big), /No space left/);
  assert.match(String(await small), /the journal is closed/);

  journal = await opened(t, {}, directory);
  assert.equal(journal.damage(), undefined);
  assert.deepEqual(journal.state().lost, []);
  const { size } = journal.head()!;
  assert.equal(size, 5, 'what is acknowledged, and nothing else');
  const reader = hashReaderFromTiles(size, (level, index, width) => journal.tile(level, index, width));
  for (let number = 0; number < size; number++) {
    assert.deepEqual(await journal.block(number), [entry(number)]);
    await inclusionProof(number, size, reader);
  }
});
