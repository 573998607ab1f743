import { z } from 'zod';
import { byteSize, duration } from '../../state/settings/units.ts';

/** The section `[training]` of a gateway's settings. */
export const trainingSettings = z.object({
  nice: z
    .int()
    .min(0)
    .max(19)
    .default(10)
    .describe('priority of the training process, 0 (as the daemon) to 19 (last)'),
  memoryLimit: byteSize({ least: '192MiB', most: '64GiB' })
    .prefault('768MiB')
    .describe('the training process is killed when it takes more'),
  idle: duration({ least: '1s', most: '1d' })
    .prefault('60s')
    .describe('the training process ends after so long without work, and gives its memory back'),
  timeLimit: duration({ least: '1s', most: '1d' })
    .prefault('10m')
    .describe('a training run that takes longer is killed, and its round goes on without this gateway'),
});
