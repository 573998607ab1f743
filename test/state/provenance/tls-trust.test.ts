import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { equalBytes } from '../../../runtime/core/encoding/cbor.ts';
import {
  certificatePath,
  certifiedKey,
  certifiedStatement,
  createCertificate,
} from '../../../runtime/state/provenance/certificate.ts';
import { endorse, openEndorsement } from '../../../runtime/state/provenance/endorsement.ts';
import { createGatewayKeys } from '../../../runtime/state/provenance/keys.ts';
import { revoke } from '../../../runtime/state/provenance/revocation.ts';
import { type Enrolment, rosterOf } from '../../../runtime/state/provenance/roster.ts';
import { rotateKeys } from '../../../runtime/state/provenance/rotate.ts';
import { createTlsTrust } from '../../../runtime/state/provenance/tls-trust.ts';
import { temporary } from '../journal/helpers.ts';
import { enrolmentOfAll, keyOf } from './rosters.ts';

const ROTATION = { member: 'dyn', gateway: 'press', purposes: ['tls'], serial: 1, time: 1 } as const;

/** The consortium with one more gateway, whose keys are in a directory. */
async function setUp(t: Parameters<typeof temporary>[0]) {
  const directory = await temporary(t);
  const keys = await createGatewayKeys(directory);
  await createCertificate(directory, 'dyn/press');
  const others = enrolmentOfAll();
  const identity = keys.identity.publicKey;
  const endorsement = openEndorsement(endorse(keys, 'dyn', 'press', 0), identity);
  const enrolment: Enrolment = {
    members: [...others.members, { name: 'dyn', publicKey: keyOf('member dyn').publicKey }],
    gateways: [...others.gateways, { member: 'dyn', name: 'press', identity, endorsement }],
  };
  const roster = rosterOf(enrolment);
  const warnings: string[] = [];
  const trust = createTlsTrust(roster, (message) => warnings.push(message));
  return {
    ...{ directory, keys, roster, warnings, trust },
    certificate: async () =>
      new Uint8Array(new X509Certificate(await readFile(certificatePath(directory))).raw),
    accepts: (gateway: string, certificate: Uint8Array) =>
      trust.keysOf(gateway).some((key) => equalBytes(key, certifiedKey(certificate)!)),
  };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test('a TLS key that was rotated is learned from its certificate, for the next try', async (t) => {
  const { directory, roster, trust, certificate, accepts, warnings } = await setUp(t);
  const before = await certificate();
  assert.ok(accepts('press', before));
  assert.ok(!accepts('mill', before));
  await rotateKeys(directory, ROTATION);
  const after = await certificate();
  assert.ok(!accepts('press', after), 'not heard of yet');
  trust.learn(after);
  await settled();
  assert.equal(roster.current('press').serial, 1);
  assert.ok(accepts('press', after));
  assert.ok(accepts('press', before), 'the one before is not revoked');
  trust.learn(after);
  await settled();
  assert.deepEqual([roster.statements().length, warnings], [1, []]);
});

test('a revoked TLS key opens no connection', async (t) => {
  const { keys, roster, certificate, accepts } = await setUp(t);
  const key = keys.tls.publicKey;
  const about = { member: 'dyn', gateway: 'press', purpose: 'tls', key, time: 1, reason: '' } as const;
  await roster.add(revoke(keys.identity, about));
  assert.ok(!accepts('press', await certificate()));
});

test('from a stranger’s certificate nothing is learned, whatever it carries', async (t) => {
  const { roster, trust, warnings } = await setUp(t);
  const stranger = await setUp(t);
  const plain = await stranger.certificate();
  assert.equal(certifiedStatement(plain), undefined);
  await rotateKeys(stranger.directory, ROTATION);
  const carrying = await stranger.certificate();
  const nonsense = [new Uint8Array(0), Uint8Array.of(0x30, 0x82), plain, carrying.subarray(0, 200)];
  for (const bytes of [...nonsense, carrying]) trust.learn(bytes);
  await settled();
  assert.equal(roster.current('press').serial, 0);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /not signed by the identity key/);
});

test('an extension of any length is read, and one that is cut short is not', async (t) => {
  const { directory, certificate } = await setUp(t);
  for (const length of [1, 127, 128, 255, 256, 600, 2048]) {
    const statement = Uint8Array.from({ length }, (_, index) => index & 255);
    await createCertificate(directory, 'dyn/press', { statement });
    const der = await certificate();
    assert.deepEqual(certifiedStatement(der), statement);
    // Up to the end of the statement: behind it only the signature follows.
    const end = Buffer.from(der).indexOf(Buffer.from(statement)) + length;
    for (const cut of [end - 1, end - length])
      assert.equal(certifiedStatement(der.subarray(0, cut)), undefined);
  }
});
