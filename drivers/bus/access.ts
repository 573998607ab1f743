import type { BusAccess } from '../driver.ts';
import { busError } from './errors.ts';
import { openGpioInput } from './gpio.ts';
import { type I2cBus, openI2cBus } from './i2c.ts';

export interface BusAccessOptions {
  /** Serves buses named by a string and the lines of the chip `sim`. */
  readonly simulated?: BusAccess;
  /** How a numbered bus is opened; a test hands in its own. */
  readonly openI2c?: (bus: number) => Promise<I2cBus>;
}

interface Shared {
  readonly bus: Promise<I2cBus>;
  users: number;
}

/**
 * The buses of this machine. A bus is opened once and shared by its sensors, since one call in flight a bus is only
 * true if there is one queue; it closes with its last user.
 */
export function createBusAccess({ simulated, openI2c = openI2cBus }: BusAccessOptions = {}): BusAccess {
  const open = new Map<number, Shared>();

  const share = async (number: number): Promise<I2cBus> => {
    const shared = open.get(number) ?? { bus: openI2c(number), users: 0 };
    open.set(number, shared);
    shared.users += 1;
    const leave = async (): Promise<void> => {
      shared.users -= 1;
      if (shared.users > 0) return;
      if (open.get(number) === shared) open.delete(number);
      await (await shared.bus).close();
    };
    let bus: I2cBus;
    try {
      bus = await shared.bus;
    } catch (error) {
      if (open.get(number) === shared) open.delete(number);
      throw error;
    }
    let left = false;
    return {
      ...bus,
      async close() {
        if (left) return;
        left = true;
        await leave();
      },
    };
  };

  const needSimulated = (what: string): BusAccess => {
    if (simulated) return simulated;
    throw busError(
      'EBUSIO',
      `${what} is simulated, but no simulated plant is running. Name a real one, or configure the plant.`,
    );
  };

  return {
    i2c: async (bus) => (typeof bus === 'number' ? share(bus) : needSimulated(`I2C bus "${bus}"`).i2c(bus)),
    gpio: async (line) =>
      line.chip === 'sim' ? needSimulated('GPIO chip "sim"').gpio(line) : openGpioInput(line),
  };
}
