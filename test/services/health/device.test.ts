import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createDevice } from '../../../runtime/services/health/device.ts';

/** Files as the kernel shows them, by their path below the class directories. */
async function deviceWith(t: TestContext, files: Readonly<Record<string, string>>) {
  const root = await mkdtemp(join(tmpdir(), 'kosmos-device-'));
  t.after(() => rm(root, { recursive: true }));
  for (const [file, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, file)), { recursive: true });
    await writeFile(join(root, file), text);
  }
  return createDevice({
    thermal: join(root, 'thermal'),
    throttled: join(root, 'get_throttled'),
    hwmon: join(root, 'hwmon'),
    meminfo: join(root, 'meminfo'),
  });
}

test('the hottest sensor counts, and is named', async (t) => {
  const device = await deviceWith(t, {
    'thermal/thermal_zone0/temp': '48312\n',
    'thermal/thermal_zone0/type': 'cpu-thermal\n',
    'thermal/thermal_zone1/temp': '61000\n',
    'thermal/thermal_zone1/type': 'rp1_adc\n',
    'thermal/thermal_zone2/temp': '-273000\n',
    'thermal/thermal_zone3/temp': 'no data\n',
    'thermal/thermal_zone4/type': 'switched off\n',
    'thermal/cooling_device0/temp': '99000\n',
  });
  assert.deepEqual(await device.temperature(), { celsius: 61, zone: 'rp1_adc' });
});

test('frost is a temperature too', async (t) => {
  const device = await deviceWith(t, { 'thermal/thermal_zone0/temp': '-12500\n' });
  assert.deepEqual(await device.temperature(), { celsius: -12.5, zone: 'thermal_zone0' });
});

test('the firmware’s flags are read with what they say of the past', async (t) => {
  for (const [word, now, before] of [
    ['0', [], []],
    ['50005', ['under-voltage', 'throttled'], ['under-voltage', 'throttled']],
    ['0x80008', ['soft temperature limit'], ['soft temperature limit']],
    ['20000', [], ['clock capped']],
  ] as const) {
    const device = await deviceWith(t, { get_throttled: `${word}\n` });
    assert.deepEqual(await device.throttling(), { now, before }, word);
  }
});

test('the voltage alarm is looked for under its name, not under a number', async (t) => {
  const device = await deviceWith(t, {
    'hwmon/hwmon0/name': 'cpu_thermal\n',
    'hwmon/hwmon0/in0_lcrit_alarm': '1\n',
    'hwmon/hwmon3/name': 'rpi_volt\n',
    'hwmon/hwmon3/in0_lcrit_alarm': '0\n',
  });
  assert.deepEqual(await device.throttling(), { now: [], before: [] });
  const low = await deviceWith(t, {
    'hwmon/hwmon3/name': 'rpi_volt\n',
    'hwmon/hwmon3/in0_lcrit_alarm': '1\n',
    get_throttled: '10001\n',
  });
  assert.deepEqual(await low.throttling(), { now: ['under-voltage'], before: ['under-voltage'] });
});

test('what is not there is not known', async (t) => {
  const device = await deviceWith(t, { get_throttled: 'nonsense\n', 'hwmon/hwmon0/name': 'other\n' });
  assert.equal(await device.temperature(), undefined);
  assert.equal(await device.throttling(), undefined);
  assert.equal(await device.memory(), undefined);
  assert.equal(await device.freeBytes('/nowhere/at/all'), undefined);
});

test('memory and disk are what the system says', async (t) => {
  const told = await deviceWith(t, {
    meminfo: 'MemTotal:        1893076 kB\nMemFree:  10 kB\nMemAvailable:     901236 kB\n',
  });
  assert.deepEqual(await told.memory(), { total: 1893076 * 1024, available: 901236 * 1024 });
  if (existsSync('/proc/meminfo')) assert.equal((await createDevice().memory())?.total, totalmem());
  const { blocks, bsize } = await statfs(tmpdir());
  const free = await told.freeBytes(tmpdir());
  assert.ok(free !== undefined && free > 0 && free <= blocks * bsize);
});
