import { spawn, spawnSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DemoGateway, DemoPlan } from '../../runtime/cli/demo/options.ts';
import { planDemo } from '../../runtime/cli/demo/plan.ts';
import { clearDemoDirectory, configPath, prepareGateways } from '../../runtime/cli/demo/prepare.ts';
import { createEmbeddedBroker } from '../../runtime/services/telemetry/embedded.ts';
import type { Bench, Measured } from './harness.ts';

const LIMIT_GB_A_DAY = 3;
const STREAMS = 8;
const INTERVAL_MS = 100;
const DISK_BYTES = 2_000_000_000;
const SECTOR_BYTES = 512;
const SETTLE_MS = 30_000;
const DAY_S = 86_400;
/** KOSMOS_BENCH_MINUTES makes it shorter or longer. */
const USUAL_MINUTES = 60;

/**
 * What a gateway with 8 streams of 10 Hz writes to its device in a day: a real consortium of three, the first
 * gateway on an ext4 file system of its own on a loop device, whose write counter the kernel keeps. So the file
 * system's own journal and LevelDB's compactions are in it.
 */
export const deviceWrites: Bench = {
  name: 'device-writes',
  unit: 'GB/day',
  against: `limit ${LIMIT_GB_A_DAY} GB a day`,
  slow: true,
  async run() {
    const minutes = Number(process.env.KOSMOS_BENCH_MINUTES ?? USUAL_MINUTES);
    if (!(minutes > 0)) throw new Error('KOSMOS_BENCH_MINUTES is a number of minutes');
    const directory = await mkdtemp(join(tmpdir(), 'kosmos-bench-'));
    const disk = await mountDisk(directory);
    try {
      return await measure(directory, disk, minutes);
    } finally {
      run('umount', [disk.path]);
      await rm(directory, { recursive: true, force: true });
    }
  },
};

interface Disk {
  readonly path: string;
  /** The kernel's name of the loop device. */
  readonly device: string;
}

/** An ext4 file system in a file. @throws Error where there are no loop devices, or no root. */
async function mountDisk(directory: string): Promise<Disk> {
  const image = join(directory, 'disk.img');
  const path = join(directory, 'disk');
  await mkdir(path);
  await writeFile(image, '');
  await truncate(image, DISK_BYTES);
  // Nothing is left to be initialised later, which would count as the gateway's.
  run('mkfs.ext4', ['-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image]);
  run('mount', ['-o', 'loop', image, path]);
  const device = basename(run('findmnt', ['-n', '-o', 'SOURCE', path]).trim());
  return { path, device };
}

function run(command: string, parameters: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, parameters, { encoding: 'utf8' });
  if (error || status !== 0) {
    throw new Error(
      `${command} ${parameters.join(' ')}: ${error?.message ?? stderr.trim()} (a loop device and root are needed)`,
    );
  }
  return stdout;
}

/** Sectors written so far: the seventh field (Documentation/block/stat.rst). */
async function bytesWritten(device: string): Promise<number> {
  const fields = (await readFile(`/sys/block/${device}/stat`, 'utf8')).trim().split(/\s+/);
  return Number(fields[6]) * SECTOR_BYTES;
}

async function measure(directory: string, disk: Disk, minutes: number): Promise<Measured> {
  const plan = await planOf(directory, disk);
  await clearDemoDirectory(join(directory, 'demo'));
  const broker = createEmbeddedBroker(
    {
      listen: { host: '127.0.0.1', port: 0 },
      maxClients: 8,
      maxSessions: 8,
      queueLimit: 1000,
      sessionExpiry: 3_600_000,
    },
    () => {},
  );
  await broker.start();
  await prepareGateways(plan, join(directory, 'demo'), `mqtt://${broker.address()}`);
  await settle(plan, directory);
  const children = plan.gateways.map((gateway) =>
    spawn(process.execPath, ['dist/kosmos.mjs', 'run', '--config', configPath(gateway)], { stdio: 'ignore' }),
  );
  try {
    await sleep(SETTLE_MS);
    const before = await bytesWritten(disk.device);
    const started = performance.now();
    for (let minute = 0; minute < minutes; minute++) {
      await sleep(60_000 * Math.min(1, minutes - minute));
      if (process.stderr.isTTY) process.stderr.write(`\rdevice-writes: ${minute + 1} of ${minutes} minutes`);
    }
    if (children[0]!.exitCode !== null) throw new Error('the gateway ended by itself');
    run('sync', ['-f', disk.path]);
    const bytes = (await bytesWritten(disk.device)) - before;
    const seconds = (performance.now() - started) / 1000;
    const value = ((bytes / seconds) * DAY_S) / 1e9;
    return {
      value,
      ratio: value / LIMIT_GB_A_DAY,
      note: `${(bytes / 1e6).toFixed(1)} MB in ${(seconds / 60).toFixed(1)} minutes on ext4, ${STREAMS} streams of ${1000 / INTERVAL_MS} Hz and 3 values (BME280), the default commit interval, checkpoints every 10 s cosigned by two peers, published over MQTT`,
    };
  } finally {
    for (const child of children) child.kill('SIGTERM');
    await Promise.all(
      children.map(
        (child) =>
          new Promise((resolve) => (child.exitCode === null ? child.once('close', resolve) : resolve(0))),
      ),
    );
    await broker.stop();
  }
}

async function planOf(directory: string, disk: Disk): Promise<DemoPlan> {
  const plan = await planDemo({
    gateways: 3,
    epsilon: 8,
    unit: 'episode',
    rounds: undefined,
    data: undefined,
    ranges: undefined,
    broker: undefined,
    directory: join(directory, 'demo'),
    seed: 1,
  });
  const simulation = `[simulation]\nseed = 1\nmachines = ${STREAMS}\ncycle = "${INTERVAL_MS}ms"\n`;
  const machines = Array.from(
    { length: STREAMS },
    (_, index) =>
      `[[machine]]\nid = "press-${index}"\n[[machine.stream]]\nname = "climate"\ndriver = "bme280"\ninterval = "${INTERVAL_MS}ms"\n[machine.stream.settings]\nbus = "sim:${index}"\n`,
  );
  const [first, ...others] = plan.gateways;
  const busy: DemoGateway = {
    ...first!,
    directory: join(disk.path, 'gateway'),
    machines: [simulation, ...machines].join('\n'),
  };
  const idle = others.map((gateway): DemoGateway => ({ ...gateway, machines: '' }));
  return {
    ...plan,
    terms: { ...plan.terms, log: { checkpointInterval: 10_000, padding: 0 } },
    gateways: [busy, ...idle],
  };
}

/** The demo commits twice a second; a gateway as its default says. The agreement goes with the gateway to its disk. */
async function settle(plan: DemoPlan, directory: string): Promise<void> {
  for (const gateway of plan.gateways) {
    const text = await readFile(configPath(gateway), 'utf8');
    await writeFile(configPath(gateway), text.replace('commit_interval = "500ms"\n', ''));
  }
  for (const name of ['agreement.toml', 'agreement.toml.sigs']) {
    await copyFile(join(directory, 'demo', name), join(plan.gateways[0]!.directory, '..', name));
  }
}
