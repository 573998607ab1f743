import { createHash } from 'node:crypto';

/** A SHA-256 computation in progress (FIPS 180-4). */
export interface Sha256 {
  update(data: Uint8Array): Sha256;
  /** The 32-byte digest; the computation ends here. */
  digest(): Uint8Array;
}

/** The 32-byte SHA-256 digest of `data`. */
export function sha256(data: Uint8Array): Uint8Array {
  return createHash('sha256').update(data).digest();
}

/** Starts a SHA-256 over data that comes in parts. */
export function createSha256(): Sha256 {
  const hash = createHash('sha256');
  const running: Sha256 = {
    update(data) {
      hash.update(data);
      return running;
    },
    digest: () => hash.digest(),
  };
  return running;
}
