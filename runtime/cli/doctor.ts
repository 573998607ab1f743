import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { cmapssPreset } from '../core/learning/presets.ts';
import { createDevice, type Device } from '../services/health/device.ts';
import { createGovernor } from '../services/training/governor.ts';
import { trainingSettings } from '../services/training/settings.ts';
import { exists } from '../state/files.ts';
import { modelOf } from '../terms.ts';
import { type Net, type Speed, trySpeed } from './doctor/speed.ts';
import { projectVersion } from './project.ts';
import { loadSettings, loadUnsigned } from './settings-file.ts';
import { defineCommand } from './terminal/command.ts';
import { bytes, significant } from './terminal/human.ts';
import { printJson } from './terminal/io.ts';
import { table } from './terminal/layout.ts';

/** Parts with compiled code; what is missing is no fault until somebody asks for it. */
const PARTS = [
  { name: 'level', purpose: 'the journal', required: true },
  { name: 'i2c-bus', purpose: 'sensors on an I2C bus', required: false },
  { name: 'onoff', purpose: 'GPIO lines', required: false },
  { name: 'johnny-five', purpose: 'boards behind a serial line', required: false },
] as const;

export const doctor = defineCommand({
  name: 'doctor',
  summary: 'say which parts this machine has, what it trains with and how fast, and how it is doing',
  about:
    'Trains a few steps on made-up data in a process of its own: the network of the configuration’s agreement, ' +
    'or without one that of the C-MAPSS preset.',
  options: {
    config: { kind: 'text', value: 'FILE', about: 'a gateway’s configuration (TOML)' },
  },
  examples: ['doctor', 'doctor --config /etc/kosmos/gateway.toml --json'],
  async run({ options, json }, io) {
    const require = createRequire(import.meta.url);
    const parts = PARTS.map(({ name, purpose, required }) => ({
      name,
      purpose,
      required,
      trouble: tryLoad(() => require(name)),
    }));
    const settings = options.config === undefined ? undefined : await loadSettings(options.config);
    const training = settings?.training ?? trainingSettings.parse({});
    const directory = settings?.gateway.directory ?? process.cwd();
    const device = createDevice();
    // Before training warms the machine up.
    const state = await stateOf(device, directory, training);
    const net = await netOf(settings?.gateway.agreement);
    const { backend, speeds } = await trySpeed(net, training.nice, training.memoryLimit);
    const healthy = speeds.length > 0 && parts.every((part) => !part.required || part.trouble === undefined);
    if (json) {
      printJson(io, {
        version: projectVersion(),
        node: process.version,
        arch: process.arch,
        parts,
        backend,
        net: net.name,
        speeds,
        device: state,
        healthy,
      });
      return healthy ? 0 : 1;
    }
    const rows = [
      ['kosmos', projectVersion()],
      ['node', `${process.version} on ${process.platform} ${process.arch}`],
      ['training', `${backend.name}: ${backend.detail}`],
      ...speeds.map((speed) => ['speed', describeSpeed(net, speed)]),
      ...describeState(state),
      ...parts.map((part) => [
        part.name,
        part.trouble === undefined
          ? `there (${part.purpose})`
          : `absent, so no ${part.purpose}: ${part.trouble}`,
      ]),
    ];
    io.stdout.write(`${table([{ title: '' }, { title: '' }], rows).join('\n')}\n`);
    return healthy ? 0 : 1;
  },
});

interface DeviceLimits {
  readonly maxTemperature: number;
  readonly minFree: number;
  readonly maxLateness: number;
}

async function stateOf(device: Device, directory: string, limits: DeviceLimits) {
  const place = (await exists(directory)) ? directory : process.cwd();
  const [temperature, throttling, freeBytes, memory] = await Promise.all([
    device.temperature(),
    device.throttling(),
    device.freeBytes(place),
    device.memory(),
  ]);
  const governor = createGovernor({
    limits: { ...limits, maxLatenessMs: limits.maxLateness },
    readers: {
      temperature: async () => temperature?.celsius,
      throttling: async () => throttling?.now,
      freeBytes: async () => freeBytes,
      trouble: () => undefined,
      latenessMs: () => undefined,
    },
    log: () => {},
  });
  const pause = await governor.look();
  return {
    cores: availableParallelism(),
    temperature: temperature ?? null,
    throttling: throttling ?? null,
    disk: freeBytes === undefined ? null : { directory: place, freeBytes },
    memory: memory ?? null,
    /** Why training would wait now. */
    pauses: pause?.why ?? null,
  };
}

function describeState(state: Awaited<ReturnType<typeof stateOf>>): string[][] {
  const { temperature, throttling, disk, memory, cores, pauses } = state;
  const unknown = 'not told by this device';
  return [
    ['temperature', temperature ? `${temperature.celsius.toFixed(1)} °C (${temperature.zone})` : unknown],
    ['power', throttling ? describeThrottling(throttling) : unknown],
    ['disk', disk ? `${bytes(disk.freeBytes)} free in ${disk.directory}` : unknown],
    [
      'memory',
      `${memory ? `${bytes(memory.available)} of ${bytes(memory.total)} available` : unknown}, ${cores} cores`,
    ],
    ...(pauses === null ? [] : [['PAUSE', `training would wait: ${pauses}`]]),
  ];
}

function describeThrottling({
  now,
  before,
}: {
  readonly now: readonly string[];
  readonly before: readonly string[];
}): string {
  const past = before.filter((flag) => !now.includes(flag));
  const present = now.length > 0 ? `NOW: ${now.join(', ')}` : 'in order';
  return past.length > 0 ? `${present}; since power on: ${past.join(', ')}` : present;
}

function describeSpeed(net: Net, { unit, ...speed }: Speed): string {
  const how = unit === 'none' ? 'without privacy' : `private (${unit})`;
  return (
    `${net.name}, ${speed.windowsPerStep} windows a step, ${how}: ` +
    `${significant(speed.stepsPerSecond)} steps/s, ${significant(speed.millisecondsPerStep)} ms a step`
  );
}

/** The network that the agreement names, or the preset's. */
async function netOf(agreement: string | undefined): Promise<Net> {
  if (agreement !== undefined && (await exists(agreement))) {
    const { terms } = await loadUnsigned(agreement);
    const { unit, samplingRate, expectedBatch } = terms.training;
    const model = modelOf(terms);
    return { name: nameOf(model), model, unit, samplingRate, expectedBatch };
  }
  const { windows, training } = cmapssPreset;
  const { hidden, activation, samplingRate } = training.window;
  // A mean and a slope for each channel.
  const model = { kind: 'dense', inputs: 2 * windows.inputs!.length, hidden, activation } as const;
  return { name: nameOf(model), model, unit: 'window', samplingRate, expectedBatch: 100 };
}

function nameOf(model: Net['model']): string {
  if (model.kind === 'dense') return [model.inputs, ...model.hidden, 1].join('-');
  if (model.kind === 'autoencoder') return `autoencoder ${[model.inputs, ...model.hidden].join('-')}`;
  const filters = model.filters.map(({ count, width }) => `${count}x${width}`);
  return `convolution ${model.rows}x${model.channels} ${[...filters, ...model.hidden, 1].join('-')}`;
}

function tryLoad(load: () => unknown): string | undefined {
  try {
    load();
    return undefined;
  } catch (error) {
    return (error as Error).message.split('\n')[0] ?? 'it does not load';
  }
}
