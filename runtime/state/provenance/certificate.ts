/**
 * The self-signed certificate that carries a gateway's TLS key. Peers pin the key, not the certificate: a
 * device without a clock battery cannot judge dates, and no authority stands between the members.
 */
import { webcrypto, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '../files.ts';
import { keyPath } from './keys.ts';

const YEAR_MS = 365.25 * 24 * 3600 * 1000;

export function certificatePath(directory: string): string {
  return join(directory, 'keys', 'tls.crt');
}

/** Makes the certificate for the TLS key in `directory` and stores it beside the key. */
export async function createCertificate(directory: string, name: string): Promise<void> {
  // Loaded here alone: it is needed once in a gateway's life and costs memory.
  await import('reflect-metadata');
  const { X509CertificateGenerator, cryptoProvider } = await import('@peculiar/x509');
  cryptoProvider.set(webcrypto);
  const pem = await readFile(keyPath(directory, 'tls'), 'utf8');
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const privateKey = await webcrypto.subtle.importKey('pkcs8', der, { name: 'Ed25519' }, true, ['sign']);
  const {
    d: _secret,
    key_ops: _operations,
    ...publicJwk
  } = await webcrypto.subtle.exportKey('jwk', privateKey);
  const publicKey = await webcrypto.subtle.importKey('jwk', publicJwk, { name: 'Ed25519' }, true, ['verify']);
  const now = Date.now();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    notBefore: new Date(now - YEAR_MS),
    notAfter: new Date(now + 50 * YEAR_MS),
    signingAlgorithm: { name: 'Ed25519' },
    keys: { privateKey, publicKey },
  });
  await replaceFile(certificatePath(directory), certificate.toString('pem'));
}

/** The raw Ed25519 public key of a certificate in DER form, or undefined when it holds another kind of key. */
export function certifiedKey(der: Uint8Array): Uint8Array | undefined {
  const { crv, x } = new X509Certificate(der).publicKey.export({ format: 'jwk' });
  return crv === 'Ed25519' && x !== undefined ? new Uint8Array(Buffer.from(x, 'base64url')) : undefined;
}
