import { z } from 'zod';
import { WHEN_FULL } from '../../state/journal/retention.ts';
import { duration, name } from '../../state/settings/units.ts';

/** What acquisition needs to know of a driver to judge its part of the configuration. */
export interface DriverSchema {
  readonly name: string;
  readonly settings: z.ZodType;
}

const common = {
  name: name().describe('name of the stream'),
  interval: duration({ least: '0ms', most: '1d' })
    .default(1000)
    .describe('time from one sample to the next; 0ms reads as fast as the source gives'),
  phase: duration({ least: '0ms', most: '1d' }).default(0).describe('shifts the samples within the interval'),
  signing: z
    .enum(['sample', 'block'])
    .default('sample')
    .describe(
      'each sample is signed by itself, or with the block that it is stored in: cheaper at high rates',
    ),
  whenFull: z
    .enum(WHEN_FULL)
    .default('drop-oldest')
    .describe(
      'when the journal is full: drop the oldest samples that have been published, or the oldest, or stop recording',
    ),
};

function streamSettings(drivers: readonly DriverSchema[]) {
  const forms = drivers.map((driver) =>
    z
      .object({ driver: z.literal(driver.name), ...common, settings: driver.settings })
      .transform(({ interval, phase, ...rest }) => ({ ...rest, intervalMs: interval, phaseMs: phase })),
  );
  const [first, ...others] = forms;
  if (!first) throw new Error('a configuration needs at least one driver to choose from');
  return z.discriminatedUnion('driver', [first, ...others]);
}

/** `[[machine]]` tables of a gateway's configuration, each stream judged by the driver that it names. */
export function machineSettings(drivers: readonly DriverSchema[]) {
  return z.object({
    id: name().describe('the machine as partners know it'),
    stream: z.array(streamSettings(drivers)).min(1).max(64),
  });
}

export type MachineSettings = z.output<ReturnType<typeof machineSettings>>;
export type StreamSettings = MachineSettings['stream'][number];
