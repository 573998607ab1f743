/**
 * Signs of life for systemd (sd_notify(3)), sent by `systemd-notify`, since Node opens no datagram sockets of
 * the Unix kind. They follow progress of the pipeline, a durable sample or a named gap, never a timer alone.
 */
import { execFile } from 'node:child_process';

export interface Notifier {
  start(): void;
  stop(): void;
}

export interface NotifierOptions {
  /** NOTIFY_SOCKET and WATCHDOG_USEC as systemd sets them. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A number that rises with every durable entry. */
  readonly progress: () => number;
  /** Whether something is to be read at all; a gateway without machines is alive when its journal is. */
  readonly hasSources: boolean;
  readonly log: (level: 'info' | 'warn', message: string) => void;
}

const DEFAULT_PERIOD_MS = 10_000;
const CALL_LIMIT_MS = 5000;

export function createNotifier({ env, progress, hasSources, log }: NotifierOptions): Notifier {
  const watchdogMs = Number(env.WATCHDOG_USEC ?? 0) / 1000;
  const periodMs = watchdogMs > 0 ? watchdogMs / 4 : DEFAULT_PERIOD_MS;
  let last = progress();
  let ready = false;
  let timer: NodeJS.Timeout | undefined;

  function tell(state: string): void {
    execFile('systemd-notify', [state], { timeout: CALL_LIMIT_MS, env }, (error) => {
      if (error) log('warn', `systemd-notify ${state} failed: ${error.message}`);
    });
  }

  function look(): void {
    const now = progress();
    const moved = now > last || !hasSources;
    last = now;
    if (!moved) return;
    if (!ready) tell('READY=1');
    else if (watchdogMs > 0) tell('WATCHDOG=1');
    ready = true;
  }

  return {
    start() {
      if (env.NOTIFY_SOCKET === undefined) return;
      timer = setInterval(look, periodMs);
      look();
    },
    stop() {
      clearInterval(timer);
      if (env.NOTIFY_SOCKET !== undefined) tell('STOPPING=1');
    },
  };
}
