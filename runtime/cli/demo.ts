import { resolve } from 'node:path';
import { quorum } from '../core/log/policy.ts';
import { createEmbeddedBroker } from '../services/telemetry/embedded.ts';
import { telemetrySettings } from '../services/telemetry/settings.ts';
import { sleep } from '../state/pause.ts';
import { type DemoOptions, type DemoPlan, freePorts } from './demo/options.ts';
import { planDemo } from './demo/plan.ts';
import { clearDemoDirectory, prepareGateways } from './demo/prepare.ts';
import { type GatewayProcess, startGateway } from './demo/processes.ts';
import { type DemoSummary, evaluate, summarise } from './demo/summary.ts';
import { drawDemo, type ViewState } from './demo/view.ts';
import { createColour } from './terminal/colour.ts';
import { defineCommand } from './terminal/command.ts';
import { type Io, printJson } from './terminal/io.ts';
import { problem } from './terminal/problem.ts';
import { createScreen } from './terminal/screen.ts';

const POLL_MS = 500;
/** A demo that makes no round for so long has failed. */
const STALL_LIMIT_MS = 300_000;
/** After the last round, for the last checkpoints to become final. */
const SETTLE_LIMIT_MS = 15_000;

export const demo = defineCommand({
  name: 'demo',
  summary: 'try everything on this machine: gateways of several companies on loopback, until Ctrl-C',
  about:
    'Each gateway is a process of its own with its own directory, keys and machines; they sign an agreement, log, witness, train ' +
    'and predict. The directory is kept afterwards, so that kosmos verify can look at it, and cleared by the next demo.',
  options: {
    gateways: {
      kind: 'number',
      value: 'N',
      default: 3,
      whole: true,
      least: 3,
      most: 20,
      about: 'gateways, each of a company of its own',
    },
    rounds: {
      kind: 'number',
      value: 'N',
      whole: true,
      least: 1,
      most: 100_000,
      about: 'end after so many rounds, with a summary',
    },
    epsilon: {
      kind: 'text',
      value: 'E',
      default: '8',
      about: 'privacy budget of the agreement, or off for comparison',
    },
    unit: {
      kind: 'text',
      value: 'UNIT',
      default: 'episode',
      choices: ['window', 'episode'],
      about: 'what the budget protects',
    },
    data: { kind: 'text', value: 'DIR', about: 'C-MAPSS files instead of simulated machines' },
    subset: {
      kind: 'text',
      value: 'NAME',
      default: 'FD001',
      choices: ['FD001', 'FD002', 'FD003', 'FD004'],
      about: 'subset of that data',
    },
    ranges: { kind: 'text', value: 'FILE', about: 'data sheet with the ranges for normalising (TOML)' },
    broker: { kind: 'text', value: 'URL', about: 'MQTT broker; one is started when absent' },
    directory: {
      kind: 'text',
      value: 'DIR',
      default: '.kosmos/demo',
      about: 'where the gateways live; cleared at the start',
    },
    seed: {
      kind: 'number',
      value: 'N',
      default: 1,
      whole: true,
      least: 0,
      most: 1_000_000,
      about: 'seed of the simulated machines',
    },
  },
  examples: [
    'demo',
    'demo --rounds 5 --json',
    'demo --data cmapss --subset FD001 --gateways 5 --rounds 20 --unit window',
  ],
  async run({ options, json }, io) {
    const summary = await runDemo(
      {
        gateways: options.gateways,
        rounds: options.rounds,
        epsilon: parseEpsilon(options.epsilon),
        unit: options.unit,
        data: options.data === undefined ? undefined : { directory: options.data, subset: options.subset },
        ranges: options.ranges,
        broker: judgeBroker(options.broker),
        directory: resolve(options.directory),
        seed: options.seed,
      },
      io,
    );
    if (json) printJson(io, summary);
    else io.stdout.write(`${describeSummary(summary).join('\n')}\n`);
    return summary.failures.length === 0 ? 0 : 1;
  },
});

function parseEpsilon(text: string): number | 'off' {
  if (text === 'off') return 'off';
  const value = Number(text);
  if (!(value > 0 && value <= 1000))
    throw problem(`--epsilon ${text} is neither off nor a number above 0 and up to 1000`, { exitCode: 2 });
  return value;
}

function judgeBroker(url: string | undefined): string | undefined {
  const judged = telemetrySettings.safeParse({ url });
  if (judged.success) return judged.data.url;
  throw problem(`--broker ${url}: ${judged.error.issues.map((issue) => issue.message).join('; ')}`, {
    exitCode: 2,
  });
}

async function runDemo(options: DemoOptions, io: Io): Promise<DemoSummary> {
  const started = performance.now();
  const plan = await planDemo(options);
  await clearDemoDirectory(options.directory);
  const broker = await openBroker(options.broker);
  const processes: GatewayProcess[] = [];
  try {
    await prepareGateways(plan, options.directory, broker.url);
    const stop = stopSignal();
    processes.push(...plan.gateways.map(startGateway));
    const summary = await follow(options, plan, processes, broker.url, stop, started, io);
    await Promise.all(processes.map((process) => process.stop()));
    // Ending badly is a failure too.
    return { ...summary, failures: [...new Set([...summary.failures, ...failuresOf(processes)])] };
  } finally {
    await Promise.all(processes.map((process) => process.stop()));
    await broker.close();
  }
}

async function openBroker(
  url: string | undefined,
): Promise<{ readonly url: string; close(): Promise<void> }> {
  if (url !== undefined) return { url, close: async () => undefined };
  const port = (await freePorts(1))[0]!;
  const broker = createEmbeddedBroker(
    {
      listen: { host: '127.0.0.1', port },
      maxClients: 64,
      maxSessions: 16,
      queueLimit: 1000,
      sessionExpiry: 3_600_000,
    },
    () => undefined,
  );
  await broker.start();
  return { url: `mqtt://127.0.0.1:${port}`, close: () => broker.stop() };
}

function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => controller.abort());
  return controller.signal;
}

/** Watches until the rounds are made or somebody stops it, and sums up. */
async function follow(
  options: DemoOptions,
  plan: DemoPlan,
  processes: readonly GatewayProcess[],
  broker: string,
  stop: AbortSignal,
  started: number,
  io: Io,
): Promise<DemoSummary> {
  const screen = createScreen(io.stderr, { plainEveryMs: 5000 });
  const colour = createColour(io.stderr, io.env);
  const watch = createWatch(plan, processes);
  const failures: string[] = [];
  try {
    let settling: number | undefined;
    for (;;) {
      await sleep(POLL_MS, stop);
      const state = await watch.look(performance.now() - started, broker);
      screen.draw(drawDemo(options, plan, state, colour));
      if (stop.aborted) break;
      failures.push(...failuresOf(processes));
      if (failures.length > 0) break;
      if (watch.stalledMs() > STALL_LIMIT_MS) {
        failures.push(`no round within ${STALL_LIMIT_MS / 1000} s: ${watch.waiting() ?? 'nobody says why'}`);
        break;
      }
      if (options.rounds !== undefined && watch.slowestVersion() >= options.rounds) {
        settling ??= performance.now();
        if (watch.allFinal() || performance.now() - settling > SETTLE_LIMIT_MS) break;
      }
    }
    const model = await watch.model();
    if (!model) {
      const what = failures.length > 0 ? failures.join('; ') : 'it was stopped before any gateway answered';
      throw problem(what, {
        where: options.directory,
        todo: 'gateway.log in the directory of each gateway says more',
      });
    }
    const test = evaluate(plan, model);
    failures.push(...(options.rounds === undefined ? [] : watch.shortcomings()));
    return summarise(options, plan, watch.statuses(), test, performance.now() - started, failures);
  } finally {
    screen.close();
  }
}

function failuresOf(processes: readonly GatewayProcess[]): readonly string[] {
  return processes.flatMap((process) =>
    process.failure() === undefined ? [] : [`${process.gateway.name} ${process.failure()}`],
  );
}

/** Asks all gateways, and remembers what a frame needs from one look to the next. */
function createWatch(plan: DemoPlan, processes: readonly GatewayProcess[]) {
  const needed = quorum(plan.gateways.length);
  const errors: { version: number; rmse: number }[] = [];
  const before = new Map<string, { readonly at: number; readonly entries: number }>();
  let statuses: Awaited<ReturnType<GatewayProcess['status']>>[] = [];
  let model: { readonly version: number; readonly parameters: Float64Array } | undefined;
  let movedAt = performance.now();

  const present = () => statuses.flatMap((status) => status ?? []);
  const versions = () => present().map((status) => status.federation.version);

  async function lookAtModel(): Promise<void> {
    const ahead = statuses.findIndex(
      (status) => status !== undefined && status.federation.version > (model?.version ?? -1),
    );
    if (ahead < 0) return;
    const asked = await processes[ahead]!.model().catch(() => undefined);
    // It may have ended since it told its status; the next look shows that.
    if (!asked) return;
    model = asked;
    movedAt = performance.now();
    if (model.version > 0)
      errors.push({ version: model.version, rmse: evaluate(plan, model.parameters).rmse });
  }

  function speed(name: string, entries: number): number {
    const now = performance.now();
    const last = before.get(name);
    before.set(name, { at: now, entries });
    return last ? Math.max(0, ((entries - last.entries) * 1000) / (now - last.at)) : 0;
  }

  return {
    async look(elapsedMs: number, broker: string): Promise<ViewState> {
      statuses = await Promise.all(processes.map((process) => process.status()));
      await lookAtModel();
      const gateways = processes.map((process, index) => {
        const status = statuses[index];
        const samplesPerSecond = status ? speed(process.gateway.name, status.journal.entries) : 0;
        return { name: process.gateway.name, status, samplesPerSecond, failure: process.failure() };
      });
      return { elapsedMs, gateways, errors, broker };
    },
    statuses: present,
    slowestVersion: () => (present().length === processes.length ? Math.min(...versions()) : 0),
    stalledMs: () =>
      versions().some((version) => version >= plan.terms.federation.rounds) ? 0 : performance.now() - movedAt,
    waiting: () => present().find((status) => status.federation.waiting)?.federation.waiting,
    allFinal: () => present().every((status) => status.log.cosigners.length >= needed),
    async model() {
      await lookAtModel();
      return model?.parameters;
    },
    shortcomings: () =>
      present().flatMap((status) => [
        ...(status.learning.rejected > 0
          ? [`${status.gateway} rejected ${status.learning.rejected} entries`]
          : []),
        ...(status.log.finalSize === 0 ? [`no checkpoint of ${status.gateway} became final`] : []),
        ...(status.journal.trouble ? [`${status.gateway}: ${status.journal.trouble}`] : []),
      ]),
  };
}

function describeSummary(summary: DemoSummary): readonly string[] {
  const { test } = summary;
  const privacy =
    summary.epsilon === 'off'
      ? 'privacy OFF'
      : `epsilon ${summary.epsilon} (${summary.unit}, delta ${summary.delta})`;
  return [
    `${summary.rounds} rounds of ${summary.gateways} gateways in ${summary.wallSeconds.toFixed(0)} s: ${summary.samples} samples, ` +
      `${summary.signaturesVerified} signatures verified, ${summary.checkpoints} checkpoints, ${summary.cosignatures} cosignatures`,
    `error on ${test.engines} machines nobody trained on: ${test.rmse} cycles RMSE, PHM08 score ${test.score}; ${privacy}`,
    `gateways are kept in ${summary.directory}; kosmos verify checks each of them`,
    ...summary.failures.map((failure) => `FAILED: ${failure}`),
  ];
}
