import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createVerifier } from '#ed25519';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { ALL_TIME, chargeDigest } from '../../../runtime/state/ledger/charge.ts';
import { openDeposit } from '../../../runtime/state/ledger/deposits.ts';
import { checkOpening, updateDigest } from '../../../runtime/state/ledger/evidence.ts';
import type { Charge } from '../../../runtime/state/ledger/ledger.ts';
import { newKeys, temporaryDirectory } from '../consortium.ts';
import {
  costOf,
  createFault,
  DAY,
  DELTA,
  episode,
  learningOf,
  logged,
  openLearning,
  PARAMETERS,
  privacyOf,
  type Setting,
} from './budget-helpers.ts';

test('the block of an episode is the one that it ended in; new data bring new budget', async (t) => {
  const learning = await learningOf(t, { privacy: privacyOf(2, 10 * DAY) });
  learning.give(episode('press', 3 * DAY));
  for (const round of [1, 2]) await learning.update(round);
  assert.deepEqual(
    learning.ledger.charges().map(({ from, to }) => [from, to]),
    [
      [0, 10 * DAY],
      [0, 10 * DAY],
    ],
  );
  assert.deepEqual(learning.learner.readiness(), { kind: 'unable', why: 'the privacy budget is spent' });
  await assert.rejects(learning.update(3), /the privacy budget is spent/);

  learning.give(episode('lathe', 10 * DAY));
  assert.deepEqual(learning.learner.readiness(), { kind: 'ready' });
  for (const round of [4, 5]) await learning.update(round);
  assert.deepEqual(
    learning.ledger
      .charges()
      .slice(2)
      .map(({ from, to }) => [from, to]),
    [
      [10 * DAY, 20 * DAY],
      [10 * DAY, 20 * DAY],
    ],
  );
  // The episodes of the block before are in none of its windows.
  assert.deepEqual(
    learning.jobs.map(({ episodeOf }) => new Set(episodeOf).size),
    [1, 1, 1, 1],
  );
  await assert.rejects(learning.update(6), /the privacy budget is spent/);
  const sets = await Promise.all(
    [1, 4].map(async (round) => {
      const record = await learning.evidence.update(learning.agreement, round);
      const opening = await learning.evidence.opening(record!, 'set');
      return opening.part === 'set' ? opening.episodes.map(({ machine }) => machine) : [];
    }),
  );
  assert.deepEqual(sets, [['press'], ['lathe']]);
  assert.ok(learning.ledger.spent('window', DELTA) <= learning.terms.privacy!.epsilon);
});

test('a clock that jumps refunds nothing: an old episode that is met again is in its old block', async (t) => {
  const learning = await learningOf(t, { privacy: privacyOf(1, 10 * DAY) });
  learning.give(episode('press', 15 * DAY));
  await learning.update(1);
  // A machine whose clock went back to 1970: charged below, where nothing is left, and no more above.
  learning.give(episode('saw', 0));
  assert.equal(learning.learner.readiness().kind, 'unable');
  await assert.rejects(learning.update(2), /budget is spent/);
  // One whose clock ran ahead for a while opens its own block, and only that.
  learning.give(episode('mill', 1000 * DAY));
  await learning.update(3);
  const last = learning.ledger.charges().at(-1)!;
  assert.deepEqual([last.from, last.to], [20 * DAY, 1010 * DAY]);
  // Back in time, what was charged ahead is gone.
  learning.give(episode('lathe', 25 * DAY));
  await assert.rejects(learning.update(4), /budget is spent/);
  for (const at of [0, 15 * DAY, 25 * DAY, 1000 * DAY]) {
    const spent = learning.ledger.spent('window', DELTA, { from: at, to: at + 1 });
    assert.equal(spent, costOf(1), `at day ${at / DAY}`);
  }
});

test('a run that goes on is learned from only where it cannot be charged in two blocks', async (t) => {
  for (const [period, ready] of [
    [undefined, true],
    [10 * DAY, false],
  ] as const) {
    const learning = await learningOf(t, { privacy: privacyOf(2, period), label: 'none' });
    assert.equal(learning.learner.readiness().kind, 'unable');
    learning.give(episode('press', 5 * DAY, 'running'));
    assert.equal(learning.learner.readiness().kind === 'ready', ready);
    learning.give(episode('lathe', 5 * DAY, 'censored'));
    assert.equal(learning.learner.readiness().kind, 'ready', 'no failure is needed');
    await learning.update(1);
    assert.equal(new Set(learning.jobs[0]!.episodeOf).size, ready ? 2 : 1);
  }
});

test('machines that are held back do not train, and are not counted', async (t) => {
  const trains = (machine: string) => machine !== 'press';
  const learning = await learningOf(t, { privacy: privacyOf(2), trains, minimumEpisodes: 2 });
  learning.give(episode('press', DAY));
  assert.deepEqual(learning.learner.readiness(), { kind: 'unable', why: 'no machine has failed yet' });
  learning.give(episode('lathe', DAY));
  assert.deepEqual(learning.learner.readiness(), { kind: 'unable', why: 'too few machines have failed yet' });
  learning.give(episode('saw', DAY));
  assert.equal(learning.learner.readiness().kind, 'ready');
  await learning.update(1);
  assert.equal(new Set(learning.jobs[0]!.episodeOf).size, 2);
});

test('two agreements over the same data: each sees what the other has spent', async (t) => {
  const first = await learningOf(t, { privacy: privacyOf(2, 10 * DAY) });
  first.give(episode('press', 3 * DAY));
  await first.update(1);
  await first.journal.close();
  const agreement = new Uint8Array(32).fill(1);
  const second = await openLearning(t, first.directory, first.keys, { privacy: privacyOf(2), agreement });
  second.give(episode('press', 3 * DAY));
  await second.update(1);
  assert.deepEqual(
    second.ledger.charges().map(({ from, to }) => [from, to]),
    [
      [0, 10 * DAY],
      [0, ALL_TIME.to],
    ],
  );
  assert.equal(second.ledger.spent('window', DELTA), costOf(2));
  await assert.rejects(second.update(2), /budget is spent/);
  await second.journal.close();
  const again = await openLearning(t, first.directory, first.keys, { privacy: privacyOf(2, 10 * DAY) });
  again.give(episode('press', 3 * DAY));
  await assert.rejects(again.update(3), /budget is spent/);
  // Where only the second has charged, the first one's next block has a round left.
  again.give(episode('press', 13 * DAY));
  await again.update(4);
  await assert.rejects(again.update(5), /budget is spent/);
});

test('rounds at once train one after the other, and share what is left', async (t) => {
  let running = 0;
  const learning = await learningOf(t, {
    privacy: privacyOf(3),
    async train(job) {
      running += 1;
      assert.equal(running, 1);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running -= 1;
      return job.parameters.map((value) => value + 1);
    },
  });
  learning.give(episode('press', DAY));
  const given = new AbortController();
  const outcomes = await Promise.allSettled([
    ...[1, 2].map((round) => learning.update(round)),
    learning.learner.update(3, 0, PARAMETERS, given.signal).finally(() => undefined),
    ...[4, 5].map((round) => {
      given.abort();
      return learning.update(round);
    }),
  ]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected', 'fulfilled', 'rejected'],
  );
  assert.deepEqual(
    learning.ledger.charges().map(({ round }) => round),
    [1, 2, 4],
  );
  const seeds = learning.jobs.map((job) => toHex(job.samplerSeed!));
  assert.equal(new Set(seeds).size, 3, 'each update draws its own seed');
});

test('a round that is given up while it trains is not charged', async (t) => {
  const stop = new AbortController();
  const learning = await learningOf(t, {
    privacy: privacyOf(3),
    async train(job) {
      stop.abort();
      return job.parameters.slice();
    },
  });
  learning.give(episode('press', DAY));
  await assert.rejects(learning.learner.update(1, 0, PARAMETERS, stop.signal), { name: 'AbortError' });
  assert.equal(learning.ledger.charges().length, 0);
  assert.equal(learning.evidence.counts().updates, 0);
});

test('a crash at every step of charge, evidence and release: what left is paid for, and told of', async (t) => {
  let steps = Number.POSITIVE_INFINITY;
  let crashes = 0;
  for (let at = 0; at < steps; at++) {
    for (const after of [false, true]) {
      const fault = createFault();
      const deposited: Uint8Array[] = [];
      const setting: Setting = {
        privacy: privacyOf(3),
        fault,
        deposit: async (entry) => void deposited.push(entry),
      };
      const { directory, keys, ...first } = await learningOf(t, setting);
      first.give(episode('press', DAY));
      fault.writes = 0;
      fault.crash = { at, after };
      const released = await first.update(1).catch((error: Error) => {
        assert.equal(error.name, 'Gone');
        return undefined;
      });
      const where = fault.crashedIn ?? 'nowhere';
      if (fault.crashedIn === undefined) steps = Math.min(steps, at);
      else crashes += 1;
      await first.journal.close();

      const second = await openLearning(t, directory, keys, {
        ...setting,
        fault: createFault(),
      });
      second.give(episode('press', DAY));
      const { verify } = { verify: createVerifier(keys.sample.publicKey) };
      const held = deposited.map((entry) => openDeposit(entry, () => verify).charge);
      const [before, charges] = [await logged(second), second.ledger.charges()];
      assert.deepEqual(before.charges, charges, `the log has the ledger's charges (${where})`);
      assert.ok(charges.length <= 1 && held.length <= charges.length);
      if (released) {
        assert.deepEqual(held, charges, `released, so others hold the charge (${where})`);
        assert.equal(charges.length, 1);
        assert.equal(before.evidence.length, 1);
      }
      // Once the gateway is up again every charge has its evidence, and it opens.
      await second.evidence.settle();
      const { evidence } = await logged(second);
      assert.equal(evidence.length, charges.length, where);
      for (const [index, one] of evidence.entries()) {
        assert.ok(one.form === 'update');
        assert.deepEqual(one.charge, chargeDigest(charges[index]!));
        const record = await second.evidence.update(second.agreement, 1);
        checkOpening(one, await second.evidence.opening(record!, 'set'));
        checkOpening(one, await second.evidence.opening(record!, 'seed'));
        if (released) assert.deepEqual(one.updateOut, updateDigest(released));
      }
      assert.equal(second.evidence.counts().pending, 0);

      // And the budget is what was charged: no more rounds than it had, no refund.
      let rounds = 0;
      for (; rounds < 4; rounds++) {
        const done = await second.update(10 + rounds).then(
          () => true,
          () => false,
        );
        if (!done) break;
      }
      assert.equal(rounds + charges.length, 3, where);
      const after1 = await logged(second);
      assert.deepEqual(after1.charges, second.ledger.charges());
      assert.equal(after1.evidence.length, 3);
      const seeds = after1.evidence.map((one) => (one.form === 'update' ? toHex(one.seed) : ''));
      assert.equal(new Set(seeds).size, 3);
      await second.journal.close();
    }
  }
  t.diagnostic(`${steps} writes and deposits in an update, ${crashes} crashes`);
  assert.ok(steps >= 5 && Number.isFinite(steps), `${steps} steps`);
});

test('a run that a crash cut off goes on with the seed that it had, one that was charged does not', async (t) => {
  const fault = createFault();
  const setting: Setting = {
    privacy: privacyOf(5),
    fault,
    async train(job) {
      if (fault.crash) throw new Error('the process is gone');
      return job.parameters.slice();
    },
  };
  const { directory, keys, ...first } = await learningOf(t, setting);
  first.give(episode('press', DAY));
  fault.crash = { at: 1e9, after: false };
  await assert.rejects(first.update(1), /gone/);
  await first.journal.close();
  fault.crash = undefined;
  const second = await openLearning(t, directory, keys, setting);
  second.give(episode('press', DAY));
  await second.update(2);
  await second.update(3);
  second.give(episode('lathe', DAY));
  await second.update(4);
  const jobs = [...first.jobs, ...second.jobs];
  const [cut, again, next, other] = jobs.map(({ samplerSeed }) => toHex(samplerSeed!));
  assert.equal(cut, again);
  assert.equal(new Set([again, next, other]).size, 3);
  const names = [...first.resumed, ...second.resumed];
  assert.ok(names[0] !== undefined && names[0] === names[1] && names[3] !== names[0]);
});

test('a charge that too few others take: nothing leaves, it stands, and its evidence is entered', async (t) => {
  let away = true;
  const learning = await learningOf(t, {
    privacy: privacyOf(2),
    deposit: async () => {
      if (away) throw new Error('the charge is with 0 other members');
    },
  });
  learning.give(episode('press', DAY));
  await assert.rejects(learning.update(1), /with 0 other members/);
  assert.equal(learning.ledger.charges().length, 1);
  away = false;
  await learning.update(2);
  const { charges, evidence } = await logged(learning);
  assert.deepEqual([charges.length, evidence.length], [2, 2]);
  assert.deepEqual(
    evidence.map(({ round }) => round),
    [1, 2],
  );
});

test('a directory that was restored counts the charges that others have kept, before it trains again', async (t) => {
  const deposited: Charge[] = [];
  const directory = await temporaryDirectory(t);
  const keys = newKeys();
  const verify = createVerifier(keys.sample.publicKey);
  const setting: Setting = {
    privacy: privacyOf(3),
    deposit: async (entry) => void deposited.push(openDeposit(entry, () => verify).charge),
  };
  const first = await openLearning(t, directory, keys, setting);
  first.give(episode('press', DAY));
  await first.update(1);
  await first.journal.close();
  const backup = await temporaryDirectory(t);
  await cp(join(directory, 'journal'), join(backup, 'journal'), { recursive: true });
  const second = await openLearning(t, directory, keys, setting);
  second.give(episode('press', DAY));
  await second.update(2);
  await second.update(3);
  await second.journal.close();

  const restored = await openLearning(t, backup, keys, setting);
  restored.give(episode('press', DAY));
  assert.equal(restored.ledger.spent('window', DELTA), costOf(1));
  assert.equal(await restored.ledger.adopt(deposited), 2);
  assert.equal(restored.ledger.spent('window', DELTA), costOf(3));
  await assert.rejects(restored.update(4), /budget is spent/);
  assert.equal(restored.jobs.length, 0);
});
