import { ads1115 } from './ads1115.ts';
import { adxl345 } from './adxl345.ts';
import { bme280 } from './bme280.ts';
import { cmapss } from './cmapss.ts';
import type { Driver } from './driver.ts';
import { ina219 } from './ina219.ts';
import { monitor } from './monitor.ts';

const drivers: readonly Driver<unknown>[] = [bme280, adxl345, ina219, ads1115, monitor, cmapss];

/** Every driver by its name in the configuration. */
export const catalogue: Readonly<Record<string, Driver<unknown>>> = Object.fromEntries(
  drivers.map((driver) => [driver.name, driver]),
);
