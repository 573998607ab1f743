import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BACKOFF, createAllowance, createBackoff } from '../../../runtime/services/peering/backoff.ts';
import { type Ending, keepOpen } from '../../../runtime/services/peering/lasting.ts';
import { quiet } from '../../../runtime/services/peering/quiet.ts';
import { until } from '../consortium.ts';
import { createTcpServerThat } from './raw.ts';
import { dialler, identity, side } from './sides.ts';

const middle = { ...BACKOFF, random: () => 0.5 };

test('waits double up to the last, and begin anew only after a connection that lasted', () => {
  const { next } = createBackoff(middle);
  assert.deepEqual(
    Array.from({ length: 8 }, () => next(0)),
    [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000],
  );
  assert.equal(next(4999), 10_000);
  assert.equal(next(5000), 250);
  assert.equal(next(1), 500);
});

test('whatever happens, a wait is at least half of the first and at most one and a half of the last', () => {
  fc.assert(
    fc.property(
      fc.record({
        firstMs: fc.integer({ min: 1, max: 10_000 }),
        more: fc.integer({ min: 0, max: 100_000 }),
        lastedMs: fc.integer({ min: 1, max: 100_000 }),
        steps: fc.array(
          fc.tuple(
            fc.double({ min: 0, max: 200_000, noNaN: true }),
            fc.double({ min: 0, max: 0.999, noNaN: true }),
          ),
        ),
      }),
      ({ firstMs, more, lastedMs, steps }) => {
        let jitter = 0;
        const lastMs = firstMs + more;
        const { next } = createBackoff({ firstMs, lastMs, lastedMs, random: () => jitter });
        let failures = 0;
        for (const [held, draw] of steps) {
          jitter = draw;
          if (held >= lastedMs) failures = 0;
          const wait = next(held);
          assert.ok(wait >= firstMs / 2 && wait <= lastMs * 1.5, `${wait}`);
          // It depends on nothing but the failures since the last good connection.
          assert.equal(wait, Math.min(lastMs, firstMs * 2 ** failures) * (0.5 + draw));
          failures += 1;
        }
      },
    ),
  );
});

test('an allowance gives what it has at once, then a little at a time, and never saves up more', () => {
  let now = 0;
  const take = createAllowance(3, 2, () => now);
  const many = () => Array.from({ length: 10 }, take).filter(Boolean).length;
  assert.equal(many(), 3);
  now = 499;
  assert.equal(many(), 0);
  now = 500;
  assert.equal(many(), 1);
  now = 1_000_000;
  assert.equal(many(), 3);
  now = 0;
  assert.equal(many(), 0);
});

test('a log that is kept quiet says how much it left out', () => {
  let now = 0;
  const lines: string[] = [];
  const say = quiet(
    (level: 'warn', message) => void lines.push(`${level} ${message}`),
    2,
    1,
    () => now,
  );
  for (const word of ['a', 'b', 'c', 'd', 'e']) say('warn', word);
  now = 1000;
  for (const word of ['f', 'g']) say('warn', word);
  now = 2000;
  say('warn', 'h');
  assert.deepEqual(lines, [
    'warn a',
    'warn b',
    'warn f (and 3 lines more before it)',
    'warn h (and 1 lines more before it)',
  ]);
});

test('what breaks at once is opened ever more rarely; what lasted is opened again soon', async () => {
  const held: number[] = [];
  const random = () => {
    // Called once for each wait.
    held.push(performance.now());
    return 0;
  };
  let opened = 0;
  const lasting = keepOpen<Ending>(
    async () => {
      opened += 1;
      return { ended: Promise.resolve('broke'), alive: () => true, end: () => {} };
    },
    { what: 'x', backoff: { firstMs: 8, lastMs: 64, lastedMs: 10_000, random }, log: () => {} },
  );
  await until(() => opened === 7, 'seven times');
  lasting.close();
  const gaps = held.slice(1).map((at, index) => at - held[index]!);
  // A timer never fires early (by more than its own rounding); how late it fires is the machine's affair.
  for (const [index, least] of [4, 8, 16, 32, 32].entries())
    assert.ok(gaps[index]! >= least - 1.5, `${gaps}`);
  const after = opened;
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(opened, after);
});

test('a peer that takes every connection and drops it is dialled ever more rarely', async (t) => {
  const [a, b] = [await dialler(t, 'a'), await identity(t, 'b')];
  let dials = 0;
  await createTcpServerThat(t, b.port, (socket) => {
    dials += 1;
    socket.destroy();
  });
  const waits: number[] = [];
  const backoff = {
    firstMs: 4,
    lastMs: 40,
    lastedMs: 10_000,
    random: () => {
      waits.push(dials);
      return 0.5;
    },
  };
  const { peering, logged } = side(t, a, [b], undefined, { backoff });
  await peering.start();
  await until(() => dials >= 20, 'it goes on trying');
  await peering.stop();
  // Two connections are kept to it, to ask and to be asked; each waits after every single dial.
  assert.ok(waits.length >= dials - 2, `${waits.length} waits, ${dials} dials`);
  assert.ok(logged.length < dials, `${logged.length} lines for ${dials} dials`);
});
