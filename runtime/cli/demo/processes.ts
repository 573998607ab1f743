/** The demo's gateways as processes of their own, asked through their control sockets like any daemon. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { askDaemon } from '../../services/control/client.ts';
import { sleep } from '../../state/pause.ts';
import type { GatewayStatus } from '../../status.ts';
import { socketIn } from '../settings-file.ts';
import type { DemoGateway } from './options.ts';
import { configPath } from './prepare.ts';

export interface GatewayProcess {
  readonly gateway: DemoGateway;
  /** Undefined while it does not answer. */
  status(): Promise<GatewayStatus | undefined>;
  model(): Promise<{ readonly version: number; readonly parameters: Float64Array }>;
  /** Why it ended by itself, if it did. */
  failure(): string | undefined;
  stop(): Promise<void>;
  readonly pid: number | undefined;
}

const STOP_LIMIT_MS = 6000;
const ASK_LIMIT_MS = 3000;

export function startGateway(gateway: DemoGateway): GatewayProcess {
  const log = createWriteStream(join(gateway.directory, 'gateway.log'), { flags: 'a' });
  const child = spawn(
    process.execPath,
    [...process.execArgv, process.argv[1]!, 'run', '--config', configPath(gateway), '--with-parent'],
    // A group of its own: Ctrl-C goes to the demo, which then stops its gateways one by one.
    { stdio: ['pipe', 'ignore', 'pipe'], detached: true },
  );
  let tail = '';
  let failure: string | undefined;
  let stopping = false;
  child.stderr.on('data', (chunk: Buffer) => {
    log.write(chunk);
    tail = (tail + chunk.toString('utf8')).slice(-2000);
  });
  const ended = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      failure = error.message;
      resolve();
    });
    child.once('close', (code, signal) => {
      log.end();
      if (!stopping || code !== 0)
        failure = `ended with ${signal ?? `exit code ${code}`}: ${tail.trim().split('\n').at(-1) ?? ''}`;
      resolve();
    });
  });
  const socket = socketIn(gateway.directory);
  return {
    gateway,
    pid: child.pid,
    async status() {
      if (hasEnded(child)) return undefined;
      try {
        return (await askDaemon(socket, 'status', {}, ASK_LIMIT_MS)) as GatewayStatus;
      } catch {
        // Not yet listening, or too busy: the caller shows it as not answering, and asks again.
        return undefined;
      }
    },
    async model() {
      const { version, parameters } = (await askDaemon(socket, 'federated-model')) as {
        version: number;
        parameters: number[];
      };
      return { version, parameters: Float64Array.from(parameters) };
    },
    failure: () => failure,
    async stop() {
      stopping = true;
      if (!hasEnded(child)) child.kill('SIGTERM');
      const waited = new AbortController();
      await Promise.race([ended, sleep(STOP_LIMIT_MS, waited.signal)]);
      waited.abort();
      if (hasEnded(child)) return;
      child.kill('SIGKILL');
      await ended;
      failure = `did not stop within ${STOP_LIMIT_MS} ms`;
    },
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
