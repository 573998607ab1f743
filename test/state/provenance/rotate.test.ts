import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { cp, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import {
  certificatePath,
  certifiedKey,
  certifiedStatement,
  createCertificate,
} from '../../../runtime/state/provenance/certificate.ts';
import { type Endorsement, openEndorsement } from '../../../runtime/state/provenance/endorsement.ts';
import {
  createGatewayKeys,
  type GatewayKeys,
  keyPath,
  loadGatewayKeys,
} from '../../../runtime/state/provenance/keys.ts';
import { keysDirectory, PURPOSES, type Purpose } from '../../../runtime/state/provenance/purposes.ts';
import { rotateKeys, rotationSteps } from '../../../runtime/state/provenance/rotate.ts';
import { nextDirectory, settleSteps } from '../../../runtime/state/provenance/rotation.ts';
import {
  appendStatement,
  parseStatements,
  readStatements,
  statementsPath,
} from '../../../runtime/state/provenance/statements-file.ts';
import { temporary } from '../journal/helpers.ts';

const NAMES = ['identity', ...PURPOSES] as const;
const request = (purposes: readonly Purpose[], serial = 1) => ({
  ...{ member: 'bolt', gateway: 'mill', time: 1000 },
  purposes,
  serial,
});

/** A directory that is copied for each case: making keys takes longer. */
let template: string;
let old: GatewayKeys;

before(async () => {
  template = await mkdtemp(join(tmpdir(), 'kosmos-test-'));
  old = await createGatewayKeys(template);
  await createCertificate(template, 'bolt/mill');
});

after(() => rm(template, { recursive: true, force: true }));

async function fresh(t: Parameters<typeof temporary>[0]): Promise<string> {
  const directory = await temporary(t);
  await cp(template, directory, { recursive: true });
  return directory;
}

const hex = (keys: GatewayKeys) => NAMES.map((name) => toHex(keys[name].publicKey));
const secretOf = (directory: string, name: Purpose) => readFile(keyPath(directory, name), 'utf8');

/** The newest endorsement in the directory, or undefined when there is none. */
async function endorsementIn(directory: string): Promise<Endorsement | undefined> {
  const last = (await readStatements(statementsPath(directory))).at(-1);
  return last && openEndorsement(last, old.identity.publicKey);
}

async function certificateKey(directory: string): Promise<string> {
  return toHex(certifiedKey(new X509Certificate(await readFile(certificatePath(directory))).raw)!);
}

/** Whatever happened: all keys are those before and nobody heard of others, or all are those that were endorsed. */
async function assertWhole(directory: string, purposes: readonly Purpose[], what: string): Promise<boolean> {
  const keys = await loadGatewayKeys(directory);
  const endorsement = await endorsementIn(directory);
  if (endorsement === undefined) assert.deepEqual(hex(keys), hex(old), `${what}: the old keys`);
  for (const purpose of endorsement ? PURPOSES : []) {
    assert.equal(
      toHex(keys[purpose].publicKey),
      toHex(endorsement!.publicKeys[purpose]),
      `${what}: ${purpose} is as endorsed`,
    );
    const isNew = toHex(keys[purpose].publicKey) !== toHex(old[purpose].publicKey);
    assert.equal(isNew, purposes.includes(purpose), `${what}: ${purpose} is new`);
  }
  assert.equal(await certificateKey(directory), toHex(keys.tls.publicKey), `${what}: the certificate fits`);
  const files = (await readdir(keysDirectory(directory))).filter((name) => name !== 'statements');
  assert.deepEqual(files.sort(), [...NAMES.map((name) => `${name}.pem`), 'tls.crt'].sort(), what);
  for (const name of NAMES) assert.equal((await stat(keyPath(directory, name))).mode & 0o777, 0o600);
  return endorsement !== undefined;
}

test('new keys, endorsed by the identity, and a certificate that carries the endorsement', async (t) => {
  const directory = await fresh(t);
  const statement = await rotateKeys(directory, request(['sample', 'tls'], 5));
  assert.equal(await assertWhole(directory, ['sample', 'tls'], 'rotated'), true);
  const opened = openEndorsement(statement, old.identity.publicKey);
  assert.deepEqual([opened.member, opened.gateway, opened.serial, opened.time], ['bolt', 'mill', 5, 1000]);
  const { raw } = new X509Certificate(await readFile(certificatePath(directory)));
  assert.deepEqual(certifiedStatement(raw), statement);
  const first = new X509Certificate(await readFile(certificatePath(template)));
  assert.equal(certifiedStatement(first.raw), undefined);
  // And once more: statements gather, oldest first.
  await rotateKeys(directory, request(['log'], 6));
  const all = await readStatements(statementsPath(directory));
  assert.deepEqual(
    all.map((one) => openEndorsement(one, old.identity.publicKey).serial),
    [5, 6],
  );
});

test('the old secret is overwritten where it lay', async (t) => {
  const directory = await fresh(t);
  const secret = await secretOf(directory, 'sample');
  // The file stays readable through this handle when its last name is gone.
  const file = await open(keyPath(directory, 'sample'), 'r');
  try {
    await rotateKeys(directory, request(['sample']));
    const left = Buffer.alloc(secret.length);
    await file.read(left, 0, left.length, 0);
    assert.deepEqual(left, Buffer.alloc(secret.length));
  } finally {
    await file.close();
  }
  assert.notEqual(await secretOf(directory, 'sample'), secret);
});

for (const purposes of [['sample'], PURPOSES] as const) {
  test(`cut off between any two steps, it is finished or undone at the next load: ${purposes.join(', ')}`, async (t) => {
    const outcomes: boolean[] = [];
    const names: string[] = [];
    for (let steps = 0; ; steps++) {
      const directory = await fresh(t);
      const rotation = rotationSteps(directory, request(purposes));
      let ended = false;
      for (let step = 0; step < steps && !ended; step++) {
        const { done, value } = await rotation.next();
        ended = done === true;
        if (step === steps - 1 && typeof value === 'string') names.push(value);
      }
      // The generator is left where it stands, as a killed process leaves its work.
      outcomes.push(await assertWhole(directory, purposes, `after ${steps} steps (${names.at(-1)})`));
      if (ended) break;
    }
    const turn = names.indexOf('endorsed the new keys') + 1;
    assert.ok(turn > purposes.length, names.join());
    assert.deepEqual(
      outcomes,
      outcomes.map((_, index) => index >= turn),
      'undone before the endorsement is there, finished from then on',
    );
  });
}

test('cut off again while it is finished or undone', async (t) => {
  for (const first of [1, 3, 5, 6, 7, 9]) {
    for (let steps = 0; ; steps++) {
      const directory = await fresh(t);
      const rotation = rotationSteps(directory, request(['log', 'tls']));
      for (let step = 0; step < first; step++) await rotation.next();
      const settling = settleSteps(directory);
      let ended = false;
      for (let step = 0; step < steps && !ended; step++) ended = (await settling.next()).done === true;
      const finished = await assertWhole(directory, ['log', 'tls'], `${first} steps, then ${steps}`);
      assert.equal(finished, first >= 5, `${first} steps, then ${steps}`);
      if (ended) break;
    }
  }
});

test('a key file that was only begun is undone', async (t) => {
  const directory = await fresh(t);
  const rotation = rotationSteps(directory, request(['sample']));
  await rotation.next();
  await writeFile(join(nextDirectory(directory), 'sample.pem'), '-----BEGIN PRIV', { mode: 0o600 });
  await writeFile(join(nextDirectory(directory), 'endorsement.77.tmp'), 'half');
  assert.equal(await assertWhole(directory, ['sample'], 'torn'), false);
});

test('statements in a file: one a line, each once, and a line that is none is named', async (t) => {
  const path = join(await temporary(t), 'statements');
  assert.deepEqual(await readStatements(path), []);
  const [a, b] = [Uint8Array.of(1, 2, 3), Uint8Array.of(4)];
  for (const statement of [a, b, a]) await appendStatement(path, statement);
  assert.deepEqual(await readStatements(path), [a, b]);
  assert.equal(await readFile(path, 'utf8'), 'AQID\nBA==\n');
  assert.throws(() => parseStatements('AQID\n\nnot base64\n', 'f'), /f, line 3: not base64/);
  assert.throws(() => parseStatements(`${'A'.repeat(8000)}\n`, 'f'), /line 1/);
});
