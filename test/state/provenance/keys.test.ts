import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Point } from '@noble/ed25519';
import { createSigner, createVerifier } from '#ed25519';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import {
  checkPublicKey,
  createGatewayKeys,
  createKey,
  keyPath,
  loadGatewayKeys,
  loadKey,
} from '../../../runtime/state/provenance/keys.ts';
import { temporary } from '../journal/helpers.ts';

const NAMES = ['identity', 'sample', 'log', 'witness', 'tls'] as const;
const message = Uint8Array.of(1, 2, 3);

test('keys are files of mode 0600 in a directory of 0700, all different, and load as they were made', async (t) => {
  const directory = await temporary(t);
  const keys = await createGatewayKeys(directory);
  assert.deepEqual(
    (await readdir(join(directory, 'keys'))).sort(),
    NAMES.map((name) => `${name}.pem`).sort(),
  );
  assert.equal((await stat(join(directory, 'keys'))).mode & 0o777, 0o700);
  for (const name of NAMES) assert.equal((await stat(keyPath(directory, name))).mode & 0o777, 0o600);
  assert.equal(new Set(NAMES.map((name) => toHex(keys[name].publicKey))).size, NAMES.length);
  const loaded = await loadGatewayKeys(directory);
  for (const name of NAMES) {
    assert.equal(toHex(loaded[name].publicKey), toHex(keys[name].publicKey));
    assert.ok(createVerifier(keys[name].publicKey)(message, loaded[name].sign(message)));
    checkPublicKey(keys[name].publicKey, name);
  }
});

test('a narrow mode does not depend on the umask', async (t) => {
  const directory = await temporary(t);
  const before = process.umask(0);
  try {
    await createGatewayKeys(directory);
  } finally {
    process.umask(before);
  }
  for (const name of NAMES) assert.equal((await stat(keyPath(directory, name))).mode & 0o777, 0o600);
});

test('a key is never overwritten, not by two at once either', async (t) => {
  const directory = await temporary(t);
  const path = join(directory, 'member.pem');
  const outcomes = await Promise.allSettled([createKey(path), createKey(path), createKey(path)]);
  const made = outcomes.filter((outcome) => outcome.status === 'fulfilled');
  assert.equal(made.length, 1);
  const content = await readFile(path, 'utf8');
  await assert.rejects(createKey(path), /exists already; a key is never overwritten/);
  assert.equal(await readFile(path, 'utf8'), content);
  assert.equal(toHex((await loadKey(path)).publicKey), toHex(made[0]!.value.publicKey));
  await createGatewayKeys(directory);
  await assert.rejects(createGatewayKeys(directory), /never overwritten/);
});

test('a key that others can read is refused, with what to do', async (t) => {
  const path = join(await temporary(t), 'member.pem');
  await createKey(path);
  for (const mode of [0o640, 0o604, 0o644, 0o660, 0o610, 0o601, 0o666]) {
    await chmod(path, mode);
    await assert.rejects(loadKey(path), new RegExp(`can be read by others .*run: chmod 600 ${path}`));
  }
  await chmod(path, 0o400);
  await loadKey(path);
});

test('what is no Ed25519 key is refused, and no error tells what was in the file', async (t) => {
  const path = join(await temporary(t), 'member.pem');
  await createKey(path);
  const pem = await readFile(path, 'utf8');
  const secret = pem.split('\n')[1]!;
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const x25519 = generateKeyPairSync('x25519');
  const ed25519 = generateKeyPairSync('ed25519');
  const encrypted = ed25519.privateKey
    .export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'hush' })
    .toString();
  const contents: readonly string[] = [
    '',
    'not a key',
    secret,
    pem.replace('PRIVATE', 'PUBLIC'),
    pem.slice(0, 60),
    pem.replace(secret, `${secret.slice(0, 20)}!${secret.slice(21)}`),
    pem.replace(secret, secret.slice(0, 40)),
    pem.replace('-----END', '-----FIN'),
    ec.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    x25519.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    ed25519.publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    encrypted,
    `${pem}${'#'.repeat(10_000)}`,
  ];
  for (const [index, content] of contents.entries()) {
    await writeFile(path, content, { mode: 0o600 });
    await assert.rejects(loadKey(path), (error: Error) => {
      assert.ok(error.message.includes(path), error.message);
      let told = '';
      for (let one: unknown = error; one instanceof Error; one = one.cause)
        told += `${one.message}\n${one.stack}`;
      for (const line of content.split('\n').filter((text) => text.length > 12 && !text.startsWith('---'))) {
        assert.ok(!told.includes(line.slice(0, 12)), `content ${index} is told`);
      }
      return true;
    });
  }
});

test('an absent key is named', async (t) => {
  const directory = await temporary(t);
  await assert.rejects(loadKey(join(directory, 'none.pem')), /none\.pem does not exist/);
  await assert.rejects(loadGatewayKeys(directory), /identity\.pem does not exist/);
  await assert.rejects(loadKey(directory), /is a directory, not a file/);
});

test('a public key is a canonical point of the prime-order subgroup', () => {
  const torsion = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a');
  const good = createSigner(new Uint8Array(32).fill(1)).publicKey;
  checkPublicKey(good, 'key');
  const refuse = (key: Uint8Array, why: RegExp) =>
    assert.throws(() => checkPublicKey(key, 'key of plant-a'), why);
  for (let multiple = 0n; multiple < 8n; multiple++) {
    const part = torsion.multiply(multiple, false);
    refuse(part.toBytes(), /key of plant-a: a point of small order/);
    if (multiple > 0n) {
      refuse(Point.fromBytes(good).add(part).toBytes(), /key of plant-a: not of the prime-order subgroup/);
    }
  }
  refuse(good.subarray(1), /31 bytes instead of 32/);
  refuse(Uint8Array.of(...good, 0), /33 bytes instead of 32/);
  refuse(Uint8Array.of(2, ...new Uint8Array(31)), /not a point of the curve/);
  // y = p + 1, which is y = 1 written otherwise, and x = 0 with a sign.
  refuse(Uint8Array.of(0xee, ...new Uint8Array(30).fill(0xff), 0x7f), /not a point of the curve/);
  refuse(Uint8Array.of(1, ...new Uint8Array(30), 0x80), /not a point of the curve/);
});
