import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as cborg from 'cborg';
import fc from 'fast-check';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import {
  type CborKey,
  type CborValue,
  createCborWriter,
  decodeCbor,
  encodeCbor,
} from '../../../runtime/core/encoding/cbor.ts';
import { hex, skipWithout, vectorJson } from './vectors.ts';

interface Example {
  readonly hex: string;
  readonly roundtrip: boolean;
  readonly decoded?: unknown;
}

/**
 * Of RFC 8949, appendix A, what is outside the house's profile although it round-trips elsewhere: floats
 * that are not binary64, `undefined`, and simple values. Everything marked as not canonical is refused
 * too, save binary64 floats, which the profile always writes.
 */
function isInProfile({ hex: text, roundtrip }: Example): boolean {
  if (/^fb/.test(text)) return true;
  return roundtrip && !/^(f9|fa|f7|f0|f8)/.test(text);
}

test('the examples of RFC 8949, appendix A', { skip: skipWithout('cbor') }, () => {
  let inside = 0;
  const examples = vectorJson<readonly Example[]>('cbor/appendix_a.json');
  for (const example of examples) {
    const bytes = hex(example.hex);
    if (isInProfile(example)) {
      inside += 1;
      const value = decodeCbor(bytes);
      assert.equal(toHex(encodeCbor(value)), example.hex);
      // JSON cannot say large integers exactly; their bytes above can.
      if (example.decoded !== undefined && example.hex.length < 18) {
        assert.deepEqual(asJson(value), example.decoded, example.hex);
      }
    } else {
      assert.throws(() => decodeCbor(bytes), { name: 'DecodeError' }, example.hex);
    }
  }
  assert.equal(examples.length, 82);
  assert.equal(inside, 51);
});

function asJson(value: CborValue): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [key, asJson(item)]));
  if (Array.isArray(value)) return value.map(asJson);
  if (typeof value === 'object' && value !== null && 'float' in value) return value.float;
  return value;
}

const text = fc.string({ unit: 'grapheme', maxLength: 20 });
const key = fc.oneof(fc.maxSafeInteger(), text);
const integer = fc.oneof(
  fc.maxSafeInteger(),
  fc.constantFrom(0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, -1, -24, -25, -256, -257),
);

/** Values of the profile; tags are left out where cborg, the oracle, reads none. */
const { value: anyValue } = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    integer,
    text,
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 300 }),
    fc.double().map((float) => ({ float })),
    fc.array(tie('value'), { maxLength: 6 }),
    fc
      .uniqueArray(fc.tuple(key, tie('value')), { maxLength: 6, selector: ([k]) => k })
      .map((entries) => new Map<CborKey, CborValue>(entries)),
  ),
}));

function isFloat(value: CborValue): value is { readonly float: number } {
  return typeof value === 'object' && value !== null && 'float' in value;
}

/** cborg finds a value's encoder by its class. */
class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

function forCborg(value: CborValue): unknown {
  if (isFloat(value)) return new Float(value.float);
  if (value instanceof Map) return new Map([...value].map(([name, item]) => [name, forCborg(item)]));
  if (Array.isArray(value)) return value.map(forCborg);
  return value;
}

function cborgBytes(value: CborValue): Uint8Array {
  return cborg.encode(forCborg(value), {
    ...cborg.rfc8949EncodeOptions,
    float64: true,
    typeEncoders: {
      Object: (item: unknown) =>
        item instanceof Float ? [new cborg.Token(cborg.Type.float, item.value)] : null,
    },
  });
}

test('the bytes are those of cborg, and come back as the same value', () => {
  fc.assert(
    fc.property(anyValue, (value) => {
      const bytes = encodeCbor(value);
      assert.equal(toHex(bytes), toHex(cborgBytes(value)));
      assert.deepEqual(decodeCbor(bytes), withoutMinusZero(value));
    }),
    { numRuns: 500 },
  );
});

/** Integers have one zero. */
function withoutMinusZero(value: CborValue): CborValue {
  if (typeof value === 'number') return value + 0;
  if (value instanceof Map)
    return new Map(
      [...value].map(([name, item]) => [withoutMinusZero(name) as CborKey, withoutMinusZero(item)]),
    );
  if (Array.isArray(value)) return value.map(withoutMinusZero);
  return value;
}

test('whatever bytes are taken are the encoding of what they gave', () => {
  const near = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    // A valid item with one byte changed, cut off, or something behind it.
    fc
      .tuple(anyValue, fc.nat(), fc.nat(255), fc.constantFrom('change', 'cut', 'add'))
      .map(([value, at, byte, how]) => {
        const bytes = encodeCbor(value);
        const index = at % bytes.length;
        if (how === 'cut') return bytes.subarray(0, index);
        if (how === 'add') return Uint8Array.of(...bytes, byte);
        bytes[index] = byte;
        return bytes;
      }),
  );
  fc.assert(
    fc.property(near, (bytes) => {
      let value: CborValue;
      try {
        value = decodeCbor(bytes);
      } catch (error) {
        assert.equal((error as Error).name, 'DecodeError', String(error));
        return;
      }
      assert.equal(toHex(encodeCbor(value)), toHex(bytes));
    }),
    { numRuns: 5000 },
  );
});

test('forms that are not the one encoding are refused, with the place', () => {
  const refused: readonly (readonly [string, RegExp])[] = [
    ['', /cut off/],
    ['1817', /longer than needed at byte 1/],
    ['190018', /longer than needed/],
    ['1900ff', /longer than needed/],
    ['1a0000ffff', /longer than needed/],
    ['1b00000000ffffffff', /longer than needed/],
    ['3817', /longer than needed/],
    ['5803010203', /longer than needed/],
    ['7801 61', /longer than needed/],
    ['980101', /longer than needed/],
    ['b8010101', /longer than needed/],
    ['d80100', /longer than needed/],
    ['1c', /indefinite or reserved/],
    ['1f', /indefinite or reserved/],
    ['5f41ff', /indefinite or reserved/],
    ['9f01ff', /indefinite or reserved/],
    ['bf0102ff', /indefinite or reserved/],
    ['ff', /no place here/],
    ['f7', /no place here/],
    ['f818', /no place here/],
    ['f93c00', /no place here/],
    ['fa3f800000', /no place here/],
    ['fb7ff8000000000001', /NaN/],
    ['fbfff8000000000000', /NaN/],
    ['fb3ff00000', /cut off/],
    ['0000', /1 bytes after the end/],
    ['a201020100', /out of order or twice/],
    ['a202000100', /out of order or twice/],
    ['a2616200616100', /out of order or twice/],
    ['a2616101', /cut off|reaches past/],
    ['a140 00', /neither an integer nor text/],
    ['a1f500', /neither an integer nor text/],
    ['a11bffffffffffffffff00', /neither an integer nor text/],
    ['61ff', /not UTF-8/],
    ['62c080', /not UTF-8/],
    ['63eda080', /not UTF-8/],
    ['64f4908080', /not UTF-8/],
    ['db ffffffffffffffff 00', /tag .* is not known/],
    ['5a ffffffff', /reaches past the end/],
    ['9a ffffffff', /reaches past the end/],
    ['bb ffffffffffffffff', /reaches past the end/],
    ['5b 0010000000000000', /reaches past the end/],
  ];
  for (const [text, why] of refused) {
    const bytes = hex(text.replaceAll(' ', ''));
    assert.throws(
      () => decodeCbor(bytes),
      (error: Error) => error.name === 'DecodeError' && why.test(error.message),
      text,
    );
  }
});

test('nesting is bounded on both sides', () => {
  const nested = (depth: number) => Uint8Array.of(...new Uint8Array(depth).fill(0x81), 0);
  assert.doesNotThrow(() => decodeCbor(nested(32)));
  assert.throws(() => decodeCbor(nested(33)), /nested deeper than 32/);
  for (const head of [0x81, 0xc1, 0xa1]) {
    assert.throws(() => decodeCbor(new Uint8Array(1_000_000).fill(head)), { name: 'DecodeError' });
  }
  let value: CborValue = 0;
  for (let depth = 0; depth < 33; depth++) value = [value];
  assert.throws(() => encodeCbor(value), /nested deeper than 32/);
});

test('a length that lies costs no memory', () => {
  const lies = [
    '5b001fffffffffffff',
    '7b001fffffffffffff',
    '9b001fffffffffffff',
    'bb001fffffffffffff',
    '9affffffff00',
  ]
    .flatMap((text) => [text, `81${text}`, `d2${text}`])
    .map(hex);
  const before = process.memoryUsage();
  for (let turn = 0; turn < 2000; turn++) {
    for (const bytes of lies) assert.throws(() => decodeCbor(bytes), { name: 'DecodeError' });
  }
  const { arrayBuffers } = process.memoryUsage();
  assert.ok(arrayBuffers - before.arrayBuffers < 1_000_000, `${arrayBuffers - before.arrayBuffers} bytes`);
});

test('what is decoded stays when the input is written over', () => {
  for (const bytes of [encodeCbor([Uint8Array.of(1, 2, 3), 'abc']), Buffer.from('8243010203f6', 'hex')]) {
    const [first] = decodeCbor(bytes) as readonly Uint8Array[];
    bytes.fill(0);
    assert.deepEqual(first, Uint8Array.of(1, 2, 3));
  }
});

test('an item in the middle of a larger buffer', () => {
  const around = new Uint8Array(40).fill(0xff);
  const item = encodeCbor([1, { float: 0.5 }, 70_000, 2n ** 60n]);
  around.set(item, 7);
  assert.deepEqual(decodeCbor(around.subarray(7, 7 + item.length)), [1, { float: 0.5 }, 70_000, 2n ** 60n]);
});

test('integers from end to end of 64 bits; others are refused by the encoder', () => {
  const ends = [2n ** 64n - 1n, -(2n ** 64n), 2n ** 53n, -(2n ** 53n), 2n ** 63n];
  for (const value of ends) assert.equal(decodeCbor(encodeCbor(value)), value);
  assert.equal(decodeCbor(encodeCbor(5n)), 5, 'what fits a number comes back as one');
  assert.throws(() => encodeCbor(2n ** 64n), /does not fit in 64 bits/);
  assert.throws(() => encodeCbor(-(2n ** 64n) - 1n), /does not fit in 64 bits/);
  for (const value of [0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => encodeCbor(value), /not a safe integer/);
  }
});

test('all NaNs are one, and minus zero is not zero', () => {
  const odd = new Float64Array(new BigUint64Array([0xfff8_0000_0000_0001n]).buffer)[0]!;
  assert.equal(toHex(encodeCbor({ float: odd })), 'fb7ff8000000000000');
  assert.equal(toHex(encodeCbor({ float: -0 })), 'fb8000000000000000');
  assert.ok(Object.is((decodeCbor(encodeCbor({ float: -0 })) as { float: number }).float, -0));
});

test('a writer grows and can be used again', () => {
  const writer = createCborWriter(1);
  for (let turn = 0; turn < 3; turn++) {
    writer.array(2);
    writer.bytes(new Uint8Array(5000).fill(turn));
    writer.float(turn);
    assert.deepEqual(decodeCbor(writer.take()), [new Uint8Array(5000).fill(turn), { float: turn }]);
  }
  assert.equal(writer.take().length, 0);
});
