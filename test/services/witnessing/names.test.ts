import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { cosign } from '../../../runtime/core/log/cosignature.ts';
import { cosignedTime } from '../../../runtime/core/log/cosigned-time.ts';
import { formatNote, signNote } from '../../../runtime/core/log/note.ts';
import { formatPolicy, parsePolicy } from '../../../runtime/core/log/policy.ts';
import {
  cosigningMembers,
  countsCosignature,
  logParties,
  openStored,
  ownSigners,
  policyInForce,
  policyOf,
} from '../../../runtime/services/witnessing/names.ts';
import { endorse } from '../../../runtime/state/provenance/endorsement.ts';
import type { GatewayKeys } from '../../../runtime/state/provenance/keys.ts';
import type { Purpose } from '../../../runtime/state/provenance/purposes.ts';
import { revoke } from '../../../runtime/state/provenance/revocation.ts';
import { rosterOf } from '../../../runtime/state/provenance/roster.ts';
import { createConsortium, newKeys } from '../consortium.ts';

const SECOND = 1_700_000_000;

/** Three members, the first with two gateways, and what their identities say. */
function setUp() {
  const consortium = createConsortium({ fleets: [2, 1, 1] });
  const roster = rosterOf(consortium.agreement);
  const parties = logParties(consortium.agreement, roster);
  const of = (name: string) => consortium.gateways.find((one) => one.name === name)!;
  const party = (name: string) => parties.find(({ gateway }) => gateway === name)!;
  return {
    ...{ agreement: consortium.agreement, roster, parties, party },
    keys: (name: string) => of(name).keys,
    async rotate(name: string, serial = 1): Promise<GatewayKeys> {
      const { keys, member } = of(name);
      const renewed = { ...newKeys(), identity: keys.identity };
      await roster.add(endorse(renewed, member, name, 0, serial));
      return renewed;
    },
    revoke(name: string, purpose: Purpose, keys: GatewayKeys, second: number) {
      const { member } = of(name);
      const key = keys[purpose].publicKey;
      return roster.add(
        revoke(keys.identity, { member, gateway: name, purpose, key, time: second * 1000, reason: '' }),
      );
    },
    /** A checkpoint of a gateway's log with cosignatures at given seconds. */
    note(name: string, keys: GatewayKeys, cosigners: readonly (readonly [string, GatewayKeys, number])[]) {
      const { origin } = party(name);
      const text = formatCheckpoint({ origin, size: 4, root: new Uint8Array(32), extensions: [] });
      const signed = signNote(text, [ownSigners(keys, origin).log]);
      const lines = cosigners.map(([witness, theirs, time]) =>
        cosign(ownSigners(theirs, party(witness).origin).cosigner, text, time),
      );
      return formatNote({ text, signatures: [...signed.signatures, ...lines] });
    },
  };
}

test('a party follows the roster: new keys, old ones, revoked ones', async () => {
  const { party, keys, rotate, revoke } = setUp();
  const one = party('gateway-1');
  const [log, witness] = [one.log, one.witness];
  assert.deepEqual(one.logs, [log]);
  assert.deepEqual(one.witnesses, [witness]);
  await rotate('gateway-1');
  assert.notEqual(one.log.keyId, log.keyId);
  assert.notEqual(one.witness.keyId, witness.keyId);
  assert.deepEqual([one.log.name, one.witness.name], [log.name, witness.name], 'one name for all its keys');
  assert.deepEqual(one.logs, [one.log, log]);
  assert.deepEqual(one.witnesses, [one.witness, witness]);
  await revoke('gateway-1', 'log', keys('gateway-1'), SECOND);
  assert.deepEqual(one.logs, [one.log]);
  assert.equal(one.logKeys.length, 2);
  assert.equal(one.witnesses.length, 2, 'the witness key is not meant');
});

test('where revocations leave fewer members than a quorum, the policy to hand out names the old keys', async () => {
  const { parties, keys, revoke } = setUp();
  const written = formatPolicy(policyInForce(parties));
  assert.equal(written, formatPolicy(policyOf(parties, 'accepted')));
  await revoke('gateway-2', 'witness', keys('gateway-2'), SECOND);
  assert.throws(() => policyOf(parties, 'accepted'));
  const policy = policyInForce(parties);
  assert.equal(formatPolicy(parsePolicy(formatPolicy(policy))), formatPolicy(policy));
  assert.equal(formatPolicy(policy), written);
});

test('when every key is revoked nothing passes', async () => {
  const { party, keys, revoke, note } = setUp();
  const one = party('gateway-1');
  const signed = note('gateway-1', keys('gateway-1'), []);
  await revoke('gateway-1', 'log', keys('gateway-1'), SECOND);
  assert.deepEqual(one.logs, []);
  assert.throws(() => openStored(signed, { ...one, logKeys: [], log: one.log }, []), /invalid signature/);
});

test('a stored checkpoint opens with the keys of its time, and names are those of members', async () => {
  const { parties, party, keys, rotate, note } = setUp();
  const before = keys('gateway-0');
  const old = note('gateway-0', before, [
    ['gateway-0', before, SECOND],
    ['gateway-1', keys('gateway-1'), SECOND],
  ]);
  const renewed = await rotate('gateway-0');
  const witness = await rotate('gateway-1');
  const mixed = note('gateway-0', renewed, [
    ['gateway-0', before, SECOND],
    ['gateway-1', witness, SECOND],
    ['gateway-0-1', keys('gateway-0-1'), SECOND],
  ]);
  for (const stored of [old, mixed]) {
    const opened = openStored(stored, party('gateway-0'), parties);
    assert.deepEqual(opened.unverified, []);
    const signers = opened.verified.map(({ name }) => name);
    assert.deepEqual([...cosigningMembers(parties, signers)], ['member-0', 'member-1']);
  }
  const stranger = note('gateway-0', newKeys(), []);
  assert.throws(() => openStored(stranger, party('gateway-0'), parties), /no known key|has not signed/);
});

test('the policy after rotations is one that parsePolicy reads, and a revoked witness counts up to its time', async () => {
  const { agreement, roster, parties, keys, rotate, revoke, note } = setUp();
  const stolen = keys('gateway-2');
  const renewed = await rotate('gateway-2');
  await rotate('gateway-0');
  const policy = policyOf(parties);
  assert.deepEqual(parsePolicy(formatPolicy(policy)), policy);
  assert.equal(policy.witnesses.length, 6);
  const at = (theirs: GatewayKeys, time: number) =>
    note('gateway-0', keys('gateway-0'), [
      ['gateway-0', keys('gateway-0'), 5],
      ['gateway-1', keys('gateway-1'), 6],
      ['gateway-2', theirs, time],
    ]);
  await revoke('gateway-2', 'witness', stolen, SECOND);
  const counts = countsCosignature(agreement, roster, policy);
  assert.equal(cosignedTime(policy, at(stolen, SECOND), { counts }), SECOND);
  assert.equal(cosignedTime(policy, at(stolen, SECOND + 1), { counts }), undefined);
  assert.equal(cosignedTime(policy, at(renewed, SECOND + 1), { counts }), SECOND + 1);
  const accepted = policyOf(parties, 'accepted');
  assert.deepEqual(parsePolicy(formatPolicy(accepted)), accepted);
  assert.equal(accepted.witnesses.length, 5);
  assert.equal(cosignedTime(accepted, at(stolen, 7)), undefined);
  assert.equal(cosignedTime(accepted, at(renewed, 7)), 7);
});
