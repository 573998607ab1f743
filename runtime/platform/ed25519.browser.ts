import { etc, getPublicKey, hashes, Point, sign } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import { isSmallOrder } from './small-order.ts';

hashes.sha512 = sha512;

/** Signs with one Ed25519 key (RFC 8032); the secret stays inside the closure. */
export interface Signer {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The 64-byte signature of `message`. */
  sign(message: Uint8Array): Uint8Array;
}

/** Tells whether `signature` (64 bytes) is this key's signature of `message`. */
export type Verifier = (message: Uint8Array, signature: Uint8Array) => boolean;

/** The order of the prime subgroup (RFC 8032, section 5.1). */
const L = 2n ** 252n + 27742317777372353535851937790883648493n;

/** A signer for the 32-byte secret key (the seed of RFC 8032, section 5.1.5). */
export function createSigner(secretKey: Uint8Array): Signer {
  const secret = Uint8Array.from(secretKey);
  return { publicKey: getPublicKey(secret), sign: (message) => sign(message, secret) };
}

/**
 * A verifier for the 32-byte public key, cofactorless as on the gateways: noble's own `verify` multiplies
 * by the cofactor, so the equation R = [S]B - [k]A is computed here and R compared byte for byte. A key that
 * is none (another length, no point of the curve) has a verifier that refuses everything.
 */
export function createVerifier(publicKey: Uint8Array): Verifier {
  const key = Uint8Array.from(publicKey);
  const minusA = tryPoint(key)?.negate();
  if (!minusA || isSmallOrder(key)) return () => false;
  return (message, signature) => {
    if (signature.length !== 64 || isSmallOrder(signature)) return false;
    const r = signature.subarray(0, 32);
    const s = littleEndian(signature.subarray(32));
    if (s >= L) return false;
    const k = littleEndian(sha512(etc.concatBytes(r, key, message))) % L;
    const expected = Point.BASE.multiply(s, false).add(minusA.multiply(k, false)).toBytes();
    return expected.every((byte, index) => byte === r[index]);
  };
}

/** OpenSSL takes a y of p or more, and a sign on x = 0: so does this. */
function tryPoint(bytes: Uint8Array): Point | undefined {
  try {
    return Point.fromBytes(bytes, true);
  } catch {
    return undefined;
  }
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}
