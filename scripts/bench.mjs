// npm run bench -- [--json] [--list] [--only NAME]: the measurements of scripts/bench/.
import { join } from 'node:path';
import { ensureBuilt } from './build.mjs';
import { ensureInstalled, runScript } from './ensure.mjs';
import { ROOT } from './install/parts.mjs';
import { runNode } from './run.mjs';

await runScript(async () => {
  await ensureInstalled();
  await ensureBuilt();
  return runNode(['--import', 'tsx', join(ROOT, 'scripts', 'bench', 'main.ts'), ...process.argv.slice(2)]);
});
