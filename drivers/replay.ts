import { z } from 'zod';
import type { Channel, MachineEvent, Reading, Sensor } from './driver.ts';

export const pacingSetting = z
  .union([
    z.literal('as-fast-as-possible'),
    z.strictObject({ intervalMs: z.number().positive().max(86_400_000) }),
  ])
  .describe('"as-fast-as-possible", or { interval_ms = 100 } for one reading every 100 ms');
export type Pacing = z.infer<typeof pacingSetting>;

export const clockSetting = z
  .strictObject({
    startMs: z.number().min(0).describe('time of the first reading, ms since 1970'),
    cycleMs: z.number().positive().describe('time between two readings as recorded, ms'),
  })
  .describe('gives each reading the time at which it was recorded; without it the time of reading counts');
export type ReplayClock = z.infer<typeof clockSetting>;

export interface ReplayOptions {
  readonly channels: readonly Channel[];
  /** What to play, in channel order. */
  readonly rows: readonly (readonly number[])[];
  readonly pacing: Pacing;
  readonly clock?: ReplayClock | undefined;
  /** What happened to the machine at the last row. */
  readonly lastEvent?: MachineEvent | undefined;
}

/** Plays recorded rows as a sensor: one reading each, then `'end'`. Readings keep their pace even if one is fetched late. */
export function createReplay({ channels, rows, pacing, clock, lastEvent }: ReplayOptions): Sensor {
  let next = 0;
  let begun: number | undefined;
  let closed = false;
  let wake: (() => void) | undefined;

  const untilDue = async (): Promise<void> => {
    if (pacing === 'as-fast-as-possible') return;
    begun ??= performance.now();
    const wait = begun + next * pacing.intervalMs - performance.now();
    if (wait <= 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, wait);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    wake = undefined;
  };
  return {
    channels,
    async read(): Promise<Reading | 'end'> {
      if (next >= rows.length) return 'end';
      await untilDue();
      const values = rows[next];
      if (closed || values === undefined) return 'end';
      const last = next === rows.length - 1;
      const reading: Reading = {
        values,
        ...(clock && { time: clock.startMs + next * clock.cycleMs }),
        ...(last && lastEvent && { event: lastEvent }),
      };
      next += 1;
      return reading;
    },
    async close() {
      closed = true;
      wake?.();
    },
  };
}
