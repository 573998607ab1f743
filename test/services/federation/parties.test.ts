import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSign1Signer } from '../../../runtime/core/encoding/cose.ts';
import { messages } from '../../../runtime/services/federation/messages.ts';
import { createParties } from '../../../runtime/services/federation/parties.ts';
import { endorse } from '../../../runtime/state/provenance/endorsement.ts';
import { revoke } from '../../../runtime/state/provenance/revocation.ts';
import { rosterOf } from '../../../runtime/state/provenance/roster.ts';
import { createConsortium, newKeys } from '../consortium.ts';

test('a party’s messages are read with the keys it has and had, and not with one that it revoked', async () => {
  const { agreement, gateways } = createConsortium({ fleets: [1, 1, 1] });
  const { keys, name, member } = gateways[0]!;
  const renewed = { ...newKeys(), identity: keys.identity };
  const roster = rosterOf(agreement);
  const parties = createParties(agreement, 'gateway-1', roster);
  const signedWith = ({ sample }: typeof keys) => {
    const bytes = messages.set.seal(createSign1Signer(sample), { round: 4, set: new Uint8Array(32) });
    return () => messages.set.open(bytes, parties, name).round;
  };
  const [before, after] = [signedWith(keys), signedWith(renewed)];
  assert.equal(before(), 4);
  assert.throws(after, /not signed by gateway-0/);
  await roster.add(endorse(renewed, member, name, 0, 1));
  assert.equal(before(), 4, 'a stored record outlives the rotation');
  assert.equal(after(), 4);
  const key = keys.sample.publicKey;
  await roster.add(
    revoke(keys.identity, { member, gateway: name, purpose: 'sample', key, time: 1, reason: '' }),
  );
  assert.throws(before, /not signed by gateway-0/);
  assert.equal(after(), 4);
  // The key of another purpose, or of another gateway, is none either.
  assert.throws(signedWith({ ...renewed, sample: renewed.log }), /not signed by gateway-0/);
  assert.throws(signedWith(gateways[1]!.keys), /not signed by gateway-0/);
});
