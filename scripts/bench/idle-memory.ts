import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DemoOptions } from '../../runtime/cli/demo/options.ts';
import { planDemo } from '../../runtime/cli/demo/plan.ts';
import { clearDemoDirectory, configPath, prepareGateways } from '../../runtime/cli/demo/prepare.ts';
import { type Bench, summarise } from './harness.ts';

const LIMIT_MB = 100;
const WARM_UP_MS = 20_000;
const LOOKS = 5;

/** Resident memory of one bundled gateway that samples, logs and asks for its peers, and does not train. */
export const idleMemory: Bench = {
  name: 'idle-memory',
  unit: 'MB',
  against: `limit ${LIMIT_MB} MB`,
  async run() {
    if (process.platform !== 'linux')
      throw new Error('resident memory is read from /proc, which only Linux has');
    const directory = await mkdtemp(join(tmpdir(), 'kosmos-bench-'));
    try {
      const options: DemoOptions = {
        gateways: 3,
        epsilon: 8,
        unit: 'episode',
        rounds: undefined,
        data: undefined,
        ranges: undefined,
        broker: undefined,
        directory: join(directory, 'demo'),
        seed: 1,
      };
      const plan = await planDemo(options);
      await clearDemoDirectory(options.directory);
      await prepareGateways(plan, options.directory, 'mqtt://127.0.0.1:1');
      return await measure(configPath(plan.gateways[0]!));
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  },
};

async function measure(config: string) {
  const child = spawn(process.execPath, ['dist/kosmos.mjs', 'run', '--config', config], { stdio: 'ignore' });
  try {
    await sleep(WARM_UP_MS);
    const figures: number[] = [];
    for (let look = 0; look < LOOKS; look++) {
      figures.push(await residentMegabytes(child.pid!));
      await sleep(1000);
    }
    const side = summarise(figures);
    return {
      value: side.median,
      ratio: side.median / LIMIT_MB,
      sides: { resident: side },
      note: '6 machines, 20 samples/s each, both peers away',
    };
  } finally {
    child.kill('SIGTERM');
    await new Promise((resolve) => child.once('close', resolve));
  }
}

async function residentMegabytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kilobytes === undefined) throw new Error('the gateway has ended; run kosmos run by hand to see why');
  return (Number(kilobytes) * 1024) / 1e6;
}
