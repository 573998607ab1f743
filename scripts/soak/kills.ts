/**
 * `node --import tsx scripts/soak/kills.ts [--kills N] [--life MS]`: kills a gateway's log N times (1,000) at random
 * moments under load, and checks each time that nothing acknowledged was lost, no number given twice and no
 * published checkpoint contradicted. Exit code 0 when all held; on a failure the directory is kept and named.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { killAgainAndAgain } from '../../test/soak/kills.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '1000' },
    life: { type: 'string', default: '400' },
  },
});
const kills = Number(values.kills);
const maxLifeMs = Number(values.life);
if (!(kills >= 1) || !(maxLifeMs > 0)) {
  console.error('--kills is a number of times, --life a number of milliseconds');
  process.exit(2);
}
const directory = await mkdtemp(join(tmpdir(), 'kosmos-soak-'));
const started = performance.now();
try {
  const told = await killAgainAndAgain({
    directory,
    kills,
    maxLifeMs,
    progress(done, { acknowledged, checkpoints }) {
      const line = `${done} of ${kills} kills, ${acknowledged} samples acknowledged, ${checkpoints} checkpoints published`;
      if (process.stderr.isTTY) process.stderr.write(`\r${line}`);
      else if (done % 50 === 0) console.error(line);
    },
  });
  const seconds = Math.round((performance.now() - started) / 1000);
  console.log(
    `${kills} kills in ${seconds} s: ${told.acknowledged} acknowledged samples are there, in order and once; ${told.checkpoints} published checkpoints are of the log`,
  );
  await rm(directory, { recursive: true, force: true });
} catch (error) {
  console.error(`\n${(error as Error).message}\nthe directory is kept: ${directory}`);
  process.exitCode = 1;
}
