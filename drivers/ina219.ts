import { z } from 'zod';
import { busError, hex } from './bus/errors.ts';
import { busSetting, inRange, openDevice, poll } from './device.ts';
import type { Channel, Driver, Reading, Sensor } from './driver.ts';

// Texas Instruments INA219 data sheet SBOS448G: register map 8.6, calibration 8.5.1.
const register = { config: 0, shunt: 1, bus: 2, power: 3, current: 4, calibration: 5 } as const;

/** Shunt ranges by the code of PG1 PG0, volts. */
const shuntRanges = [0.04, 0.08, 0.16, 0.32] as const;
const busRange32V = 0x2000;
const average8 = (0b1011 << 7) | (0b1011 << 3); // eight samples of 12 bits each for bus and shunt: 2 x 4.26 ms
const triggered = 0b011; // shunt and bus, once
const conversionMs = 2 * 4.26;
const ready = 0x2;
const overflow = 0x1;

export const ina219Settings = z.strictObject({
  bus: busSetting,
  address: z.int().min(0x40).max(0x4f).default(0x40).describe('0x40 to 0x4f, by the pins A1 and A0'),
  shuntOhm: z.number().positive().max(100).default(0.01).describe('resistance of the shunt, ohm'),
  maxAmpere: z.number().positive().max(10_000).default(20).describe('largest current to be measured, A'),
});
export type Ina219Settings = z.infer<typeof ina219Settings>;

export const ina219Channels: readonly Channel[] = [
  { name: 'current', unit: 'A' },
  { name: 'voltage', unit: 'V' },
  { name: 'power', unit: 'W' },
];

/** How the chip is set up for a shunt and a largest current. */
export interface Ina219Scale {
  /** A a count of the current register; 20 times as many W a count of the power register. */
  readonly currentLsb: number;
  readonly calibration: number;
  readonly config: number;
  /** Largest reading of the shunt register, counts of 10 uV. */
  readonly shuntLimit: number;
}

/** Current_LSB and the calibration register (8.5.1, equations 1 and 2). Errors if the chip cannot do it. */
export function ina219Scale(shuntOhm: number, maxAmpere: number): Ina219Scale {
  const gain = shuntRanges.findIndex((range) => shuntOhm * maxAmpere <= range);
  const range = shuntRanges[gain];
  if (range === undefined) {
    throw new RangeError(
      `INA219: ${maxAmpere} A through ${shuntOhm} ohm are ${(shuntOhm * maxAmpere).toPrecision(3)} V; it measures 0.32 V at most. Use a smaller shunt.`,
    );
  }
  // The register's lowest bit is always 0.
  const calibration = Math.trunc(0.04096 / ((maxAmpere / 32768) * shuntOhm)) & ~1;
  if (calibration < 2 || calibration > 0xfffe) {
    throw new RangeError(
      `INA219: ${maxAmpere} A through ${shuntOhm} ohm are too small a voltage to be scaled. Use a larger shunt or current.`,
    );
  }
  return {
    // Recomputed from what the register holds, so that its rounding makes no error.
    currentLsb: 0.04096 / (calibration * shuntOhm),
    calibration,
    config: busRange32V | (gain << 11) | average8 | triggered,
    shuntLimit: range / 10e-6,
  };
}

/** The raw registers of one measurement; shunt and current are signed. */
export interface Ina219Raw {
  readonly shunt: number;
  readonly bus: number;
  readonly power: number;
  readonly current: number;
}

/** Current, bus voltage, power; or an error that says what is impossible. */
export function ina219Values(raw: Ina219Raw, scale: Ina219Scale, where: string): number[] {
  if (Math.abs(raw.shunt) >= scale.shuntLimit || (raw.bus & overflow) !== 0) {
    throw busError(
      'EBADREADING',
      `${where}: the current is beyond the measuring range. Check max_ampere and the shunt.`,
    );
  }
  const voltage = inRange(where, 'bus voltage', (raw.bus >> 3) * 0.004, 0, 26, 'V');
  const current = raw.current * scale.currentLsb;
  const power = raw.power * 20 * scale.currentLsb;
  // Power is the chip's own product of the other two: a word garbled on the wire shows here.
  if (Math.abs(Math.abs(current) * voltage - power) > 25 * scale.currentLsb + 0.01 * power) {
    throw busError(
      'EBADREADING',
      `${where}: ${current.toFixed(3)} A x ${voltage.toFixed(2)} V is not ${power.toFixed(2)} W. Check the wiring.`,
    );
  }
  return [current, voltage, power];
}

/** Texas Instruments INA219: current, bus voltage and power, measured once a reading. */
export const ina219: Driver<Ina219Settings> = {
  name: 'ina219',
  settings: ina219Settings,
  async open(settings, access): Promise<Sensor> {
    const { address } = settings;
    const where = `INA219 at ${hex(address)} on bus ${settings.bus}`;
    const scale = ina219Scale(settings.shuntOhm, settings.maxAmpere);
    const signed = (word: number): number => (word << 16) >> 16;
    return openDevice(
      access,
      settings.bus,
      async (bus) => {
        // It has no identity register: what it holds after being set up is all there is to check.
        await bus.writeWord(address, register.calibration, scale.calibration);
        await bus.writeWord(address, register.config, scale.config);
        const config = await bus.readWord(address, register.config);
        const calibration = await bus.readWord(address, register.calibration);
        if (config !== scale.config || calibration !== scale.calibration) {
          throw busError(
            'EBADDEVICE',
            `${where}: set up with ${hex(scale.config, 4)} and ${hex(scale.calibration, 4)}, it holds ` +
              `${hex(config, 4)} and ${hex(calibration, 4)}, so no INA219, or a bad connection.`,
          );
        }
      },
      (bus) => ({
        channels: ina219Channels,
        async read(): Promise<Reading> {
          // A chip without power for a moment forgets it, and reads 0 A then.
          await bus.writeWord(address, register.calibration, scale.calibration);
          await bus.writeWord(address, register.config, scale.config);
          const voltage = await poll(
            3 * conversionMs + 20,
            `${where}: no conversion. Switch the chip off and on.`,
            async () => {
              const word = await bus.readWord(address, register.bus);
              return (word & ready) !== 0 ? word : undefined;
            },
          );
          const shunt = signed(await bus.readWord(address, register.shunt));
          const current = signed(await bus.readWord(address, register.current));
          const power = await bus.readWord(address, register.power);
          return { values: ina219Values({ shunt, bus: voltage, power, current }, scale, where) };
        },
      }),
    );
  },
};
