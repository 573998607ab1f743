import type { Bme280Calibration, Bme280Raw } from '../bme280.ts';
import { byteRegisters, type SimulatedChip } from './chip.ts';
import { createRandom } from './random.ts';

/** What the simulated sensor element is exposed to. */
export interface Climate {
  readonly temperature: number;
  readonly pressure: number;
  readonly humidity: number;
}

/** Trimming values of one chip: those of Bosch's example (data sheet of the BMP280, 3.12), each copy a little different. */
export function drawCalibration(seed: number, copy: number): Bme280Calibration {
  const random = createRandom(seed, copy, 0xb280);
  const near = (value: number, spread: number): number =>
    Math.round(value + spread * (2 * random.uniform() - 1));
  return {
    t1: near(27504, 300),
    t2: near(26435, 200),
    t3: -1000,
    p: [near(36477, 400), near(-10685, 100), 3024, near(2855, 60), 140, -7, 15500, -14600, 6000],
    h1: 75,
    h2: near(367, 8),
    h3: 0,
    h4: near(313, 8),
    h5: 50,
    h6: 30,
  };
}

/**
 * The raw numbers that this chip shows in `climate`: the compensation formulas inverted by bisection. The formulas are
 * Bosch's integer ones, another arithmetic than the driver's, so that an error in either shows.
 */
export function rawOf(c: Bme280Calibration, climate: Climate, resolutionBits = 20): Bme280Raw {
  // Without filter the chip resolves 16 bits and one more for each doubling of the oversampling (data sheet, Measurement flow).
  const mask = ~((1 << (20 - resolutionBits)) - 1);
  const temperature = bisect(0xfffff, (raw) => fineOf(c, raw) >= climate.temperature * 5120) & mask;
  const fine = fineOf(c, temperature);
  const pressure = bisect(0xfffff, (raw) => pressureOf(c, fine, raw) <= climate.pressure * 256) & mask;
  const humidity = bisect(0xffff, (raw) => humidityOf(c, fine, raw) >= climate.humidity * 1024);
  return { temperature, pressure, humidity };
}

/** The least number from 0 to `most` for which `reached` holds. */
function bisect(most: number, reached: (raw: number) => boolean): number {
  let low = 0;
  let high = most;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (reached(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** t_fine, 1/5120 degree (data sheet 4.2.3, 32 bit). */
export function fineOf(c: Bme280Calibration, raw: number): number {
  const first = (((raw >> 3) - (c.t1 << 1)) * c.t2) >> 11;
  const distance = (raw >> 4) - c.t1;
  // The square passes 32 bits far from room temperature; Bosch's own range keeps it within.
  const second = (Math.floor((distance * distance) / 4096) * c.t3) >> 14;
  return first + second;
}

/** Pressure, 1/256 Pa (data sheet 4.2.3, 64 bit). */
export function pressureOf(c: Bme280Calibration, fine: number, raw: number): number {
  const [p1, p2, p3, p4, p5, p6, p7, p8, p9] = c.p.map(BigInt) as [
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  const t = BigInt(fine) - 128000n;
  const offset = t * t * p6 + ((t * p5) << 17n) + (p4 << 35n);
  const gain = (((1n << 47n) + (((t * t * p3) >> 8n) + ((t * p2) << 12n))) * p1) >> 33n;
  if (gain === 0n) return 0;
  const linear = ((((1048576n - BigInt(raw)) << 31n) - offset) * 3125n) / gain;
  const ninth = (p9 * (linear >> 13n) * (linear >> 13n)) >> 25n;
  const eighth = (p8 * linear) >> 19n;
  return Number(((linear + ninth + eighth) >> 8n) + (p7 << 4n));
}

/** Relative humidity, 1/1024 % (data sheet 4.2.3, 32 bit). */
export function humidityOf(c: Bme280Calibration, fine: number, raw: number): number {
  const d = fine - 76800;
  const wet = ((raw << 14) - (c.h4 << 20) - c.h5 * d + 16384) >> 15;
  const warm = ((((d * c.h6) >> 10) * (((d * c.h3) >> 11) + 32768)) >> 10) + 2097152;
  let value = wet * ((warm * c.h2 + 8192) >> 14);
  value -= ((((value >> 15) * (value >> 15)) >> 7) * c.h1) >> 4;
  return Math.min(Math.max(value, 0), 419430400) >> 12;
}

/** A BME280: identity, calibration, and forced measurements of what `climate` tells at the moment of the order. */
export function simulatedBme280(calibration: Bme280Calibration, climate: () => Climate): SimulatedChip {
  const registers = new Uint8Array(256);
  const powerOn = (): void => {
    registers.fill(0);
    registers[0xd0] = 0x60;
    storeCalibration(registers, calibration);
    storeData(registers, { temperature: 0x80000, pressure: 0x80000, humidity: 0x8000 });
  };
  let humidityCode = 0;
  const measure = (): void => {
    const control = registers[0xf4]!;
    const [temperatureCode, pressureCode] = [control >> 5, (control >> 2) & 7];
    const raw = rawOf(calibration, climate(), Math.min(20, 15 + temperatureCode));
    storeData(registers, {
      temperature: temperatureCode ? raw.temperature : 0x80000,
      pressure: pressureCode ? raw.pressure : 0x80000,
      humidity: humidityCode ? raw.humidity : 0x8000,
    });
  };
  powerOn();
  return {
    read(register, length) {
      const normalMode = (registers[0xf4]! & 3) === 3;
      if (normalMode && register >= 0xf7) measure();
      return byteRegisters((at) => registers[at]!, length, register);
    },
    write(register, bytes) {
      // Written registers do not count up (data sheet, I2C write): bytes after the first would be register-value pairs.
      const value = bytes[0]!;
      if (register === 0xe0 && value === 0xb6) powerOn();
      else if (register === 0xf2 || register === 0xf5) registers[register] = value;
      else if (register === 0xf4) {
        humidityCode = registers[0xf2]! & 7;
        registers[0xf4] = value;
        if ((value & 3) === 0) return;
        measure();
        if ((value & 3) !== 3) registers[0xf4] = value & ~3; // a forced measurement ends in sleep
      }
    },
  };
}

function storeData(registers: Uint8Array, { pressure, temperature, humidity }: Bme280Raw): void {
  registers.set(
    [pressure >> 12, pressure >> 4, pressure << 4, temperature >> 12, temperature >> 4, temperature << 4],
    0xf7,
  );
  registers.set([humidity >> 8, humidity], 0xfd);
}

function storeCalibration(registers: Uint8Array, c: Bme280Calibration): void {
  [c.t1, c.t2, c.t3, ...c.p].forEach((value, i) => {
    registers.set([value, value >> 8], 0x88 + 2 * i);
  });
  registers[0xa1] = c.h1;
  registers.set([c.h2, c.h2 >> 8, c.h3, c.h4 >> 4, (c.h4 & 15) | ((c.h5 & 15) << 4), c.h5 >> 4, c.h6], 0xe1);
}
