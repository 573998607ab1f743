/** The built program as a child process: what an operator starts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export const ROOT = join(import.meta.dirname, '..', '..');

/** The program's main module; built anew when the sources have changed. */
export async function builtKosmos(): Promise<string> {
  const build = (await import(new URL('../../scripts/build.mjs', import.meta.url).href)) as {
    readonly ensureBuilt: () => Promise<void>;
    readonly builtProgram: (name: string) => string;
  };
  await build.ensureBuilt();
  return build.builtProgram('kosmos');
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly ended: Promise<Ended>;
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
  readonly cwd?: string;
}

/** Whatever becomes of a test, nothing of it runs on. */
const live = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of live) child.kill('SIGKILL');
});

/** `kosmos ARGS` with a pipe for stdin, so that `--with-parent` ends it when the test dies. */
export function startKosmos(program: string, args: readonly string[], options: StartOptions = {}): Started {
  const { env = {}, ...rest } = options;
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', ...env },
    ...rest,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  live.add(child);
  child.once('close', () => live.delete(child));
  // It may have ended before the pipe to it did; the exit code tells the rest.
  child.stdin.on('error', () => undefined);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return { child, stdout: () => stdout, stderr: () => stderr, ended };
}

/** Runs `kosmos ARGS` to its end; killed, and an error, after `limitMs`. */
export async function kosmos(
  program: string,
  args: readonly string[],
  options: StartOptions & { readonly limitMs?: number } = {},
): Promise<Ended> {
  const { limitMs = 60_000, ...rest } = options;
  const started = startKosmos(program, args, rest);
  const result = await within(limitMs, started.ended);
  if (result) return result;
  started.child.kill('SIGKILL');
  throw new Error(
    `kosmos ${args.join(' ')} does not end within ${limitMs} ms: ${started.stderr().slice(-2000)}`,
  );
}

/** What `work` comes to, or undefined after `limitMs`. */
export async function within<T>(limitMs: number, work: Promise<T>): Promise<T | undefined> {
  const limit = new AbortController();
  const timer = delay(limitMs, undefined, { signal: limit.signal }).catch(() => undefined);
  try {
    return await Promise.race([work, timer]);
  } finally {
    limit.abort();
  }
}

/** The last line of a command's stdout, which --json makes an object. */
export function lastJson(stdout: string): Record<string, unknown> {
  const line = stdout.trimEnd().split('\n').at(-1) ?? '';
  const value: unknown = JSON.parse(line);
  if (typeof value !== 'object' || value === null) throw new Error(`not an object: ${line}`);
  return { ...value };
}

/** Waits until `look` gives something; throws with `what`, and what `details` says, after `limitMs`. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  {
    limitMs = 90_000,
    everyMs = 100,
    details = () => '',
  }: { limitMs?: number; everyMs?: number; details?: () => string | Promise<string> } = {},
): Promise<T> {
  const end = performance.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`waited in vain: ${what}\n${await details()}`);
    await delay(everyMs);
  }
}

/**
 * A port of loopback that is free. It lies below those that the system hands out for outgoing connections, so
 * that it is still free when a gateway that was killed is started again.
 */
export async function labPort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = 12_000 + Math.floor(Math.random() * 18_000);
    if (await isFree(port)) return port;
  }
  throw new Error('no free port between 12000 and 30000');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Processes whose parent is `pid`, where the system tells (Linux). */
export function childrenOf(pid: number): readonly number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return text.split(' ').filter(Boolean).map(Number);
  } catch {
    // Another system, or the process has ended.
    return [];
  }
}

/** Whether `pid` runs; one that has ended and that nobody has asked about does not. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
