import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { hashes, Point, verify as verifyWithCofactor } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import * as browser from '../../runtime/platform/ed25519.browser.ts';
import * as node from '../../runtime/platform/ed25519.node.ts';
import { hex, skipWithout, vectorJson } from '../core/encoding/vectors.ts';

hashes.sha512 = sha512;

const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
/** A point of order 8; its multiples are all points of small order. */
const TORSION = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a');

function le32(value: bigint): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, index) => Number((value >> BigInt(8 * index)) & 255n));
}

function fromLe(bytes: Uint8Array): bigint {
  return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** The k of RFC 8032, section 5.1.7. */
function challenge(r: Uint8Array, a: Uint8Array, message: Uint8Array): bigint {
  return fromLe(createHash('sha512').update(r).update(a).update(message).digest()) % L;
}

/** What both variants say; that they say the same is checked. */
function verdict(key: Uint8Array, message: Uint8Array, signature: Uint8Array, what: string): boolean {
  const ours = node.createVerifier(key)(message, signature);
  assert.equal(browser.createVerifier(key)(message, signature), ours, `${what}: the variants disagree`);
  return ours;
}

interface Signed {
  readonly priv: string;
  readonly pub: string;
  readonly msg: string;
  readonly sig: string;
}

test('RFC 8032, section 7.1', { skip: skipWithout('ed25519') }, () => {
  const vectors = vectorJson<readonly Signed[]>('ed25519/rfc8032/rfc8032-ed25519.json');
  assert.ok(vectors.length > 0);
  for (const { priv, pub, msg, sig } of vectors) {
    for (const { createSigner } of [node, browser]) {
      const signer = createSigner(hex(priv));
      assert.equal(Buffer.from(signer.publicKey).toString('hex'), pub);
      assert.equal(Buffer.from(signer.sign(hex(msg))).toString('hex'), sig);
    }
    assert.equal(verdict(hex(pub), hex(msg), hex(sig), pub), true);
  }
});

interface Wycheproof {
  readonly testGroups: readonly {
    readonly publicKey: { readonly pk: string };
    readonly tests: readonly {
      readonly tcId: number;
      readonly msg: string;
      readonly sig: string;
      readonly result: 'valid' | 'invalid';
    }[];
  }[];
}

test('Wycheproof: valid is accepted, invalid refused, by both', { skip: skipWithout('ed25519') }, () => {
  const { testGroups } = vectorJson<Wycheproof>('ed25519/wycheproof/ed25519_test.json');
  let count = 0;
  for (const { publicKey, tests } of testGroups) {
    for (const { tcId, msg, sig, result } of tests) {
      count += 1;
      assert.equal(
        verdict(hex(publicKey.pk), hex(msg), hex(sig), `test ${tcId}`),
        result === 'valid',
        `${tcId}`,
      );
    }
  }
  assert.equal(count, 151);
});

/** Every encoding of every point of small order, those with y >= p and with a sign on x = 0 included. */
function smallOrderEncodings(): readonly Uint8Array[] {
  const found = new Map<string, Uint8Array>();
  for (let multiple = 0n; multiple < 8n; multiple++) {
    const y = TORSION.multiply(multiple, false).toAffine().y;
    for (const form of [y, y + P]) {
      if (form >= 2n ** 255n) continue;
      for (const sign of [0n, 1n]) {
        const bytes = le32(form | (sign << 255n));
        found.set(Buffer.from(bytes).toString('hex'), bytes);
      }
    }
  }
  return [...found.values()];
}

test('keys and R of small order, in every encoding: both give the same answer', () => {
  const encodings = smallOrderEncodings();
  assert.ok(encodings.length >= 14, `${encodings.length} encodings`);
  let accepted = 0;
  for (const [a, key] of encodings.entries()) {
    for (const [r, encodedR] of encodings.entries()) {
      for (const message of [Uint8Array.of(0), Uint8Array.of(1)]) {
        if (verdict(key, message, concat(encodedR, le32(0n)), `A ${a}, R ${r}`)) accepted += 1;
      }
    }
  }
  assert.equal(accepted, 0, 'a point of small order makes no signature, on any version of Node');
});

test('other non-canonical encodings of a key or R: both give the same answer', () => {
  for (let y = 0n; y < 19n; y++) {
    for (const sign of [0n, 1n]) {
      const [canonical, other] = [y, y + P].map((value) => le32(value | (sign << 255n))) as [
        Uint8Array,
        Uint8Array,
      ];
      for (const r of [canonical, other]) {
        for (const key of [canonical, other]) {
          verdict(key, Uint8Array.of(3), concat(r, le32(0n)), `y ${y}, sign ${sign}`);
        }
      }
    }
  }
});

test('a signature that only the cofactor makes valid is refused', () => {
  const message = new TextEncoder().encode('eight times nothing is nothing');
  const a = 1234567890123456789n;
  const r = 9876543210987654321n;
  const key = Point.BASE.multiply(a).toBytes();
  const honest = Point.BASE.multiply(r);
  for (let multiple = 0n; multiple < 8n; multiple++) {
    const encodedR = honest.add(TORSION.multiply(multiple, false)).toBytes();
    const s = (r + challenge(encodedR, key, message) * a) % L;
    const signature = concat(encodedR, le32(s));
    assert.ok(verifyWithCofactor(signature, message, key, { zip215: true }), 'valid with the cofactor');
    assert.equal(verdict(key, message, signature, `R + ${multiple}T`), multiple === 0n);
  }
});

test('a key with a part of small order: accepted exactly where the equation holds', () => {
  const a = 42n;
  const r = 77n;
  const encodedR = Point.BASE.multiply(r).toBytes();
  const seen = new Set<boolean>();
  for (let multiple = 1n; multiple < 8n; multiple++) {
    const part = TORSION.multiply(multiple, false);
    const key = Point.BASE.multiply(a).add(part).toBytes();
    for (let byte = 0; byte < 24; byte++) {
      const message = Uint8Array.of(byte);
      const k = challenge(encodedR, key, message);
      const signature = concat(encodedR, le32((r + k * a) % L));
      const holds = part.multiply(k % 8n, false).is0();
      assert.equal(verdict(key, message, signature, `A + ${multiple}T, ${byte}`), holds);
      seen.add(holds);
    }
  }
  assert.equal(seen.size, 2, 'both cases came up');
});

test('S is below the order of the group, and a signature has 64 bytes', () => {
  const signer = node.createSigner(new Uint8Array(32).fill(9));
  const message = Uint8Array.of(1, 2, 3);
  const signature = Uint8Array.from(signer.sign(message));
  assert.ok(verdict(signer.publicKey, message, signature, 'as signed'));
  const s = fromLe(signature.subarray(32));
  for (let larger = s + L; larger < 2n ** 256n; larger += L) {
    const changed = concat(signature.subarray(0, 32), le32(larger));
    assert.equal(verdict(signer.publicKey, message, changed, `S = ${larger}`), false);
  }
  for (const wrong of [new Uint8Array(0), signature.subarray(1), concat(signature, Uint8Array.of(0))]) {
    assert.equal(verdict(signer.publicKey, message, wrong, `${wrong.length} bytes`), false);
  }
});

test('the verifier of a key that is none refuses everything and throws never', () => {
  const signer = node.createSigner(new Uint8Array(32).fill(9));
  const message = Uint8Array.of(1);
  const signature = Uint8Array.from(signer.sign(message));
  const keys: readonly (readonly [string, Uint8Array])[] = [
    ['no point of the curve', le32(2n)],
    ['no point of the curve, with a sign', le32(2n | (1n << 255n))],
    ['y of p or more and no point', le32(P + 2n)],
    ['empty', new Uint8Array(0)],
    ['31 bytes', signer.publicKey.subarray(1)],
    ['33 bytes, the key first', concat(signer.publicKey, Uint8Array.of(0))],
    ['64 bytes', new Uint8Array(64)],
  ];
  for (const [what, key] of keys) {
    assert.equal(verdict(key, message, signature, what), false, what);
    assert.equal(verdict(key, message, new Uint8Array(64), what), false, what);
  }
});

test('a key that is written over later does not change its verifier', () => {
  const { publicKey, sign } = node.createSigner(new Uint8Array(32).fill(3));
  const message = Uint8Array.of(5);
  for (const { createVerifier } of [node, browser]) {
    const key = Uint8Array.from(publicKey);
    const verify = createVerifier(key);
    key.fill(0);
    assert.ok(verify(message, sign(message)));
  }
});

test('both sign alike, and a secret that is written over later does not change the signer', () => {
  for (let seed = 0; seed < 10; seed++) {
    const message = new Uint8Array(seed * 37).fill(seed);
    const signatures = [node, browser].map(({ createSigner }) => {
      const secret = new Uint8Array(32).fill(seed);
      const signer = createSigner(secret);
      secret.fill(0xff);
      return Buffer.from(signer.sign(message)).toString('hex');
    });
    assert.equal(signatures[0], signatures[1]);
  }
  for (const { createSigner } of [node, browser]) {
    for (const length of [0, 31, 33, 64])
      assert.throws(() => createSigner(new Uint8Array(length)), `${length}`);
  }
});
