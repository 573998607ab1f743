import { z } from 'zod';
import { duration, name } from '../../state/settings/units.ts';

const stream = z
  .object({
    name: name().describe('name of the stream'),
    driver: z.string().describe('driver that reads it; kosmos drivers lists them'),
    interval: duration({ least: '0ms', most: '1d' })
      .default(1000)
      .describe('time from one sample to the next; 0ms reads as fast as the source gives'),
    phase: duration({ least: '0ms', most: '1d' }).default(0).describe('shifts the samples within the interval'),
    settings: z.record(z.string(), z.unknown()).default({}).describe('what the driver needs: bus, address and so on'),
  })
  .transform(({ interval, phase, ...rest }) => ({ ...rest, intervalMs: interval, phaseMs: phase }));

/** `[[machine]]` tables of a gateway's configuration. */
export const machineSettings = z.object({
  id: name().describe('the machine as partners know it'),
  stream: z.array(stream).min(1).max(64),
});

export type MachineSettings = z.output<typeof machineSettings>;
export type StreamSettings = MachineSettings['stream'][number];
