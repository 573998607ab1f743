import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBusAccess } from '../../drivers/bus/access.ts';
import { catalogue } from '../../drivers/catalogue.ts';
import { monitorChannels } from '../../drivers/monitor.ts';
import { createSimulatedPlant } from '../../drivers/simulated/plant.ts';

const least: Record<string, Record<string, unknown>> = {
  bme280: { bus: 'sim:0' },
  adxl345: { bus: 'sim:0' },
  ina219: { bus: 'sim:0' },
  ads1115: { bus: 'sim:0' },
  'machine-monitor': { bus: 'sim:0' },
  cmapss: { directory: 'data', engine: 1 },
};

test('every driver is in the catalogue under its name, and takes its least settings', () => {
  assert.deepEqual(Object.keys(catalogue).sort(), Object.keys(least).sort());
  for (const [name, settings] of Object.entries(least)) {
    assert.equal(catalogue[name]?.name, name);
    assert.ok(catalogue[name]?.settings.parse(settings));
  }
});

test('unknown keys, other buses and impossible values are refused by every driver', () => {
  for (const [name, settings] of Object.entries(least)) {
    const judge = (extra: object) => catalogue[name]!.settings.safeParse({ ...settings, ...extra }).success;
    assert.equal(judge({ colour: 'red' }), false, name);
    if (name === 'cmapss') continue;
    assert.equal(judge({ bus: 1 }), true, name);
    for (const bus of [-1, 1.5, 'sim', '/dev/i2c-1', null])
      assert.equal(judge({ bus }), false, `${name} ${bus}`);
    if (name !== 'machine-monitor') assert.equal(judge({ address: 0x02 }), false, name);
  }
  assert.equal(
    catalogue['machine-monitor']!.settings.safeParse({ bus: 1, ina219: { shuntOhm: -1 } }).success,
    false,
  );
});

test('each chip of a simulated machine can be read by itself, its channels in the order of the monitor', async () => {
  const plant = createSimulatedPlant({ seed: 1, machines: 1, cycleMs: 1000, now: () => 500, startMs: 0 });
  const access = createBusAccess({ simulated: plant });
  const channels: unknown[] = [];
  const values: number[] = [];
  for (const name of ['bme280', 'adxl345', 'ina219', 'ads1115']) {
    const driver = catalogue[name]!;
    const sensor = await driver.open(driver.settings.parse(least[name]), access);
    channels.push(...sensor.channels);
    const reading = await sensor.read();
    assert.ok(reading !== 'end');
    assert.equal(reading.values.length, sensor.channels.length);
    values.push(...reading.values);
    await sensor.close();
  }
  assert.deepEqual(channels, monitorChannels);
  const monitor = catalogue['machine-monitor']!;
  const whole = await (await monitor.open(plant.monitorSettings(0), access)).read();
  assert.ok(whole !== 'end');
  assert.deepEqual(whole.values, values);
});
