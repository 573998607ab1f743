import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Point } from '@noble/ed25519';
import { createSigner } from '#ed25519';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { type CborValue, decodeCbor, encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { createSign1Signer, parseSign1 } from '../../../runtime/core/encoding/cose.ts';
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
/** Of the right form; whether they are right is asked last. */
const proofs: readonly CborValue[] = PURPOSES.map(() => new Uint8Array(64));
const signed = (payload: CborValue) => createSign1Signer(keys.identity).sign(encodeCbor(payload));

test('what an identity signed for something else is no endorsement', () => {
  const refused: readonly (readonly [CborValue, RegExp])[] = [
    [[KIND.gap, 'plant-a', 'hall-1', 0, 0, publicKeys, proofs], /not of its kind/],
    [[KIND.endorsement, 'plant-a', 'hall-1', 0, 0, publicKeys], /6 fields instead of 7/],
    [[KIND.endorsement, 1, 'hall-1', 0, 0, publicKeys, proofs], /member is not text/],
    [[KIND.endorsement, 'plant-a', null, 0, 0, publicKeys, proofs], /gateway is not text/],
    [[KIND.endorsement, 'plant-a', 'hall-1', -1, 0, publicKeys, proofs], /serial is not a whole number/],
    [
      [KIND.endorsement, 'plant-a', 'hall-1', { float: 1 }, 0, publicKeys, proofs],
      /serial is not a whole number/,
    ],
    [[KIND.endorsement, 'plant-a', 'hall-1', 0, -1, publicKeys, proofs], /time is not a whole number/],
    [
      [KIND.endorsement, 'plant-a', 'hall-1', 0, 0, publicKeys.slice(1), proofs],
      /keys: 3 fields instead of 4/,
    ],
    [[KIND.endorsement, 'plant-a', 'hall-1', 0, 0, publicKeys, proofs.slice(1)], /proofs: 3 fields/],
    [
      [KIND.endorsement, 'plant-a', 'hall-1', 0, 0, publicKeys, proofs],
      /the sample key does not vouch for it/,
    ],
    [
      [KIND.endorsement, 'plant-a', 'hall-1', 0, 0, [...publicKeys, identity], proofs],
      /keys: 5 fields instead of 4/,
    ],
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
      const payload = [KIND.endorsement, 'plant-a', 'hall-1', 0, 0, replaced, proofs];
      assert.throws(
        () => openEndorsement(signed(payload), identity),
        (error: Error) => error.message.includes(`${purpose} key`) && why.test(error.message),
      );
    }
    assert.throws(() => openEndorsement(bytes, key), why);
  }
});

test('a key that another holds cannot be endorsed: each key vouches for itself, for this endorsement alone', () => {
  for (const purpose of PURPOSES) {
    const stolen = { publicKey: signer(77).publicKey, sign: keys[purpose].sign };
    const squatted = endorse({ ...keys, [purpose]: stolen }, 'plant-a', 'hall-1', 0);
    assert.throws(() => openEndorsement(squatted, identity), new RegExp(`the ${purpose} key does not vouch`));
  }
  // The proofs of one endorsement under another's serial.
  const [first, second] = [0, 1].map((serial) => {
    const payload = parseSign1(endorse(keys, 'plant-a', 'hall-1', 0, serial)).payload;
    return decodeCbor(payload) as readonly CborValue[];
  });
  const mixed = [...second!.slice(0, 6), first![6]!];
  assert.throws(() => openEndorsement(signed(mixed), identity), /does not vouch/);
});
