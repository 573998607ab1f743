import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  adxl345,
  adxl345Channels,
  adxl345Settings,
  checkBurst,
  parseCounts,
  vibration,
} from '../../drivers/adxl345.ts';
import { countOf, simulatedAdxl345 } from '../../drivers/simulated/adxl345.ts';
import { accessTo } from './access.ts';

const gravity = 9.80665;
const settings = adxl345Settings.parse({ bus: 1 });
const sine = (amplitude: number, offset: number) =>
  Array.from({ length: 32 }, (_, i) => offset + amplitude * Math.sin((2 * Math.PI * i) / 32));

test('counts are little endian and signed', () => {
  assert.deepEqual(parseCounts(Uint8Array.from([0x00, 0x01, 0xff, 0xff, 0x00, 0xf0])), [256, -1, -4096]);
});

test('a sine of known amplitude gives its rms and its peak, gravity left out', async () => {
  const [x, y, z] = [sine(10, 0), sine(3, 2), sine(1, gravity)];
  const chip = simulatedAdxl345(() => ({
    burst: 0,
    accelerations: () => x.map((value, i) => [value, y[i]!, z[i]!]),
  }));
  const sensor = await adxl345.open(settings, accessTo(0x53, chip));
  const reading = await sensor.read();
  assert.ok(reading !== 'end');
  const expected = [10, 3, 1].flatMap((amplitude) => amplitude / Math.SQRT2).concat([10, 3, 1]);
  assert.equal(adxl345Channels.length, expected.length);
  reading.values.forEach((value, i) => {
    assert.ok(
      Math.abs(value - expected[i]!) < 0.03,
      `${adxl345Channels[i]?.name} ${value} for ${expected[i]}`,
    );
  });
  // The FIFO is emptied: the next reading of the same burst is the same.
  assert.deepEqual(await sensor.read(), reading);
});

test('a burst never mixes two bursts', async () => {
  let burst = 0;
  let reads = 0;
  const inner = simulatedAdxl345(() => ({
    burst,
    accelerations: () => Array.from({ length: 32 }, (_, i) => [burst * 10 + (i % 2), 0, gravity]),
  }));
  const chip = {
    ...inner,
    read(at: number, n: number) {
      if (at === 0x32 && ++reads === 10) burst = 1;
      return inner.read(at, n);
    },
  };
  const sensor = await adxl345.open(settings, accessTo(0x53, chip));
  for (let i = 0; i < 2; i++) {
    const reading = await sensor.read();
    assert.ok(reading !== 'end');
    assert.ok(Math.abs(reading.values[3]! - 0.5) < 0.03, `peak ${reading.values[3]}`);
  }
});

test('a chip that lost its settings is set up again', async () => {
  const chip = simulatedAdxl345(() => ({
    burst: 0,
    accelerations: () => sine(10, 0).map((v) => [v, v, v + gravity]),
  }));
  const sensor = await adxl345.open(settings, accessTo(0x53, chip));
  const before = await sensor.read();
  chip.write(0x2d, Uint8Array.of(0));
  chip.write(0x31, Uint8Array.of(0));
  assert.deepEqual(await sensor.read(), before);
});

test('another chip and a dead one are refused', async () => {
  const good = simulatedAdxl345(() => ({ burst: 0, accelerations: () => [] }));
  const other = { ...good, read: (_: number, n: number) => new Uint8Array(n).fill(0x68) };
  await assert.rejects(adxl345.open(settings, accessTo(0x53, other)), /device id 0x68 instead of 0xe5/);
  const dead = simulatedAdxl345(() => ({
    burst: 0,
    accelerations: () => Array.from({ length: 32 }, () => [0, 0, 0]),
  }));
  const sensor = await adxl345.open(settings, accessTo(0x53, dead));
  await assert.rejects(sensor.read(), /not even gravity/);
  const empty = await adxl345.open({ ...settings, rate: 400 }, accessTo(0x53, good));
  await assert.rejects(empty.read(), /FIFO does not fill/);
  assert.throws(() => checkBurst([[30000, 0, 0]], 'here'), /outside -4096 to 4095/);
});

test('counts are cut at the range', () => {
  assert.equal(countOf(gravity, 0x0b), 256);
  assert.equal(countOf(20 * gravity, 0x0b), 4095);
  assert.equal(countOf(-20 * gravity, 0x0b), -4096);
  assert.equal(countOf(3 * gravity, 0x00), 511);
  assert.deepEqual(
    vibration([
      [256, 0, 0],
      [256, 0, 0],
    ]),
    [0, 0, 0, 0, 0, 0],
  );
});
