import assert from 'node:assert/strict';
import { test } from 'node:test';
import { equalBytes } from '../../../runtime/core/encoding/cbor.ts';
import { epsilonOf } from '../../../runtime/core/privacy/accountant.ts';
import { openPart } from '../../../runtime/services/training/opening.ts';
import { checkOpening } from '../../../runtime/state/ledger/evidence.ts';
import {
  createFault,
  DAY,
  DELTA,
  episode,
  type Learning,
  learningOf,
  logged,
  MECHANISM,
  openLearning,
  privacyOf,
  type Setting,
} from './budget-helpers.ts';

test('the seed is opened against a charge for sampling undone, deposited first; once', async (t) => {
  let deposits = 0;
  let away = false;
  const setting: Setting = {
    privacy: { ...privacyOf(1)!, epsilon: 40 },
    deposit: async () => {
      if (away) throw new Error('nobody is there');
      deposits += 1;
    },
  };
  const { directory, keys, ...learning } = await learningOf(t, setting);
  learning.give(episode('press', DAY));
  await learning.update(7);
  const budget = { epsilon: 40, delta: DELTA, unit: 'window' } as const;
  const auditor = (one: Learning) => ({
    agreement: one.agreement,
    budget,
    ledger: one.ledger,
    evidence: one.evidence,
  });
  away = true;
  await assert.rejects(openPart(auditor(learning), 7, 'seed'), /nobody is there/);
  away = false;
  const opened = await openPart(auditor(learning), 7, 'seed');
  checkOpening(opened.update, opened.opening);
  assert.deepEqual(opened.charge?.mechanism, { ...MECHANISM, samplingRate: 1 });
  assert.ok(opened.opening.part === 'seed');
  assert.ok(equalBytes(opened.opening.seed, learning.jobs[0]!.samplerSeed!));
  // Charged once when nobody took it, and again: nobody knows how far the first got.
  const whole = epsilonOf([MECHANISM, { ...MECHANISM, samplingRate: 1, steps: 2 }], DELTA);
  assert.ok(Math.abs(learning.ledger.spent('window', DELTA) - whole) < 1e-9);
  assert.equal(deposits, 2);
  await learning.journal.close();
  const again = await openLearning(t, directory, keys, setting);
  const twice = await openPart(auditor(again), 7, 'seed');
  assert.equal(twice.charge, undefined, 'shown before, paid for');
  assert.deepEqual(twice.opening, opened.opening);
  assert.deepEqual(twice.entry, opened.entry);
  const { charges, evidence } = await logged(again);
  assert.equal(charges.length, 3);
  assert.deepEqual(
    evidence.map(({ form }) => form),
    ['update', 'opening', 'opening'],
  );

  await assert.rejects(openPart(auditor(again), 8, 'seed'), /no update of round 8/);
  await assert.rejects(openPart(auditor(again), 7, 'set'), /no noise covers that.*40 \(window\)/);
  const small = { ...auditor(again), budget: { ...budget, epsilon: 1 } };
  again.give(episode('press', DAY));
  await again.update(9);
  await assert.rejects(openPart(small, 9, 'seed'), { name: 'BudgetSpent' });
});

test('without a budget the set is opened too, and nothing is charged; the log tells of it', async (t) => {
  const learning = await learningOf(t, { privacy: undefined });
  learning.give(episode('press', DAY), episode('lathe', 2 * DAY));
  await learning.update(1);
  const opened = await openPart({ ...learning, budget: undefined }, 1, 'set');
  checkOpening(opened.update, opened.opening);
  assert.ok(opened.opening.part === 'set');
  assert.deepEqual(
    opened.opening.episodes.map(({ machine, ended }) => [machine, ended]),
    [
      ['press', DAY],
      ['lathe', 2 * DAY],
    ],
  );
  const { charges, evidence } = await logged(learning);
  assert.deepEqual([charges.length, evidence.length], [0, 2]);
});

test('a crash at every step of an opening: what was shown is charged, with others, and told of', async (t) => {
  const budget = { epsilon: 60, delta: DELTA, unit: 'window' } as const;
  const privacy = { ...privacyOf(1)!, epsilon: budget.epsilon };
  const { samplingRate: _, ...unsampled } = MECHANISM;
  let steps = Number.POSITIVE_INFINITY;
  for (let at = 0; at < steps; at++) {
    for (const after of [false, true]) {
      const fault = createFault();
      let deposits = 0;
      const deposit = async () => {
        deposits += 1;
      };
      const { directory, keys, ...first } = await learningOf(t, { privacy, fault, deposit });
      first.give(episode('press', DAY));
      await first.update(1);
      [fault.writes, deposits] = [0, 0];
      fault.crash = { at, after };
      const open = (one: Learning) => openPart({ ...one, budget }, 1, 'seed');
      const shown = await open(first).catch((error: Error) => void assert.equal(error.name, 'Gone'));
      if (fault.crashedIn === undefined) steps = at;
      await first.journal.close();
      const second = await openLearning(t, directory, keys, { privacy, deposit });
      const openings = () => second.ledger.charges().filter(({ mechanism }) => mechanism.samplingRate === 1);
      assert.ok(openings().length >= deposits, fault.crashedIn);
      if (shown) assert.deepEqual([openings().length, deposits], [1, 1]);
      // Asked again it is shown, and by then it is paid for at least once, whatever came before.
      const again = await open(second);
      checkOpening(again.update, again.opening);
      assert.ok(openings().length >= 1 && openings().length <= 2 && deposits >= 1, fault.crashedIn);
      for (const { mechanism } of openings()) assert.deepEqual(mechanism, { ...unsampled, samplingRate: 1 });
      const { charges, evidence } = await logged(second);
      assert.deepEqual(charges, second.ledger.charges());
      assert.equal(evidence.length, charges.length);
      await second.journal.close();
    }
  }
  assert.ok(steps >= 4 && Number.isFinite(steps), `${steps} steps`);
});
