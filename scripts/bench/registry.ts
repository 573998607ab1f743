import { ed25519Sign } from './ed25519-sign.ts';
import { fd001, fd001Private } from './fd001.ts';
import type { Bench } from './harness.ts';
import { idleMemory } from './idle-memory.ts';

/** Every measurement, in the order in which they are made. */
export const BENCHES: readonly Bench[] = [ed25519Sign, idleMemory, fd001, fd001Private];
