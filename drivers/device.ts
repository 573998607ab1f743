import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { busError } from './bus/errors.ts';
import type { I2cBus } from './bus/i2c.ts';
import type { BusAccess, Reading, Sensor } from './driver.ts';

/** The setting `bus` that all I2C devices have. */
export const busSetting = z
  .union([z.int().min(0).max(255), z.string().regex(/^sim:\d+$/)])
  .describe('number of the I2C bus (1 is /dev/i2c-1), or "sim:0", "sim:1", ... for a simulated machine');

/** A GPIO line in settings. */
export const gpioLineSetting = z.strictObject({
  chip: z.string().min(1).describe('label of the GPIO chip, as in /sys/class/gpio/gpiochip*/label'),
  offset: z.int().min(0).max(1023).describe('number of the line on that chip'),
  activeLow: z.boolean().default(false).describe('true when a low level means "yes"'),
  debounceMs: z
    .int()
    .min(0)
    .max(10_000)
    .default(0)
    .describe('edges closer together than this count as one, ms'),
});

/** `value`, or an error if no working device reports it. */
export function inRange(
  where: string,
  what: string,
  value: number,
  low: number,
  high: number,
  unit: string,
): number {
  if (value >= low && value <= high) return value;
  throw busError(
    'EBADREADING',
    `${where}: ${what} of ${Number(value.toPrecision(6))} ${unit} is outside ${low} to ${high}. Check the wiring and the device.`,
  );
}

/** Waits `ms`. */
export async function after(ms: number): Promise<void> {
  await sleep(ms);
}

/** Polls `ready` until it holds, a few ms apart at first; after `limitMs` an error with `message`. */
export async function poll<T>(
  limitMs: number,
  message: string,
  ready: () => Promise<T | undefined>,
): Promise<T> {
  for (let waited = 0; ; ) {
    const value = await ready();
    if (value !== undefined) return value;
    if (waited >= limitMs) throw busError('EBADREADING', message);
    const pause = Math.min(Math.max(1, waited), 10, Math.max(1, limitMs - waited));
    await after(pause);
    waited += pause;
  }
}

/** Opens a bus, checks the device by `start`, and makes a sensor of `read`; the bus is closed again if `start` fails. */
export async function openDevice<T>(
  access: BusAccess,
  bus: number | string,
  start: (bus: I2cBus) => Promise<T>,
  make: (bus: I2cBus, started: T) => { channels: Sensor['channels']; read: () => Promise<Reading> },
): Promise<Sensor> {
  const opened = await access.i2c(bus);
  try {
    const started = await start(opened);
    return { ...make(opened, started), close: () => opened.close() };
  } catch (error) {
    await opened.close();
    throw error;
  }
}
