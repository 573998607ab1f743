import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ads1115, ads1115Config, ads1115Settings } from '../../drivers/ads1115.ts';
import { conversionOf, simulatedAds1115 } from '../../drivers/simulated/ads1115.ts';
import { accessTo } from './access.ts';

test('the configuration word is built as the data sheet lays it out (SBAS444D, 9.6.3)', () => {
  // Start, AIN0 against ground, +-4.096 V, single shot, 128 a second, comparator off.
  assert.equal(ads1115Config(0, 4.096, 128), 0xc383);
  assert.equal(ads1115Config(3, 0.256, 860), 0xfbe3);
  assert.equal(conversionOf(2.048, 0xc383), 16384);
  assert.equal(conversionOf(-9, 0xc383), -32768);
});

const read = async (settings: Record<string, unknown>, volts: (input: number) => number) => {
  const sensor = await ads1115.open(
    ads1115Settings.parse({ bus: 1, ...settings }),
    accessTo(0x48, simulatedAds1115(volts)),
  );
  const reading = await sensor.read();
  assert.ok(reading !== 'end');
  return reading.values;
};

test('4-20 mA, 0-10 V and plain volts on one chip', async () => {
  const inputs = [
    { input: 0, name: 'load', high: 5000 },
    { input: 1, name: 'torque', unit: 'N.m', signal: '0-10V', divider: 4, low: -100, high: 100 },
    { input: 3, name: 'raw', unit: 'V', signal: 'volts', high: 1 },
  ];
  const volts = [0.012 * 200, 0, 0, 1.5];
  volts[1] = 7.5 / 4;
  const [load = 0, torque = 0, raw = 0] = await read({ inputs }, (input) => volts[input]!);
  assert.ok(Math.abs(load - 2500) < 0.5, `${load}`);
  assert.ok(Math.abs(torque - 50) < 0.02, `${torque}`);
  assert.ok(Math.abs(raw - 1.5) < 0.0002, `${raw}`);
});

test('a broken loop, a shorted one and an overdriven input are errors that say which', async () => {
  await assert.rejects(
    read({}, () => 0),
    /AIN0 \(load\): 0\.00 mA .* The loop is open/,
  );
  await assert.rejects(
    read({ inputs: [{ burdenOhm: 180 }] }, () => 0.022 * 180),
    /22\.00 mA is not within 3\.6 to 21 mA\. The loop is shorted/,
  );
  await assert.rejects(
    read({}, () => 5),
    /beyond 4\.096 V/,
  );
  await assert.rejects(
    read({ inputs: [{ signal: '0-10V' }] }, () => -0.5),
    /not within 0 to 10 V/,
  );
  await assert.rejects(
    read({ inputs: [{ signal: '0-10V', divider: 5, name: 'torque' }] }, () => 2.4),
    /AIN0 \(torque\): 12\.00 V/,
  );
});

test('somebody else on the chip, or another chip, is noticed', async () => {
  const good = simulatedAds1115(() => 2);
  const thief = { ...good, write: () => good.write(1, Uint8Array.of(0xd3, 0x83)) };
  await assert.rejects(
    ads1115.open(ads1115Settings.parse({ bus: 1 }), accessTo(0x48, thief)),
    /it holds 0xd383/,
  );
  const never = {
    ...good,
    read: (at: number, n: number) =>
      good.read(at, n).map((byte, i) => (at === 1 && i === 0 ? byte & 0x7f : byte)),
  };
  await assert.rejects(
    ads1115.open(ads1115Settings.parse({ bus: 1 }), accessTo(0x48, never)),
    /no conversion/,
  );
});
