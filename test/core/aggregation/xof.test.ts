import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { turboshake128 } from '@noble/hashes/sha3-addons.js';
import type { Field } from '../../../runtime/core/aggregation/field.ts';
import { Field64 } from '../../../runtime/core/aggregation/field64.ts';
import { deriveSeed, expandIntoVec, XofTurboShake128 } from '../../../runtime/core/aggregation/xof.ts';
import { P, toBigints } from './helpers.ts';

const VECTOR = new URL('../../../../shared/vectors/vdaf/XofTurboShake128.json', import.meta.url);
const skip = existsSync(VECTOR) ? false : 'the public VDAF vectors are not beside the repository';
const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));

interface XofVector {
  readonly seed: string;
  readonly dst: string;
  readonly binder: string;
  readonly derived_seed: string;
  readonly length: number;
  readonly expanded_vec_field128: string;
}

test('XofTurboShake128 gives the seed and the vector of the draft', { skip }, () => {
  const vector: XofVector = JSON.parse(readFileSync(VECTOR, 'utf8'));
  const from = [hex(vector.seed), hex(vector.dst), hex(vector.binder)] as const;
  assert.deepEqual(deriveSeed(XofTurboShake128, ...from), hex(vector.derived_seed));
  // No candidate of this vector is beyond Field128, so the vector is the stream itself, whichever way it is read.
  const expected = hex(vector.expanded_vec_field128);
  assert.equal(expected.length, 16 * vector.length);
  assert.deepEqual(XofTurboShake128.create(...from).next(expected.length), expected);
  const xof = XofTurboShake128.create(...from);
  const parts = [1, 7, 160, 168, 169, expected.length - 505].map((length) => xof.next(length));
  assert.deepEqual(new Uint8Array(Buffer.concat(parts)), expected);
  const elements = Field64.decodeVec(expected);
  assert.deepEqual(expandIntoVec(XofTurboShake128, Field64, ...from, 2 * vector.length), elements);
});

test('a candidate that is not below the modulus is skipped, and the stream stays where the draft leaves it', () => {
  const from = [new Uint8Array(32), new Uint8Array(3), new Uint8Array(1)] as const;
  // Field64 refuses one candidate in 2^32; this field refuses about a half, by the lowest bit.
  const odd: Field = {
    ...Field64,
    sampleInto(vector, start, bytes) {
      let filled = start;
      for (let i = 0; i < bytes.length; i += 8) {
        if ((bytes[i]! & 1) === 1) filled = Field64.sampleInto(vector, filled, bytes.subarray(i, i + 8));
      }
      return filled;
    },
  };
  const xof = XofTurboShake128.create(...from);
  const drawn = toBigints(xof.nextVec(odd, 50));
  const oneByOne = XofTurboShake128.create(...from);
  const expected: bigint[] = [];
  while (expected.length < 50) {
    const candidate = Buffer.from(oneByOne.next(8)).readBigUInt64LE();
    if (candidate % 2n === 1n && candidate < P) expected.push(candidate);
  }
  assert.deepEqual(drawn, expected);
  assert.deepEqual(xof.next(32), oneByOne.next(32));
});

test('Field64 itself skips the values from the modulus on', () => {
  const candidates = new Uint8Array(new BigUint64Array([5n, P, P - 1n, 2n ** 64n - 1n, 7n]).buffer);
  const vector = Field64.zeros(4);
  assert.equal(Field64.sampleInto(vector, 1, candidates), 4);
  assert.deepEqual(toBigints(vector), [0n, 5n, P - 1n, 7n]);
});

test('seed, tag and binder each change the stream, and cannot run into each other', () => {
  const stream = (seed: number[], dst: number[], binder: number[]): string =>
    Buffer.from(
      XofTurboShake128.create(Uint8Array.from(seed), Uint8Array.from(dst), Uint8Array.from(binder)).next(32),
    ).toString('hex');
  const streams = [
    stream([1, 2], [3], [4]),
    stream([1], [2, 3], [4]),
    stream([1], [3], [2, 4]),
    stream([1, 2], [3], [5]),
    stream([1, 2, 4], [3], []),
    stream([], [1, 2, 3], [4]),
  ];
  assert.equal(new Set(streams).size, streams.length);
});

test('lengths stand before tag and seed, little-endian, and the binder has none', () => {
  const [dst, seed, binder] = [
    new Uint8Array(0x1234).fill(1),
    new Uint8Array(200).fill(2),
    new Uint8Array(5).fill(3),
  ];
  const message = Uint8Array.from([0x34, 0x12, ...dst, 200, ...seed, ...binder]);
  const expected = turboshake128(message, { D: 1, dkLen: 50 });
  assert.deepEqual(XofTurboShake128.create(seed, dst, binder).next(50), expected);
});

test('lengths beyond the draft are refused', () => {
  const empty = new Uint8Array(0);
  assert.throws(() => XofTurboShake128.create(new Uint8Array(256), empty, empty), RangeError);
  assert.throws(() => XofTurboShake128.create(empty, new Uint8Array(65_536), empty), RangeError);
  const xof = XofTurboShake128.create(new Uint8Array(255), new Uint8Array(65_535), empty);
  for (const length of [0, -1, 1.5, Number.NaN]) assert.throws(() => xof.next(length), RangeError);
  assert.throws(() => xof.nextVec(Field64, 0), RangeError);
});
