import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSigner } from '#ed25519';
import { fromHex } from '../../../runtime/core/encoding/base64.ts';
import { createPolicyJudge } from '../../../runtime/core/log/policy.ts';
import { createVkey, ED25519_COSIGNATURE } from '../../../runtime/core/log/vkey.ts';
import { logParties, policyOf, witnessName } from '../../../runtime/services/witnessing/names.ts';
import { createPublisher } from '../../../runtime/services/witnessing/publisher.ts';
import { surveyPeers } from '../../../runtime/services/witnessing/recovery.ts';
import { endorse } from '../../../runtime/state/provenance/endorsement.ts';
import { rosterOf } from '../../../runtime/state/provenance/roster.ts';
import { createNetwork, unanswered } from './exchanges.ts';

/** Under the witness name of the fourth member's gateway the public keys of both seeds have one note key id. */
const SEEDS = [
  'a36c8cd244940374af61cd2ad6657981fbd9294534fada5d3881b3e2b8337c6d',
  'a3076e870b2fd5767cca66c9ad24ed0b7de0e64be6918d38d87f7efd23183708',
].map(fromHex);

test('two witness keys of one member with one key id stop nobody else', async (t) => {
  const net = await createNetwork(t, { fleets: [1, 1, 1, 1] });
  const node = net.node('gateway-0');
  const odd = net.node('gateway-3');
  await node.grow(5);
  await node.publish();

  const witnesses = SEEDS.map((seed) => createSigner(seed));
  const name = witnessName(odd.self.origin);
  const ids = witnesses.map(({ publicKey }) => createVkey(name, ED25519_COSIGNATURE, publicKey).keyId);
  assert.equal(ids[0], ids[1], 'the seeds were found for this name');

  const statements = witnesses.map((witness, index) =>
    endorse({ ...odd.keys, witness }, 'member-3', 'gateway-3', 0, index + 1),
  );
  // Back to the first key: the newest of the three is one of those that share an id no longer.
  const third = endorse(odd.keys, 'member-3', 'gateway-3', 0, 3);
  for (const made of [statements, [...statements, third]]) {
    const parties = logParties(net.consortium.agreement, rosterOf(net.consortium.agreement, made));
    const [own, ...others] = parties as [(typeof parties)[0], ...typeof parties];
    const publisher = createPublisher({
      journal: node.journal,
      self: own,
      others,
      ...node.signers,
      quorum: 3,
      ask: unanswered,
      connected: () => false,
      report: () => {},
    });
    await publisher.open();
    assert.equal(publisher.status().finalSize, 5);

    const survey = await surveyPeers({
      own,
      parties,
      ask: (peer, path, body) => net.request(node, peer, path, body),
    });
    const answered = survey.heads.map(({ gateway }) => gateway);
    for (const honest of ['gateway-1', 'gateway-2']) assert.ok(answered.includes(honest), honest);

    const verdict = createPolicyJudge(policyOf(parties))(node.publisher.newest()!);
    assert.equal(verdict.kind, 'satisfied');
  }
});
