import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import * as cborg from 'cborg';
import fc from 'fast-check';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { type CborValue, decodeCbor, encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { parseSign1 } from '../../../runtime/core/encoding/cose.ts';
import { decodeEntry } from '../../../runtime/core/encoding/entry.ts';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import { openMaintenanceBook } from '../../../runtime/state/maintenance/book.ts';
import {
  MAINTENANCE_TYPES,
  type MaintenanceFields,
  maintenanceDigests,
  maintenanceHash,
  openMaintenance,
  sealMaintenance,
} from '../../../runtime/state/maintenance/entry.ts';
import { createClock } from '../../../runtime/state/provenance/clock.ts';
import { createGatewayKeys, loadGatewayKeys } from '../../../runtime/state/provenance/keys.ts';
import { openRecorder } from '../../../runtime/state/provenance/recorder.ts';
import { closing, entriesOf, SETTINGS, temporary } from '../journal/helpers.ts';

const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });

const anyFields: fc.Arbitrary<MaintenanceFields> = fc.record(
  {
    machine: fc.string({ unit: 'grapheme', maxLength: 40 }),
    faults: fc.array(digest, { maxLength: 4 }),
    type: fc.constantFrom(...MAINTENANCE_TYPES),
    note: fc.string({ unit: 'grapheme', maxLength: 100 }),
    at: fc.option(
      fc.record(
        { stream: fc.string({ unit: 'grapheme' }), incarnation: fc.maxSafeNat(), sequence: fc.maxSafeNat() },
        { noNullPrototype: true },
      ),
      { nil: undefined },
    ),
    previous: fc.option(digest, { nil: undefined }),
  },
  { noNullPrototype: true },
);

const fields: MaintenanceFields = {
  machine: 'press-1',
  faults: [],
  type: 'failure',
  note: 'bearing',
  at: { stream: 'spindle', incarnation: 0, sequence: 7 },
  previous: undefined,
};

test('the digests open to the fields that were sealed', () => {
  fc.assert(
    fc.property(anyFields, (one) => {
      const { body, hash, opening } = sealMaintenance(one);
      assert.deepEqual(openMaintenance(body, opening), one);
      assert.equal(toHex(maintenanceHash(body)), toHex(hash));
      assert.deepEqual(openMaintenance(decodeCbor(encodeCbor(body)), opening), one);
    }),
  );
});

test('the log learns nothing: the same fields have other digests each time', () => {
  const seen = new Set<string>();
  for (let turn = 0; turn < 20; turn++) {
    for (const one of maintenanceDigests(sealMaintenance(fields).body)) seen.add(toHex(one));
  }
  assert.equal(seen.size, 80);
});

test('each field can be shown with its salt and checked against the log, without the others', () => {
  const { body, opening } = sealMaintenance(fields);
  const [values, salts] = decodeCbor(opening) as readonly (readonly CborValue[])[];
  for (const [index, digest] of maintenanceDigests(body).entries()) {
    // The rule as a partner would write it down: SHA-256 over the deterministic CBOR of [salt, field].
    const shown = cborg.encode([salts![index], values![index]], cborg.rfc8949EncodeOptions);
    assert.equal(createHash('sha256').update(shown).digest('hex'), toHex(digest));
  }
});

test('a wrong opening is refused: of another entry, with a field or a salt changed, or any bit', () => {
  const { body, opening } = sealMaintenance(fields);
  const other = sealMaintenance(fields);
  assert.throws(() => openMaintenance(body, other.opening), /field 0 is not what the log has a digest of/);
  for (let bit = 0; bit < opening.length * 8; bit++) {
    const changed = opening.slice();
    changed[bit >> 3]! ^= 1 << (bit & 7);
    assert.throws(() => openMaintenance(body, changed), { name: 'DecodeError' }, `bit ${bit}`);
  }
  const [values, salts] = decodeCbor(opening) as readonly (readonly CborValue[])[];
  for (let index = 0; index < 4; index++) {
    const swapped = values!.map((value, at) => (at === index ? 'something else' : value));
    assert.throws(
      () => openMaintenance(body, encodeCbor([swapped, salts!])),
      new RegExp(`field ${index} is not what the log has a digest of`),
    );
  }
  const exchanged = [salts![1]!, salts![0]!, salts![2]!, salts![3]!];
  assert.throws(() => openMaintenance(body, encodeCbor([values!, exchanged])), /field 0/);
});

test('what could not be opened again is not sealed; what is no body is refused', () => {
  assert.throws(() => sealMaintenance({ ...fields, note: 'x'.repeat(4097) }), RangeError);
  const many = Array.from({ length: 257 }, () => new Uint8Array(32));
  assert.throws(() => sealMaintenance({ ...fields, faults: many }), RangeError);
  const most = sealMaintenance({ ...fields, faults: many.slice(1), note: 'x'.repeat(4096) });
  assert.equal(openMaintenance(most.body, most.opening).faults.length, 256);
  for (const body of [null, [], [1, 2, 3, 4], Array.from({ length: 4 }, () => new Uint8Array(31))]) {
    assert.throws(() => maintenanceDigests(body), { name: 'DecodeError' });
  }
});

async function openBook(t: TestContext, directory: string) {
  const journal = await openJournal(join(directory, 'journal'), SETTINGS);
  closing(t, () => journal.close());
  const recorder = await openRecorder(journal, await loadGatewayKeys(directory), createClock());
  return { journal, book: await openMaintenanceBook(journal, recorder) };
}

test('entries are chained one to the next, also across a restart and when handed in at once', async (t) => {
  const directory = await temporary(t);
  await createGatewayKeys(directory);
  const first = await openBook(t, directory);
  const hashes = await Promise.all(['a', 'b', 'c'].map((note) => first.book.record({ ...fields, note })));
  assert.equal(first.book.count(), 3);
  await first.journal.close();
  const { journal, book } = await openBook(t, directory);
  assert.equal(book.count(), 3);
  hashes.push(await book.record({ ...fields, note: 'd', faults: [hashes[0]!] }));
  assert.equal(book.count(), 4);

  const entries = (await entriesOf(journal)).map((bytes) => decodeEntry(parseSign1(bytes).payload));
  assert.deepEqual(
    entries.map(({ kind, sequence }) => `${kind} ${sequence}`),
    ['maintenance 0', 'maintenance 1', 'maintenance 2', 'maintenance 3'],
  );
  let previous: Uint8Array | undefined;
  for (const [index, { body }] of entries.entries()) {
    const opened = await book.open(body);
    assert.equal(opened.note, 'abcd'[index]);
    assert.equal(opened.previous && toHex(opened.previous), previous && toHex(previous));
    previous = maintenanceHash(body);
    assert.equal(toHex(previous), toHex(hashes[index]!));
  }
  const foreign = sealMaintenance(fields);
  await assert.rejects(book.open(foreign.body), /has no opening for maintenance entry/);
});

test('an entry that was refused is not linked to', async (t) => {
  const directory = await temporary(t);
  await createGatewayKeys(directory);
  const { journal, book } = await openBook(t, directory);
  const first = await book.record(fields);
  await assert.rejects(book.record({ ...fields, note: 'x'.repeat(5000) }), RangeError);
  await book.record({ ...fields, note: 'after' });
  const last = decodeEntry(parseSign1((await entriesOf(journal)).at(-1)!).payload);
  assert.equal(toHex((await book.open(last.body)).previous!), toHex(first));
  assert.equal(book.count(), 2);
});
