/**
 * The self-signed certificate that carries a gateway's TLS key. Peers pin the key, not the certificate: a
 * device without a clock battery cannot judge dates, and no authority stands between the members. After a
 * rotation the certificate also carries the endorsement of its key, so that a peer that has not heard of it can
 * learn it from the handshake.
 */
import { webcrypto, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '../files.ts';
import { keyPath, keysDirectory } from './purposes.ts';

const YEAR_MS = 365.25 * 24 * 3600 * 1000;
/** Below 2.25 nobody assigns numbers (ITU-T X.667); a short one, since long ones are cut by what writes them. */
const STATEMENT_OID = '2.25.1718104283';
/** The same in DER. */
const STATEMENT_OID_DER = Uint8Array.of(0x06, 0x06, 0x69, 0x86, 0xb3, 0xa0, 0xe1, 0x5b);

export function certificatePath(directory: string): string {
  return join(keysDirectory(directory), 'tls.crt');
}

export interface CertificateOptions {
  /** The file of the TLS key; that of `directory` when absent. */
  readonly key?: string;
  /** Where the certificate goes; beside the keys of `directory` when absent. */
  readonly certificate?: string;
  /** An endorsement that the certificate carries. */
  readonly statement?: Uint8Array;
}

/** Makes the certificate for the TLS key in `directory` and stores it beside the key. */
export async function createCertificate(
  directory: string,
  name: string,
  options: CertificateOptions = {},
): Promise<void> {
  // Loaded here alone: it is needed once in a key's life and costs memory.
  await import('reflect-metadata');
  const { X509CertificateGenerator, cryptoProvider, Extension } = await import('@peculiar/x509');
  cryptoProvider.set(webcrypto);
  const pem = await readFile(options.key ?? keyPath(directory, 'tls'), 'utf8');
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const privateKey = await webcrypto.subtle.importKey('pkcs8', der, { name: 'Ed25519' }, true, ['sign']);
  const {
    d: _secret,
    key_ops: _operations,
    ...publicJwk
  } = await webcrypto.subtle.exportKey('jwk', privateKey);
  const publicKey = await webcrypto.subtle.importKey('jwk', publicJwk, { name: 'Ed25519' }, true, ['verify']);
  const now = Date.now();
  const { statement } = options;
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    notBefore: new Date(now - YEAR_MS),
    notAfter: new Date(now + 50 * YEAR_MS),
    signingAlgorithm: { name: 'Ed25519' },
    keys: { privateKey, publicKey },
    extensions: statement ? [new Extension(STATEMENT_OID, false, new Uint8Array(statement))] : [],
  });
  await replaceFile(options.certificate ?? certificatePath(directory), certificate.toString('pem'));
}

/** The raw Ed25519 public key of a certificate in DER form, or undefined when it holds another kind of key. */
export function certifiedKey(der: Uint8Array): Uint8Array | undefined {
  const { crv, x } = new X509Certificate(der).publicKey.export({ format: 'jwk' });
  return crv === 'Ed25519' && x !== undefined ? new Uint8Array(Buffer.from(x, 'base64url')) : undefined;
}

/**
 * The statement that a certificate in DER form carries, or undefined. It proves itself by its own signature, so
 * it matters nothing where in the certificate it was found: the first extension of this identifier is taken.
 */
export function certifiedStatement(der: Uint8Array): Uint8Array | undefined {
  const at = Buffer.from(der.buffer, der.byteOffset, der.byteLength).indexOf(STATEMENT_OID_DER);
  if (at < 0) return undefined;
  const rest = der.subarray(at + STATEMENT_OID_DER.length);
  const OCTET_STRING = 0x04;
  if (rest[0] !== OCTET_STRING || rest[1] === undefined) return undefined;
  const long = rest[1] > 0x80 ? rest[1] - 0x80 : 0;
  if (rest[1] === 0x80 || long > 2 || rest.length < 2 + long) return undefined;
  const length = long === 0 ? rest[1] : rest.subarray(2, 2 + long).reduce((sum, byte) => sum * 256 + byte, 0);
  const value = rest.subarray(2 + long, 2 + long + length);
  return value.length === length && length > 0 ? new Uint8Array(value) : undefined;
}
