import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { createSecureContext } from 'node:tls';
import { formatCheckpoint } from '../../runtime/core/log/checkpoint.ts';
import { createNoteSigner, formatNote, signNote } from '../../runtime/core/log/note.ts';
import { formatAddCheckpoint } from '../../runtime/core/log/witness.ts';
import { openConnection } from '../../runtime/services/peering/connection.ts';
import { readAgreement } from '../../runtime/state/agreement/agreement.ts';
import { certificatePath, createCertificate } from '../../runtime/state/provenance/certificate.ts';
import { createGatewayKeys, keyPath, loadGatewayKeys } from '../../runtime/state/provenance/keys.ts';
import {
  assertGoesOn,
  type Consortium,
  createConsortium,
  type LabGateway,
  untilLogged,
} from './consortium.ts';
import { until } from './program.ts';

// One gateway of three runs, and the test speaks to it over the network.

let three: Consortium;
let gateway: LabGateway;
let absent: LabGateway;

before(async () => {
  three = await createConsortium({ gateways: 3, machines: 'live' });
  [gateway, absent] = three.gateways as [LabGateway, LabGateway];
  await gateway.start();
});

after(() => three?.remove());

/** A connection to the running gateway by the keys in `directory`. */
async function dial(t: TestContext, directory: string) {
  const agreement = readAgreement(
    await readFile(join(three.directory, 'agreement.toml'), 'utf8'),
    'agreement.toml',
  );
  assert.ok(agreement.ok);
  const { host, port, endorsement } = agreement.value.gateways.find(({ name }) => name === gateway.name)!;
  const [key, cert] = await Promise.all([
    readFile(keyPath(directory, 'tls'), 'utf8'),
    readFile(certificatePath(directory), 'utf8'),
  ]);
  const connection = openConnection(
    { name: gateway.name, host, port, tlsKeys: () => [endorsement.publicKeys.tls] },
    {
      context: () => createSecureContext({ key, cert, minVersion: 'TLSv1.3' }),
      requestLimitMs: 5000,
      maxMessageBytes: 65_536,
      log: () => undefined,
    },
  );
  t.after(() => connection.close());
  return connection;
}

test('a peer with an unknown certificate: a logged refusal', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-stranger-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  await createGatewayKeys(directory);
  await createCertificate(directory, 'stranger/stranger-1');
  const before = (await gateway.mustStatus()).refusedConnections;
  const connection = await dial(t, directory);
  await untilLogged(
    gateway,
    /peering: refused a connection from 127\.0\.0\.1: its key is not in the agreement/,
  );
  await until('it is counted', async () => (await gateway.mustStatus()).refusedConnections > before);
  await assert.rejects(connection.request('/checkpoint', new Uint8Array(0)));
  connection.close();
  await assertGoesOn(gateway);
});

test('a peer’s checkpoint whose signature is wrong, and requests that make no sense: refused, logged, the gateway goes on', async (t) => {
  // The peer itself does not run: the test speaks with its key.
  const connection = await dial(t, absent.directory);
  await until('it is connected', () => connection.connected());
  const keys = await loadGatewayKeys(absent.directory);
  const origin = 'lab/borealis/borealis-1';
  const text = formatCheckpoint({ origin, size: 3, root: new Uint8Array(32), extensions: [] });
  const wrong = formatNote(
    signNote(text, [
      createNoteSigner(origin, { ...keys.log, sign: (bytes: Uint8Array) => keys.witness.sign(bytes) }),
    ]),
  );
  const answer = await connection.request(
    '/add-checkpoint',
    new TextEncoder().encode(formatAddCheckpoint(0, [], wrong)),
  );
  assert.equal(answer.status, 403);
  await untilLogged(gateway, /witnessing: refused a checkpoint of lab\/borealis\/borealis-1: /);
  for (const path of [
    '/federation/prepare',
    '/federation/share',
    '/add-checkpoint',
    '/nowhere',
    '/tile/8/0/000',
  ]) {
    const { status } = await connection.request(path, Uint8Array.of(1, 2, 3));
    assert.ok(status >= 400 && status < 500, `${path}: ${status}`);
  }
  assert.ok((await gateway.mustStatus()).witness.refused > 0);
  await assertGoesOn(gateway);
});
