import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { type CborValue, encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { CLOCK_STATES, kindOf } from '../../../runtime/core/encoding/kind.ts';
import { decodeSample, encodeSample, type Sample } from '../../../runtime/core/encoding/sample.ts';

const sampleLike: fc.Arbitrary<Sample> = fc.record(
  {
    machine: fc.string({ unit: 'grapheme', maxLength: 40 }),
    stream: fc.string({ unit: 'grapheme', maxLength: 40 }),
    incarnation: fc.maxSafeNat(),
    sequence: fc.maxSafeNat(),
    time: fc.maxSafeNat(),
    clock: fc.constantFrom(...CLOCK_STATES),
    values: fc.array(fc.double(), { maxLength: 30 }),
  },
  { noNullPrototype: true },
);

const sample: Sample = {
  machine: 'press-1',
  stream: 'spindle',
  incarnation: 0,
  sequence: 24,
  time: 1_700_000_000_000,
  clock: 'free-running',
  values: [1.5, -0],
};

test('a sample comes back as it was, and its kind stands first', () => {
  fc.assert(
    fc.property(sampleLike, (one) => {
      const bytes = encodeSample(one);
      assert.deepEqual(decodeSample(bytes), one);
      assert.equal(kindOf(bytes), 1);
    }),
  );
});

test('the form is fixed for good', () => {
  assert.equal(
    toHex(encodeSample(sample)),
    '880167' +
      toHex(new TextEncoder().encode('press-1')) +
      '67' +
      toHex(new TextEncoder().encode('spindle')) +
      '0018181b0000018bcfe568000182fb3ff8000000000000fb8000000000000000',
  );
});

test('bytes that are taken are those that their sample has', () => {
  const changed = fc.tuple(sampleLike, fc.nat(), fc.nat(255)).map(([one, at, byte]) => {
    const bytes = encodeSample(one);
    bytes[at % bytes.length] = byte;
    return bytes;
  });
  fc.assert(
    fc.property(changed, (bytes) => {
      let one: Sample;
      try {
        one = decodeSample(bytes);
      } catch (error) {
        assert.equal((error as Error).name, 'DecodeError', String(error));
        return;
      }
      assert.equal(toHex(encodeSample(one)), toHex(bytes));
    }),
    { numRuns: 2000 },
  );
});

test('other forms are refused', () => {
  const fields: readonly CborValue[] = [1, 'm', 's', 0, 0, 0, 0, [{ float: 1 }]];
  assert.equal(decodeSample(encodeCbor(fields)).machine, 'm');
  const replaced = (index: number, value: CborValue) =>
    fields.map((field, at) => (at === index ? value : field));
  const refused: readonly (readonly [CborValue, RegExp])[] = [
    [null, /not an array/],
    [fields.slice(1), /7 fields instead of 8/],
    [[...fields, 0], /9 fields instead of 8/],
    [replaced(0, 2), /kind 2 is not a sample's/],
    [replaced(1, Uint8Array.of(1)), /machine is not text/],
    [replaced(2, 5), /stream is not text/],
    [replaced(3, -1), /incarnation is not a whole number/],
    [replaced(4, { float: 1 }), /sequence is not a whole number/],
    [replaced(4, 2n ** 60n), /sequence is not a whole number/],
    [replaced(5, -1), /time is not a whole number/],
    [replaced(6, 3), /clock state is unknown/],
    [replaced(7, [1]), /a value is not a float/],
    [replaced(7, { float: 1 }), /values: not an array/],
    [
      replaced(
        7,
        Array.from({ length: 4097 }, () => ({ float: 0 })),
      ),
      /4097 items, at most 4096/,
    ],
  ];
  for (const [value, why] of refused) assert.throws(() => decodeSample(encodeCbor(value)), why);
});

test('what could not be read again is not encoded, and leaves no trace in the next', () => {
  const expected = toHex(encodeSample(sample));
  const bad: readonly Partial<Sample>[] = [
    { time: Number.NaN },
    { time: 1.5 },
    { time: -1 },
    { sequence: 2 ** 53 },
    { incarnation: -1 },
    { clock: 'guessed' as Sample['clock'] },
    { values: new Array<number>(4097).fill(0) },
  ];
  for (const part of bad) {
    assert.throws(() => encodeSample({ ...sample, ...part }), RangeError);
    assert.equal(toHex(encodeSample(sample)), expected);
  }
});
