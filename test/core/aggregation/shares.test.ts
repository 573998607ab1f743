import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { FieldVector } from '../../../runtime/core/aggregation/field.ts';
import { Field64, fromSigned } from '../../../runtime/core/aggregation/field64.ts';
import {
  expand,
  type ReportContext,
  type Share,
  share,
  sum,
} from '../../../runtime/core/aggregation/shares.ts';
import { chiSquareLimit, element, fixedRandom, fromBigints, mod, toBigints } from './helpers.ts';

const context: ReportContext = {
  agreement: new Uint8Array(32).fill(7),
  round: 3,
  attempt: 1,
  contributor: 'north',
};
const HOLDERS = ['east', 'south', 'west', 'centre', 'shore'];

function expandAll(shares: readonly Share[], length: number, at: ReportContext): FieldVector[] {
  return shares.map((one, i) => expand(one, length, { ...at, holder: HOLDERS[i]! }));
}

test('the shares of several contributors, summed by holder and then together, give the plain sum', () => {
  const vectors = fc
    .integer({ min: 1, max: 12 })
    .chain((length) =>
      fc.array(fc.array(element(), { minLength: length, maxLength: length }), { minLength: 1, maxLength: 5 }),
    );
  fc.assert(
    fc.property(vectors, fc.integer({ min: 2, max: 5 }), (inputs, count) => {
      const length = inputs[0]!.length;
      const holders = HOLDERS.slice(0, count);
      const dealt = inputs.map((input, i) => {
        const at = { ...context, contributor: `member ${i}` };
        const shares = share(fromBigints(input), holders, at);
        assert.deepEqual(
          shares.map(({ kind }) => kind),
          ['explicit', ...holders.slice(1).map(() => 'seed')],
        );
        return expandAll(shares, length, at);
      });
      const byHolder = holders.map((_, holder) => sum(dealt.map((shares) => shares[holder]!)));
      const expected = inputs.reduce((total, input) => total.map((value, i) => mod(value + input[i]!)));
      assert.deepEqual(toBigints(sum(byHolder)), expected);
    }),
    { numRuns: 200 },
  );
});

test('a share expanded for another place does not fit', () => {
  const vector = fromSigned([1, 2, 3]);
  const shares = share(vector, ['east', 'south'], context);
  const [explicit, seed] = [shares[0]!, shares[1]!];
  const at = { ...context, holder: 'south' };
  const whole = (place: typeof at): FieldVector =>
    sum([expand(explicit, 3, { ...context, holder: 'east' }), expand(seed, 3, place)]);
  assert.deepEqual(whole(at), vector);
  const others = [
    { ...at, round: 4 },
    { ...at, attempt: 2 },
    { ...at, contributor: 'south' },
    { ...at, holder: 'west' },
    { ...at, agreement: new Uint8Array(32).fill(8) },
    // The names' bytes in a row are the same: only the lengths before them tell these apart.
    { ...at, contributor: 'norths', holder: 'outh' },
  ];
  for (const other of others) assert.notDeepEqual(whole(other), vector);
});

test('fresh seeds at every sharing, the same ones from the same source', () => {
  const vector = fromSigned([5]);
  const holders = ['east', 'south', 'west'];
  assert.notDeepEqual(share(vector, holders, context), share(vector, holders, context));
  const again = (): Share[] => share(vector, holders, context, fixedRandom('again'));
  assert.deepEqual(again(), again());
  const seeds = again().flatMap((one) =>
    one.kind === 'seed' ? [Buffer.from(one.seed).toString('hex')] : [],
  );
  assert.equal(new Set(seeds).size, 2);
});

/**
 * Each of the two tests below takes a statistic of 8 byte places in 4 vectors, with a limit that uniform data
 * exceeds with probability 1e-6: for a random seed it would fail by chance once in 30,000 runs; the seed is fixed.
 */
test('any k - 1 shares look uniform, whatever the vector: chi-square of every byte of every share', () => {
  const length = 20_000;
  const shares = expandAll(
    share(fromSigned(new Float64Array(length).fill(1)), HOLDERS.slice(0, 4), context, fixedRandom('uniform')),
    length,
    context,
  );
  for (const one of shares) checkUniform(one);
});

test('any k - 1 shares look uniform together: chi-square of every byte of their sum', () => {
  const length = 20_000;
  const shares = expandAll(
    share(
      fromSigned(new Float64Array(length).fill(-1)),
      HOLDERS.slice(0, 4),
      context,
      fixedRandom('together'),
    ),
    length,
    context,
  );
  for (let missing = 0; missing < shares.length; missing++)
    checkUniform(sum(shares.filter((_, i) => i !== missing)));
  // The check bites: all of them together are the vector, which is as far from uniform as can be.
  assert.throws(() => checkUniform(sum(shares)), /chi-square/);
});

function checkUniform(vector: FieldVector): void {
  const bytes = Field64.encodeVec(vector);
  for (let place = 0; place < 8; place++) {
    const counts = new Float64Array(256);
    for (let i = place; i < bytes.length; i += 8) counts[bytes[i]!]! += 1;
    const expected = bytes.length / 8 / 256;
    const statistic = counts.reduce((total, count) => total + (count - expected) ** 2 / expected, 0);
    assert.ok(statistic < chiSquareLimit(255), `byte ${place}: chi-square ${statistic}`);
  }
}

test('malformed sharings and shares are refused', () => {
  const vector = fromSigned([1, 2]);
  const refused: [readonly string[], ReportContext, RegExp][] = [
    [[], context, /2 to 255/],
    [['east'], context, /2 to 255/],
    [Array.from({ length: 256 }, (_, i) => `holder ${i}`), context, /2 to 255/],
    [['east', 'east'], context, /named twice/],
    [['east', 'north'], context, /may not hold/],
    [['east', ''], context, /1 to 255 bytes/],
    [['east', 'x'.repeat(256)], context, /1 to 255 bytes/],
    [['east', '\ud800'], context, /well-formed/],
    [['east', 'south'], { ...context, agreement: new Uint8Array(31) }, /32 bytes/],
    [['east', 'south'], { ...context, round: -1 }, /does not fit/],
    [['east', 'south'], { ...context, round: 0.5 }, /does not fit/],
    [['east', 'south'], { ...context, attempt: 2 ** 32 }, /does not fit/],
  ];
  for (const [holders, at, reason] of refused) assert.throws(() => share(vector, holders, at), reason);
  const at = { ...context, holder: 'east' };
  assert.throws(() => expand({ kind: 'explicit', bytes: new Uint8Array(15) }, 2, at), RangeError);
  assert.throws(() => expand({ kind: 'explicit', bytes: new Uint8Array(24) }, 2, at), RangeError);
  assert.throws(() => expand({ kind: 'explicit', bytes: new Uint8Array(16).fill(0xff) }, 2, at), /modulus/);
  assert.throws(() => expand({ kind: 'seed', seed: new Uint8Array(31) }, 2, at), /31 bytes/);
  assert.throws(() => sum([]), RangeError);
  assert.throws(() => sum([Field64.zeros(1), Field64.zeros(2)]), RangeError);
});
