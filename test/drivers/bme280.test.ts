import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bme280,
  bme280Settings,
  bme280Values,
  compensate,
  parseCalibration,
  parseData,
} from '../../drivers/bme280.ts';
import {
  drawCalibration,
  fineOf,
  humidityOf,
  pressureOf,
  rawOf,
  simulatedBme280,
} from '../../drivers/simulated/bme280.ts';
import { accessTo } from './access.ts';

// The worked example of Bosch's data sheet BST-BMP280-DS001, 3.12; the BME280 has the same formulas.
const example = parseCalibration(
  Uint8Array.from([
    0x70, 0x6b, 0x43, 0x67, 0x18, 0xfc, 0x7d, 0x8e, 0x43, 0xd6, 0xd0, 0x0b, 0x27, 0x0b, 0x8c, 0x00, 0xf9,
    0xff, 0x8c, 0x3c, 0xf8, 0xc6, 0x70, 0x17, 0x00, 75,
  ]),
  Uint8Array.from([0x6f, 0x01, 0, 0x13, 0x29, 0x03, 0x1e]),
);

test('the calibration block is read as the data sheet lays it out', () => {
  assert.deepEqual(example, {
    t1: 27504,
    t2: 26435,
    t3: -1000,
    p: [36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000],
    h1: 75,
    h2: 367,
    h3: 0,
    h4: 313,
    h5: 50,
    h6: 30,
  });
});

test('negative 12-bit humidity words keep their sign', () => {
  const { h4, h5 } = parseCalibration(new Uint8Array(26), Uint8Array.from([0, 0, 0, 0xff, 0x1e, 0xfe, 0]));
  assert.equal(h4, -16 + 14);
  assert.equal(h5, -32 + 1);
});

test("Bosch's published example: 25.08 degrees, 100653.27 Pa", () => {
  const [temperature, pressure] = compensate(example, {
    temperature: 519888,
    pressure: 415148,
    humidity: 30000,
  });
  assert.equal(temperature?.toFixed(2), '25.08');
  assert.ok(Math.abs((pressure ?? 0) - 100653.27) < 0.1, `${pressure}`);
  // And the integer formulas, which the simulated chip inverts.
  assert.equal(fineOf(example, 519888), 128422);
  assert.ok(Math.abs(pressureOf(example, 128422, 415148) - 25767236) <= 3);
});

test('the floating point and the integer formulas agree over the whole range', () => {
  for (let copy = 0; copy < 20; copy++) {
    const calibration = drawCalibration(9, copy);
    for (let temperature = 420_000; temperature < 640_000; temperature += 22_111) {
      for (let n = 0; n < 6; n++) {
        const raw = { temperature, pressure: 300_000 + 40_000 * n, humidity: 24_000 + 3_000 * n };
        const [t, p, h] = compensate(calibration, raw) as [number, number, number];
        const fine = fineOf(calibration, temperature);
        assert.ok(Math.abs(t - fine / 5120) < 0.01, `temperature ${t}`);
        assert.ok(Math.abs(p - pressureOf(calibration, fine, raw.pressure) / 256) < 3, `pressure ${p}`);
        assert.ok(
          Math.abs(Math.min(100, Math.max(0, h)) - humidityOf(calibration, fine, raw.humidity) / 1024) < 0.05,
          `humidity ${h}`,
        );
      }
    }
  }
});

test('what the simulated chip is exposed to is what the driver reads', async () => {
  for (const oversampling of [1, 4, 16] as const) {
    const calibration = drawCalibration(3, oversampling);
    for (const temperature of [-20, 0, 24.5, 61.3, 84]) {
      for (const [pressure, humidity] of [
        [30_500, 3],
        [65_432, 37],
        [101_325, 55],
        [109_000, 97],
      ] as const) {
        const chip = simulatedBme280(calibration, () => ({ temperature, pressure, humidity }));
        const sensor = await bme280.open(
          bme280Settings.parse({ bus: 1, oversampling }),
          accessTo(0x76, chip),
        );
        const reading = await sensor.read();
        assert.ok(reading !== 'end');
        const [t = 0, p = 0, h = 0] = reading.values;
        assert.ok(Math.abs(t - temperature) < 0.02, `${t} for ${temperature}`);
        assert.ok(Math.abs(p - pressure) < 8, `${p} for ${pressure}`);
        assert.ok(Math.abs(h - humidity) < 0.1, `${h} for ${humidity} at ${temperature}`);
      }
    }
  }
});

test('another chip, an empty chip and no chip are told apart at opening', async () => {
  const good = simulatedBme280(example, () => ({ temperature: 20, pressure: 1e5, humidity: 50 }));
  const settings = bme280Settings.parse({ bus: 1 });
  const bmp280 = {
    ...good,
    read: (at: number, n: number) => (at === 0xd0 ? Uint8Array.of(0x58) : good.read(at, n)),
  };
  await assert.rejects(
    bme280.open(settings, accessTo(0x76, bmp280)),
    /id 0x58 instead of 0x60.*BMP280, which has no humidity/,
  );
  const blank = {
    ...good,
    read: (at: number, n: number) => (at === 0xd0 ? Uint8Array.of(0x60) : new Uint8Array(n)),
  };
  await assert.rejects(
    bme280.open(settings, accessTo(0x76, blank)),
    /BME280 at 0x76 on bus 1: no calibration/,
  );
  await assert.rejects(bme280.open(settings, accessTo(0x77, good)), { code: 'ENXIO' });
});

test('impossible measurements are refused', () => {
  const reset = { temperature: 0x80000, pressure: 0x80000, humidity: 0x8000 };
  assert.throws(() => bme280Values(example, reset, 'here'), /did not measure/);
  const hot = rawOf(example, { temperature: 84, pressure: 1e5, humidity: 20 });
  assert.throws(
    () => bme280Values(example, { ...hot, temperature: hot.temperature + 20_000 }, 'here'),
    /temperature of 9\d\.\d+ degrees/,
  );
  const thin = rawOf(example, { temperature: 25, pressure: 30_000, humidity: 20 });
  assert.throws(
    () => bme280Values(example, { ...thin, pressure: thin.pressure + 9_000 }, 'here'),
    /pressure of 2\d{4}/,
  );
});

test('an honest temperature that happens to equal the reset value is no error', () => {
  const raw = { ...rawOf(example, { temperature: 26.4, pressure: 1e5, humidity: 50 }), temperature: 0x80000 };
  const [temperature = 0] = bme280Values(example, raw, 'here');
  assert.ok(Math.abs(temperature - 26.46) < 0.05, `${temperature}`);
});

test('data registers split into 20, 20 and 16 bits', () => {
  assert.deepEqual(parseData(Uint8Array.from([0x65, 0x5a, 0xc0, 0x7e, 0xed, 0x00, 0x75, 0x30])), {
    pressure: 415148,
    temperature: 519888,
    humidity: 30000,
  });
});
