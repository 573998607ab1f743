import type { z } from 'zod';
import type { GpioInput, GpioLine } from './bus/gpio.ts';
import type { I2cBus } from './bus/i2c.ts';

/** One channel of a stream: SenML name and unit (RFC 8428, 4.3 and 12.1; a unit the registry lacks is spelt out). */
export interface Channel {
  readonly name: string;
  readonly unit: string;
}

/** What the source itself knows has happened to the machine at this reading. */
export type MachineEvent = 'failure' | 'repair';

/** One reading: values in channel order; `time` (ms since 1970) only where the source carries its own clock. */
export interface Reading {
  readonly values: readonly number[];
  readonly time?: number;
  readonly event?: MachineEvent;
}

/**
 * An open source of readings. `read` is called one at a time; it rejects with what happened, where, and what to
 * do, and the next call tries afresh. `'end'` is for good: the source has nothing more.
 */
export interface Sensor {
  readonly channels: readonly Channel[];
  read(): Promise<Reading | 'end'>;
  close(): Promise<void>;
}

/** The buses and lines a driver may open. A number is `/dev/i2c-<number>`; a string names a simulated bus. */
export interface BusAccess {
  i2c(bus: number | string): Promise<I2cBus>;
  gpio(line: GpioLine): Promise<GpioInput>;
}

/** A kind of device: the schema of its settings, and how to open one. Opening checks that the device is what it should be. */
export interface Driver<S> {
  readonly name: string;
  readonly settings: z.ZodType<S>;
  open(settings: S, access: BusAccess): Promise<Sensor>;
}
