import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Mechanism } from '../../../runtime/core/privacy/accountant.ts';
import {
  chargeable,
  eligible,
  identitiesOf,
  type Price,
} from '../../../runtime/services/training/eligible.ts';
import { ALL_TIME, blockOf, type Charge, type Interval } from '../../../runtime/state/ledger/charge.ts';
import { createComposition } from '../../../runtime/state/ledger/composition.ts';
import { rowsDigest } from '../../../runtime/state/ledger/evidence.ts';
import { episode } from './budget-helpers.ts';

const DELTA = 1e-5;
const agreement = new Uint8Array(32);
// Without sampling the accountants are exact and quick, and epsilon rises with every step.
const mechanism: Mechanism = { samplingRate: 1, noiseMultiplier: 10, steps: 1 };
const PERIOD = 10;

function ledgerOf(charges: readonly Charge[]) {
  const composition = createComposition();
  composition.add(charges);
  const allows = (charge: Charge, { unit, epsilon, delta }: Price['budget']) =>
    composition.spent(unit, delta, { interval: charge, further: charge }) <= epsilon;
  return { composition, allows, pieces: composition.pieces };
}

const costOf = (rounds: number) => {
  const { composition } = ledgerOf(
    Array.from({ length: rounds }, () => ({ agreement, round: 0, unit: 'episode', mechanism, ...ALL_TIME })),
  );
  return composition.spent('episode', DELTA);
};

test('the interval is whole blocks, all of it affordable, and as long as can be; the slow way finds the same', () => {
  const budget = { epsilon: costOf(3) * 1.0001, delta: DELTA, unit: 'episode' } as const;
  const anyCharge = fc.record({ from: fc.nat(70), length: fc.integer({ min: 1, max: 40 }) });
  fc.assert(
    fc.property(fc.array(anyCharge, { maxLength: 12 }), fc.nat(80), (given, newest) => {
      const charges = given.map(
        ({ from, length }, round): Charge => ({
          agreement,
          round,
          unit: 'episode',
          mechanism,
          from,
          to: from + length,
        }),
      );
      const price: Price = { charge: { agreement, round: 99, unit: 'episode', mechanism }, budget };
      const found = chargeable(ledgerOf(charges), price, PERIOD, [episode('press', newest)]);
      // Back from the end of the newest block, block by block, while each of its instants has had at most two.
      const { to } = blockOf(newest, PERIOD);
      let from = to;
      const full = (at: number) => charges.filter((one) => one.from <= at && one.to > at).length > 2;
      const isFree = (start: number) =>
        !Array.from({ length: PERIOD }, (_, at) => full(start + at)).some(Boolean);
      while (from > 0 && isFree(from - PERIOD)) from -= PERIOD;
      const expected: Interval | undefined = from < to ? { from, to } : undefined;
      assert.deepEqual(found, expected);
    }),
    { numRuns: 300 },
  );
});

test('what one episode does moves neither end; without a period there is one block', () => {
  const price: Price = {
    charge: { agreement, round: 0, unit: 'episode', mechanism },
    budget: { epsilon: 1, delta: DELTA, unit: 'episode' },
  };
  const running = episode('mill', 55, 'running');
  const without = chargeable(ledgerOf([]), price, PERIOD, [episode('press', 12), running]);
  assert.deepEqual(without, { from: 0, to: 60 });
  assert.deepEqual(chargeable(ledgerOf([]), price, PERIOD, [running]), without);
  assert.deepEqual(chargeable(ledgerOf([]), price, undefined, []), ALL_TIME);
  assert.equal(chargeable(ledgerOf([]), price, PERIOD, []), undefined);
  const nothing = { ...episode('press', Number.NaN), rows: [] };
  assert.equal(chargeable(ledgerOf([]), price, PERIOD, [nothing]), undefined);
});

test('an episode belongs to the block that it ended in, and to no other', () => {
  const all = [
    episode('a', 9),
    episode('b', 10),
    episode('c', 19),
    episode('d', 20),
    episode('e', 15, 'running'),
    { ...episode('f', 15), rows: [] },
    { ...episode('g', Number.NaN), rows: [] },
  ];
  const names = (running: boolean) =>
    eligible(all, { from: 10, to: 20 }, running, (machine) => machine !== 'c').map(({ machine }) => machine);
  assert.deepEqual(names(false), ['b']);
  assert.deepEqual(names(true), ['b', 'e']);
});

test('a run that grows while others are named is named as it was', async () => {
  const rows = [[1], [2]];
  const running = { ...episode('mill', 20, 'running'), rows };
  const named = identitiesOf([episode('press', 10), episode('lathe', 11), running]);
  rows.push([3]);
  const [first, , last] = await named;
  assert.deepEqual([last!.rows, last!.digest], [2, rowsDigest([[1], [2]])]);
  assert.deepEqual(first!.digest, rowsDigest(episode('press', 10).rows));
  assert.deepEqual((await identitiesOf([running]))[0]!.digest, rowsDigest([[1], [2], [3]]));
});
