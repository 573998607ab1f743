import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createPump, type Pump } from '../../../runtime/services/telemetry/pump.ts';
import type {
  Delivery,
  OutgoingSample,
  SampleLink,
  SampleSource,
} from '../../../runtime/services/telemetry/samples.ts';
import { type MemoryJournal, memoryJournal, rewindable, sampleAt, until } from './helpers.ts';

/** A broker by hand: what it was sent, and its answers one by one. */
interface HandLink extends SampleLink {
  readonly sent: OutgoingSample[];
  /** Acknowledges the oldest `count` publications that have no answer yet. */
  answer(count: number, delivery?: Delivery): void;
  readonly failures: Error[];
}

function handLink(): HandLink {
  const waiting: ((delivery: Delivery) => void)[] = [];
  const sent: OutgoingSample[] = [];
  const failures: Error[] = [];
  return {
    sent,
    failures,
    publish(sample, done) {
      sent.push(sample);
      waiting.push(done);
    },
    answer(count, delivery = 'held') {
      for (const done of waiting.splice(0, count)) done(delivery);
    },
    fail: (reason) => failures.push(reason),
  };
}

function pumpOf(source: SampleSource, maxInflight = 8): Pump {
  return createPump({ source, maxInflight, acknowledgeTimeoutMs: 60_000, offerAgainMs: 30 });
}

function indices(link: HandLink): unknown[] {
  return link.sent.map(({ position }) => position);
}

/** Runs `work` beside the pump and ends the run after it. */
async function during(pump: Pump, link: SampleLink, work: () => Promise<void>): Promise<void> {
  const halt = new AbortController();
  const run = pump.run(link, halt.signal);
  try {
    await work();
  } finally {
    halt.abort();
    await run;
  }
}

test('the window is never over its limit, and the cursor follows the acknowledgements in order', async () => {
  const journal = memoryJournal(20);
  const pump = pumpOf(journal);
  const link = handLink();
  await during(pump, link, async () => {
    await until('a window is out', () => link.sent.length === 8);
    assert.equal(journal.cursor(), 0);
    link.answer(3);
    await until('the cursor moved', () => journal.cursor() === 3);
    await until('the window is full again', () => link.sent.length === 11);
    assert.equal(pump.counts().inFlight, 8);
    for (let left = 20; left > 0; left -= 4) {
      link.answer(4);
      await until(
        'more',
        () => link.sent.length === Math.min(20, 11 + 4 + (20 - left)) || link.sent.length === 20,
      );
    }
    link.answer(20);
    await until('all is delivered', () => journal.cursor() === 20);
  });
  assert.deepEqual(
    link.sent,
    Array.from({ length: 20 }, (_, i) => sampleAt(i)),
  );
  assert.deepEqual(pump.counts(), { published: 20, delivered: 20, inFlight: 0, waitingForSession: false });
});

test('an acknowledgement out of order does not move the cursor over a gap', async () => {
  const journal = memoryJournal(3);
  const pump = pumpOf(journal);
  const answers: ((delivery: Delivery) => void)[] = [];
  const link: SampleLink = { publish: (_, done) => answers.push(done), fail: assert.fail };
  await during(pump, link, async () => {
    await until('three are out', () => answers.length === 3);
    answers[2]!('held');
    answers[1]!('held');
    await pump.committed();
    assert.equal(journal.cursor(), 0);
    answers[0]!('held');
    await pump.committed();
    assert.equal(journal.cursor(), 3);
  });
});

test('what a broken connection left unacknowledged is sent again first, and late answers count for nothing', async () => {
  const journal = memoryJournal(10);
  const pump = pumpOf(journal, 4);
  const first = handLink();
  await during(pump, first, () => until('a window is out', () => first.sent.length === 4));
  const second = handLink();
  await during(pump, second, async () => {
    await until('the window is out again', () => second.sent.length === 4);
    assert.deepEqual(indices(second), [0, 1, 2, 3]);
    second.answer(4);
    await until('the next ones are out', () => second.sent.length === 8);
    second.answer(4);
    await until('the rest is out', () => second.sent.length === 10);
    second.answer(2);
    await until('all is delivered', () => journal.cursor() === 10);
  });
});

test('any mixture of acknowledgements, breaks and restarts delivers every sample, in order but for repetitions', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('answer' as const), count: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ kind: fc.constant('append' as const), count: fc.integer({ min: 1, max: 5 }) }),
    fc.constant({ kind: 'break' as const, count: 0 }),
    fc.constant({ kind: 'restart' as const, count: 0 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      let journal: MemoryJournal = memoryJournal(5);
      let pump = pumpOf(journal, 4);
      let total = 5;
      const held = new Set<unknown>();
      for (let i = 0; i <= steps.length; i++) {
        const link = handLink();
        let answered = 0;
        const answer = (count: number): void => {
          for (const sample of link.sent.slice(answered, answered + count)) held.add(sample.position);
          answered = Math.min(link.sent.length, answered + count);
          link.answer(count);
        };
        await during(pump, link, async () => {
          for (; i < steps.length; i++) {
            const { kind, count } = steps[i]!;
            await new Promise((resolve) => setImmediate(resolve));
            if (kind === 'break' || kind === 'restart') break;
            if (kind === 'answer') answer(count);
            else journal.append(count);
            if (kind === 'append') total += count;
          }
          if (i < steps.length) return;
          await until('all is delivered', () => {
            answer(10);
            return journal.cursor() === total;
          });
        });
        await pump.committed();
        for (let k = 0; k < journal.cursor(); k++)
          assert.ok(held.has(k), `${k} is behind the cursor without an acknowledgement`);
        const positions = indices(link).map(Number);
        assert.deepEqual(
          positions,
          Array.from(positions, (_, k) => positions[0]! + k),
        );
        if (steps[i]?.kind === 'restart') {
          journal = journal.reopen();
          pump = pumpOf(journal, 4);
        }
      }
      assert.equal(held.size, total);
    }),
    { numRuns: 60 },
  );
});

test('a broker that goes silent is left', async () => {
  const pump = createPump({
    source: memoryJournal(1),
    maxInflight: 4,
    acknowledgeTimeoutMs: 40,
    offerAgainMs: 30,
  });
  const link = handLink();
  await during(pump, link, () => until('the link is failed', () => link.failures.length > 0));
  assert.match(link.failures[0]!.message, /has not acknowledged/);
});

test('a journal that fails ends the run with its error, and nothing is lost when it is well again', async () => {
  const journal = memoryJournal(6);
  let broken = true;
  const source: SampleSource = {
    next: (limit, signal) => journal.next(limit, signal),
    async commit(position) {
      if (broken) throw new Error('disk full');
      await journal.commit(position);
    },
  };
  const pump = pumpOf(source, 4);
  const link = handLink();
  const run = pump.run(link, new AbortController().signal);
  await until('a window is out', () => link.sent.length === 4);
  link.answer(4);
  await assert.rejects(run, /cursor cannot be moved.*disk full/);
  broken = false;
  const next = handLink();
  await during(pump, next, async () => {
    await until('the cursor moved', () => journal.cursor() === 4);
    await until('the rest is out', () => next.sent.length === 2);
    next.answer(2);
    await until('all is delivered', () => journal.cursor() === 6);
  });
  assert.equal(pump.counts().delivered, 6);
  const failing = pumpOf({ next: () => Promise.reject(new Error('unreadable')), commit: assert.fail });
  await assert.rejects(failing.run(handLink(), new AbortController().signal), /unreadable/);
});

test('a sample that nobody sees waits, and one is offered from time to time', async () => {
  const journal = memoryJournal(6);
  const pump = pumpOf(journal, 4);
  const link = handLink();
  await during(pump, link, async () => {
    await until('a window is out', () => link.sent.length === 4);
    link.answer(4, 'unseen');
    for (const count of [5, 6, 7]) {
      await until('one is offered', () => link.sent.length === count);
      assert.ok(pump.counts().waitingForSession);
      assert.equal(link.sent.at(-1)?.position, 0);
      link.answer(1, 'unseen');
    }
    await until('one more is offered', () => link.sent.length === 8);
    assert.equal(journal.cursor(), 0);
    link.answer(1, 'held');
    await until('the others follow at once', () => link.sent.length >= 11);
    link.answer(3);
    await until('the rest is out', () => link.sent.length === 13);
    link.answer(2);
    await until('all is delivered', () => journal.cursor() === 6);
  });
  assert.deepEqual(indices(link).slice(7), [0, 1, 2, 3, 4, 5]);
});

test('a journal that cannot rewind keeps samples that were only seen', async () => {
  const journal = memoryJournal(3);
  const pump = pumpOf(journal);
  const link = handLink();
  await during(pump, link, async () => {
    await until('all are out', () => link.sent.length === 3);
    link.answer(3, 'seen');
    await until('one is offered again', () => link.sent.length === 4);
    assert.equal(journal.cursor(), 0);
    link.answer(1);
    await until('the others follow', () => link.sent.length === 6);
    link.answer(2);
    await until('all is delivered', () => journal.cursor() === 3);
  });
});

test('whoever looks on sees all, and a session that comes gets all from the cursor on', async () => {
  const journal = rewindable(12);
  const pump = pumpOf(journal, 4);
  const link = handLink();
  await during(pump, link, async () => {
    await until('a window is out', () => link.sent.length === 4);
    link.answer(2);
    await until('the cursor moved', () => journal.cursor() === 2);
    // The session has gone: from here on samples are seen and not held.
    for (let seen = 2; seen < 12; ) {
      const out = link.sent.length;
      link.answer(out - seen, 'seen');
      seen = out;
      await until('more is out', () => link.sent.length > out || link.sent.length === 12);
    }
    assert.deepEqual(
      indices(link),
      Array.from({ length: 12 }, (_, i) => i),
    );
    assert.equal(journal.cursor(), 2);
    assert.ok(pump.counts().waitingForSession);
    // It is back.
    journal.append(1);
    await until('the new one is out', () => link.sent.length === 13);
    link.answer(1, 'held');
    for (const end of [6, 10, 13]) {
      await until('what it missed is out', () => link.sent.at(-1)?.position === end - 1);
      link.answer(4, 'held');
    }
    await until('all is delivered', () => journal.cursor() === 13);
  });
  assert.equal(journal.rewinds(), 1);
  assert.deepEqual(
    indices(link).slice(13),
    Array.from({ length: 11 }, (_, i) => i + 2),
  );
  assert.ok(!pump.counts().waitingForSession);
});

test('with nothing new to publish, the pump asks with the last sample when the sessions have changed', async () => {
  const journal = rewindable(3);
  const pump = pumpOf(journal);
  const link = handLink();
  await during(pump, link, async () => {
    await until('all are out', () => link.sent.length === 3);
    link.answer(3, 'seen');
    pump.askAgain();
    await until('it asks', () => link.sent.length === 4);
    link.answer(1, 'seen');
    pump.askAgain();
    await until('it asks again', () => link.sent.length === 5);
    assert.equal(journal.cursor(), 0);
    link.answer(1, 'held');
    await until('all are out again', () => link.sent.length === 8);
    link.answer(3, 'held');
    await until('all is delivered', () => journal.cursor() === 3);
  });
  assert.deepEqual(indices(link), [0, 1, 2, 2, 2, 0, 1, 2]);
});

test('a sample without a topic is passed over', async () => {
  const journal = memoryJournal(2);
  const pump = pumpOf(journal);
  const link = handLink();
  await during(pump, link, async () => {
    await until('both are out', () => link.sent.length === 2);
    link.answer(1, 'passed');
    link.answer(1);
    await until('all is delivered', () => journal.cursor() === 2);
  });
});
