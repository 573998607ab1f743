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
  cpuShare: z
    .number()
    .min(0.01)
    .max(64)
    .default(0.5)
    .describe('the most that the training process uses of one core, over a second: 0.5 is half of it'),
  memoryLimit: byteSize({ least: '192MiB', most: '64GiB' })
    .prefault('768MiB')
    .describe('the training process is killed when it takes more'),
  idle: duration({ least: '1s', most: '1d' })
    .prefault('60s')
    .describe('the training process ends after so long without work, and gives its memory back'),
  timeLimit: duration({ least: '1s', most: '1d' })
    .prefault('10m')
    .describe(
      'a training run that takes longer, pauses included, is killed, and its round goes on without this gateway',
    ),
  checkpoint: duration({ least: '1s', most: '1d' })
    .prefault('10s')
    .describe('how often the state of a training run is kept, so that it goes on after a crash'),
  maxTemperature: z
    .number()
    .min(30)
    .max(120)
    .default(75)
    .describe(
      'training pauses while the hottest sensor of this device shows this or more, in degrees Celsius',
    ),
  minFree: byteSize({ most: '1024TiB' })
    .prefault('256MiB')
    .describe('training pauses while the disk of the gateway’s directory has less left'),
  maxLateness: duration({ least: '5ms', most: '1m' })
    .prefault('100ms')
    .describe('training pauses while the daemon’s timers, so its samples, keep coming later than this'),
  holdBack: z
    .object({
      adopt: z
        .number()
        .min(0)
        .max(0.4)
        .default(0.1)
        .describe('part of the machines that judge each new model before it predicts here'),
      calibrate: z
        .number()
        .min(0)
        .max(0.7)
        .default(0.2)
        .describe('part of the machines that say how wide the intervals of predictions have to be'),
    })
    .prefault({})
    .describe('machines that the model never learns from'),
});
