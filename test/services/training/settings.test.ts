import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { trainingSettings } from '../../../runtime/services/training/settings.ts';
import { readSettings } from '../../../runtime/state/settings/read.ts';

describe('the training settings', () => {
  it('have a value for every key', () => {
    const judged = readSettings('', 'gateway.toml', trainingSettings);
    assert.ok(judged.ok);
    assert.deepEqual(judged.value, {
      nice: 10,
      cpuShare: 0.5,
      memoryLimit: 768 * 2 ** 20,
      idle: 60_000,
      timeLimit: 600_000,
      checkpoint: 10_000,
      maxTemperature: 75,
      minFree: 256 * 2 ** 20,
      maxLateness: 100,
      holdBack: { adopt: 0.1, calibrate: 0.2 },
    });
  });

  it('are read in the units of people', () => {
    const judged = readSettings('memory_limit = "1GiB"\nidle = "5m"', 'gateway.toml', trainingSettings);
    assert.ok(judged.ok);
    assert.equal(judged.value.memoryLimit, 2 ** 30);
    assert.equal(judged.value.idle, 300_000);
    for (const bad of [
      'nice = 20',
      'idle = "0s"',
      'memory_limit = "1MB"',
      'nise = 1',
      'cpu_share = 0',
      'max_temperature = 300',
    ]) {
      assert.ok(!readSettings(bad, 'gateway.toml', trainingSettings).ok, bad);
    }
  });
});
