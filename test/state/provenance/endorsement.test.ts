import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Point } from '@noble/ed25519';
import { createSigner } from '#ed25519';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { type CborValue, encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { createSign1Signer } from '../../../runtime/core/encoding/cose.ts';
import { KIND } from '../../../runtime/core/encoding/kind.ts';
import { endorse, openEndorsement } from '../../../runtime/state/provenance/endorsement.ts';
import { PURPOSES } from '../../../runtime/state/provenance/keys.ts';

const signer = (seed: number) => createSigner(new Uint8Array(32).fill(seed));
const keys = { identity: signer(1), sample: signer(2), log: signer(3), witness: signer(4), tls: signer(5) };
const identity = keys.identity.publicKey;
const bytes = endorse(keys, 'plant-a', 'hall-1', 1_700_000_000_000, 7);

test('an endorsement names each purpose’s key', () => {
  const opened = openEndorsement(bytes, identity);
  assert.deepEqual(
    [opened.member, opened.gateway, opened.serial, opened.time],
    ['plant-a', 'hall-1', 7, 1_700_000_000_000],
  );
  assert.deepEqual(opened.statement, bytes);
  assert.equal(openEndorsement(endorse(keys, 'plant-a', 'hall-1', 0), identity).serial, 0);
  for (const purpose of PURPOSES)
    assert.equal(toHex(opened.publicKeys[purpose]), toHex(keys[purpose].publicKey));
});

test('every bit of it counts, and so does its end', () => {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = bytes.slice();
    changed[bit >> 3]! ^= 1 << (bit & 7);
    assert.throws(() => openEndorsement(changed, identity), { name: 'DecodeError' }, `bit ${bit}`);
  }
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => openEndorsement(bytes.subarray(0, length), identity), { name: 'DecodeError' });
  }
});

test('another identity’s word is none', () => {
  assert.throws(() => openEndorsement(bytes, keys.sample.publicKey), /not signed by the identity key/);
  const other = endorse({ ...keys, identity: signer(9) }, 'plant-a', 'hall-1', 0);
  assert.throws(() => openEndorsement(other, identity), /not signed by the identity key/);
});

const publicKeys: readonly CborValue[] = PURPOSES.map((purpose) => keys[purpose].publicKey);
const signed = (payload: CborValue) => createSign1Signer(keys.identity).sign(encodeCbor(payload));

test('what an identity signed for something else is no endorsement', () => {
  const refused: readonly (readonly [CborValue, RegExp])[] = [
    [[KIND.gap, 'plant-a', 'hall-1', 0, 0, publicKeys], /not of its kind/],
    [[KIND.endorsement, 'plant-a', 'hall-1', 0, publicKeys], /5 fields instead of 6/],
    [[KIND.endorsement, 1, 'hall-1', 0, 0, publicKeys], /member is not text/],
    [[KIND.endorsement, 'plant-a', null, 0, 0, publicKeys], /gateway is not text/],
    [[KIND.endorsement, 'plant-a', 'hall-1', -1, 0, publicKeys], /serial is not a whole number/],
    [[KIND.endorsement, 'plant-a', 'hall-1', { float: 1 }, 0, publicKeys], /serial is not a whole number/],
    [[KIND.endorsement, 'plant-a', 'hall-1', 0, -1, publicKeys], /time is not a whole number/],
    [[KIND.endorsement, 'plant-a', 'hall-1', 0, 0, publicKeys.slice(1)], /keys: 3 fields instead of 4/],
    [[KIND.endorsement, 'plant-a', 'hall-1', 0, 0, [...publicKeys, identity]], /keys: 5 fields instead of 4/],
  ];
  for (const [payload, why] of refused) assert.throws(() => openEndorsement(signed(payload), identity), why);
});

test('an unfit key for any purpose, or for the identity, is refused', () => {
  const torsion = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a');
  const unfit: readonly (readonly [Uint8Array, RegExp])[] = [
    [torsion.toBytes(), /small order/],
    [Point.fromBytes(identity).add(torsion).toBytes(), /prime-order/],
    [new Uint8Array(31), /31 bytes instead of 32/],
    [Uint8Array.of(2, ...new Uint8Array(31)), /not a point/],
  ];
  for (const [key, why] of unfit) {
    for (const [index, purpose] of PURPOSES.entries()) {
      const replaced = publicKeys.map((one, at) => (at === index ? key : one));
      const payload = [KIND.endorsement, 'plant-a', 'hall-1', 0, 0, replaced];
      assert.throws(
        () => openEndorsement(signed(payload), identity),
        (error: Error) => error.message.includes(`${purpose} key`) && why.test(error.message),
      );
    }
    assert.throws(() => openEndorsement(bytes, key), why);
  }
});
