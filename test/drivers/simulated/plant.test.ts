import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Reading } from '../../../drivers/driver.ts';
import { monitor, monitorChannels } from '../../../drivers/monitor.ts';
import { createReader, simulateEpisodes } from '../../../drivers/simulated/episodes.ts';
import { createSimulatedPlant } from '../../../drivers/simulated/plant.ts';

/** A plant on a clock of its own that stands in the middle of cycle 0. */
function plantAt(seed: number, machines: number, timeLimitMs = 500) {
  const clock = { cycle: 0.5 };
  const plant = createSimulatedPlant({
    seed,
    machines,
    cycleMs: 100,
    startMs: 0,
    now: () => clock.cycle * 100,
    timeLimitMs,
  });
  const open = (machine: number) => monitor.open(plant.monitorSettings(machine), plant);
  return { clock, plant, open };
}

async function readings(seed: number, machine: number, cycles: number): Promise<Reading[]> {
  const { clock, open } = plantAt(seed, machine + 1);
  const sensor = await open(machine);
  const all: Reading[] = [];
  for (; clock.cycle < cycles; clock.cycle += 1) {
    const reading = await sensor.read();
    assert.ok(reading !== 'end');
    all.push(reading);
  }
  return all;
}

test('equal seeds give equal readings, other seeds and machines others', async () => {
  const first = await readings(5, 1, 30);
  assert.deepEqual(await readings(5, 1, 30), first);
  assert.notDeepEqual(await readings(6, 1, 30), first);
  assert.notDeepEqual(await readings(5, 0, 30), first);
});

test('machines fail, stand still, are repaired and live another life; the contact tells when', async () => {
  const all = await readings(11, 0, 700);
  const events = all.flatMap((reading, cycle) => (reading.event ? [{ event: reading.event, cycle }] : []));
  assert.ok(events.length >= 6, `${events.length} events`);
  const lives: number[] = [];
  let begun = 0;
  for (const [i, { event, cycle }] of events.entries()) {
    assert.equal(event, i % 2 === 0 ? 'failure' : 'repair');
    if (event === 'repair') begun = cycle;
    else lives.push(cycle - begun + 1);
  }
  assert.ok(
    lives.every((life) => life > 50 && life < 260),
    `${lives}`,
  );
  assert.ok(new Set(lives).size > 1, `${lives}`);
  // Standing still: no current, no load, hardly any vibration; the failure itself is still under way.
  const failure = events[0]!.cycle;
  const at = (cycle: number, name: string) =>
    all[cycle]!.values[monitorChannels.findIndex((c) => c.name === name)]!;
  assert.ok(at(failure, 'current') > 4);
  assert.ok(at(failure + 3, 'current') < 0.01);
  assert.ok(at(failure + 3, 'load') < 50);
  assert.ok(at(failure + 3, 'vibration-rms-x') < 0.2);
  // As new after the repair.
  const repair = events[1]!.cycle;
  assert.ok(at(failure, 'vibration-rms-x') > 1.8 * at(repair, 'vibration-rms-x'));
});

test('reading slowly, twice or not at all does not change the physics', async () => {
  const all = await readings(3, 0, 60);
  const { clock, open } = plantAt(3, 1);
  const sensor = await open(0);
  for (const cycle of [2.1, 2.9, 17.5, 59.5]) {
    clock.cycle = cycle;
    const once = await sensor.read();
    const twice = await sensor.read();
    assert.ok(once !== 'end' && twice !== 'end');
    assert.deepEqual(once.values, all[Math.floor(cycle)]!.values);
    assert.deepEqual(twice.values, once.values);
  }
  clock.cycle = 10; // a clock that steps back
  const back = await sensor.read();
  assert.ok(back !== 'end');
  assert.deepEqual(back.values, all[59]!.values);
});

test('a plant that is started again goes on where its clock says', async () => {
  const all = await readings(8, 0, 120);
  const { clock, open } = plantAt(8, 1);
  clock.cycle = 119.5;
  const reading = await (await open(0)).read();
  assert.ok(reading !== 'end');
  assert.deepEqual(reading.values, all[119]!.values);
});

test('the offline episodes are what the drivers read', async () => {
  const [episode] = simulateEpisodes({ seed: 21, count: 1 });
  assert.ok(episode);
  const all = await readings(21, 0, episode.length);
  assert.deepEqual(
    all.map((reading) => reading.values),
    episode,
  );
  assert.equal(all.at(-1)?.event, 'failure');
  assert.ok(all.slice(0, -1).every((reading) => reading.event === undefined));
});

test('several episodes of one machine follow each other', () => {
  const two = simulateEpisodes({ seed: 4, count: 2, machines: 1 });
  assert.equal(two.length, 2);
  assert.notDeepEqual(two[0], two[1]);
  assert.deepEqual(simulateEpisodes({ seed: 4, count: 1 })[0], two[0]);
});

test('one broken bus stops its machine alone, with an error that names it, and heals', async () => {
  const { plant, open } = plantAt(2, 2, 20);
  const [broken, sound] = [await open(0), await open(1)];
  plant.fault(0, 'nack');
  await assert.rejects(broken.read(), {
    code: 'ENXIO',
    message: /sim:0: writing of register 0xf2 at 0x76 failed: nobody answered/,
  });
  await sound.read();
  plant.fault(0, 'hang');
  const hanging = broken.read();
  await sound.read();
  await assert.rejects(hanging, { code: 'EBUSTIMEOUT' });
  await assert.rejects(broken.read(), { code: 'EBUSSTUCK' });
  plant.fault(0, 'garbage');
  await new Promise((resolve) => setImmediate(resolve));
  await assert.rejects(broken.read());
  plant.fault(0, null);
  await broken.read();
  await broken.close();
  await sound.read();
});

test('a device that fails at opening leaves nothing open', async () => {
  const { plant, open } = plantAt(2, 1, 20);
  plant.fault(0, 'garbage');
  await assert.rejects(open(0), { code: 'EBADDEVICE', message: /BME280 at 0x76 on bus sim:0: chip id 0xff/ });
  plant.fault(0, null);
  await (await open(0)).read();
});

test('the contact gives edges', async () => {
  const { clock, plant } = plantAt(11, 1);
  const contact = await plant.gpio({ chip: 'sim', offset: 0 });
  assert.equal(await contact.value(), 0);
  const edge = new Promise<number>((resolve) => contact.onEdge(resolve));
  while (!plant.state(0).failed) clock.cycle += 1;
  assert.equal(await edge, 1);
  assert.equal(await contact.value(), 1);
  await contact.close();
});

test('names that are not in the plant, and a clock gone mad, are errors', async () => {
  const { clock, plant, open } = plantAt(1, 2);
  await assert.rejects(plant.i2c('sim:2'), /no bus "sim:2"; it has machines 0 to 1/);
  await assert.rejects(plant.i2c(1), { code: 'ENXIO' });
  await assert.rejects(plant.gpio({ chip: 'pinctrl-rp1', offset: 0 }), { code: 'ENXIO' });
  const sensor = await open(0);
  clock.cycle = 1e10;
  await assert.rejects(sensor.read(), /cycles behind the clock/);
  assert.throws(() => createSimulatedPlant({ seed: 1, machines: 0, cycleMs: 1, now: () => 0 }), RangeError);
});

/** Means and slopes of the last `window` rows, and the remaining life after them. */
function windows(episodes: readonly (readonly (readonly number[])[])[], window: number, cap: number) {
  const middle = (window - 1) / 2;
  return episodes.flatMap((rows) =>
    Array.from({ length: rows.length - window + 1 }, (_, start) => {
      const part = rows.slice(start, start + window);
      const channels = monitorChannels.map((_channel, c) => part.map((row) => row[c]!));
      const means = channels.map((values) => values.reduce((a, b) => a + b) / window);
      const slopes = channels.map((values) =>
        values.reduce((sum, value, i) => sum + (i - middle) * value, 0),
      );
      return { features: [...means, ...slopes], life: Math.min(cap, rows.length - start - window) };
    }),
  );
}

/** Ridge regression on standardised features by Gaussian elimination. */
function fit(data: { features: number[]; life: number }[], ridge: number): (features: number[]) => number {
  const n = data.length;
  const size = data[0]!.features.length;
  const mean = Array.from({ length: size }, (_, j) => data.reduce((s, d) => s + d.features[j]!, 0) / n);
  const deviation = mean.map(
    (m, j) => Math.sqrt(data.reduce((s, d) => s + (d.features[j]! - m) ** 2, 0) / n) || 1,
  );
  const row = (features: number[]) => [1, ...features.map((value, j) => (value - mean[j]!) / deviation[j]!)];
  const a = Array.from({ length: size + 1 }, (_, i) =>
    Array.from({ length: size + 2 }, (_, j) => (i === j && i > 0 ? ridge * n : 0)),
  );
  for (const { features, life } of data) {
    const x = row(features);
    x.forEach((xi, i) => {
      x.forEach((xj, j) => {
        a[i]![j]! += xi * xj;
      });
      a[i]![size + 1]! += xi * life;
    });
  }
  for (let i = 0; i <= size; i++) {
    const pivot = a[i]![i]!;
    a[i] = a[i]!.map((value) => value / pivot);
    for (let k = 0; k <= size; k++) {
      if (k === i) continue;
      const factor = a[k]![i]!;
      a[k] = a[k]!.map((value, j) => value - factor * a[i]![j]!);
    }
  }
  return (features) => row(features).reduce((sum, value, j) => sum + value * a[j]![size + 1]!, 0);
}

test('remaining life can be learnt from the channels: clearly better than the mean, not perfectly', () => {
  const cap = 125;
  const episodes = simulateEpisodes({ seed: 77, count: 45 });
  const train = windows(episodes.slice(0, 30), 30, cap);
  const fresh = windows(episodes.slice(30), 30, cap);
  const predict = fit(train, 1e-3);
  const average = train.reduce((sum, { life }) => sum + life, 0) / train.length;
  const rmse = (guess: (features: number[]) => number) =>
    Math.sqrt(
      fresh.reduce((sum, { features, life }) => sum + (guess(features) - life) ** 2, 0) / fresh.length,
    );
  const mean = rmse(() => average);
  const linear = rmse((features) => Math.min(cap, Math.max(0, predict(features))));
  assert.ok(linear < 0.65 * mean, `${linear} against ${mean}`);
  assert.ok(linear > 8, `${linear}: too good to be of a real machine`);
});

test('the reader refuses a state no machine can be in', () => {
  const { plant } = plantAt(1, 1);
  assert.throws(() => createReader(1, 0)({ ...plant.state(0), voltage: 31 }), /bus voltage/);
});
