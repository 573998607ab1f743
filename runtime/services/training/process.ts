/** The training process as its parent starts it and looks at it. */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { setPriority } from 'node:os';

export interface ProcessOptions {
  /** The training process's main: `child.ts`, or its bundle. */
  readonly childModule: URL | string;
  /** Node's arguments for it; default those of this process. */
  readonly execArgv?: readonly string[];
  /** Its priority, 0 (as this process) to 19 (last). */
  readonly nice: number;
  /** Its resident memory; above this it is killed. */
  readonly memoryLimitBytes: number;
  /** Where TensorFlow.js's .wasm files are, if not where the process looks by itself. */
  readonly wasmDirectory?: string;
}

type Log = (level: 'info' | 'warn' | 'error', message: string) => void;

/** What it needs of the environment; passwords and systemd's socket are not among it. */
const ENVIRONMENT =
  /^(PATH|HOME|TMPDIR|TZ|LANG|LC_\w+|LD_LIBRARY_PATH|NODE_\w+|TSX_\w+|ESBUILD_\w+|KOSMOS_WASM_DIR|TF_\w+|OMP_\w+)$/;
const SHELL = '/bin/sh';
/** A core file would hold the plant's data. The shell becomes Node: the process id and the channel stay. */
const WITHOUT_CORE = 'ulimit -c 0; exec "$@"';

export function startProcess(options: ProcessOptions, log: Log): ChildProcess {
  const { childModule, memoryLimitBytes, wasmDirectory, nice } = options;
  const execArgv = [
    ...(options.execArgv ?? process.execArgv),
    // Bounds the JavaScript heap only; typed arrays and WebAssembly are bounded by watching the process.
    `--max-old-space-size=${mebibytes(memoryLimitBytes)}`,
  ];
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => ENVIRONMENT.test(name)));
  if (wasmDirectory !== undefined) env.KOSMOS_WASM_DIR = wasmDirectory;
  const shell = existsSync(SHELL)
    ? { execPath: SHELL, execArgv: ['-c', WITHOUT_CORE, 'kosmos-training', process.execPath, ...execArgv] }
    : { execArgv };
  const child = fork(childModule, [], {
    ...shell,
    env,
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  try {
    if (child.pid !== undefined) setPriority(child.pid, nice);
  } catch (error) {
    log('warn', `the training process keeps its priority: ${error instanceof Error ? error.message : error}`);
  }
  return child;
}

/** Gives every thread of a process its priority: on Linux each has one of its own. */
export async function setPriorityOfThreads(pid: number | undefined, nice: number): Promise<void> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  for (const thread of threads) {
    try {
      setPriority(Number(thread), nice);
    } catch {
      // The thread has ended, or the process, which its exit event tells.
    }
  }
}

/** Resident bytes of a process on Linux; 0 elsewhere, where the process's own reports have to do. */
export async function residentBytes(pid: number | undefined): Promise<number> {
  try {
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
  } catch {
    // No /proc, or the process has just ended, which its exit event tells.
    return 0;
  }
}

/** The last line that a process has written of an error, fit for a log: short, without numbers that might be data. */
export function lastLine(text: string): string {
  const written = text.trim().split('\n');
  const line = (written.findLast((words) => /error/i.test(words)) ?? written.at(-1) ?? '').trim();
  return line === '' ? '' : `: ${line.slice(0, 200).replace(/-?\d+\.\d+(e[+-]?\d+)?/gi, '(number)')}`;
}

export function mebibytes(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}
