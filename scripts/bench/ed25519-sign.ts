import { hashes, sign } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import { createSigner } from '#ed25519';
import { alternate, type Bench, perSecond } from './harness.ts';

/** A message of the size of a signed sample. */
const MESSAGE = new Uint8Array(160).map((_, index) => index);
const SECRET_KEY = new Uint8Array(32).map((_, index) => 255 - index);

/** Signing on a gateway (node:crypto) against signing in plain JavaScript, same key and message. */
export const ed25519Sign: Bench = {
  name: 'ed25519-sign',
  unit: 'signatures/s',
  against: '@noble/ed25519',
  async run() {
    hashes.sha512 = sha512;
    const signer = createSigner(SECRET_KEY);
    if (Buffer.compare(signer.sign(MESSAGE), sign(MESSAGE, SECRET_KEY)) !== 0) {
      throw new Error('the two sides give different signatures: their rates cannot be compared');
    }
    const { a, b } = await alternate(
      () => perSecond(() => signer.sign(MESSAGE), { leastMs: 200, batch: 100 }),
      () => perSecond(() => sign(MESSAGE, SECRET_KEY), { leastMs: 200, batch: 10 }),
      { runs: 7 },
    );
    return { value: a.median, ratio: a.median / b.median, sides: { 'node:crypto': a, '@noble/ed25519': b } };
  },
};
