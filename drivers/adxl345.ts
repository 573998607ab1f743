import { z } from 'zod';
import { busError, hex } from './bus/errors.ts';
import type { I2cBus } from './bus/i2c.ts';
import { busSetting, inRange, openDevice, poll } from './device.ts';
import type { Channel, Driver, Reading, Sensor } from './driver.ts';

// Analog Devices ADXL345 data sheet, sections Register Map, Register Definitions and FIFO.
const register = {
  id: 0x00,
  rate: 0x2c, // BW_RATE
  power: 0x2d, // POWER_CTL
  interrupts: 0x2e, // INT_ENABLE
  format: 0x31, // DATA_FORMAT
  data: 0x32, // X, Y, Z, low byte first; reading all six takes one entry off the FIFO
  fifo: 0x38, // FIFO_CTL
  fifoStatus: 0x39, // low six bits: entries
} as const;

const chipId = 0xe5;
const depth = 32;
const gravity = 9.80665;
/** m/s2 a count: full resolution is 256 counts a g at every range. */
const scale = gravity / 256;
const fullRange16g = 0x0b;
const streamMode = 0x80;

// Codes of BW_RATE. 1600 and 3200 Hz are left out: a bus at 100 kHz cannot carry them.
const rates = { 25: 0x08, 50: 0x09, 100: 0x0a, 200: 0x0b, 400: 0x0c, 800: 0x0d } as const;

export const adxl345Settings = z.strictObject({
  bus: busSetting,
  address: z
    .union([z.literal(0x53), z.literal(0x1d)])
    .default(0x53)
    .describe('0x53 (ALT low) or 0x1d (ALT high)'),
  rate: z
    .literal([25, 50, 100, 200, 400, 800])
    .default(800)
    .describe('accelerations a second: 25, 50, 100, 200, 400 or 800'),
});
export type Adxl345Settings = z.infer<typeof adxl345Settings>;

export const adxl345Channels: readonly Channel[] = ['rms', 'peak'].flatMap((what) =>
  ['x', 'y', 'z'].map((axis) => ({ name: `vibration-${what}-${axis}`, unit: 'm/s2' })),
);

/** One FIFO entry in counts. */
export type Counts = readonly [x: number, y: number, z: number];

/** Splits the six data registers. */
export function parseCounts(bytes: Uint8Array): Counts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return [view.getInt16(0, true), view.getInt16(2, true), view.getInt16(4, true)];
}

/**
 * Vibration of a burst: rms x, y, z, then peak x, y, z, m/s2. The mean is taken off each axis first, since gravity
 * and the tilt of the mounting are no vibration.
 */
export function vibration(burst: readonly Counts[]): number[] {
  const axes = ([0, 1, 2] as const).map((axis) => {
    const values = burst.map((entry) => entry[axis] * scale);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    const peak = values.reduce((most, value) => Math.max(most, Math.abs(value - mean)), 0);
    return { rms: Math.sqrt(squares / values.length), peak };
  });
  return [...axes.map((axis) => axis.rms), ...axes.map((axis) => axis.peak)];
}

/** Refuses a burst that no working accelerometer gives: out of 13 bits, or every axis without any noise or gravity. */
export function checkBurst(burst: readonly Counts[], where: string): void {
  for (const entry of burst) {
    for (const count of entry) inRange(where, 'acceleration', count, -4096, 4095, 'counts');
  }
  const first = burst[0];
  if (
    first &&
    burst.every((entry) => entry.every((count, axis) => count === first[axis] && Math.abs(count) <= 1))
  ) {
    throw busError(
      'EBADREADING',
      `${where}: all accelerations are ${first[0]}, not even gravity shows. Check the wiring and the power.`,
    );
  }
}

async function readBurst(bus: I2cBus, address: number, rate: number, where: string): Promise<Counts[]> {
  const fillMs = Math.ceil((1000 * depth) / rate);
  const entries = await poll(
    2 * fillMs + 20,
    `${where}: its FIFO does not fill. Switch the chip off and on.`,
    async () => {
      const [status = 0] = await bus.readRegister(address, register.fifoStatus, 1);
      const count = status & 0x3f;
      // One more than the FIFO holds can wait in the output filter.
      if (count > depth + 1)
        throw busError('EBADREADING', `${where}: ${count} entries in a FIFO of ${depth}.`);
      return count >= depth ? count : undefined;
    },
  );
  const burst: Counts[] = [];
  // Between two entries the chip wants 5 us; on I2C the address bytes take longer than that.
  for (let i = 0; i < Math.min(entries, depth); i++) {
    burst.push(parseCounts(await bus.readRegister(address, register.data, 6)));
  }
  return burst;
}

/** Analog Devices ADXL345: rms and peak vibration of the newest 32 accelerations, +-16 g. */
export const adxl345: Driver<Adxl345Settings> = {
  name: 'adxl345',
  settings: adxl345Settings,
  async open(settings, access): Promise<Sensor> {
    const { address, rate } = settings;
    const where = `ADXL345 at ${hex(address)} on bus ${settings.bus}`;
    const write = (bus: I2cBus, at: number, value: number) =>
      bus.writeRegister(address, at, Uint8Array.of(value));
    const start = async (bus: I2cBus): Promise<void> => {
      const [id] = await bus.readRegister(address, register.id, 1);
      if (id !== chipId) {
        throw busError(
          'EBADDEVICE',
          `${where}: device id ${hex(id ?? 0)} instead of ${hex(chipId)}, so no ADXL345.`,
        );
      }
      await write(bus, register.power, 0); // to be set up in standby
      await write(bus, register.interrupts, 0);
      await write(bus, register.rate, rates[rate]);
      await write(bus, register.format, fullRange16g);
      await write(bus, register.fifo, streamMode);
      await write(bus, register.power, 0x08); // measure
    };
    return openDevice(access, settings.bus, start, (bus) => ({
      channels: adxl345Channels,
      async read(): Promise<Reading> {
        // A chip that lost its power for a moment stands in standby, with other settings than ours.
        const [power = 0] = await bus.readRegister(address, register.power, 1);
        if ((power & 0x08) === 0) await start(bus);
        const burst = await readBurst(bus, address, rate, where);
        checkBurst(burst, where);
        return { values: vibration(burst) };
      },
    }));
  },
};
