import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { type CborValue, encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import {
  decodeEntry,
  type Entry,
  type EntryKind,
  encodeEntry,
} from '../../../runtime/core/encoding/entry.ts';
import { CLOCK_STATES, KIND, kindOf } from '../../../runtime/core/encoding/kind.ts';
import { decodeSample, encodeSample } from '../../../runtime/core/encoding/sample.ts';

const kinds: readonly EntryKind[] = [
  ...['start', 'stream', 'maintenance', 'agreement', 'gap', 'charge', 'round'],
  ...['loss', 'keys', 'recovery', 'training', 'adoption'],
] as readonly EntryKind[];

const body: fc.Arbitrary<CborValue> = fc.oneof(
  fc.constant(null),
  fc.string({ unit: 'grapheme' }),
  fc.uint8Array(),
  fc.array(
    fc.oneof(
      fc.nat(),
      fc.string({ unit: 'grapheme' }),
      fc.double().map((float) => ({ float })),
    ),
  ),
);

const entryLike: fc.Arbitrary<Entry> = fc.record(
  {
    kind: fc.constantFrom(...kinds),
    incarnation: fc.maxSafeNat(),
    sequence: fc.maxSafeNat(),
    time: fc.maxSafeNat(),
    clock: fc.constantFrom(...CLOCK_STATES),
    body,
  },
  { noNullPrototype: true },
);

const entry: Entry = {
  kind: 'gap',
  incarnation: 0,
  sequence: 1,
  time: 2,
  clock: 'stepped',
  body: ['m', 's'],
};

test('an entry comes back as it was, and its kind stands first', () => {
  fc.assert(
    fc.property(entryLike, (one) => {
      const bytes = encodeEntry(one);
      assert.deepEqual(decodeEntry(bytes), one);
      assert.equal(kindOf(bytes), KIND[one.kind]);
    }),
  );
});

test('an entry with one byte changed is refused or is the encoding of another', () => {
  fc.assert(
    fc.property(entryLike, fc.nat(), fc.nat(255), (one, at, byte) => {
      const bytes = encodeEntry(one);
      bytes[at % bytes.length] = byte;
      let other: Entry;
      try {
        other = decodeEntry(bytes);
      } catch (error) {
        assert.equal((error as Error).name, 'DecodeError', String(error));
        return;
      }
      assert.equal(toHex(encodeEntry(other)), toHex(bytes));
    }),
    { numRuns: 1000 },
  );
});

test('no kind can be taken for another', () => {
  const sample = encodeSample({ ...entry, machine: 'm', stream: 's', values: [] });
  assert.throws(() => decodeEntry(sample), /8 fields instead of 6/);
  assert.throws(() => decodeSample(encodeEntry(entry)), /6 fields instead of 8/);
  for (const kind of [KIND.sample, KIND.endorsement, KIND.federation, 0, 11, -1]) {
    assert.throws(() => decodeEntry(encodeCbor([kind, 0, 0, 0, 0, null])), /kind -?\d+ is unknown/);
  }
  assert.equal(new Set(Object.values(KIND)).size, Object.keys(KIND).length);
});

test('other forms are refused', () => {
  const fields: readonly CborValue[] = [KIND.gap, 0, 0, 0, 0, null];
  const replaced = (index: number, value: CborValue) =>
    fields.map((field, at) => (at === index ? value : field));
  const refused: readonly (readonly [CborValue, RegExp])[] = [
    [[...fields, null], /7 fields instead of 6/],
    [replaced(1, -1), /incarnation is not a whole number/],
    [replaced(2, 2n ** 60n), /sequence is not a whole number/],
    [replaced(3, { float: 0 }), /time is not a whole number/],
    [replaced(4, 3), /clock state is unknown/],
    [replaced(4, 'synchronised'), /clock state is not a whole number/],
  ];
  for (const [value, why] of refused) assert.throws(() => decodeEntry(encodeCbor(value)), why);
  for (const part of [{ sequence: -1 }, { time: 0.5 }, { incarnation: Number.NaN }]) {
    assert.throws(() => encodeEntry({ ...entry, ...part }), RangeError);
  }
});

test('a payload that opens with no kind is refused before it is read', () => {
  for (const bytes of [[], [0x86], [0x01, 0x01], [0xa1, 0x01], [0x86, 0x18, 0x20], [0x86, 0x61]]) {
    assert.throws(() => kindOf(Uint8Array.from(bytes)), /does not open with a kind/);
  }
});
