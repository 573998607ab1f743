// node scripts/interop/run.mjs [--keep]: public Go implementations of the C2SP formats against running gateways.
// Needs Go and the Go module proxy; exits with 2 when there is no Go, with 1 when a step fails.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ensureInstalled, runScript } from '../ensure.mjs';
import { ROOT } from '../install/parts.mjs';
import { runNode } from '../run.mjs';

await runScript(async () => {
  const go = spawnSync('go', ['version'], { encoding: 'utf8' });
  if (go.status !== 0) {
    process.stderr.write(
      'interop: the command go is not there; install Go 1.25 or newer (https://go.dev/dl)\n',
    );
    return 2;
  }
  await ensureInstalled();
  return runNode(['--import', 'tsx', join(ROOT, 'scripts', 'interop', 'main.ts'), ...process.argv.slice(2)]);
});
