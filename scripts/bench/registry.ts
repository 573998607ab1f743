import { accuracy, accuracyFd002 } from './accuracy.ts';
import { coverage } from './coverage.ts';
import { deviceWrites } from './device-writes.ts';
import { dpStep } from './dp-step.ts';
import { dpStepOpacus } from './dp-step-opacus.ts';
import { ed25519Sign } from './ed25519-sign.ts';
import { fd001, fd001Private } from './fd001.ts';
import type { Bench } from './harness.ts';
import { idleMemory } from './idle-memory.ts';
import { lateness } from './lateness.ts';
import { logAppend, logGrowth, logOpen } from './log.ts';
import { proofVerify } from './proof-verify.ts';
import { acknowledgement, sampleBlock, sampleSigned, writeAmplification } from './samples.ts';

/** Every measurement, in the order in which they are made. */
export const BENCHES: readonly Bench[] = [
  ed25519Sign,
  sampleSigned,
  sampleBlock,
  acknowledgement,
  writeAmplification,
  proofVerify,
  deviceWrites,
  logAppend,
  logGrowth,
  logOpen,
  idleMemory,
  dpStep,
  lateness,
  dpStepOpacus,
  fd001,
  fd001Private,
  coverage,
  accuracy,
  accuracyFd002,
];
