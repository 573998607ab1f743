/** From the demo's options to gateways, terms, machines and an evaluation set. */
import { join, resolve } from 'node:path';
import { readCmapss } from '../../../drivers/cmapss.ts';
import { simulateEpisodes } from '../../../drivers/simulated/episodes.ts';
import { createRandom } from '../../../drivers/simulated/random.ts';
import type { EvaluationUnit } from '../../core/learning/evaluate.ts';
import type { DataSheet } from '../../core/learning/features.ts';
import { cmapssPreset, type LearningPreset, simulatedPreset } from '../../core/learning/presets.ts';
import { dataSheetSchema } from '../../state/agreement/schema.ts';
import { readSettingsFile } from '../../state/settings/read.ts';
import { projectFile } from '../project.ts';
import { settingsProblem } from '../settings-file.ts';
import type { DraftTerms } from '../setup/draft.ts';
import { draftTerms, type Fleet } from '../setup/terms.ts';
import { companyName, type DemoGateway, type DemoOptions, type DemoPlan, freePorts } from './options.ts';

const DELTA = 1e-5;
const SIMULATED_MACHINES = 6;
const CYCLE_MS = 50;
const EVALUATION_MACHINES = 60;
/** Windows of one machine's life, for what a batch is expected to hold; a round number, not a count. */
const WINDOWS_A_LIFE = { cmapss: 190, simulated: 110 } as const;

export async function planDemo(options: DemoOptions): Promise<DemoPlan> {
  return options.data ? planCmapss(options, options.data) : planSimulated(options);
}

async function planCmapss(options: DemoOptions, data: NonNullable<DemoOptions['data']>): Promise<DemoPlan> {
  const directory = resolve(data.directory);
  const { train, test, remaining } = await readCmapss(directory, data.subset);
  const sixConditions = data.subset === 'FD002' || data.subset === 'FD004';
  const sheet = await readSheet(
    options.ranges ?? datasheet(sixConditions ? 'cmapss-six-conditions' : 'cmapss'),
  );
  const ports = await freePorts(options.gateways);
  const gateways = ports.map((port, index): DemoGateway => {
    const engines = train.filter((_engine, position) => position % options.gateways === index);
    const machines = engines.map(({ unit }) =>
      machineTable(
        `engine-${unit}`,
        'cmapss',
        '0ms',
        '0ms',
        `directory = ${JSON.stringify(directory)}\nsubset = "${data.subset}"\nengine = ${unit}\npacing = "as-fast-as-possible"\n`,
      ),
    );
    return {
      ...gatewayBase(options, index, port),
      machines: machines.join('\n'),
      // Engines end with their failure here: there is nobody to show an interval for.
      holdBack: { adopt: 0.05, calibrate: 0 },
    };
  });
  const perGateway = Math.floor(train.length / options.gateways);
  return {
    gateways,
    terms: termsOf(options, cmapssPreset, { episodes: perGateway, windowsALife: WINDOWS_A_LIFE.cmapss }),
    sheet,
    windows: cmapssPreset.windows,
    evaluation: test.map(({ rows }, index): EvaluationUnit => ({ rows, rul: remaining[index]! })),
    description: `C-MAPSS ${data.subset}: ${train.length} engines dealt out to ${options.gateways} gateways`,
  };
}

async function planSimulated(options: DemoOptions): Promise<DemoPlan> {
  const sheet = await readSheet(options.ranges ?? datasheet('simulated-machine'));
  const start = Date.now();
  const ports = await freePorts(options.gateways);
  const gateways = ports.map((port, index): DemoGateway => {
    const machines = Array.from({ length: SIMULATED_MACHINES }, (_machine, machine) =>
      machineTable(
        `press-${machine + 1}`,
        'machine-monitor',
        `${CYCLE_MS}ms`,
        `${(start + CYCLE_MS / 2) % CYCLE_MS}ms`,
        `bus = "sim:${machine}"\ncontact = { chip = "sim", offset = ${machine} }\n`,
      ),
    );
    const seed = options.seed * 1000 + index;
    const simulation = `[simulation]\nseed = ${seed}\nmachines = ${SIMULATED_MACHINES}\ncycle = "${CYCLE_MS}ms"\nstart = ${start}\n`;
    return {
      ...gatewayBase(options, index, port),
      machines: [simulation, ...machines].join('\n'),
      holdBack: { adopt: 0.1, calibrate: 0.1 },
    };
  });
  return {
    gateways,
    terms: termsOf(options, simulatedPreset, {
      episodes: SIMULATED_MACHINES * 2,
      windowsALife: WINDOWS_A_LIFE.simulated,
    }),
    sheet,
    windows: simulatedPreset.windows,
    evaluation: simulatedEvaluation(options.seed, simulatedPreset.windows.minimum),
    description: `${SIMULATED_MACHINES} simulated machines at each of ${options.gateways} gateways, a cycle every ${CYCLE_MS} ms`,
  };
}

/** Machines of the same make that no gateway has, each seen up to a random moment of its life. */
function simulatedEvaluation(seed: number, minimum: number): readonly EvaluationUnit[] {
  const random = createRandom(seed, EVALUATION_MACHINES);
  return simulateEpisodes({ seed: seed * 1000 + 999, count: EVALUATION_MACHINES }).map((rows) => {
    const seen = minimum + Math.floor(random.uniform() * (rows.length - minimum));
    return { rows: rows.slice(0, seen), rul: rows.length - seen };
  });
}

function gatewayBase(
  options: DemoOptions,
  index: number,
  port: number,
): Omit<DemoGateway, 'machines' | 'holdBack'> {
  const member = companyName(index);
  return { member, name: `${member}-1`, directory: join(options.directory, member), port };
}

function machineTable(id: string, driver: string, interval: string, phase: string, settings: string): string {
  return `[[machine]]\nid = "${id}"\n[[machine.stream]]\nname = "monitor"\ndriver = "${driver}"\ninterval = "${interval}"\nphase = "${phase}"\n[machine.stream.settings]\n${settings}`;
}

function termsOf(options: DemoOptions, preset: LearningPreset, fleet: Fleet): DraftTerms {
  return draftTerms({
    consortium: 'demo',
    stream: 'monitor',
    preset,
    fleet,
    unit: options.unit,
    epsilon: options.epsilon,
    delta: DELTA,
    rounds: options.rounds,
    checkpointIntervalMs: 1000,
    // Recordings do not change; live machines give something new to learn from between two rounds.
    intervalMs: options.data === undefined ? 3000 : 0,
  });
}

function datasheet(name: string): string {
  return projectFile('config', 'datasheets', `${name}.toml`);
}

async function readSheet(path: string): Promise<DataSheet> {
  const judged = await readSettingsFile(path, dataSheetSchema);
  if (!judged.ok) throw settingsProblem(judged.faults);
  return { channels: judged.value.channel, conditions: judged.value.condition };
}
