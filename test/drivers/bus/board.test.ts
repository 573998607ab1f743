import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

function absent(): string | false {
  try {
    // Firmata asks for serialport at once; its native part may be missing, or built for another version of Node.
    const loadBeside = createRequire(createRequire(import.meta.url).resolve('johnny-five'));
    loadBeside('serialport');
    return false;
  } catch {
    return 'the optional package johnny-five, or the native part of its serialport, does not load';
  }
}

const near = (value: number, expected: number, by: number) =>
  assert.ok(Math.abs(value - expected) < by, `${value} for ${expected}`);

test('johnny-five on our buses, and our drivers over Firmata', { skip: absent() }, async () => {
  const fixture = fileURLToPath(new URL('board.fixture.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', fixture], {
    timeout: 60_000,
  });
  const { plugin, firmata } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  // johnny-five's own formulas over our chip: an independent reader.
  assert.equal(plugin.early, false, 'ready before anybody could listen');
  assert.deepEqual(plugin.errors, []);
  assert.deepEqual(plugin.seen, ['open', 'close']);
  near(plugin.temperature, 31.4, 0.05);
  near(plugin.pressure, 98.765, 0.05);
  near(plugin.humidity, 42, 0.5);

  const [temperature, pressure, humidity, current, voltage, power] = firmata.values;
  near(temperature, 31.4, 0.02);
  near(pressure, 98_765, 8);
  near(humidity, 42, 0.1);
  near(current, 5, 0.002);
  near(voltage, 24, 0.003);
  near(power, 120, 0.1);
  assert.match(firmata.absent, /nobody answered/);
  assert.deepEqual(firmata.after, [0x60], 'the bus serves on after a device that was absent');
});
