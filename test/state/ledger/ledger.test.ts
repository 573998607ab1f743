import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { type CborValue, decodeCbor, encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { parseSign1 } from '../../../runtime/core/encoding/cose.ts';
import { decodeEntry } from '../../../runtime/core/encoding/entry.ts';
import { epsilonOf, type Mechanism } from '../../../runtime/core/privacy/accountant.ts';
import { epsilonOf as quickEpsilon } from '../../../runtime/core/privacy/rdp.ts';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import { decodeCharge, encodeCharge } from '../../../runtime/state/ledger/charge.ts';
import { ALL_TIME, type Budget, type Charge, openLedger } from '../../../runtime/state/ledger/ledger.ts';
import { createClock } from '../../../runtime/state/provenance/clock.ts';
import { createGatewayKeys, loadGatewayKeys } from '../../../runtime/state/provenance/keys.ts';
import { openRecorder } from '../../../runtime/state/provenance/recorder.ts';
import { bundled } from '../bundle.ts';
import { closing, entriesOf, SETTINGS, temporary } from '../journal/helpers.ts';

const DELTA = 1e-5;
const MECHANISM: Mechanism = { samplingRate: 0.05, noiseMultiplier: 1.2, steps: 10 };
const window = (epsilon: number): Budget => ({ epsilon, delta: DELTA, unit: 'window' });

function chargeOf(round: number, mechanism: Mechanism = MECHANISM, unit: Charge['unit'] = 'window'): Charge {
  return { agreement: new Uint8Array(32).fill(7), round, unit, mechanism, ...ALL_TIME };
}

async function openAll(t: TestContext, directory: string) {
  const journal = await openJournal(join(directory, 'journal'), SETTINGS);
  closing(t, () => journal.close());
  const recorder = await openRecorder(journal, await loadGatewayKeys(directory), createClock());
  return { journal, recorder, ledger: await openLedger(journal, recorder) };
}

async function withKeys(t: TestContext): Promise<string> {
  const directory = await temporary(t);
  await createGatewayKeys(directory);
  return directory;
}

test('charges are composed, never over the budget, and the refused one costs nothing', async (t) => {
  const { ledger } = await openAll(t, await withKeys(t));
  assert.equal(ledger.spent('window', DELTA), 0);
  let charged = 0;
  for (;;) {
    const after = epsilonOf([{ ...MECHANISM, steps: MECHANISM.steps * (charged + 1) }], DELTA);
    assert.equal(ledger.allows(chargeOf(charged), window(2)), after <= 2);
    if (after > 2) break;
    await ledger.charge(chargeOf(charged), window(2));
    const spent = ledger.spent('window', DELTA);
    assert.ok(Math.abs(spent - after) < 1e-9 && spent <= 2);
    charged += 1;
  }
  assert.ok(charged > 2);
  const before = ledger.spent('window', DELTA);
  await assert.rejects(ledger.charge(chargeOf(charged), window(2)), (error: Error) => {
    assert.equal(error.name, 'BudgetSpent');
    assert.match(error.message, new RegExp(`round ${charged}: ${before.toFixed(3)} of 2 \\(window\\)`));
    return true;
  });
  assert.deepEqual([ledger.charges().length, ledger.spent('window', DELTA)], [charged, before]);
  const small = { ...MECHANISM, noiseMultiplier: 50, steps: 1 };
  await ledger.charge(chargeOf(charged, small), window(2));
  assert.ok(ledger.spent('window', DELTA) <= 2, 'a smaller one that fits is allowed');
});

test('charges asked for at once are judged one after the other', async (t) => {
  const { ledger } = await openAll(t, await withKeys(t));
  const budget = window(epsilonOf([{ ...MECHANISM, steps: 30 }], DELTA) * 1.0001);
  const outcomes = await Promise.allSettled(
    Array.from({ length: 8 }, (_, round) => ledger.charge(chargeOf(round), budget)),
  );
  assert.deepEqual(
    outcomes.map(({ status }) => status === 'fulfilled'),
    [true, true, true, ...Array(5).fill(false)],
  );
  assert.ok(ledger.spent('window', DELTA) <= budget.epsilon);
});

test('what is spent is epsilonOf all mechanisms, whatever their order', async (t) => {
  const { ledger } = await openAll(t, await withKeys(t));
  const mechanisms: Mechanism[] = [];
  const anyMechanism = fc.record({
    samplingRate: fc.constantFrom(0.01, 0.1, 1),
    noiseMultiplier: fc.constantFrom(0.9, 2, 7.5),
    steps: fc.integer({ min: 1, max: 50 }),
  });
  for (const [round, mechanism] of fc.sample(anyMechanism, { numRuns: 12, seed: 5 }).entries()) {
    await ledger.charge(chargeOf(round, mechanism), window(1e6));
    const spent = ledger.spent('window', DELTA);
    mechanisms.push(mechanism);
    const whole = epsilonOf(mechanisms, DELTA);
    assert.ok(Math.abs(spent - whole) <= 1e-9 * whole, `${spent} and ${whole}`);
    assert.ok(ledger.bound('window', DELTA) >= spent, 'the quick one is never below');
    const quick = quickEpsilon(mechanisms, DELTA);
    assert.ok(Math.abs(ledger.bound('window', DELTA) - quick) <= 1e-9 * quick);
  }
  for (const delta of [1e-3, 1e-9]) {
    const whole = epsilonOf(mechanisms, delta);
    assert.ok(Math.abs(ledger.spent('window', delta) - whole) <= 1e-9 * whole);
  }
});

test('a charge is in the log as it is in the ledger, and both are there after opening anew', async (t) => {
  const directory = await withKeys(t);
  const first = await openAll(t, directory);
  for (let round = 0; round < 3; round++) await first.ledger.charge(chargeOf(round), window(8));
  const charges = first.ledger.charges();
  const spent = first.ledger.spent('window', DELTA);
  await first.journal.close();
  const { ledger, journal } = await openAll(t, directory);
  assert.deepEqual(ledger.charges(), charges);
  assert.deepEqual(
    charges,
    [0, 1, 2].map((round) => chargeOf(round)),
  );
  assert.equal(ledger.spent('window', DELTA), spent);
  const logged = (await entriesOf(journal)).map((bytes) => decodeEntry(parseSign1(bytes).payload));
  assert.deepEqual(
    logged.map(({ kind }) => kind),
    ['charge', 'charge', 'charge'],
  );
  for await (const [key, value] of journal.section('ledger').entries()) {
    assert.deepEqual(decodeCbor(value), logged[Number.parseInt(key.slice(-4), 16)]?.body);
  }
  await ledger.charge(chargeOf(3), window(8));
  assert.deepEqual(
    ledger.charges().map(({ round }) => round),
    [0, 1, 2, 3],
  );
});

test('a budget for one unit is not charged with another', async (t) => {
  const { ledger } = await openAll(t, await withKeys(t));
  const episode: Budget = { epsilon: 1000, delta: DELTA, unit: 'episode' };
  assert.equal(ledger.allows(chargeOf(0), episode), false);
  await assert.rejects(
    ledger.charge(chargeOf(0), episode),
    /the round protects a window, the agreement's budget a episode/,
  );
  await assert.rejects(ledger.charge(chargeOf(0, MECHANISM, 'episode'), window(1000)), {
    name: 'BudgetSpent',
  });
  assert.equal(ledger.charges().length, 0);
});

test('episodes charged count for windows in full; windows charged leave no claim for episodes', async (t) => {
  const { ledger } = await openAll(t, await withKeys(t));
  const episode: Budget = { epsilon: 1000, delta: DELTA, unit: 'episode' };
  await ledger.charge(chargeOf(0, MECHANISM, 'episode'), episode);
  assert.equal(ledger.spent('window', DELTA), ledger.spent('episode', DELTA));
  await ledger.charge(chargeOf(1), window(1000));
  const both = ledger.spent('window', DELTA);
  assert.ok(Math.abs(both - epsilonOf([MECHANISM, MECHANISM], DELTA)) < 1e-9);
  assert.equal(ledger.spent('episode', DELTA), Number.POSITIVE_INFINITY);
  await assert.rejects(ledger.charge(chargeOf(2, MECHANISM, 'episode'), episode), { name: 'BudgetSpent' });
});

test('an impossible mechanism or budget charges nothing', async (t) => {
  const { ledger } = await openAll(t, await withKeys(t));
  const impossible: readonly Partial<Mechanism>[] = [
    { samplingRate: 1.5 },
    { samplingRate: Number.NaN },
    { noiseMultiplier: 0 },
    { noiseMultiplier: Number.POSITIVE_INFINITY },
    { steps: -1 },
    { steps: 0.5 },
  ];
  for (const part of impossible) {
    await assert.rejects(ledger.charge(chargeOf(0, { ...MECHANISM, ...part }), window(8)), RangeError);
  }
  for (const epsilon of [Number.NaN, -1, 0]) {
    await assert.rejects(ledger.charge(chargeOf(0), window(epsilon)), { name: 'BudgetSpent' });
  }
  await assert.rejects(ledger.charge(chargeOf(0), { ...window(8), delta: 0 }), RangeError);
  assert.equal(ledger.charges().length, 0);
  await ledger.charge(chargeOf(0), window(8));
});

test('a ledger with a hole, or with a charge that cannot be read, is not opened', async (t) => {
  for (const damage of ['hole', 'unreadable'] as const) {
    const directory = await withKeys(t);
    const { journal, recorder, ledger } = await openAll(t, directory);
    for (let round = 0; round < 3; round++) await ledger.charge(chargeOf(round), window(8));
    const section = journal.section('ledger');
    const keys: string[] = [];
    for await (const [key] of section.entries()) keys.push(key);
    const write = damage === 'hole' ? section.del(keys[1]!) : section.put(keys[1]!, Uint8Array.of(0x80));
    await journal.write([write]);
    await assert.rejects(
      openLedger(journal, recorder),
      damage === 'hole' ? /the ledger has no charge/ : /charge: 0 fields/,
    );
  }
});

test('SIGKILL at any time: every acknowledged charge stands, and the budget is never exceeded', async (t) => {
  const directory = await withKeys(t);
  const program = await bundled(new URL('children/charger.ts', import.meta.url), directory);
  const epsilon = epsilonOf([{ ...MECHANISM, steps: MECHANISM.steps * 60 }], DELTA) * 1.0001;
  let acknowledged = 0;
  let ended = false;
  for (let kill = 0; kill < 40 && !ended; kill++) {
    const child = spawn(process.execPath, [program, join(directory, 'journal'), directory, String(epsilon)], {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 30_000,
      killSignal: 'SIGKILL',
    });
    closing(t, async () => child.kill('SIGKILL'));
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (output.split('\n').length > 2 + ((kill * 7) % 11)) child.kill('SIGKILL');
    });
    await once(child, 'close');
    const lines = output.split('\n').slice(0, -1);
    assert.ok(
      Number(lines[0]?.slice('opened '.length)) >= acknowledged,
      `${lines[0]}, ${acknowledged} were acknowledged`,
    );
    for (const line of lines.slice(1)) {
      if (line === 'BudgetSpent') ended = true;
      else acknowledged = Number(line.slice('charged '.length)) + 1;
    }
  }
  assert.ok(ended, 'the budget was used up');
  const { ledger } = await openAll(t, directory);
  assert.equal(ledger.charges().length, 60);
  assert.deepEqual(
    ledger.charges().map(({ round }) => round),
    Array.from({ length: 60 }, (_, round) => round),
  );
  assert.ok(ledger.spent('window', DELTA) <= epsilon);
  assert.equal(ledger.allows(chargeOf(60), window(epsilon)), false);
});

const DAY = 86_400_000;
const during = (round: number, from: number, to: number, mechanism = MECHANISM): Charge => ({
  ...chargeOf(round, mechanism),
  from,
  to,
});
const costOf = (rounds: number) => epsilonOf([{ ...MECHANISM, steps: MECHANISM.steps * rounds }], DELTA);

test('every instant has a budget of its own: what covers it counts, whatever else was charged', async (t) => {
  const { ledger } = await openAll(t, await withKeys(t));
  const budget = window(costOf(2) * 1.0001);
  await ledger.charge(during(1, 0, 2 * DAY), budget);
  await ledger.charge(during(2, DAY, 3 * DAY), budget);
  const spent = (from: number, to: number) => ledger.spent('window', DELTA, { from, to });
  assert.deepEqual(
    [spent(0, DAY), spent(DAY, 2 * DAY), spent(2 * DAY, 3 * DAY), spent(3 * DAY, 9 * DAY)],
    [costOf(1), costOf(2), costOf(1), 0],
  );
  assert.equal(spent(0, 9 * DAY), costOf(2), 'the most of any instant');
  assert.equal(spent(2 * DAY - 1, 2 * DAY), costOf(2), 'an instant before the end');
  assert.equal(ledger.spent('window', DELTA), costOf(2));
  for (const [from, to] of [
    [DAY, DAY + 1],
    [2 * DAY - 1, 5 * DAY],
    [0, 9 * DAY],
  ] as const) {
    assert.equal(ledger.allows(during(3, from, to), budget), false);
    await assert.rejects(ledger.charge(during(3, from, to), budget), { name: 'BudgetSpent' });
  }
  await ledger.charge(during(3, 2 * DAY, 4 * DAY), budget);
  assert.equal(spent(2 * DAY, 4 * DAY), costOf(2), 'new data, new budget');
  await ledger.charge(during(4, 3 * DAY + 1, 4 * DAY), budget);
  assert.equal(spent(3 * DAY, 4 * DAY), costOf(2));
  assert.deepEqual(
    ledger
      .pieces({ from: DAY, to: 5 * DAY })
      .map(({ from, to, mechanisms }) => [from, to, mechanisms[0]?.steps ?? 0]),
    [
      [DAY, 2 * DAY, 20],
      [2 * DAY, 3 * DAY, 20],
      [3 * DAY, 3 * DAY + 1, 10],
      [3 * DAY + 1, 4 * DAY, 20],
      [4 * DAY, 5 * DAY, 0],
    ],
  );
});

test('two agreements over the same data are composed, with their own blocks and mechanisms', async (t) => {
  const { ledger } = await openAll(t, await withKeys(t));
  const first = during(1, 0, 30 * DAY);
  const mechanism: Mechanism = { samplingRate: 1, noiseMultiplier: 6, steps: 3 };
  const second: Charge = {
    ...during(1, 7 * DAY, 14 * DAY, mechanism),
    agreement: new Uint8Array(32).fill(9),
  };
  await ledger.charge(first, window(100));
  const both = epsilonOf([mechanism, MECHANISM], DELTA);
  // Whichever agreement's budget it is, all that ran over the data counts.
  assert.equal(ledger.allows(second, window(both * 0.999)), false);
  await ledger.charge(second, window(both * 1.001));
  assert.equal(ledger.spent('window', DELTA), both);
  assert.equal(ledger.spent('window', DELTA, { from: 0, to: 7 * DAY }), costOf(1));
  assert.equal(ledger.spent('window', DELTA, { from: 14 * DAY, to: 30 * DAY }), costOf(1));
  assert.equal(ledger.spent('window', DELTA, { from: 14 * DAY - 1, to: 30 * DAY }), both);
});

test('what is spent on an interval is what the slow way gives: every instant by itself', async (t) => {
  const { ledger } = await openAll(t, await withKeys(t));
  const mechanisms: readonly Mechanism[] = [MECHANISM, { samplingRate: 1, noiseMultiplier: 9, steps: 2 }];
  const anyCharge = fc.record({
    from: fc.integer({ min: 0, max: 11 }),
    length: fc.integer({ min: 1, max: 8 }),
    mechanism: fc.constantFrom(...mechanisms),
  });
  const charges = fc
    .sample(anyCharge, { numRuns: 14, seed: 3 })
    .map(({ from, length, mechanism }, round) => during(round, from, from + length, mechanism));
  for (const charge of charges) await ledger.charge(charge, window(1e6));
  for (let from = 0; from < 20; from += 3) {
    for (let to = from + 1; to < 21; to += 4) {
      let most = 0;
      for (let at = from; at < to; at++) {
        const covering = charges.filter((charge) => charge.from <= at && charge.to > at);
        most = Math.max(
          most,
          epsilonOf(
            covering.map(({ mechanism }) => mechanism),
            DELTA,
          ),
        );
      }
      const spent = ledger.spent('window', DELTA, { from, to });
      assert.ok(Math.abs(spent - most) <= 1e-9 * Math.max(1, most), `[${from}, ${to}): ${spent} and ${most}`);
    }
  }
});

test('a charge has one form, and no other is read', () => {
  const charge = during(3, DAY, 2 * DAY);
  const fields = encodeCharge(charge) as readonly CborValue[];
  assert.deepEqual(decodeCharge(encodeCbor(fields)), charge);
  const refused: readonly (readonly [readonly CborValue[], RegExp])[] = [
    [fields.slice(0, 6), /6 fields instead of 8/],
    [[...fields, 1], /9 fields/],
    [fields.with(0, new Uint8Array(31)), /agreement has 31 bytes/],
    [fields.with(2, 'sample'), /unit sample is unknown/],
    [fields.with(3, { float: 1.5 }), /sampling rate 1.5/],
    [fields.with(4, { float: 0 }), /noise multiplier 0/],
    [fields.with(4, { float: Number.POSITIVE_INFINITY }), /noise multiplier Infinity/],
    [fields.with(5, -1), /steps/],
    [fields.with(6, { float: 0 }), /from is not a whole number/],
    [fields.with(7, DAY), /which is none/],
    [fields.with(7, 0), /which is none/],
  ];
  for (const [value, why] of refused) assert.throws(() => decodeCharge(encodeCbor(value)), why);
});

test('what goes along with a charge is there exactly if the charge is', async (t) => {
  const { ledger, journal } = await openAll(t, await withKeys(t));
  const section = journal.section('training');
  const told: string[] = [];
  const along = (name: string) => ({
    writes: [section.put(name, Uint8Array.of(1))],
    durable: () => void told.push(name),
  });
  await ledger.charge(chargeOf(1), window(8), along('paid'));
  await assert.rejects(ledger.charge(chargeOf(2), window(0.1), along('refused')), { name: 'BudgetSpent' });
  assert.ok(await section.get('paid'));
  assert.equal(await section.get('refused'), undefined);
  assert.deepEqual(told, ['paid']);
});
