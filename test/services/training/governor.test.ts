import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createDevice } from '../../../runtime/services/health/device.ts';
import {
  createGovernor,
  type GovernorReaders,
  type Pause,
} from '../../../runtime/services/training/governor.ts';

const NOTHING: GovernorReaders = {
  temperature: async () => undefined,
  throttling: async () => undefined,
  freeBytes: async () => undefined,
  trouble: () => undefined,
  latenessMs: () => undefined,
};

function governorWith(readers: Partial<GovernorReaders>) {
  let time = 1_000_000;
  const lines: string[] = [];
  const changes: (Pause | undefined)[] = [];
  const governor = createGovernor({
    limits: { maxTemperature: 75, minFree: 100 * 2 ** 20, maxLatenessMs: 100 },
    readers: { ...NOTHING, ...readers },
    log: (level, message) => lines.push(`${level} ${message}`),
    now: () => time,
    calmMs: 10_000,
  });
  governor.onChange((pause) => changes.push(pause));
  return {
    governor,
    lines,
    changes,
    /** Looks after so many seconds. */
    async after(seconds: number) {
      time += 1000 * seconds;
      return (await governor.look())?.why;
    },
    time: () => time,
  };
}

/** A device whose files lie in a directory of the test's. */
async function deviceIn(t: TestContext) {
  const root = await mkdtemp(join(tmpdir(), 'kosmos-device-'));
  t.after(() => rm(root, { recursive: true }));
  const device = createDevice({
    thermal: join(root, 'thermal'),
    throttled: join(root, 'get_throttled'),
    hwmon: join(root, 'hwmon'),
  });
  await mkdir(join(root, 'thermal/thermal_zone0'), { recursive: true });
  await mkdir(join(root, 'hwmon/hwmon0'), { recursive: true });
  await writeFile(join(root, 'hwmon/hwmon0/name'), 'rpi_volt\n');
  return {
    device,
    heat: (celsius: number) =>
      writeFile(join(root, 'thermal/thermal_zone0/temp'), `${Math.round(celsius * 1000)}\n`),
    firmware: (word: string) => writeFile(join(root, 'get_throttled'), `${word}\n`),
    alarm: (value: 0 | 1) => writeFile(join(root, 'hwmon/hwmon0/in0_lcrit_alarm'), `${value}\n`),
  };
}

test('a device that says nothing pauses nothing', async () => {
  const { after, lines, changes } = governorWith({});
  assert.equal(await after(0), undefined);
  assert.deepEqual([lines, changes], [[], []]);
});

test('heat pauses until it is five degrees cooler, for a while', async (t) => {
  const { device, heat } = await deviceIn(t);
  const { governor, after, lines, changes, time } = governorWith({
    temperature: async () => (await device.temperature())?.celsius,
  });
  await heat(74.9);
  assert.equal(await after(2), undefined);
  await heat(75);
  assert.match((await after(2))!, /^75\.0 °C, 75 °C is the most$/);
  const since = time();
  await heat(70.5);
  assert.match((await after(2))!, /70\.5 °C/, 'not cool enough');
  await heat(69.9);
  assert.notEqual(await after(2), undefined, 'not for long enough');
  assert.notEqual(await after(9), undefined);
  await heat(71);
  assert.notEqual(await after(0.5), undefined, 'below the limit, and no new beginning');
  assert.equal(await after(10), undefined);
  assert.deepEqual(
    changes.map((change) => change?.since),
    [since, undefined],
  );
  assert.equal(governor.paused(), undefined);
  assert.equal(lines.length, 2, lines.join('\n'));
  assert.match(lines[0]!, /^warn training pauses: 75\.0 °C/);
  assert.match(lines[1]!, /^info training may go on after \d+ s/);
});

test('a temperature that swings around the limit pauses once', async (t) => {
  const { device, heat } = await deviceIn(t);
  const { after, changes } = governorWith({
    temperature: async () => (await device.temperature())?.celsius,
  });
  for (let swing = 0; swing < 20; swing += 1) {
    await heat(swing % 2 === 0 ? 75.5 : 69);
    await after(2);
  }
  assert.equal(changes.length, 1);
});

test('under-voltage pauses, told by the firmware or by the voltage sensor', async (t) => {
  const { device, firmware, alarm } = await deviceIn(t);
  const { after } = governorWith({ throttling: async () => (await device.throttling())?.now });
  await firmware('50000');
  assert.equal(await after(2), undefined, 'what was over before is no reason to wait');
  await firmware('50005');
  assert.equal(await after(2), 'under-voltage, throttled');
  await firmware('50000');
  assert.notEqual(await after(2), undefined);
  assert.equal(await after(10), undefined);
  await alarm(1);
  assert.equal(await after(2), 'under-voltage');
  await alarm(0);
  await after(2);
  assert.equal(await after(10), undefined);
});

test('a disk that fills up pauses, and needs more than the limit to go on', async () => {
  let free = 99 * 2 ** 20;
  const { after } = governorWith({ freeBytes: async () => free });
  assert.equal(await after(2), '99 MiB left on disk, 100 MiB is the least');
  free = 110 * 2 ** 20;
  assert.match((await after(20))!, /110 MiB left/);
  free = 121 * 2 ** 20;
  await after(2);
  assert.equal(await after(10), undefined);
});

test('late samples pause when they stay late, a journal in trouble at once', async () => {
  let late: number | undefined;
  let trouble: string | undefined;
  const { after } = governorWith({ latenessMs: () => late, trouble: () => trouble });
  late = 150;
  assert.equal(await after(2), undefined);
  assert.equal(await after(2), undefined);
  late = 20;
  assert.equal(await after(2), undefined);
  late = 150;
  await after(2);
  await after(2);
  assert.equal(await after(2), 'samples come 150 ms late, 100 ms is the most');
  late = 60;
  assert.match((await after(2))!, /60 ms late/, 'half the limit ends it');
  late = 10;
  trouble = 'no space left';
  assert.equal(await after(2), 'the journal: no space left');
  trouble = undefined;
  await after(2);
  assert.equal(await after(10), undefined);
});

test('causes add up, since when is told of the first', async () => {
  let hot = 80;
  let trouble: string | undefined;
  const { governor, after, changes } = governorWith({
    temperature: async () => hot,
    trouble: () => trouble,
  });
  await after(2);
  const { since } = governor.paused()!;
  trouble = 'stuck';
  assert.match((await after(5))!, /80\.0 °C.*the journal: stuck/);
  hot = 20;
  assert.equal(await after(5), 'the journal: stuck');
  assert.equal(governor.paused()!.since, since);
  assert.equal(changes.length, 1);
});

test('what cannot be read is told once and pauses nothing', async () => {
  const { after, lines } = governorWith({
    temperature: () => Promise.reject(new Error('the bus is gone')),
  });
  assert.equal(await after(2), undefined);
  assert.equal(await after(2), undefined);
  assert.deepEqual(lines, ['warn temperature cannot be read: the bus is gone']);
});

test('a stop lets go', async () => {
  const { governor, after, changes } = governorWith({ trouble: () => 'stuck' });
  await after(1);
  governor.stop();
  assert.equal(governor.paused(), undefined);
  assert.equal(changes.at(-1), undefined);
  assert.equal(changes.length, 2);
});
