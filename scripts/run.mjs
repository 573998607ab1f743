import { spawn } from 'node:child_process';
import { builtProgram, ensureBuilt } from './build.mjs';
import { ensureInstalled, runScript } from './ensure.mjs';

/** Ctrl-C in a terminal reaches every process of the group by itself; elsewhere it has to be passed on. */
function passedOn() {
  const inTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  return inTerminal ? ['SIGTERM', 'SIGHUP'] : ['SIGTERM', 'SIGHUP', 'SIGINT'];
}

/** Runs node with `args` in the terminal of this process; gives the exit code, or ends by the same signal. */
export function runNode(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: 'inherit' });
    const signals = passedOn();
    const handlers = new Map(
      ['SIGTERM', 'SIGHUP', 'SIGINT'].map((signal) => [
        signal,
        () => {
          if (signals.includes(signal)) child.kill(signal);
        },
      ]),
    );
    for (const [signal, handler] of handlers) process.on(signal, handler);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      for (const [name, handler] of handlers) process.off(name, handler);
      if (signal !== null) process.kill(process.pid, signal);
      resolve(code ?? 1);
    });
  });
}

/** Installs and builds what is missing, then runs `kosmos` with `args`. */
export function runKosmos(args) {
  return runScript(async () => {
    await ensureInstalled();
    await ensureBuilt();
    return runNode([builtProgram('kosmos'), ...args]);
  });
}
