/** What each key of a gateway signs, and where its file lies. */
import { join } from 'node:path';

/** What each key signs: samples and entries, checkpoints, cosignatures of others' checkpoints, TLS handshakes. */
export const PURPOSES = ['sample', 'log', 'witness', 'tls'] as const;
export type Purpose = (typeof PURPOSES)[number];
export type KeyName = Purpose | 'identity';

/** Keys that can be revoked, by the index that a revocation carries. */
export const REVOCABLE: readonly KeyName[] = [...PURPOSES, 'identity'];

export function keysDirectory(directory: string): string {
  return join(directory, 'keys');
}

export function keyPath(directory: string, name: KeyName): string {
  return join(keysDirectory(directory), `${name}.pem`);
}
