import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { isSmallOrder } from './small-order.ts';

/** Signs with one Ed25519 key (RFC 8032); the secret stays inside the closure. */
export interface Signer {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The 64-byte signature of `message`. */
  sign(message: Uint8Array): Uint8Array;
}

/** Tells whether `signature` (64 bytes) is this key's signature of `message`. */
export type Verifier = (message: Uint8Array, signature: Uint8Array) => boolean;

/** RFC 8410: what stands before the 32 bytes of a key in PKCS #8 and in SPKI. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** A signer for the 32-byte secret key (the seed of RFC 8032, section 5.1.5). @throws RangeError for another length. */
export function createSigner(secretKey: Uint8Array): Signer {
  // OpenSSL would read the first 32 bytes of a longer one.
  if (secretKey.length !== 32) throw new RangeError(`a secret key has 32 bytes, not ${secretKey.length}`);
  const encoded = Buffer.concat([PKCS8_PREFIX, secretKey]);
  const key = createPrivateKey({ key: encoded, format: 'der', type: 'pkcs8' });
  encoded.fill(0);
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const publicKey = new Uint8Array(spki.subarray(SPKI_PREFIX.length));
  return { publicKey, sign: (message) => sign(null, message, key) };
}

/**
 * A verifier for the 32-byte public key. OpenSSL's check is the cofactorless one with S < L and the
 * encoding of R compared byte for byte; points of small order are refused as key and as R: the accept set the
 * whole consortium uses. A key that is none (another length, no point of the curve) has a verifier that
 * refuses everything.
 */
export function createVerifier(publicKey: Uint8Array): Verifier {
  // OpenSSL would read the first 32 bytes of a longer one.
  if (publicKey.length !== 32 || isSmallOrder(publicKey)) return () => false;
  const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' });
  return (message, signature) =>
    signature.length === 64 && !isSmallOrder(signature) && verify(null, message, key, signature);
}
