import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { decodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { parseSign1 } from '../../../runtime/core/encoding/cose.ts';
import { decodeEntry } from '../../../runtime/core/encoding/entry.ts';
import { epsilonOf, type Mechanism } from '../../../runtime/core/privacy/rdp.ts';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import { type Budget, type Charge, openLedger } from '../../../runtime/state/ledger/ledger.ts';
import { createClock } from '../../../runtime/state/provenance/clock.ts';
import { createGatewayKeys, loadGatewayKeys } from '../../../runtime/state/provenance/keys.ts';
import { openRecorder } from '../../../runtime/state/provenance/recorder.ts';
import { bundled } from '../bundle.ts';
import { closing, entriesOf, SETTINGS, temporary } from '../journal/helpers.ts';

const DELTA = 1e-5;
const MECHANISM: Mechanism = { samplingRate: 0.05, noiseMultiplier: 1.2, steps: 10 };
const window = (epsilon: number): Budget => ({ epsilon, delta: DELTA, unit: 'window' });

function chargeOf(round: number, mechanism: Mechanism = MECHANISM, unit: Charge['unit'] = 'window'): Charge {
  return { agreement: new Uint8Array(32).fill(7), round, unit, mechanism };
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
    const spent = await ledger.charge(chargeOf(charged), window(2));
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
  assert.ok(
    (await ledger.charge(chargeOf(charged, small), window(2))) <= 2,
    'a smaller one that fits is allowed',
  );
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
    const spent = await ledger.charge(chargeOf(round, mechanism), window(1e6));
    mechanisms.push(mechanism);
    const whole = epsilonOf(mechanisms, DELTA);
    assert.ok(Math.abs(spent - whole) <= 1e-9 * whole, `${spent} and ${whole}`);
    assert.equal(ledger.spent('window', DELTA), spent);
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
  const both = await ledger.charge(chargeOf(1), window(1000));
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
