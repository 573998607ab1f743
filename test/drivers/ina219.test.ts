import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ina219, ina219Scale, ina219Settings, ina219Values } from '../../drivers/ina219.ts';
import { ina219Registers, simulatedIna219 } from '../../drivers/simulated/ina219.ts';
import { accessTo } from './access.ts';

test("the worked example of TI's data sheet (SBOS448F, table 3)", () => {
  // 10 A through 2 milliohm at 11.98 V, calibration 5000h: current LSB 1 mA, power LSB 20 mW.
  const raw = ina219Registers({ current: 10, voltage: 11.98 }, 0.002, 0x019f, 0x5000);
  assert.equal(raw.shunt, 0x07d0);
  assert.equal(raw.bus >> 3, 0x5d98 >> 3);
  assert.equal(raw.current, 0x2710);
  assert.equal(raw.power, 0x1766);
  const scale = { currentLsb: 0.001, calibration: 0x5000, config: 0x019f, shuntLimit: 4000 };
  const [current, voltage, power] = ina219Values(raw, scale, 'here');
  assert.equal(current, 10);
  assert.equal(voltage?.toFixed(2), '11.98');
  assert.equal(power?.toFixed(1), '119.8');
});

test('currents of both directions are read back within a count', async () => {
  let supply = { current: 0, voltage: 24 };
  const chip = simulatedIna219(0.01, () => supply);
  const sensor = await ina219.open(ina219Settings.parse({ bus: 1 }), accessTo(0x40, chip));
  for (const current of [0, 0.5, 7.77, 19.9, -12.5]) {
    supply = { current, voltage: 23.5 };
    const reading = await sensor.read();
    assert.ok(reading !== 'end');
    const [i = 0, u = 0, p = 0] = reading.values;
    assert.ok(Math.abs(i - current) < 0.002, `${i} for ${current}`);
    assert.ok(Math.abs(u - 23.5) < 0.003, `${u}`);
    assert.ok(Math.abs(p - Math.abs(current) * 23.5) < 0.05, `${p}`);
  }
});

test('too much current, a word garbled on the wire, and another chip are errors', async () => {
  const settings = ina219Settings.parse({ bus: 1, shuntOhm: 0.1, maxAmpere: 3 });
  const over = await ina219.open(
    settings,
    accessTo(
      0x40,
      simulatedIna219(0.1, () => ({ current: 3.3, voltage: 12 })),
    ),
  );
  await assert.rejects(over.read(), /beyond the measuring range/);

  const good = simulatedIna219(0.1, () => ({ current: 2, voltage: 12 }));
  const bent = {
    ...good,
    read: (at: number, n: number) => (at === 4 ? Uint8Array.of(0x01, 0x02) : good.read(at, n)),
  };
  await assert.rejects((await ina219.open(settings, accessTo(0x40, bent))).read(), /is not 24\.\d+ W/);

  const other = { read: (_: number, n: number) => new Uint8Array(n).fill(0x12), write: () => {} };
  await assert.rejects(ina219.open(settings, accessTo(0x40, other)), /so no INA219/);
  const silent = {
    ...good,
    read: (at: number, n: number) => (at === 2 ? new Uint8Array(n) : good.read(at, n)),
  };
  await assert.rejects((await ina219.open(settings, accessTo(0x40, silent))).read(), /no conversion/);
});

test('a shunt the chip cannot measure over is refused with a reason', () => {
  assert.throws(() => ina219Scale(0.1, 20), /2\.00 V; it measures 0\.32 V at most/);
  assert.throws(() => ina219Scale(0.0001, 0.1), /too small a voltage/);
  const { calibration, currentLsb } = ina219Scale(0.01, 20);
  assert.equal(calibration % 2, 0);
  assert.ok(currentLsb * 32767 >= 20);
});
