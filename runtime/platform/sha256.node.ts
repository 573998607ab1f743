import { createHash, hash } from 'node:crypto';

/** A SHA-256 computation in progress (FIPS 180-4). */
export interface Sha256 {
  update(data: Uint8Array): Sha256;
  /** The 32-byte digest; the computation ends here. */
  digest(): Uint8Array;
}

/** One buffer for all calls is safe: nothing comes between writing and copying it. */
const digest = Buffer.from(new ArrayBuffer(32));

/** The 32-byte SHA-256 digest of `data`. */
export function sha256(data: Uint8Array): Uint8Array {
  // By way of a string of 32 one-byte characters: measured, a Buffer from C++ takes longer than the hash itself.
  digest.write(hash('sha256', data, 'binary'), 'latin1');
  return new Uint8Array(digest);
}

/** Starts a SHA-256 over data that comes in parts. */
export function createSha256(): Sha256 {
  const running = createHash('sha256');
  const started: Sha256 = {
    update(data) {
      running.update(data);
      return started;
    },
    digest: () => running.digest(),
  };
  return started;
}
