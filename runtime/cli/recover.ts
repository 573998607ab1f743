import { createLog } from '../log.ts';
import { isCannotRecover, type Recovered, recoverDirectory } from '../recover.ts';
import { isListening } from '../services/control/client.ts';
import { loadGatewayKeys } from '../state/provenance/keys.ts';
import { projectVersion, trainerModule } from './project.ts';
import { loadAgreement, loadSettings } from './settings-file.ts';
import { defineCommand } from './terminal/command.ts';
import { printJson } from './terminal/io.ts';
import { problem } from './terminal/problem.ts';

const LIMIT_MS = 15_000;

export const recover = defineCommand({
  name: 'recover',
  summary: 'bring a directory that was restored from a copy up to what its gateway has published',
  about:
    'Asks the other gateways what they hold of this gateway’s log. Where they hold more than the directory, the leaves ' +
    'that are missing are taken from the mirrors, blocks that were recorded here since go behind them, and numbers go ' +
    'on in a higher incarnation; the log tells of what is gone. The samples of those blocks do not come back: peers ' +
    'have never had them. A gateway that starts does this by itself. It cosigns nothing and trains on nothing until ' +
    'enough other members have told what it had cosigned and spent. Its daemon must not run.',
  options: {
    config: { kind: 'text', value: 'FILE', required: true, about: 'the gateway’s configuration (TOML)' },
    'dry-run': { kind: 'flag', about: 'say what would be done, and change nothing' },
    without: {
      kind: 'text',
      value: 'NAME',
      many: true,
      about: 'a gateway that is gone for good and not waited for; what only it knows is not covered',
    },
  },
  examples: [
    'recover --config /etc/kosmos/gateway.toml --dry-run',
    'recover --config /etc/kosmos/gateway.toml --without hall-2',
  ],
  async run({ options, json }, io) {
    const settings = await loadSettings(options.config);
    const { directory, name } = settings.gateway;
    if (await isListening(settings.gateway.socket!))
      throw problem('its daemon is running', { where: directory, todo: 'stop it first' });
    const agreement = await loadAgreement(settings.gateway.agreement!);
    const without = options.without ?? [];
    const stranger = without.find(
      (one) => one === name || !agreement.gateways.some((known) => known.name === one),
    );
    if (stranger !== undefined)
      throw problem(`--without ${stranger}: the agreement names no other gateway of that name`, {
        exitCode: 2,
      });
    const recovered = await recoverDirectory({
      settings,
      agreement,
      keys: await loadGatewayKeys(directory),
      trainerModule: trainerModule(),
      version: projectVersion(),
      log: createLog((line) => io.stderr.write(line)),
      tell: (line) => io.stderr.write(`${line}\n`),
      limitMs: LIMIT_MS,
      dryRun: options['dry-run'],
      without,
    }).catch((error: Error) => {
      throw isCannotRecover(error)
        ? problem(error.message, { where: directory, todo: error.todo, cause: error })
        : error;
    });
    if (json) printJson(io, { gateway: name, ...recovered });
    else io.stdout.write(`${describe(recovered)}\n`);
    return 0;
  },
});

function describe({ outcome, published, size, fork, answered, silent, doubt }: Recovered): string {
  const open = doubt
    ? ` It cosigns, publishes and trains again when enough members have told what they know: ${doubt}.`
    : '';
  if (outcome === 'possible')
    return `it can be recovered: ${published - fork} blocks are at a mirror; run it again without --dry-run`;
  if (outcome === 'recovered') return `recovered; start the gateway.${open}`;
  if (answered.length === 0)
    return `nobody could be asked, so nothing is known; ${silent.length} peers do not answer`;
  return `there is nothing to recover: ${answered.join(', ')} have seen ${published} blocks, and all of them are here (${size}).${open}`;
}
