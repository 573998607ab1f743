import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { CLOCK_STATES } from '../../../runtime/core/encoding/kind.ts';
import { createSampleEncoder, encodeSample, type Sample } from '../../../runtime/core/encoding/sample.ts';

const name = fc.string({ unit: 'grapheme', maxLength: 40 });
const reading = fc.record({
  sequence: fc.maxSafeNat(),
  time: fc.maxSafeNat(),
  clock: fc.constantFrom(...CLOCK_STATES),
  values: fc.array(fc.double(), { maxLength: 30 }),
});

test("a stream's encoder gives the bytes of its samples, each of two streams in turn", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ machine: name, stream: name, incarnation: fc.maxSafeNat() }), {
        minLength: 2,
        maxLength: 2,
      }),
      fc.array(reading, { maxLength: 20 }),
      (streams, readings) => {
        const encoders = streams.map(({ machine, stream, incarnation }) =>
          createSampleEncoder(machine, stream, incarnation),
        );
        const encoded = readings.flatMap(({ sequence, time, clock, values }) =>
          encoders.map((encode) => encode(sequence, time, clock, values)),
        );
        const expected = readings.flatMap((one) => streams.map((of) => encodeSample({ ...of, ...one })));
        assert.deepEqual(encoded.map(toHex), expected.map(toHex));
      },
    ),
  );
});

test('the longest sample, and short ones after it', () => {
  const encode = createSampleEncoder('press-1', 'vibration', 3);
  const base: Sample = {
    machine: 'press-1',
    stream: 'vibration',
    incarnation: 3,
    sequence: 0,
    time: 1_700_000_000_000,
    clock: 'stepped',
    values: Array.from({ length: 4096 }, (_, index) => index / 7),
  };
  for (let sequence = 0; sequence < 600; sequence++) {
    const values = sequence % 100 === 0 ? base.values : base.values.slice(0, sequence % 5);
    const expected = encodeSample({ ...base, sequence, values });
    assert.equal(toHex(encode(sequence, base.time, base.clock, values)), toHex(expected));
  }
});

test('what encodeSample refuses is refused, and leaves no trace in the next', () => {
  assert.throws(() => createSampleEncoder('m', 's', -1), RangeError);
  assert.throws(() => createSampleEncoder('m', 's', 0.5), RangeError);
  const encode = createSampleEncoder('m', 's', 0);
  const expected = toHex(encode(1, 2, 'stepped', [3]));
  const bad: readonly (readonly [number, number, string, readonly number[]])[] = [
    [-1, 2, 'stepped', [3]],
    [2 ** 53, 2, 'stepped', [3]],
    [1, Number.NaN, 'stepped', [3]],
    [1, 1.5, 'stepped', [3]],
    [1, 2, 'guessed', [3]],
    [1, 2, 'stepped', new Array<number>(4097).fill(0)],
  ];
  for (const [sequence, time, clock, values] of bad) {
    assert.throws(() => encode(sequence, time, clock as Sample['clock'], values), RangeError);
    assert.equal(toHex(encode(1, 2, 'stepped', [3])), expected);
  }
});
