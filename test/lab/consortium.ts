/** A consortium in a temporary directory, each of its gateways a process that can be asked, killed and started again. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DemoGateway } from '../../runtime/cli/demo/options.ts';
import { companyName } from '../../runtime/cli/demo/options.ts';
import { configPath, prepareGateways } from '../../runtime/cli/demo/prepare.ts';
import { socketIn } from '../../runtime/cli/settings-file.ts';
import { draftTerms } from '../../runtime/cli/setup/terms.ts';
import type { DataSheet } from '../../runtime/core/learning/features.ts';
import { cmapssPreset, type LearningPreset, simulatedPreset } from '../../runtime/core/learning/presets.ts';
import { askDaemon } from '../../runtime/services/control/client.ts';
import { dataSheetSchema } from '../../runtime/state/agreement/schema.ts';
import { readSettingsFile } from '../../runtime/state/settings/read.ts';
import type { GatewayStatus } from '../../runtime/status.ts';
import {
  builtKosmos,
  type Ended,
  kosmos,
  labPort,
  ROOT,
  type Started,
  startKosmos,
  until,
  within,
} from './program.ts';
import { writeRecordings } from './recordings.ts';

export interface LabGateway {
  readonly member: string;
  readonly name: string;
  readonly directory: string;
  readonly port: number;
  readonly config: string;
  /** Starts it and waits until it answers. */
  start(): Promise<void>;
  /** Undefined while it does not answer. */
  status(): Promise<GatewayStatus | undefined>;
  /** The status; throws when there is none. */
  mustStatus(): Promise<GatewayStatus>;
  ask(command: string, given?: Readonly<Record<string, unknown>>): Promise<unknown>;
  /** Sends the signal and waits for the end. */
  kill(signal: 'SIGTERM' | 'SIGKILL' | 'SIGINT'): Promise<Ended>;
  /** What it has logged since its last start. */
  log(): string;
  pid(): number;
}

export interface Consortium {
  readonly directory: string;
  readonly program: string;
  readonly gateways: readonly LabGateway[];
  startAll(): Promise<void>;
  /** Ends all that runs with SIGTERM; the exit codes. */
  stopAll(): Promise<readonly (number | null)[]>;
  verify(gateway: LabGateway): Promise<Ended>;
  /** Kills what still runs and removes the directory. */
  remove(): Promise<void>;
}

export interface ConsortiumOptions {
  readonly gateways: number;
  /** Where samples come from: live machines, or recordings of machines that have failed. */
  readonly machines: 'live' | 'recorded';
  readonly cycleMs?: number;
  readonly machinesEach?: number;
  readonly epsilon?: number | 'off';
  readonly rounds?: number;
  readonly commitInterval?: string;
  /** Logs grow in steps of so many blocks. */
  readonly padding?: number;
  /** The [telemetry] part of gateway number `index`, without the header. */
  readonly telemetry?: (index: number) => string;
  /** More lines at the end of the configuration of gateway number `index`. */
  readonly more?: (index: number) => string;
}

/** Prepares keys, agreement and configurations; nothing runs yet. */
export async function createConsortium(options: ConsortiumOptions): Promise<Consortium> {
  const program = await builtKosmos();
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-lab-'));
  const machines =
    options.machines === 'live' ? liveMachines(options) : await recordedMachines(options, directory);
  const planned = await Promise.all(
    Array.from({ length: options.gateways }, async (_, index): Promise<DemoGateway> => {
      const member = companyName(index);
      const port = await labPort();
      return {
        member,
        name: `${member}-1`,
        directory: join(directory, member),
        port,
        holdBack: { adopt: 0, calibrate: 0 },
        machines: machines(index),
      };
    }),
  );
  const preset = options.machines === 'live' ? simulatedPreset : cmapssPreset;
  const sheet = await readSheet(options.machines === 'live' ? 'simulated-machine' : 'cmapss');
  const plan = {
    gateways: planned,
    terms: quickTerms(options, preset),
    sheet,
    windows: preset.windows,
    evaluation: [],
    description: '',
  };
  await prepareGateways(plan, directory, '');
  for (const [index, gateway] of planned.entries()) {
    await writeFile(configPath(gateway), formatConfig(gateway, options, index));
  }
  const gateways = planned.map((gateway) => labGateway(gateway, program));
  return {
    directory,
    program,
    gateways,
    startAll: async () => void (await Promise.all(gateways.map((gateway) => gateway.start()))),
    stopAll: () => Promise.all(gateways.map(async (gateway) => (await gateway.kill('SIGTERM')).code)),
    verify: (gateway) => kosmos(program, ['verify', gateway.directory]),
    async remove() {
      await Promise.all(gateways.map((gateway) => gateway.kill('SIGKILL')));
      await rm(directory, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

/** Terms whose rounds take seconds: a few steps, no rest between rounds, short limits. */
function quickTerms(options: ConsortiumOptions, preset: LearningPreset) {
  const terms = draftTerms({
    consortium: 'lab',
    stream: 'monitor',
    preset,
    fleet: { episodes: 4, windowsALife: 60 },
    unit: 'window',
    epsilon: options.epsilon ?? 8,
    delta: 1e-5,
    rounds: options.rounds ?? 500,
    checkpointIntervalMs: 300,
    padding: options.padding ?? 0,
    intervalMs: 200,
  });
  return {
    ...terms,
    learning: { ...terms.learning, hidden: [8] },
    federation: { ...terms.federation, phaseLimit: 15_000 },
  };
}

function liveMachines({ cycleMs = 20, machinesEach = 2 }: ConsortiumOptions): (index: number) => string {
  return (index) => {
    const streams = Array.from({ length: machinesEach }, (_, machine) =>
      machineTable(
        `press-${machine + 1}`,
        'machine-monitor',
        `${cycleMs}ms`,
        `bus = "sim:${machine}"\ncontact = { chip = "sim", offset = ${machine} }\n`,
      ),
    );
    return `[simulation]\nseed = ${index + 1}\nmachines = ${machinesEach}\ncycle = "${cycleMs}ms"\n\n${streams.join('\n')}`;
  };
}

async function recordedMachines(
  { gateways, machinesEach = 2 }: ConsortiumOptions,
  directory: string,
): Promise<(index: number) => string> {
  const data = join(directory, 'recordings');
  await writeRecordings(data, gateways * machinesEach);
  return (index) =>
    Array.from({ length: machinesEach }, (_, machine) => {
      const engine = index * machinesEach + machine + 1;
      return machineTable(
        `engine-${engine}`,
        'cmapss',
        '0ms',
        `directory = ${JSON.stringify(data)}\nsubset = "FD001"\nengine = ${engine}\n`,
      );
    }).join('\n');
}

export function machineTable(id: string, driver: string, interval: string, settings: string): string {
  return `[[machine]]\nid = "${id}"\n[[machine.stream]]\nname = "monitor"\ndriver = "${driver}"\ninterval = "${interval}"\n[machine.stream.settings]\n${settings}`;
}

function formatConfig(gateway: DemoGateway, options: ConsortiumOptions, index: number): string {
  return `[gateway]
member = "${gateway.member}"
name = "${gateway.name}"
directory = "."

[journal]
commit_interval = "${options.commitInterval ?? '100ms'}"

[peering]
listen = "127.0.0.1:${gateway.port}"

[telemetry]
${options.telemetry?.(index) ?? ''}
${gateway.machines}
${options.more?.(index) ?? ''}`;
}

async function readSheet(name: string): Promise<DataSheet> {
  const judged = await readSettingsFile(join(ROOT, 'config', 'datasheets', `${name}.toml`), dataSheetSchema);
  if (!judged.ok) throw new Error(`the data sheet ${name} has faults`);
  return { channels: judged.value.channel, conditions: judged.value.condition };
}

function labGateway(planned: DemoGateway, program: string): LabGateway {
  const { member, name, directory, port } = planned;
  const config = configPath(planned);
  const socket = socketIn(directory);
  let running: Started | undefined;

  async function status(): Promise<GatewayStatus | undefined> {
    // While it is starting or overloaded nobody answers; callers ask again.
    return askDaemon(socket, 'status', {}, 5000).then(
      (value) => value as GatewayStatus,
      () => undefined,
    );
  }

  function log(): string {
    return running?.stderr() ?? '';
  }

  return {
    member,
    name,
    directory,
    port,
    config,
    status,
    log,
    async start() {
      const started = startKosmos(program, ['run', '--config', config, '--with-parent']);
      running = started;
      await until(`${name} answers`, async () => {
        if (started.child.exitCode !== null) throw new Error(`${name} ended:\n${started.stderr()}`);
        return (await status())?.pid === started.child.pid;
      });
    },
    async mustStatus() {
      return until(`${name} answers`, status, { details: log });
    },
    ask: (command, given = {}) => askDaemon(socket, command, given),
    async kill(signal) {
      if (!running) return { code: null, signal: null, stdout: '', stderr: '' };
      running.child.kill(signal);
      const ended = await within(20_000, running.ended);
      if (ended) return ended;
      running.child.kill('SIGKILL');
      throw new Error(`${name} does not end after ${signal}:\n${log()}`);
    },
    pid: () => running?.child.pid ?? -1,
  };
}

/** Waits until the gateway has made more entries than it had. */
export async function assertGoesOn(one: LabGateway): Promise<void> {
  const { journal } = await one.mustStatus();
  await until(
    `${one.name} goes on sampling`,
    async () => (await one.mustStatus()).journal.entries > journal.entries + 20,
    { details: one.log },
  );
}

export async function untilLogged(one: LabGateway, line: RegExp): Promise<void> {
  await until(`${one.name} logs ${line}`, () => line.test(one.log()), { details: one.log });
}
