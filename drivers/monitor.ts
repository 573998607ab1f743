import { z } from 'zod';
import { ads1115, ads1115Settings } from './ads1115.ts';
import { adxl345, adxl345Channels, adxl345Settings } from './adxl345.ts';
import { bme280, bme280Channels, bme280Settings } from './bme280.ts';
import type { GpioInput } from './bus/gpio.ts';
import { busSetting, gpioLineSetting } from './device.ts';
import type { Channel, Driver, MachineEvent, Reading, Sensor } from './driver.ts';
import { ina219, ina219Channels, ina219Settings } from './ina219.ts';

export const monitorSettings = z.strictObject({
  bus: busSetting,
  bme280: bme280Settings.omit({ bus: true }).prefault({}).describe('temperature, pressure and humidity'),
  adxl345: adxl345Settings.omit({ bus: true }).prefault({}).describe('vibration'),
  ina219: ina219Settings.omit({ bus: true }).prefault({}).describe('motor current, voltage and power'),
  ads1115: ads1115Settings.omit({ bus: true }).prefault({}).describe('load'),
  contact: gpioLineSetting
    .optional()
    .describe('contact that closes when the machine fails and opens when it is repaired'),
});
export type MonitorSettings = z.infer<typeof monitorSettings>;

/** The channels with the default settings of the ADS1115. */
export const monitorChannels: readonly Channel[] = [
  ...bme280Channels,
  ...adxl345Channels,
  ...ina219Channels,
  { name: 'load', unit: 'N' },
];

/** What a contact says between two looks at it. The first look counts as a failure if it is closed: none may be missed. */
function contactWatch(contact: GpioInput | null): { look(): Promise<MachineEvent | undefined> } {
  let before: 0 | 1 = 0;
  return {
    async look() {
      if (!contact) return undefined;
      const now = await contact.value();
      const event = now === before ? undefined : now === 1 ? 'failure' : 'repair';
      before = now;
      return event;
    },
  };
}

/**
 * Four chips and a contact at one machine, read as one stream. If one chip fails, the reading fails: a sample with
 * holes would train a model on a lie. The event of a failed reading is told with the next one.
 */
export const monitor: Driver<MonitorSettings> = {
  name: 'machine-monitor',
  settings: monitorSettings,
  async open({ bus, contact, ...settings }, access): Promise<Sensor> {
    const opened: (Sensor | GpioInput)[] = [];
    const closeAll = async (): Promise<void> => {
      const results = await Promise.allSettled(opened.map((part) => part.close()));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed) throw failed.reason;
    };
    const keep = async <T extends Sensor | GpioInput>(part: Promise<T>): Promise<T> => {
      const ready = await part;
      opened.push(ready);
      return ready;
    };
    try {
      const sensors = [
        await keep(bme280.open({ bus, ...settings.bme280 }, access)),
        await keep(adxl345.open({ bus, ...settings.adxl345 }, access)),
        await keep(ina219.open({ bus, ...settings.ina219 }, access)),
        await keep(ads1115.open({ bus, ...settings.ads1115 }, access)),
      ];
      const watch = contactWatch(contact ? await keep(access.gpio(contact)) : null);
      return {
        channels: sensors.flatMap((sensor) => sensor.channels),
        async read(): Promise<Reading | 'end'> {
          const values: number[] = [];
          for (const sensor of sensors) {
            const reading = await sensor.read();
            if (reading === 'end') return 'end';
            values.push(...reading.values);
          }
          const event = await watch.look();
          return event ? { values, event } : { values };
        },
        close: closeAll,
      };
    } catch (error) {
      await closeAll();
      throw error;
    }
  },
};
