import { resolve } from 'node:path';
import { askDaemon } from '../services/control/client.ts';
import { describePrediction } from '../services/training/prediction.ts';
import type { GatewayStatus } from '../status.ts';
import { loadSettings, socketIn } from './settings-file.ts';
import { defineCommand } from './terminal/command.ts';
import { bytes, count, span } from './terminal/human.ts';
import { printJson } from './terminal/io.ts';
import { table } from './terminal/layout.ts';
import { problem } from './terminal/problem.ts';

/** Options of every command that speaks to a daemon. */
export const daemonOptions = {
  directory: { kind: 'text', value: 'DIR', about: 'the gateway’s directory' },
  config: { kind: 'text', value: 'FILE', about: 'the gateway’s configuration, instead of --directory' },
} as const;

/** The control socket that the options lead to. */
export async function socketOf(options: {
  readonly directory?: string | undefined;
  readonly config?: string | undefined;
}): Promise<string> {
  if (options.config !== undefined) return (await loadSettings(options.config)).gateway.socket!;
  if (options.directory !== undefined) return socketIn(resolve(options.directory));
  throw problem('which gateway?', { todo: 'give --directory DIR or --config FILE', exitCode: 2 });
}

export const status = defineCommand({
  name: 'status',
  summary: 'show how a running gateway is doing',
  options: daemonOptions,
  examples: ['status --directory /var/lib/kosmos', 'status --config /etc/kosmos/gateway.toml --json'],
  async run({ options, json }, io) {
    const answer = (await askDaemon(await socketOf(options), 'status')) as GatewayStatus;
    if (json) printJson(io, answer);
    else io.stdout.write(`${describe(answer).join('\n')}\n`);
    return 0;
  },
});

function describe(given: GatewayStatus): readonly string[] {
  const { federation, log, privacy, journal } = given;
  const running = given.acquisition.streams.filter((stream) => stream.state === 'running').length;
  const rows: (readonly string[])[] = [
    ['gateway', `${given.gateway} of ${given.member}, consortium ${given.consortium}, epoch ${given.epoch}`],
    ['running', `${span(given.uptimeSeconds * 1000)}, pid ${given.pid}, ${bytes(given.memoryBytes)}`],
    [
      'streams',
      `${running} of ${given.acquisition.streams.length} running, ${count(given.acquisition.signed)} entries signed since the start`,
    ],
    [
      'journal',
      `${count(journal.entries)} entries in ${count(journal.blocks)} blocks, ${bytes(journal.bytes)}${journal.trouble ? `; TROUBLE: ${journal.trouble}` : ''}`,
    ],
    [
      'log',
      `${log.published} published, final up to ${log.finalSize}; ${log.cosigners.length} of ${log.quorum} members have cosigned the newest`,
    ],
    ...(given.standing.behind
      ? [
          [
            'BEHIND',
            `${given.standing.behind}; no checkpoint is signed: stop the gateway and run kosmos recover`,
          ],
        ]
      : given.standing.doubt
        ? [
            [
              'doubt',
              `${given.standing.doubt}; nothing is cosigned, no checkpoint signed, no round taken part in`,
            ],
          ]
        : []),
    [
      'rounds',
      `model ${federation.version} of ${federation.plannedRounds}, ${federation.waiting ? `waiting: ${federation.waiting}` : federation.phase}`,
    ],
    [
      'privacy',
      privacy
        ? `epsilon ${privacy.spent.toFixed(2)} of ${privacy.budget} spent (${privacy.unit}, delta ${privacy.delta})`
        : 'OFF: the agreement trains without privacy',
    ],
    [
      'training',
      given.training.paused
        ? `PAUSED: ${given.training.paused.why}`
        : given.training.job
          ? `step ${given.training.job.done} of ${given.training.job.steps}`
          : 'idle',
    ],
    ['telemetry', `${given.telemetry.state}${given.telemetry.problem ? `: ${given.telemetry.problem}` : ''}`],
    ...given.peers.map((peer) => [
      'peer',
      `${peer.name} ${peer.connected ? 'connected' : `unreachable: ${peer.trouble}`}`,
    ]),
    ...given.acquisition.streams.flatMap((stream) =>
      stream.trouble ? [['failing', `${stream.machine}/${stream.stream}: ${stream.trouble}`]] : [],
    ),
    ...given.learning.refusals.map((why) => ['not learned', why]),
    ...given.exchange.incomplete.map(({ gateway, records, trouble }) => [
      'damaged',
      `${records} records of the log of ${gateway} are not whole: ${trouble}`,
    ]),
    ...given.predictions
      .slice(0, 5)
      .map((prediction) => ['prediction', `${prediction.machine}: ${describePrediction(prediction)}`]),
  ];
  return table([{ title: '' }, { title: '' }], rows);
}
