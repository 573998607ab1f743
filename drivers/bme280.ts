import { z } from 'zod';
import { busError, hex } from './bus/errors.ts';
import type { I2cBus } from './bus/i2c.ts';
import { after, busSetting, inRange, openDevice } from './device.ts';
import type { Channel, Driver, Reading, Sensor } from './driver.ts';

// Bosch BME280 data sheet BST-BME280-DS002: register map table 18, calibration table 16, formulas 4.2.3 and 8.1.
const register = {
  calibration: 0x88, // 26 bytes, 0x88 to 0xA1
  id: 0xd0,
  humidityCalibration: 0xe1, // 7 bytes
  humidityControl: 0xf2,
  status: 0xf3, // bit 3 measuring, bit 0 copying the calibration
  control: 0xf4, // temperature oversampling << 5 | pressure oversampling << 2 | mode
  config: 0xf5,
  data: 0xf7, // pressure 3 bytes, temperature 3, humidity 2
} as const;

const chipId = 0x60;
const oversamplings = [1, 2, 4, 8, 16] as const;

export const bme280Settings = z.strictObject({
  bus: busSetting,
  address: z
    .union([z.literal(0x76), z.literal(0x77)])
    .default(0x76)
    .describe('0x76 (SDO low) or 0x77 (SDO high)'),
  oversampling: z
    .literal([...oversamplings])
    .default(1)
    .describe(
      'measurements averaged by the chip: 1, 2, 4, 8 or 16; each adds about 7 ms and half a bit less noise',
    ),
});
export type Bme280Settings = z.infer<typeof bme280Settings>;

export const bme280Channels: readonly Channel[] = [
  { name: 'temperature', unit: 'Cel' },
  { name: 'pressure', unit: 'Pa' },
  { name: 'humidity', unit: '%RH' },
];

/** The trimming values that Bosch burns into each chip, named as in the data sheet. */
export interface Bme280Calibration {
  readonly t1: number;
  readonly t2: number;
  readonly t3: number;
  /** dig_P1 to dig_P9. */
  readonly p: readonly [number, number, number, number, number, number, number, number, number];
  readonly h1: number;
  readonly h2: number;
  readonly h3: number;
  readonly h4: number;
  readonly h5: number;
  readonly h6: number;
}

/** The three raw numbers of one measurement: 20, 20 and 16 bits. */
export interface Bme280Raw {
  readonly temperature: number;
  readonly pressure: number;
  readonly humidity: number;
}

/** Reads the trimming values out of the two blocks of registers (26 bytes from 0x88, 7 bytes from 0xE1). */
export function parseCalibration(low: Uint8Array, high: Uint8Array): Bme280Calibration {
  const a = new DataView(low.buffer, low.byteOffset, low.byteLength);
  const b = new DataView(high.buffer, high.byteOffset, high.byteLength);
  const p = (n: number): number => a.getInt16(0x8e - 0x88 + 2 * (n - 1), true);
  return {
    t1: a.getUint16(0, true),
    t2: a.getInt16(2, true),
    t3: a.getInt16(4, true),
    p: [a.getUint16(6, true), p(2), p(3), p(4), p(5), p(6), p(7), p(8), p(9)],
    h1: a.getUint8(0xa1 - 0x88),
    h2: b.getInt16(0, true),
    h3: b.getUint8(2),
    // h4 and h5 are 12 bits each and share the byte at 0xE5.
    h4: b.getInt8(3) * 16 + (b.getUint8(4) & 0x0f),
    h5: b.getInt8(5) * 16 + (b.getUint8(4) >> 4),
    h6: b.getInt8(6),
  };
}

/** Bosch's floating point compensation: degrees Celsius, pascal, % relative humidity (not cut to 0..100). */
export function compensate(c: Bme280Calibration, raw: Bme280Raw): [number, number, number] {
  const x = raw.temperature / 16384 - c.t1 / 1024;
  const fine = x * c.t2 + (x / 8) ** 2 * c.t3;
  const temperature = fine / 5120;

  const [p1, p2, p3, p4, p5, p6, p7, p8, p9] = c.p;
  const t = fine / 2 - 64000;
  const offset = ((t * t * p6) / 32768 + t * p5 * 2) / 4 + p4 * 65536;
  const gain = (1 + ((p3 * t * t) / 524288 + p2 * t) / 524288 / 32768) * p1;
  const linear = ((1048576 - raw.pressure - offset / 4096) * 6250) / gain;
  const pressure = linear + ((p9 * linear * linear) / 2147483648 + (linear * p8) / 32768 + p7) / 16;

  const d = fine - 76800;
  const wet =
    (raw.humidity - (c.h4 * 64 + (c.h5 / 16384) * d)) *
    ((c.h2 / 65536) * (1 + (c.h6 / 67108864) * d * (1 + (c.h3 / 67108864) * d)));
  const humidity = wet * (1 - (c.h1 * wet) / 524288);
  return [temperature, pressure, humidity];
}

/** Splits the eight data registers. A channel that was not measured reads 0x80000 (humidity 0x8000). */
export function parseData(bytes: Uint8Array): Bme280Raw {
  const at = (i: number): number => bytes[i] ?? 0;
  return {
    pressure: (at(0) << 12) | (at(1) << 4) | (at(2) >> 4),
    temperature: (at(3) << 12) | (at(4) << 4) | (at(5) >> 4),
    humidity: (at(6) << 8) | at(7),
  };
}

/** Values of one measurement, or an error that says what is impossible about it. */
export function bme280Values(calibration: Bme280Calibration, raw: Bme280Raw, where: string): number[] {
  // Only all three together: one alone is also an honest value (about 26.5 degrees with most calibrations).
  if (raw.temperature === 0x80000 && raw.pressure === 0x80000 && raw.humidity === 0x8000) {
    throw busError(
      'EBADREADING',
      `${where}: the chip did not measure (reset value in its data registers). Was its power cut?`,
    );
  }
  const [temperature, pressure, humidity] = compensate(calibration, raw);
  return [
    inRange(where, 'temperature', temperature, -40, 85, 'degrees Celsius'),
    inRange(where, 'pressure', pressure, 30_000, 110_000, 'Pa'),
    // The formula strays a little outside 0..100 at the ends, and Bosch cuts it there.
    Math.min(100, Math.max(0, inRange(where, 'humidity', humidity, -10, 115, '% RH'))),
  ];
}

async function checkChip(bus: I2cBus, address: number, where: string): Promise<void> {
  const [id] = await bus.readRegister(address, register.id, 1);
  if (id === chipId) return;
  const guess =
    id === 0x58
      ? ' That is a BMP280, which has no humidity sensor.'
      : id === 0x61
        ? ' That is a BME680.'
        : '';
  throw busError(
    'EBADDEVICE',
    `${where}: chip id ${hex(id ?? 0)} instead of ${hex(chipId)}, so no BME280.${guess}`,
  );
}

async function readCalibration(bus: I2cBus, address: number, where: string): Promise<Bme280Calibration> {
  const low = await bus.readRegister(address, register.calibration, 26);
  const high = await bus.readRegister(address, register.humidityCalibration, 7);
  const calibration = parseCalibration(low, high);
  if (calibration.t1 === 0 || calibration.p[0] === 0 || low.every((byte) => byte === 0xff)) {
    throw busError(
      'EBADDEVICE',
      `${where}: no calibration in the chip (all 0x00 or 0xFF). Switch it off and on, or replace it.`,
    );
  }
  return calibration;
}

/** Waits for a forced measurement: done when it no longer measures and has gone back to sleep (4.1, 3.3.3). */
async function waitForMeasurement(
  bus: I2cBus,
  address: number,
  oversampling: number,
  where: string,
): Promise<void> {
  const longest = 1.25 + 3 * 2.3 * oversampling + 2 * 0.575; // data sheet 9.1, ms
  for (let waited = 0; ; waited += 2) {
    const [status = 0, control = 0] = await bus.readRegister(address, register.status, 2);
    const measuring = (status & 0x08) !== 0;
    // Just after the order neither bit need be up to date, so only both together are believed before the time is over.
    if (!measuring && ((control & 3) === 0 || waited > longest)) return;
    if (waited > 3 * longest + 20) {
      throw busError(
        'EBADREADING',
        `${where}: still measuring after ${waited} ms. Switch the chip off and on.`,
      );
    }
    await after(2);
  }
}

/** Bosch BME280: temperature, pressure and humidity, measured once a reading (forced mode). */
export const bme280: Driver<Bme280Settings> = {
  name: 'bme280',
  settings: bme280Settings,
  async open(settings, access): Promise<Sensor> {
    const { address, oversampling } = settings;
    const where = `BME280 at ${hex(address)} on bus ${settings.bus}`;
    const code = oversamplings.indexOf(oversampling) + 1;
    const start = async (bus: I2cBus): Promise<Bme280Calibration> => {
      await checkChip(bus, address, where);
      await bus.writeRegister(address, register.config, Uint8Array.of(0)); // no filter: a reading depends on now alone
      return readCalibration(bus, address, where);
    };
    return openDevice(access, settings.bus, start, (bus, calibration) => ({
      channels: bme280Channels,
      async read(): Promise<Reading> {
        // Takes effect with the write to `control` (5.4.3). Written each time: a chip without power for a moment forgets it.
        await bus.writeRegister(address, register.humidityControl, Uint8Array.of(code));
        await bus.writeRegister(address, register.control, Uint8Array.of((code << 5) | (code << 2) | 1));
        await waitForMeasurement(bus, address, oversampling, where);
        const data = await bus.readRegister(address, register.data, 8);
        return { values: bme280Values(calibration, parseData(data), where) };
      },
    }));
  },
};
