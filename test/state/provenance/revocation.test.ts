import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { type CborValue, encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { createSign1Signer } from '../../../runtime/core/encoding/cose.ts';
import { KIND } from '../../../runtime/core/encoding/kind.ts';
import { REVOCABLE } from '../../../runtime/state/provenance/purposes.ts';
import { MAX_REASON, openRevocation, revoke } from '../../../runtime/state/provenance/revocation.ts';
import { keyOf, keysOf, memberKey } from './rosters.ts';

const keys = keysOf('mill');
const signers = { identity: keys.identity.publicKey, memberKey: memberKey('bolt').publicKey };
const about = { member: 'bolt', gateway: 'mill', time: 1_700_000_000_000, reason: 'stolen' } as const;
const sample = keys.sample.publicKey;
const bytes = revoke(keys.identity, { ...about, purpose: 'sample', key: sample });

test('a revocation of each key, by the identity or the member', () => {
  for (const purpose of REVOCABLE) {
    for (const [by, signer] of [
      ['identity', keys.identity],
      ['member', memberKey('bolt')],
    ] as const) {
      const key = keys[purpose].publicKey;
      const {
        statement,
        key: named,
        ...opened
      } = openRevocation(revoke(signer, { ...about, purpose, key }), signers);
      assert.deepEqual(opened, { ...about, purpose, by });
      assert.equal(toHex(named), toHex(key));
      assert.ok(statement.length > 100);
    }
  }
});

test('every bit of it counts, and so does its end', () => {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = bytes.slice();
    changed[bit >> 3]! ^= 1 << (bit & 7);
    assert.throws(() => openRevocation(changed, signers), { name: 'DecodeError' }, `bit ${bit}`);
  }
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => openRevocation(bytes.subarray(0, length), signers), { name: 'DecodeError' });
  }
});

test('nobody else revokes, nor does what was signed for something else', () => {
  for (const stranger of [keyOf('stranger'), keys.sample, memberKey('acme'), keysOf('lathe').identity]) {
    const forged = revoke(stranger, { ...about, purpose: 'sample', key: sample });
    assert.throws(() => openRevocation(forged, signers), /signed neither by/);
  }
  const { time } = about;
  const refused: readonly (readonly [CborValue, RegExp])[] = [
    [[KIND.gap, 'bolt', 'mill', 0, sample, time, ''], /not of its kind/],
    [[KIND.endorsement, 'bolt', 'mill', 0, sample, time, ''], /not of its kind/],
    [[KIND.revocation, 'bolt', 'mill', 0, sample, time], /6 fields instead of 7/],
    [[KIND.revocation, 'bolt', 'mill', 5, sample, time, ''], /purpose is unknown/],
    [[KIND.revocation, 'bolt', 'mill', -1, sample, time, ''], /purpose is not a whole number/],
    [[KIND.revocation, 'bolt', 'mill', 0, sample.subarray(1), time, ''], /31 bytes instead of 32/],
    [[KIND.revocation, 'bolt', 'mill', 0, sample, -1, ''], /time is not a whole number/],
    [[KIND.revocation, 'bolt', 'mill', 0, sample, time, 7], /reason is not text/],
    [[KIND.revocation, 'bolt', 'mill', 0, sample, time, 'x'.repeat(MAX_REASON + 1)], /201 characters/],
    [[KIND.revocation, 'bolt', 'mill', 4, sample, time, ''], /another identity key/],
  ];
  for (const [payload, why] of refused) {
    const signed = createSign1Signer(keys.identity).sign(encodeCbor(payload));
    assert.throws(() => openRevocation(signed, signers), why);
  }
});

test('what could not be read back is not made', () => {
  const given = { ...about, purpose: 'sample', key: sample } as const;
  assert.throws(() => revoke(keys.identity, { ...given, reason: 'x'.repeat(MAX_REASON + 1) }), RangeError);
  for (const time of [-1, 0.5, Number.NaN, 2 ** 53]) {
    assert.throws(() => revoke(keys.identity, { ...given, time }), RangeError);
  }
});
