/** The demo's live screen, as lines. */
import type { GatewayStatus } from '../../status.ts';
import type { Colour } from '../terminal/colour.ts';
import { count, rate, span } from '../terminal/human.ts';
import { bar, sparkline, table } from '../terminal/layout.ts';
import type { Frame } from '../terminal/screen.ts';
import type { DemoOptions, DemoPlan } from './options.ts';

/** All that a frame shows. */
export interface ViewState {
  readonly elapsedMs: number;
  readonly gateways: readonly {
    readonly name: string;
    readonly status: GatewayStatus | undefined;
    readonly samplesPerSecond: number;
    readonly failure: string | undefined;
  }[];
  readonly errors: readonly { readonly version: number; readonly rmse: number }[];
  readonly broker: string;
}

const RUL_BAR = 20;
const MOST_PREDICTIONS = 6;

export function drawDemo(options: DemoOptions, plan: DemoPlan, state: ViewState, colour: Colour): Frame {
  const statuses = state.gateways.flatMap((gateway) => gateway.status ?? []);
  const version = Math.max(0, ...statuses.map((status) => status.federation.version));
  const last = state.errors.at(-1);
  const rounds = `round ${version} of ${plan.terms.federation.rounds}`;
  const error = last
    ? `error ${last.rmse.toFixed(1)} cycles RMSE on ${plan.evaluation.length} machines nobody trained on`
    : 'no model yet';
  const lines = [
    colour.bold(`KOSMoS demo  ${span(state.elapsedMs)}`),
    plan.description,
    telemetryLine(state, statuses, colour),
    '',
    ...gatewayTable(state, colour),
    '',
    `${colour.bold(rounds)}  ${roundLine(statuses)}`,
    `${colour.bold('model')}   ${error}  ${sparkline(
      state.errors.map((entry) => entry.rmse),
      { width: 40 },
    )}`,
    `${colour.bold('privacy')} ${privacyLine(plan, statuses, colour)}`,
    '',
    ...predictionLines(statuses, colour),
    '',
    options.rounds === undefined ? 'Ctrl-C ends it.' : `It ends after round ${options.rounds}.`,
  ];
  const spent = statuses.find((status) => status.privacy)?.privacy?.spent;
  const samples = statuses.reduce((sum, status) => sum + status.journal.entries, 0);
  const logs = statuses.map((status) => `${status.log.finalSize}/${status.log.size}`).join(' ');
  return {
    lines,
    summary: `${span(state.elapsedMs)}: ${count(samples)} entries, logs ${logs} final, ${rounds}, ${last ? `rmse ${last.rmse.toFixed(2)}` : 'no model yet'}, ${
      spent === undefined ? 'no privacy' : `epsilon ${spent.toFixed(2)} (${plan.terms.training.unit})`
    }; ${roundLine(statuses)}`,
  };
}

function telemetryLine(state: ViewState, statuses: readonly GatewayStatus[], colour: Colour): string {
  const trouble = statuses.find((status) => status.telemetry.problem)?.telemetry.problem;
  return trouble
    ? colour.yellow(`telemetry: ${trouble}`)
    : `telemetry: mosquitto_sub -L '${state.broker}/kosmos/demo/#' -v`;
}

function gatewayTable(state: ViewState, colour: Colour): readonly string[] {
  const rows = state.gateways.map(({ name, status, samplesPerSecond, failure }) => {
    if (!status) return [name, colour.red(failure ?? 'starting'), '', '', '', '', ''];
    const { log, peers, journal } = status;
    const finality = `${log.finalSize} final, ${log.cosigners.length}/${log.quorum} on the newest`;
    const connected = peers.filter((peer) => peer.connected).length;
    return [
      name,
      rate(samplesPerSecond),
      count(journal.entries),
      count(log.size),
      log.cosigners.length >= log.quorum ? finality : colour.yellow(finality),
      `${connected}/${peers.length}`,
      journal.trouble ? colour.red(journal.trouble) : status.federation.phase,
    ];
  });
  const columns = [
    { title: 'gateway' },
    { title: 'samples', align: 'right' as const },
    { title: 'entries', align: 'right' as const },
    { title: 'log', align: 'right' as const },
    { title: 'cosignatures' },
    { title: 'peers' },
    { title: 'does' },
  ];
  return table(columns, rows);
}

function roundLine(statuses: readonly GatewayStatus[]): string {
  const waiting = statuses.find((status) => status.federation.waiting)?.federation.waiting;
  const done = statuses.some((status) => status.federation.version >= status.federation.plannedRounds);
  if (done) return 'all planned rounds are made; the model goes on predicting';
  if (waiting) return `waiting: ${waiting}`;
  const last = statuses.find((status) => status.federation.lastRound)?.federation.lastRound;
  return last ? `last from ${last.contributors.join(', ')}` : 'none yet';
}

function privacyLine(plan: DemoPlan, statuses: readonly GatewayStatus[], colour: Colour): string {
  const { privacy, training } = plan.terms;
  if (!privacy) return colour.red('OFF: updates carry no noise; for comparison only');
  const spent = Math.max(0, ...statuses.map((status) => status.privacy?.spent ?? 0));
  const unit =
    training.unit === 'window'
      ? 'one window of one machine; a whole machine life is in many windows and is NOT protected by it'
      : 'one machine’s whole run from repair to failure';
  return `epsilon ${spent.toFixed(2)} of ${privacy.epsilon} spent ${bar(spent / privacy.epsilon, 12)} delta ${privacy.delta}, protects ${unit}`;
}

function predictionLines(statuses: readonly GatewayStatus[], colour: Colour): readonly string[] {
  const all = statuses
    .flatMap((status) => status.predictions.map((prediction) => ({ gateway: status.gateway, ...prediction })))
    .sort((a, b) => a.remaining - b.remaining)
    .slice(0, MOST_PREDICTIONS);
  if (all.length === 0)
    return [
      colour.dim('no machine runs at present: recordings have ended, or machines wait for their repair'),
    ];
  const rows = all.map(({ gateway, machine, remaining, cap, age }) => {
    const text = remaining >= cap ? `${cap} or more` : remaining.toFixed(0);
    const left = `${bar(remaining / cap, RUL_BAR)} ${text} cycles left`;
    return [`${gateway}/${machine}`, remaining < cap / 5 ? colour.red(left) : left, `age ${age}`];
  });
  return [colour.bold('about to fail'), ...table([{ title: '' }, { title: '' }, { title: '' }], rows)];
}
