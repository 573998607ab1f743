/**
 * A gateway's keys: one Ed25519 key for each purpose, each a PKCS #8 PEM file of mode 0600, the purposes' keys
 * endorsed by the identity key. A member's own key is a file of the same form, kept elsewhere.
 */
import { createPrivateKey, randomBytes } from 'node:crypto';
import { mkdir, open, stat } from 'node:fs/promises';
import { getPublicKeyAsync, Point } from '@noble/ed25519';
import { createSigner, type Signer } from '#ed25519';
import { readBounded } from '../files.ts';
import { type KeyName, keyPath, keysDirectory } from './purposes.ts';
import { settleRotation } from './rotation.ts';

export { type KeyName, keyPath, PURPOSES, type Purpose } from './purposes.ts';

const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const MAX_KEY_FILE = 4096;
const PUBLIC_KEY_BYTES = 32;

/** Signers for all keys of a gateway. */
export type GatewayKeys = Readonly<Record<KeyName, Signer>>;

/**
 * Makes a new key file and returns its signer. The secret comes from the operating system's CSPRNG.
 * @throws Error when the file is there already: a key is never overwritten.
 */
export async function createKey(path: string): Promise<Signer> {
  const secret = randomBytes(32);
  try {
    const key = createPrivateKey({
      key: Buffer.concat([PKCS8_PREFIX, secret]),
      format: 'der',
      type: 'pkcs8',
    });
    const signer = createSigner(secret);
    // Two independent implementations must agree on the public key before anybody relies on it.
    const derived = await getPublicKeyAsync(Uint8Array.from(secret));
    if (Buffer.compare(derived, signer.publicKey) !== 0) throw new Error('public key derivations disagree');
    await writeNew(path, key.export({ format: 'pem', type: 'pkcs8' }));
    return signer;
  } finally {
    secret.fill(0);
  }
}

async function writeNew(path: string, text: string | Buffer): Promise<void> {
  const file = await open(path, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST') throw new Error(`${path} exists already; a key is never overwritten`);
    throw error;
  });
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Loads the key in `path`.
 * @throws Error when the file is absent, is no Ed25519 key, or can be read by others than its owner.
 */
export async function loadKey(path: string): Promise<Signer> {
  const text = await readBounded(path, MAX_KEY_FILE);
  const { mode } = await stat(path);
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    throw new Error(
      `key file ${path} can be read by others (mode ${(mode & 0o777).toString(8)}); run: chmod 600 ${path}`,
    );
  }
  let jwk: { readonly crv?: string; readonly d?: string };
  try {
    jwk = createPrivateKey(text).export({ format: 'jwk' });
  } catch {
    // OpenSSL's own message can quote the input, so it is not passed on.
    throw new Error(`key file ${path} is not a private key in PEM form`);
  }
  if (jwk.crv !== 'Ed25519' || jwk.d === undefined) throw new Error(`key file ${path} is not an Ed25519 key`);
  return createSigner(Buffer.from(jwk.d, 'base64url'));
}

/** Makes all keys of a gateway in `directory`/keys (mode 0700). */
export async function createGatewayKeys(directory: string): Promise<GatewayKeys> {
  await mkdir(keysDirectory(directory), { recursive: true, mode: 0o700 });
  return forEachKey((name) => createKey(keyPath(directory, name)));
}

/**
 * Loads all keys of a gateway; a rotation that was cut off is finished or undone first.
 * @throws Error naming the first that is absent or unfit.
 */
export async function loadGatewayKeys(directory: string): Promise<GatewayKeys> {
  // First what no rotation touches: who may not read it is told so of a file that is always there.
  await loadKey(keyPath(directory, 'identity'));
  await settleRotation(directory);
  return forEachKey((name) => loadKey(keyPath(directory, name)));
}

async function forEachKey(make: (name: KeyName) => Promise<Signer>): Promise<GatewayKeys> {
  return {
    identity: await make('identity'),
    sample: await make('sample'),
    log: await make('log'),
    witness: await make('witness'),
    tls: await make('tls'),
  };
}

/**
 * Judges a public key that somebody else presents: 32 bytes, a canonical point, of the prime-order subgroup.
 * A small-order or mixed-order key would let one signature pass for many messages.
 * @throws Error that says which of these fails; `what` names the key.
 */
export function checkPublicKey(publicKey: Uint8Array, what: string): void {
  if (publicKey.length !== PUBLIC_KEY_BYTES)
    throw new Error(`${what}: ${publicKey.length} bytes instead of 32`);
  let point: Point;
  try {
    point = Point.fromBytes(publicKey);
  } catch {
    throw new Error(`${what}: not a point of the curve`);
  }
  if (point.isSmallOrder()) throw new Error(`${what}: a point of small order`);
  if (!point.isTorsionFree()) throw new Error(`${what}: not of the prime-order subgroup`);
}
