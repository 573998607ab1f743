import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as cborg from 'cborg';
import fc from 'fast-check';
import { createSigner, createVerifier } from '#ed25519';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { type CborValue, decodeCbor, encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { createSign1Signer, keyIdOf, parseSign1, verifySign1 } from '../../../runtime/core/encoding/cose.ts';
import { hex, skipWithout, vectorJson } from './vectors.ts';

const skip = skipWithout('cose/cose-wg');

interface Example {
  readonly title: string;
  readonly fail?: boolean;
  readonly input: { readonly sign0: { readonly key: { readonly x_hex: string; readonly d_hex: string } } };
  readonly intermediates: { readonly ToBeSign_hex: string };
  readonly output: { readonly cbor: string };
}

/** The four parts of a tagged COSE_Sign1, header forms aside. */
function partsOf(text: string) {
  const message = decodeCbor(hex(text)) as { readonly tag: number; readonly value: readonly CborValue[] };
  const [protectedHeader, , payload, signature] = message.value as [
    Uint8Array,
    CborValue,
    Uint8Array,
    Uint8Array,
  ];
  return { tag: message.tag, protectedHeader, payload, signature, keyId: new Uint8Array(8) };
}

test('eddsa-sig-01 of the COSE working group', { skip }, () => {
  const example = vectorJson<Example>('cose/cose-wg/eddsa-examples/eddsa-sig-01.json');
  const { x_hex, d_hex } = example.input.sign0.key;
  const message = partsOf(example.output.cbor);
  assert.equal(message.tag, 18);
  assert.ok(verifySign1(message, createVerifier(hex(x_hex))), 'the signature is over our Sig_structure');
  const signed = createSigner(hex(d_hex)).sign(hex(example.intermediates.ToBeSign_hex));
  assert.equal(toHex(signed), toHex(message.signature));
  assert.throws(() => parseSign1(hex(example.output.cbor)), /unprotected header is not empty/);
});

test('eddsa-sig-02 is of another curve and is refused', { skip }, () => {
  const example = vectorJson<Example>('cose/cose-wg/eddsa-examples/eddsa-sig-02.json');
  assert.throws(() => parseSign1(hex(example.output.cbor)), { name: 'DecodeError' });
});

test('the failing examples, and those with another algorithm, are refused', { skip }, () => {
  const names = [
    'sign-fail-01',
    'sign-fail-02',
    'sign-fail-03',
    'sign-fail-04',
    'sign-fail-06',
    'sign-fail-07',
    'sign-pass-01',
    'sign-pass-02',
    'sign-pass-03',
  ];
  for (const name of names) {
    const { output } = vectorJson<Example>(`cose/cose-wg/sign1-tests/${name}.json`);
    assert.throws(() => parseSign1(hex(output.cbor)), { name: 'DecodeError' }, name);
  }
});

const key = createSigner(new Uint8Array(32).fill(7));
const signer = createSign1Signer(key);
const verify = createVerifier(key.publicKey);
const payload = new TextEncoder().encode('what the sensor said');

/** Whether anybody would take `bytes` as signed by the key. */
function accepted(bytes: Uint8Array): boolean {
  try {
    return verifySign1(parseSign1(bytes), verify);
  } catch (error) {
    assert.equal((error as Error).name, 'DecodeError', String(error));
    return false;
  }
}

test('a message comes back whole, and cborg reads it as RFC 9052 has it', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (content) => {
      const bytes = signer.sign(content);
      const message = parseSign1(bytes);
      assert.equal(toHex(message.payload), toHex(content));
      assert.equal(toHex(message.keyId), toHex(keyIdOf(key.publicKey)));
      assert.ok(verifySign1(message, verify));
    }),
    { numRuns: 50 },
  );
  const tags = { 18: (decode: () => unknown) => decode() };
  const options = { useMaps: true, tags, rejectDuplicateMapKeys: true };
  const parts = cborg.decode(signer.sign(payload), options) as unknown[];
  const header = cborg.decode(parts[0] as Uint8Array, options) as Map<number, unknown>;
  assert.equal(header.get(1), -8);
  assert.deepEqual(Buffer.from(header.get(4) as Uint8Array), Buffer.from(signer.keyId));
  assert.deepEqual(parts[1], new Map());
  assert.deepEqual(Buffer.from(parts[2] as Uint8Array), Buffer.from(payload));
  const structure = cborg.encode(['Signature1', parts[0], new Uint8Array(0), parts[2]]);
  assert.ok(verify(structure, parts[3] as Uint8Array));
});

test('every single bit counts', () => {
  const bytes = signer.sign(payload);
  assert.ok(accepted(bytes));
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = bytes.slice();
    changed[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(accepted(changed), false, `bit ${bit}`);
  }
});

test('cut off or lengthened anywhere, it is refused', () => {
  const bytes = signer.sign(payload);
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => parseSign1(bytes.subarray(0, length)), { name: 'DecodeError' });
  }
  assert.throws(() => parseSign1(Uint8Array.of(...bytes, 0)), { name: 'DecodeError' });
});

test('other forms of the same signature are refused', () => {
  const { protectedHeader, signature } = parseSign1(signer.sign(payload));
  const form = (tag: number, ...parts: CborValue[]) => encodeCbor({ tag, value: parts });
  const header = (...entries: [number, CborValue][]) => encodeCbor(new Map(entries));
  const { keyId } = signer;
  assert.ok(accepted(form(18, protectedHeader, new Map(), payload, signature)));
  const others: readonly (readonly [string, Uint8Array])[] = [
    ['untagged', encodeCbor([protectedHeader, new Map(), payload, signature])],
    ['COSE_Sign', form(98, protectedHeader, new Map(), payload, signature)],
    [
      'tagged twice',
      encodeCbor({ tag: 18, value: { tag: 18, value: [protectedHeader, new Map(), payload, signature] } }),
    ],
    ['three parts', form(18, protectedHeader, new Map(), payload)],
    ['five parts', form(18, protectedHeader, new Map(), payload, signature, null)],
    ['detached payload', form(18, protectedHeader, new Map(), null, signature)],
    ['payload as text', form(18, protectedHeader, new Map(), 'text', signature)],
    ['key in the unprotected header', form(18, header([1, -8]), new Map([[4, keyId]]), payload, signature)],
    [
      'something in the unprotected header',
      form(18, protectedHeader, new Map([[99, 1]]), payload, signature),
    ],
    ['empty header', form(18, new Uint8Array(0), new Map(), payload, signature)],
    ['header of another algorithm', form(18, header([1, -19], [4, keyId]), new Map(), payload, signature)],
    ['header with more in it', form(18, header([1, -8], [3, 0], [4, keyId]), new Map(), payload, signature)],
    [
      'key identifier of 7 bytes',
      form(18, header([1, -8], [4, keyId.subarray(1)]), new Map(), payload, signature),
    ],
    ['signature of 63 bytes', form(18, protectedHeader, new Map(), payload, signature.subarray(1))],
    ['signature of 65 bytes', form(18, protectedHeader, new Map(), payload, Uint8Array.of(...signature, 0))],
  ];
  for (const [name, bytes] of others) assert.throws(() => parseSign1(bytes), { name: 'DecodeError' }, name);
});

test('another key does not verify, and bytes at random never crash', () => {
  const other = createVerifier(createSigner(new Uint8Array(32).fill(8)).publicKey);
  assert.equal(verifySign1(parseSign1(signer.sign(payload)), other), false);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
      assert.equal(accepted(bytes), false);
    }),
    { numRuns: 1000 },
  );
});
