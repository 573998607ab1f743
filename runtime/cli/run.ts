import { type Gateway, openGateway } from '../gateway.ts';
import type { GatewayOptions } from '../gateway-options.ts';
import { createLog } from '../log.ts';
import { isCannotRecover, recoverDirectory } from '../recover.ts';
import { createControl } from '../services/control/server.ts';
import { createNotifier } from '../services/health/notify.ts';
import { isBehind } from '../standing.ts';
import { loadGatewayKeys } from '../state/provenance/keys.ts';
import { controlHandlers } from './control-handlers.ts';
import { projectVersion, trainerModule } from './project.ts';
import { loadAgreement, loadSettings } from './settings-file.ts';
import { defineCommand } from './terminal/command.ts';
import { printJson } from './terminal/io.ts';
import { problem } from './terminal/problem.ts';

/** A stop that takes longer than this is a fault; what is acknowledged is durable all the same. */
const STOP_LIMIT_MS = 4500;
/** How long peers are waited for that may have the rest of the log. */
const RECOVER_LIMIT_MS = 8000;

export const run = defineCommand({
  name: 'run',
  summary: 'run the daemon of one gateway until SIGTERM',
  about:
    'Log lines go to stderr. SIGTERM and SIGINT stop it cleanly: the sample in hand is durable, children end.',
  options: {
    config: { kind: 'text', value: 'FILE', required: true, about: 'the gateway’s configuration (TOML)' },
    'with-parent': { kind: 'flag', about: 'stop when stdin closes, as it does when the parent process dies' },
  },
  examples: ['run --config /etc/kosmos/gateway.toml'],
  async run({ options, json }, io) {
    const settings = await loadSettings(options.config);
    const agreement = await loadAgreement(settings.gateway.agreement!);
    const { name, member, directory } = settings.gateway;
    const own = agreement.gateways.find((gateway) => gateway.name === name && gateway.member === member);
    if (!own) {
      throw problem(`the agreement names no gateway ${name} of ${member}`, {
        where: settings.gateway.agreement!,
        exitCode: 2,
      });
    }
    const keys = await loadGatewayKeys(directory);
    if (Buffer.compare(keys.identity.publicKey, own.identity) !== 0) {
      throw problem('the identity key is not the one in the agreement', {
        where: `${directory}/keys/identity.pem`,
      });
    }
    const log = createLog((line) => io.stderr.write(line));
    const report = log('gateway');
    // From here on a signal is obeyed after the start, not in the middle of it.
    const stopped = stopSignal(options['with-parent']);
    const gateway = await startGateway({
      settings,
      agreement,
      keys,
      trainerModule: trainerModule(),
      version: projectVersion(),
      log,
    }).catch((error: Error) => {
      // Open, it would keep alive what has failed to start.
      if (options['with-parent']) process.stdin.destroy();
      throw error;
    });
    const control = createControl(settings.gateway.socket!, controlHandlers(gateway, agreement));
    const notifier = createNotifier({
      env: io.env,
      progress: () => gateway.status().journal.entries,
      hasSources: settings.machine.length > 0,
      log: report,
    });
    try {
      await control.start();
      notifier.start();
      report(
        'info',
        `${name} of ${member} runs: ${settings.machine.length} machines, ${agreement.gateways.length - 1} peers`,
      );
      report('info', `stopping: ${await stopped}`);
    } finally {
      notifier.stop();
      const overdue = setTimeout(() => {
        report('error', `stopping took more than ${STOP_LIMIT_MS} ms; what was acknowledged is durable`);
        process.exit(1);
      }, STOP_LIMIT_MS);
      // Left running: what keeps the process alive after everything has been stopped is a fault as well.
      overdue.unref();
      await control.stop();
      await gateway.stop();
      if (options['with-parent']) process.stdin.destroy();
    }
    report('info', 'stopped');
    if (json) printJson(io, { gateway: name, stopped: true });
    return 0;
  },
});

/** Starts the gateway; one whose directory is older than what was published is recovered first, once. */
async function startGateway(options: GatewayOptions): Promise<Gateway> {
  try {
    return await openAndStart(options);
  } catch (error) {
    if (!isBehind(error)) throw error;
    const report = options.log('recovery');
    report('warn', `this directory is older than what was published: ${error.message}`);
    report('warn', 'nothing is recorded until the rest of the log is taken over from its mirrors');
    const tell = (line: string) => report('info', line);
    await recoverDirectory({ ...options, tell, limitMs: RECOVER_LIMIT_MS }).catch((failure: Error) => {
      const { directory } = options.settings.gateway;
      throw isCannotRecover(failure)
        ? problem(failure.message, { where: directory, todo: failure.todo, cause: failure })
        : failure;
    });
    return openAndStart(options);
  }
}

async function openAndStart(options: GatewayOptions): Promise<Gateway> {
  const gateway = await openGateway(options);
  await gateway.start();
  return gateway;
}

/** Resolves with why the daemon is to stop. */
function stopSignal(withParent: boolean): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
    if (!withParent) return;
    process.stdin.resume();
    process.stdin.once('close', () => resolve('the parent process is gone'));
    process.stdin.once('end', () => resolve('the parent process is gone'));
  });
}
