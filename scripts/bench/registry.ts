import { ed25519Sign } from './ed25519-sign.ts';
import type { Bench } from './harness.ts';

/** Every measurement, in the order in which they are made. */
export const BENCHES: readonly Bench[] = [ed25519Sign];
