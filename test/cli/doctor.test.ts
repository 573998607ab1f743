import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { builtKosmos, kosmos, lastJson } from '../lab/program.ts';
import { temporaryDirectory } from '../services/consortium.ts';

interface Report {
  readonly backend: { readonly name: string; readonly detail: string };
  readonly net: string;
  readonly speeds: readonly {
    readonly unit: string;
    readonly windowsPerStep: number;
    readonly millisecondsPerStep: number;
    readonly stepsPerSecond: number;
  }[];
  readonly device: { readonly disk: { readonly directory: string }; readonly pauses: string | null };
  readonly healthy: boolean;
}

test('doctor has really trained, with privacy and without, and says how fast and how the device is', async (t) => {
  const program = await builtKosmos();
  const home = await temporaryDirectory(t);
  // A disk that can never have that much left.
  const text = `
    [gateway]
    member = "acme"
    name = "hall-1"
    directory = "."
    [journal]
    [peering]
    [training]
    min_free = "1024TiB"
  `;
  await writeFile(join(home, 'gateway.toml'), text);
  const { code, stdout, stderr } = await kosmos(program, ['doctor', '--config', 'gateway.toml', '--json'], {
    cwd: home,
  });
  assert.equal(code, 0, stderr);
  const report = lastJson(stdout) as unknown as Report;
  assert.ok(report.healthy);
  assert.match(report.backend.name, /^(wasm|tfjs-node)$/);
  assert.equal(report.net, '42-32-16-1', 'without an agreement the preset’s');
  assert.deepEqual(
    report.speeds.map(({ unit, windowsPerStep }) => [unit, windowsPerStep]),
    [
      ['window', 100],
      ['none', 100],
    ],
  );
  for (const { millisecondsPerStep, stepsPerSecond } of report.speeds) {
    assert.ok(millisecondsPerStep > 0);
    assert.ok(Math.abs(stepsPerSecond * millisecondsPerStep - 1000) < 1e-6);
  }
  assert.equal(report.device.disk.directory, home);
  assert.match(report.device.pauses ?? '', /MiB left on disk, 1073741824 MiB is the least/);
});

test('doctor shows the same as a table', async (t) => {
  const program = await builtKosmos();
  const { code, stdout } = await kosmos(program, ['doctor'], { cwd: await temporaryDirectory(t) });
  assert.equal(code, 0);
  assert.match(stdout, /^training +(wasm|tfjs-node): .*tfjs 4/m);
  assert.match(
    stdout,
    /^speed +42-32-16-1, 100 windows a step, private \(window\): .* steps\/s, .* ms a step$/m,
  );
  assert.match(stdout, /^speed .*without privacy/m);
  assert.match(stdout, /^disk +.* free in /m);
});
