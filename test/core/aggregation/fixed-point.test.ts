import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromSigned, toSigned } from '../../../runtime/core/aggregation/field64.ts';
import {
  checkCapacity,
  decodeMean,
  encodeFixedPoint,
  stepLimit,
} from '../../../runtime/core/aggregation/fixed-point.ts';
import { sum } from '../../../runtime/core/aggregation/shares.ts';
import { fixedRandom, fromBigints, P } from './helpers.ts';

const random = (length: number): Uint8Array => new Uint8Array(randomBytes(length));
const SPEC = { bound: 4, fractionBits: 20 };

test('a value is encoded as one of its two neighbours, a clipped one as the bound', () => {
  const value = fc.oneof(
    fc.double({ min: -5, max: 5, noNaN: true }),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
  );
  fc.assert(
    fc.property(fc.array(value), (values) => {
      const steps = toSigned(encodeFixedPoint(Float64Array.from(values), SPEC, random));
      values.forEach((original, i) => {
        const scaled = Math.max(-4, Math.min(4, original)) * 2 ** 20;
        assert.ok(
          steps[i]! >= Math.floor(scaled) && steps[i]! <= Math.ceil(scaled),
          `${original} became ${steps[i]}`,
        );
      });
    }),
  );
});

test('what is a whole number of steps is exact, and so is the mean', () => {
  const steps = fc.array(fc.integer({ min: -(4 << 20), max: 4 << 20 }), { minLength: 4, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(steps, { minLength: 1, maxLength: 9 }), (members) => {
      const encoded = members.map((member) =>
        encodeFixedPoint(
          Float64Array.from(member, (step) => step / 2 ** 20),
          SPEC,
          random,
        ),
      );
      const mean = decodeMean(sum(encoded), members.length, SPEC);
      const expected = [0, 1, 2, 3].map(
        (i) => members.reduce((total, member) => total + member[i]!, 0) / members.length / 2 ** 20 + 0,
      );
      assert.deepEqual([...mean], expected);
    }),
  );
});

/**
 * The number of ups among n draws of probability f lies within 4.9 standard deviations but for a
 * probability of 1e-6; with 10 values a random seed would fail once in 100,000 runs. The seed is fixed.
 */
test('rounding is unbiased for either sign and any fraction', () => {
  const n = 40_000;
  const draws = fixedRandom('unbiased');
  for (const steps of [0.5, 0.25, 0.999, 0.001, 1234.3, -0.5, -0.25, -0.999, -0.001, -1234.3]) {
    const rounded = toSigned(encodeFixedPoint(new Float64Array(n).fill(steps / 2 ** 20), SPEC, draws));
    const ups = rounded.reduce((total, value) => total + (value - Math.floor(steps)), 0);
    const up = steps - Math.floor(steps);
    assert.ok(
      Math.abs(ups - n * up) < 4.9 * Math.sqrt(n * up * (1 - up)),
      `${steps}: ${ups} ups instead of about ${n * up}`,
    );
  }
});

test('the draws decide, with all their bits, and each value has its own', () => {
  const half = new Float64Array(3).fill(0.5 / 2 ** 20);
  const [below, above] = [new Uint8Array(8).fill(0xff), new Uint8Array(8)];
  below[3] = 0x7f;
  above[3] = 0x80;
  const coins = new Uint8Array([...below, ...above, ...below]);
  assert.deepEqual([...toSigned(encodeFixedPoint(half, SPEC, () => coins))], [1, 0, 1]);
  const asked: number[] = [];
  encodeFixedPoint(new Float64Array(10_000), SPEC, (length) => {
    asked.push(length);
    return random(length);
  });
  assert.equal(
    asked.reduce((total, length) => total + length, 0),
    80_000,
  );
});

test('no rounding goes over a bound that lies between two steps', () => {
  const spec = { bound: 0.3, fractionBits: 2 };
  assert.equal(stepLimit(spec), 1);
  const steps = toSigned(
    encodeFixedPoint(
      Float64Array.from({ length: 200 }, (_, i) => (i % 2 ? 9 : -9)),
      spec,
      random,
    ),
  );
  assert.ok(steps.every((step, i) => step === (i % 2 ? 1 : -1)));
});

test('what is not finite is refused without being named', () => {
  for (const value of [Number.NaN, Infinity, -Infinity]) {
    assert.throws(() => encodeFixedPoint(Float64Array.of(1, value), SPEC, random), /value 1 is not finite/);
  }
});

test('a spec without sense, or a sum that could wrap, is refused', () => {
  for (const bound of [0, -1, Number.NaN, Infinity, 2 ** 33])
    assert.throws(() => stepLimit({ bound, fractionBits: 20 }), RangeError);
  for (const fractionBits of [-1, 0.5, 53, Number.NaN])
    assert.throws(() => stepLimit({ bound: 1, fractionBits }), RangeError);
  assert.throws(() => stepLimit({ bound: 0.4, fractionBits: 1 }), /below one step/);
  const spec = { bound: 1, fractionBits: 50 };
  checkCapacity(7, spec);
  for (const count of [8, 9, 0, -1, 1.5, Number.NaN])
    assert.throws(() => checkCapacity(count, spec), RangeError);
  assert.throws(() => decodeMean(fromSigned([0]), 8, spec), /take fewer fraction bits/);
});

test('a sum that honest vectors cannot have is out of bound', () => {
  const most = 3 * stepLimit(SPEC);
  assert.deepEqual([...decodeMean(fromSigned([most, -most]), 3, SPEC)], [4, -4]);
  for (const sumVector of [
    fromSigned([0, most + 1]),
    fromSigned([-most - 1]),
    fromBigints([P / 2n]),
    fromBigints([2n ** 60n]),
  ]) {
    assert.throws(() => decodeMean(sumVector, 3, SPEC), /aggregate out of bound/);
  }
});

test('a mean of zero is zero and never minus zero', () => {
  const [mean] = decodeMean(
    sum([-1, 1].map((value) => encodeFixedPoint(Float64Array.of(value), SPEC, random))),
    2,
    SPEC,
  );
  assert.ok(Object.is(mean, 0));
  const [minus] = decodeMean(encodeFixedPoint(Float64Array.of(-0), SPEC, random), 1, SPEC);
  assert.ok(Object.is(minus, 0));
});
