import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setPriority } from 'node:os';
import type { TrainingJob, TrainingResult } from '../../core/learning/job.ts';
import { parameterCount } from '../../core/learning/model.ts';
import type { ChildMessage, TrainMessage } from './messages.ts';

export type Log = (level: 'info' | 'warn' | 'error', message: string) => void;

export interface TrainerOptions {
  /** The training process's main: `child.ts`, or its bundle. */
  readonly childModule: URL | string;
  /** Node's arguments for it; default those of this process. */
  readonly execArgv?: readonly string[];
  /** Its priority, 0 (as this process) to 19 (last). */
  readonly nice: number;
  /** Its resident memory; above this it is killed. */
  readonly memoryLimitBytes: number;
  /** It ends after so long without a job. */
  readonly idleMs: number;
  /** How long one job may take, the start of the process included. */
  readonly timeLimitMs: number;
  /** Where TensorFlow.js's .wasm files are, if not where the process looks by itself. */
  readonly wasmDirectory?: string;
  readonly log: Log;
}

/** Told now and then while a job runs. */
export type Progress = (done: number, steps: number) => void;

/** Runs training jobs in a process of its own, which exists only while there is work. */
export interface Trainer {
  /**
   * Runs one job. Rejects when the job is impossible or diverges, when its process ends, exceeds its
   * memory or the time limit, when `signal` aborts (the process is killed), when another job is running
   * and after {@link Trainer.stop}.
   */
  train(job: TrainingJob, signal: AbortSignal, progress?: Progress): Promise<TrainingResult>;
  /** Kills the process, if there is one; the job in hand rejects. Resolves when it has ended. */
  stop(): Promise<void>;
}

/** The job in hand: how to finish it. */
interface Running {
  readonly id: number;
  readonly job: TrainingJob;
  readonly progress: Progress | undefined;
  resolve(result: TrainingResult): void;
  reject(error: Error): void;
}

const MEMORY_CHECK_MS = 200;
const STDERR_KEPT = 2048;

/** Starts nothing yet: the process comes with the first job. */
export function createTrainer(options: TrainerOptions): Trainer {
  let child: ChildProcess | undefined;
  let running: Running | undefined;
  let idle: NodeJS.Timeout | undefined;
  let stopped = false;
  let jobs = 0;

  function settle(error: Error | undefined, result?: TrainingResult): void {
    const settled = running;
    running = undefined;
    if (settled === undefined) return;
    if (error !== undefined) settled.reject(error);
    else settled.resolve(result!);
  }

  function spawn(): ChildProcess {
    const started = startChild(options);
    let lastWords = '';
    started.stderr?.setEncoding('utf8').on('data', (text: string) => {
      lastWords = (lastWords + text).slice(-STDERR_KEPT);
    });
    started.on('message', (message: ChildMessage) => {
      if (child === started) receive(started, message);
    });
    started.on('error', (error) => ended(started, `could not be started: ${error.message}`));
    started.on('exit', (code, signal) => {
      const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
      ended(started, `ended in the middle of a job (${how})${lastLine(lastWords)}`);
    });
    return started;
  }

  function ended(which: ChildProcess, what: string): void {
    if (child !== which) return;
    child = undefined;
    clearTimeout(idle);
    if (running !== undefined)
      settle(new Error(`the training process ${what}; the next job starts a new one`));
    else if (!stopped) options.log('info', 'the training process has ended');
  }

  function receive(from: ChildProcess, message: ChildMessage): void {
    if (message.kind === 'ready') {
      options.log('info', `the training process uses ${message.backend}`);
    } else if (message.kind === 'broken') {
      void abandon(from, new Error(`the training process cannot work: ${message.message}`));
    } else if (message.id !== running?.id) {
      options.log('warn', `the training process answered job ${message.id}, which nobody waits for`);
    } else if (message.kind === 'progress') {
      running.progress?.(message.done, running.job.steps);
      if (message.residentBytes > options.memoryLimitBytes)
        void abandon(from, overMemory(message.residentBytes));
    } else {
      finish(from, message, running.job);
    }
  }

  function finish(
    from: ChildProcess,
    message: ChildMessage & { kind: 'result' | 'failed' },
    job: TrainingJob,
  ): void {
    if (message.kind === 'failed') settle(new Error(`training failed: ${message.message}`));
    else if (isResultOf(message.result, job)) settle(undefined, message.result);
    else settle(new Error('the training process gave a result that does not fit its job'));
    from.unref();
    from.channel?.unref();
    idle = setTimeout(() => void abandon(from), options.idleMs).unref();
  }

  /** Kills `which`, and waits for its end; the job in hand, if any, fails with `error`. */
  async function abandon(which: ChildProcess, error?: Error): Promise<void> {
    clearTimeout(idle);
    const exited = which.exitCode !== null || which.signalCode !== null || which.pid === undefined;
    if (child === which) child = undefined;
    which.ref();
    const gone = exited ? undefined : once(which, 'exit');
    which.kill('SIGKILL');
    if (error !== undefined) settle(error);
    await gone;
  }

  function overMemory(bytes: number): Error {
    return new Error(
      `the training process took ${mebibytes(bytes)} MiB and was killed: its limit is ` +
        `${mebibytes(options.memoryLimitBytes)} MiB; raise it, or train on fewer windows`,
    );
  }

  async function checkMemory(which: ChildProcess): Promise<void> {
    const bytes = await residentBytes(which.pid);
    if (child === which && bytes > options.memoryLimitBytes) await abandon(which, overMemory(bytes));
  }

  return {
    async train(job, signal, progress) {
      signal.throwIfAborted();
      if (stopped) throw new Error('training has been stopped');
      if (running !== undefined) throw new Error('a training job is running: one at a time');
      clearTimeout(idle);
      child ??= spawn();
      const current = child;
      current.ref();
      current.channel?.ref();
      jobs += 1;
      const id = jobs;
      const outcome = new Promise<TrainingResult>((resolve, reject) => {
        running = { id, job, progress, resolve, reject };
      });
      const limit = setTimeout(() => {
        void abandon(
          current,
          new Error(`training took longer than ${options.timeLimitMs} ms and was killed`),
        );
      }, options.timeLimitMs);
      const memory = setInterval(() => void checkMemory(current), MEMORY_CHECK_MS);
      const abort = (): void =>
        void abandon(current, new Error('training was called off', { cause: signal.reason }));
      signal.addEventListener('abort', abort, { once: true });
      const message: TrainMessage = { kind: 'train', id, job };
      current.send(message, (error) => {
        if (error !== null && running?.id === id) void abandon(current, error);
      });
      try {
        return await outcome;
      } finally {
        clearTimeout(limit);
        clearInterval(memory);
        signal.removeEventListener('abort', abort);
      }
    },
    async stop() {
      stopped = true;
      if (child !== undefined) await abandon(child, new Error('training has been stopped'));
    },
  };
}

function startChild({
  childModule,
  execArgv,
  memoryLimitBytes,
  wasmDirectory,
  nice,
  log,
}: TrainerOptions): ChildProcess {
  const child = fork(childModule, [], {
    // Bounds the JavaScript heap only; typed arrays and WebAssembly are bounded by watching the process.
    execArgv: [...(execArgv ?? process.execArgv), `--max-old-space-size=${mebibytes(memoryLimitBytes)}`],
    env: wasmDirectory === undefined ? process.env : { ...process.env, KOSMOS_WASM_DIR: wasmDirectory },
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

/** Resident bytes of a process on Linux; 0 elsewhere, where the process's own reports have to do. */
async function residentBytes(pid: number | undefined): Promise<number> {
  try {
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
  } catch {
    // No /proc, or the process has just ended, which its exit event tells.
    return 0;
  }
}

function isResultOf(result: TrainingResult, job: TrainingJob): boolean {
  return (
    result.parameters instanceof Float64Array &&
    result.parameters.length === parameterCount(job.model) &&
    result.parameters.every(Number.isFinite) &&
    result.steps === job.steps
  );
}

function lastLine(text: string): string {
  const line = text.trim().split('\n').at(-1) ?? '';
  return line === '' ? '' : `: ${line.trim()}`;
}

function mebibytes(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}
