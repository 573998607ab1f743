/** Evidence of training in a directory, changed by somebody who has the disk. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createVerifier } from '#ed25519';
import type { Notebook } from '../../runtime/cli/verify/notebook.ts';
import { checkTraining } from '../../runtime/cli/verify/training.ts';
import { type CborValue, decodeCbor, encodeCbor } from '../../runtime/core/encoding/cbor.ts';
import type { Entry } from '../../runtime/core/encoding/entry.ts';
import { openPart } from '../../runtime/services/training/opening.ts';
import { openStore, type Store } from '../../runtime/state/journal/store.ts';
import { newKeys, temporaryDirectory } from '../services/consortium.ts';
import { contents } from '../services/gateway-state.ts';
import { DAY, DELTA, episode, openLearning } from '../services/training/budget-helpers.ts';

const BASE = 'section/';
const keys = newKeys();
let store: Store;
let entries: readonly Entry[];
const cleaning: (() => Promise<unknown> | unknown)[] = [];
const t = { after: (work: () => Promise<unknown>) => void cleaning.push(work) };

before(async () => {
  const directory = await temporaryDirectory(t);
  const learning = await openLearning(t as never, directory, keys, {
    privacy: { epsilon: 60, delta: DELTA, noiseMultiplier: 2 },
  });
  learning.give(episode('press', DAY));
  await learning.update(1);
  learning.give(episode('lathe', 2 * DAY));
  await learning.update(2);
  await openPart(
    {
      agreement: learning.agreement,
      budget: { epsilon: 60, delta: DELTA, unit: 'window' },
      ledger: learning.ledger,
      evidence: learning.evidence,
    },
    2,
    'seed',
  );
  entries = (await contents(learning.journal)).entries;
  await learning.journal.close();
  store = await openStore(join(directory, 'journal'), 'existing');
});

after(async () => {
  await store.close();
  for (const work of cleaning.reverse()) await work();
});

function notebookOf(given: readonly Entry[]): Notebook {
  return {
    add: () => undefined,
    bodies: (kind) => given.filter((entry) => entry.kind === kind).map(({ body }) => body),
    tellsOfDamage: () => false,
  };
}

const verify = createVerifier(keys.sample.publicKey);
const check = (given = entries, isWhole = true) =>
  checkTraining({ store, notebook: notebookOf(given), isWhole }, () => verify);

async function keysLike(prefix: string): Promise<string[]> {
  const found: string[] = [];
  const range = { from: BASE + prefix, to: `${BASE}${prefix}\uffff` };
  for await (const [key] of store.entries(range)) found.push(key);
  return found;
}

/** Changes a record, looks at what the check says, and puts it back. */
async function assertNoticed(
  key: string,
  change: (value: Uint8Array) => Uint8Array | undefined,
  why: RegExp,
): Promise<void> {
  const value = (await store.get(key))!;
  assert.ok(value, key);
  const changed = change(value);
  await store.write([changed ? { type: 'put', key, value: changed } : { type: 'del', key }]);
  try {
    await assert.rejects(check(), { name: 'Broken', message: why }, key);
  } finally {
    await store.write([{ type: 'put', key, value }]);
  }
}

test('what a gateway has written holds', async () => {
  assert.equal(await check(), 2);
  assert.equal(entries.filter(({ kind }) => kind === 'training').length, 3);
  assert.equal((await keysLike('ledger/')).length, 3);
});

test('a byte changed anywhere in a record is noticed', async () => {
  for (const prefix of ['update/', 'opening/', 'set/', 'entry/']) {
    const found = await keysLike(`training/${prefix}`);
    assert.ok(found.length > 0, prefix);
    const key = found.at(-1)!;
    const { length } = (await store.get(key))!;
    for (let at = 0; at < length; at += prefix === 'entry/' ? 7 : 1) {
      const flip = (value: Uint8Array) => value.map((byte, index) => (index === at ? byte ^ 1 : byte));
      await assertNoticed(
        key,
        flip,
        /^(evidence of|mark of|entry shown with|training entry|the journal lacks)/,
      );
    }
  }
});

test('a record or an entry taken away is noticed, on either side', async () => {
  const gone = () => undefined;
  const [first, second] = await keysLike('training/update/');
  await assertNoticed(first!, gone, /entry shown with evidence|the journal lacks what opens/);
  await assertNoticed(second!, gone, /the update that was opened is absent|its update is absent/);
  await assertNoticed((await keysLike('training/set/'))[0]!, gone, /the set of its episodes is absent/);
  await assertNoticed((await keysLike('training/opening/'))[0]!, gone, /entry shown with|the journal lacks/);
  for (const key of await keysLike('ledger/')) await assertNoticed(key, gone, /the ledger lacks the charge/);
  for (const left of entries.filter(({ kind }) => kind === 'training')) {
    await assert.rejects(check(entries.filter((entry) => entry !== left)), /the log has no entry of it/);
    // After damage the log may have lost it.
    await check(
      entries.filter((entry) => entry !== left),
      false,
    );
  }
});

test('a charge that nothing tells the purpose of, and evidence that nobody paid for', async () => {
  const charge = entries.find(({ kind }) => kind === 'charge')!;
  await assert.rejects(check([...entries, charge]), /no training entry tells what it paid for/);
  const training = entries.find(({ kind }) => kind === 'training')!;
  const body = (training.body as readonly CborValue[]).with(2, 99);
  await assert.rejects(check([...entries, { ...training, body }]), /the journal lacks what opens/);
  await assert.rejects(check([...entries, { ...training, body: ['draws'] }]), /form is unknown/);
});

test('marks that do not fit the log are noticed; one that a crash has left is not', async () => {
  const [key] = await keysLike('training/update/');
  const unmark = (value: Uint8Array) =>
    encodeCbor((decodeCbor(value) as readonly CborValue[]).with(6, false));
  await assertNoticed(key!, unmark, /its mark says none/);
  const [entry] = await keysLike(`training/entry/${key!.slice(`${BASE}training/`.length)}`);
  const [record, shown] = [(await store.get(key!))!, (await store.get(entry!))!];
  await store.write([
    { type: 'put', key: key!, value: unmark(record) },
    { type: 'del', key: entry! },
  ]);
  const round = (one: Entry) => (one.body as readonly CborValue[])[2];
  await check(entries.filter((one) => one.kind !== 'training' || round(one) !== 1));
  await store.write([
    { type: 'put', key: key!, value: record },
    { type: 'put', key: entry!, value: shown },
  ]);
  assert.equal(await check(), 2);
});
