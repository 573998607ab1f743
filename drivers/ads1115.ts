import { z } from 'zod';
import { busError, hex } from './bus/errors.ts';
import type { I2cBus } from './bus/i2c.ts';
import { busSetting, openDevice, poll } from './device.ts';
import type { Driver, Reading, Sensor } from './driver.ts';

// Texas Instruments ADS1115 data sheet SBAS444D: register map 9.6.
const register = { conversion: 0, config: 1 } as const;
const startOrIdle = 0x8000;
const singleShot = 0x0100;
const noComparator = 0x0003;

/** Full scale in volts by the code of PGA. */
const ranges = { 6.144: 0, 4.096: 1, 2.048: 2, 1.024: 3, 0.512: 4, 0.256: 5 } as const;
/** Conversions a second by the code of DR. */
const dataRates = { 8: 0, 16: 1, 32: 2, 64: 3, 128: 4, 250: 5, 475: 6, 860: 7 } as const;

const inputSetting = z.strictObject({
  input: z.int().min(0).max(3).default(0).describe('AIN0 to AIN3 against ground'),
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._:-]*$/)
    .default('load')
    .describe('name of the channel'),
  unit: z.string().min(1).max(16).default('N').describe('SenML unit of the channel'),
  signal: z
    .literal(['4-20mA', '0-10V', 'volts'])
    .default('4-20mA')
    .describe('"4-20mA" over a burden, "0-10V" over a divider, or "volts" at the input'),
  burdenOhm: z
    .number()
    .positive()
    .max(1000)
    .default(200)
    .describe('resistor that turns 4-20 mA into volts, ohm'),
  divider: z
    .number()
    .min(1)
    .max(100)
    .default(2.5)
    .describe('by what the input voltage is divided before the chip ("0-10V")'),
  low: z.number().default(0).describe('value at 4 mA, 0 V'),
  high: z.number().default(5000).describe('value at 20 mA, 10 V, or 1 V ("volts")'),
});
export type Ads1115Input = z.infer<typeof inputSetting>;

export const ads1115Settings = z.strictObject({
  bus: busSetting,
  address: z.int().min(0x48).max(0x4b).default(0x48).describe('0x48 to 0x4b, by the pin ADDR'),
  range: z
    .literal([6.144, 4.096, 2.048, 1.024, 0.512, 0.256])
    .default(4.096)
    .describe('full scale at the chip, V: 6.144, 4.096, 2.048, 1.024, 0.512 or 0.256'),
  rate: z
    .literal([8, 16, 32, 64, 128, 250, 475, 860])
    .default(475)
    .describe('conversions a second; slower is less noisy'),
  inputs: z
    .array(inputSetting)
    .min(1)
    .max(4)
    .prefault([{}])
    .describe('what is connected; one chip belongs to one sensor, since it has one converter'),
});
export type Ads1115Settings = z.infer<typeof ads1115Settings>;

/** The configuration word that converts `input` once. */
export function ads1115Config(
  input: number,
  range: keyof typeof ranges,
  rate: keyof typeof dataRates,
): number {
  return (
    startOrIdle |
    ((4 + input) << 12) |
    (ranges[range] << 9) |
    singleShot |
    (dataRates[rate] << 5) |
    noComparator
  );
}

/** The value that a conversion stands for, or an error for what no working transmitter sends (NAMUR NE 43). */
export function ads1115Value(count: number, range: number, input: Ads1115Input, where: string): number {
  const what = `${where}, AIN${input.input} (${input.name})`;
  if (count >= 32767 || count <= -32768) {
    throw busError(
      'EBADREADING',
      `${what}: beyond ${range} V, the full scale. Check the wiring, or choose a larger range.`,
    );
  }
  const volts = (count * range) / 32768;
  switch (input.signal) {
    case '4-20mA': {
      const mA = (1000 * volts) / input.burdenOhm;
      if (mA < 3.6 || mA > 21) {
        const why =
          mA < 3.6
            ? 'The loop is open or the transmitter has no power'
            : 'The loop is shorted or the transmitter reports a fault';
        throw busError('EBADREADING', `${what}: ${mA.toFixed(2)} mA is not within 3.6 to 21 mA. ${why}.`);
      }
      return input.low + ((mA - 4) / 16) * (input.high - input.low);
    }
    case '0-10V': {
      const full = volts * input.divider;
      if (full < -0.2 || full > 10.5) {
        throw busError(
          'EBADREADING',
          `${what}: ${full.toFixed(2)} V is not within 0 to 10 V. Check the wiring and the divider.`,
        );
      }
      return input.low + (full / 10) * (input.high - input.low);
    }
    case 'volts':
      return input.low + volts * (input.high - input.low);
  }
}

async function convert(
  bus: I2cBus,
  address: number,
  settings: Ads1115Settings,
  input: number,
  where: string,
): Promise<number> {
  const wanted = ads1115Config(input, settings.range, settings.rate);
  await bus.writeWord(address, register.config, wanted);
  const limit = (3 * 1000) / settings.rate + 20;
  await poll(limit, `${where}: no conversion. Switch the chip off and on.`, async () => {
    const config = await bus.readWord(address, register.config);
    if ((config & 0x7fff) !== (wanted & 0x7fff)) {
      throw busError(
        'EBADDEVICE',
        `${where}: set to ${hex(wanted, 4)}, it holds ${hex(config, 4)}: no ADS1115, a bad connection, or somebody else uses the chip.`,
      );
    }
    return (config & startOrIdle) !== 0 ? true : undefined;
  });
  const word = await bus.readWord(address, register.conversion);
  return (word << 16) >> 16;
}

/** Texas Instruments ADS1115: load cells, torque and other transmitters with 4-20 mA or 0-10 V; one conversion an input a reading. */
export const ads1115: Driver<Ads1115Settings> = {
  name: 'ads1115',
  settings: ads1115Settings,
  async open(settings, access): Promise<Sensor> {
    const { address, inputs, range } = settings;
    const where = `ADS1115 at ${hex(address)} on bus ${settings.bus}`;
    return openDevice(
      access,
      settings.bus,
      // It has no identity register: that it takes the configuration and converts is all there is to check.
      (bus) => convert(bus, address, settings, inputs[0]?.input ?? 0, where),
      (bus) => ({
        channels: inputs.map(({ name, unit }) => ({ name, unit })),
        async read(): Promise<Reading> {
          const values: number[] = [];
          for (const input of inputs) {
            values.push(
              ads1115Value(await convert(bus, address, settings, input.input, where), range, input, where),
            );
          }
          return { values };
        },
      }),
    );
  },
};
