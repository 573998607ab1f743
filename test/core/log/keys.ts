import { createSigner } from '#ed25519';
import { createCosigner } from '../../../runtime/core/log/cosignature.ts';
import { createNoteSigner } from '../../../runtime/core/log/note.ts';

/** A key pair that is the same in every run; `seed` is 0 to 255. */
export function signerOf(seed: number) {
  return createSigner(new Uint8Array(32).fill(seed));
}

/** A log's note signer. */
export function logOf(name: string, seed: number) {
  return createNoteSigner(name, signerOf(seed));
}

export function cosignerOf(name: string, seed: number) {
  return createCosigner(name, signerOf(seed));
}
