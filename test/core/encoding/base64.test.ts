import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  fromBase64,
  fromHex,
  toBase64,
  toHex,
  tryBase64,
  tryHex,
} from '../../../runtime/core/encoding/base64.ts';

test('the examples of RFC 4648, section 10', () => {
  const encoded = ['', 'Zg==', 'Zm8=', 'Zm9v', 'Zm9vYg==', 'Zm9vYmE=', 'Zm9vYmFy'];
  encoded.forEach((text, length) => {
    const bytes = new TextEncoder().encode('foobar'.slice(0, length));
    assert.equal(toBase64(bytes), text);
    assert.deepEqual(tryBase64(text), bytes);
  });
});

test('base64 and hex are those of Buffer, both ways', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const buffer = Buffer.from(bytes);
      assert.equal(toBase64(bytes), buffer.toString('base64'));
      assert.deepEqual(tryBase64(buffer.toString('base64')), bytes);
      assert.equal(toHex(bytes), buffer.toString('hex'));
      assert.deepEqual(tryHex(buffer.toString('hex')), bytes);
    }),
  );
});

test('a text is accepted exactly if re-encoding its bytes gives it back', () => {
  const nearBase64 = fc.string({ unit: fc.constantFrom(...'AQgwZz09+/=='), maxLength: 12 });
  fc.assert(
    fc.property(nearBase64, (text) => {
      const canonical = Buffer.from(text, 'base64').toString('base64') === text;
      assert.equal(tryBase64(text) !== undefined, canonical, text);
    }),
    { numRuns: 2000 },
  );
});

test('forms that others may forgive are refused', () => {
  const bad = [
    'Zg',
    'Zg=',
    'Zh==',
    'Zm9=',
    'Zg==\n',
    ' Zg==',
    'Zm\n8=',
    'Zg==Zg==',
    '====',
    '=',
    'Zm-_',
    'Zm9v=',
    'Zé==',
  ];
  for (const text of bad) {
    assert.equal(tryBase64(text), undefined, text);
    assert.throws(() => fromBase64(text), /not canonical base64/);
  }
  for (const text of ['a', '0G', 'AB', '0x', ' 0', 'é0']) {
    assert.equal(tryHex(text), undefined, text);
    assert.throws(() => fromHex(text), /not lower-case hexadecimal/);
  }
});
