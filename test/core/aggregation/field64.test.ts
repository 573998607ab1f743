import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Field64, fromSigned, toSigned } from '../../../runtime/core/aggregation/field64.ts';
import { element, fromBigints, mod, P, toBigints } from './helpers.ts';

const pairs = fc.array(fc.tuple(element(), element()), { minLength: 1, maxLength: 20 });

test('add, subtract and negate agree with arithmetic on big integers', () => {
  fc.assert(
    fc.property(pairs, (both) => {
      const left = both.map(([a]) => a);
      const right = both.map(([, b]) => b);
      const [a, b] = [fromBigints(left), fromBigints(right)];
      assert.deepEqual(
        toBigints(Field64.add(a, b)),
        both.map(([x, y]) => mod(x + y)),
      );
      assert.deepEqual(
        toBigints(Field64.subtract(a, b)),
        both.map(([x, y]) => mod(x - y)),
      );
      assert.deepEqual(
        toBigints(Field64.negate(a)),
        left.map((x) => mod(-x)),
      );
      assert.deepEqual(toBigints(a), left);
      Field64.addInto(a, b);
      Field64.subtractFrom(a, b);
      assert.deepEqual(toBigints(a), left);
    }),
    { numRuns: 2_000 },
  );
});

test('every pair of elements at the edges adds and subtracts right', () => {
  const edges = [
    0n,
    1n,
    2n,
    2n ** 31n,
    2n ** 32n - 2n,
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 32n + 1n,
    P / 2n,
    P / 2n + 1n,
  ];
  const all = [...edges, ...edges.map((edge) => mod(-edge)), mod(-(2n ** 33n))];
  for (const x of all) {
    for (const y of all) {
      assert.deepEqual(
        toBigints(Field64.add(fromBigints([x]), fromBigints([y]))),
        [mod(x + y)],
        `${x} + ${y}`,
      );
      assert.deepEqual(
        toBigints(Field64.subtract(fromBigints([x]), fromBigints([y]))),
        [mod(x - y)],
        `${x} - ${y}`,
      );
    }
  }
});

test('encoding is little-endian, eight bytes an element, and decoding takes it back', () => {
  assert.deepEqual(
    Field64.encodeVec(fromBigints([0x0807060504030201n])),
    Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
  );
  fc.assert(
    fc.property(fc.array(element(), { maxLength: 20 }), (elements) => {
      const bytes = Field64.encodeVec(fromBigints(elements));
      // An odd offset: the bytes of a message need not be aligned.
      const shifted = new Uint8Array(bytes.length + 1);
      shifted.set(bytes, 1);
      assert.deepEqual(toBigints(Field64.decodeVec(shifted.subarray(1))), elements);
    }),
  );
});

test('decoding refuses what is not below the modulus, and a partial element', () => {
  const bytesOf = (value: bigint): Uint8Array => new Uint8Array(new BigUint64Array([1n, value]).buffer);
  assert.deepEqual(toBigints(Field64.decodeVec(bytesOf(P - 1n))), [1n, P - 1n]);
  for (const value of [P, P + 1n, 2n ** 64n - 1n]) {
    assert.throws(() => Field64.decodeVec(bytesOf(value)), /not below the modulus/);
  }
  for (const length of [1, 7, 9])
    assert.throws(() => Field64.decodeVec(new Uint8Array(length)), /whole number/);
  assert.equal(Field64.decodeVec(new Uint8Array(0)).length, 0);
});

test('vectors of different lengths do not go together', () => {
  for (const operation of [Field64.add, Field64.subtract, Field64.addInto, Field64.subtractFrom]) {
    assert.throws(() => operation(Field64.zeros(2), Field64.zeros(3)), RangeError);
  }
});

test('signed integers go in and out, and nothing unsafe does', () => {
  const safe = fc.oneof(
    fc.maxSafeInteger(),
    fc.constantFrom(
      0,
      1,
      -1,
      2,
      -2,
      2 ** 32,
      -(2 ** 32),
      2 ** 32 + 1,
      -(2 ** 32) - 1,
      1 - 2 ** 53,
      2 ** 53 - 1,
    ),
  );
  fc.assert(
    fc.property(fc.array(safe), (values) => {
      const vector = fromSigned(values);
      assert.deepEqual(
        toBigints(vector),
        values.map((value) => mod(BigInt(value))),
      );
      assert.deepEqual(
        [...toSigned(vector)],
        values.map((value) => value + 0),
      );
    }),
  );
  for (const value of [2 ** 53, -(2 ** 53), 0.5, Number.NaN, Infinity])
    assert.throws(() => fromSigned([value]), RangeError);
  for (const value of [2n ** 53n, mod(-(2n ** 53n)), 2n ** 53n + 1n, P / 2n, P / 2n + 1n]) {
    assert.throws(() => toSigned(fromBigints([value])), RangeError, `${value}`);
  }
});
