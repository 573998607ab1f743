import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { TrainingJob, TrainingResult } from '../../core/learning/job.ts';
import { parameterCount } from '../../core/learning/model.ts';
import type { Checkpoints } from './checkpoint.ts';
import type { Pause } from './governor.ts';
import type { ChildMessage, ChildProgress, ParentMessage } from './messages.ts';
import {
  lastLine,
  mebibytes,
  type ProcessOptions,
  residentBytes,
  setPriorityOfThreads,
  startProcess,
} from './process.ts';
import { nextUsage, type TrainerStatus, type Usage } from './trainer-status.ts';

export type { TrainerStatus } from './trainer-status.ts';

export type Log = (level: 'info' | 'warn' | 'error', message: string) => void;

/** Who says when training has to wait; see governor.ts. */
export interface Brake {
  look(): Promise<Pause | undefined>;
  paused(): Pause | undefined;
  onChange(listener: (pause: Pause | undefined) => void): () => void;
}

export interface TrainerOptions extends ProcessOptions {
  /** It ends after so long without a job. */
  readonly idleMs: number;
  /** How long one job may take, pauses and the start of the process included. */
  readonly timeLimitMs: number;
  /** The most that it uses of one core, over a second; default 1. */
  readonly cpuShare?: number;
  /** How often the state of a job that is to be resumed is kept; default 10 s. */
  readonly checkpointMs?: number;
  readonly checkpoints?: Checkpoints;
  readonly brake?: Brake;
  readonly log: Log;
}

export interface TrainOptions {
  /** Told now and then while the job runs. */
  readonly progress?: (done: number, steps: number) => void;
  /**
   * A name under which the job's state is kept, so that the same job (all of it: data, parameters, settings,
   * seed) goes on after a crash. What is kept stays until `forget` of the checkpoints or another job's state.
   */
  readonly resume?: string;
}

/** Runs training jobs in a process of its own, which exists only while there is work. */
export interface Trainer {
  /**
   * Runs one job. Rejects when the job is impossible or diverges, when its process ends, exceeds its
   * memory or the time limit, when `signal` aborts (the process is killed), when another job is running
   * and after {@link Trainer.stop}. While the brake is on, it waits: before the process is started, or between
   * two steps.
   */
  train(job: TrainingJob, signal: AbortSignal, options?: TrainOptions): Promise<TrainingResult>;
  /** Kills the process, if there is one; the job in hand rejects. Resolves when it has ended. */
  stop(): Promise<void>;
}

export type WatchedTrainer = Trainer & { status(): TrainerStatus };

/** The job in hand: how to finish it, and how far it is. */
interface Running {
  readonly id: number;
  readonly job: TrainingJob;
  readonly options: TrainOptions;
  readonly since: number;
  done: number;
  resumedAt: number;
  stepMs: number | undefined;
  resolve(result: TrainingResult): void;
  reject(error: Error): void;
}

const MEMORY_CHECK_MS = 200;
const STDERR_KEPT = 2048;
const CHECKPOINT_MS = 10_000;
/** Of a job's features at a time: writing them all at once would hold up the daemon. */
const PART = 32_768;

/** Starts nothing yet: the process comes with the first job. */
export function createTrainer(options: TrainerOptions): WatchedTrainer {
  const { brake, checkpoints, log } = options;
  let child: ChildProcess | undefined;
  let running: Running | undefined;
  let idle: NodeJS.Timeout | undefined;
  let stopped = false;
  let jobs = 0;
  let backend: TrainerStatus['backend'] = null;
  let lastStepMs: number | undefined;
  let usage: Usage | undefined;
  /** Whether the process was told to pause last, under which number, and whether it has answered. */
  let told = { serial: 0, paused: false, answered: true };

  function settle(error: Error | undefined, result?: TrainingResult): void {
    const settled = running;
    running = undefined;
    if (settled === undefined) return;
    if (error !== undefined) settled.reject(error);
    else settled.resolve(result!);
  }

  function spawn(): ChildProcess {
    const started = startProcess(options, log);
    let lastWords = '';
    told = { serial: told.serial, paused: false, answered: true };
    usage = undefined;
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
    else if (!stopped) log('info', 'the training process has ended');
  }

  function receive(from: ChildProcess, message: ChildMessage): void {
    if (message.kind === 'ready') {
      backend = { name: message.name, detail: message.backend };
      log('info', `the training process uses ${message.backend}`);
      void setPriorityOfThreads(from.pid, options.nice);
    } else if (message.kind === 'broken') {
      void abandon(from, new Error(`the training process cannot work: ${message.message}`));
    } else if (message.kind === 'standing') {
      if (message.serial === told.serial) told = { ...told, answered: true };
    } else if (running === undefined || message.id !== running.id) {
      if (message.kind === 'result' || message.kind === 'failed')
        log('warn', `the training process answered job ${message.id}, which nobody waits for`);
    } else if (message.kind === 'started') {
      begun(running, message.done, message.ignored);
    } else if (message.kind === 'checkpoint') {
      if (running.options.resume !== undefined) checkpoints?.save(running.options.resume, message.bytes);
    } else if (message.kind === 'progress') {
      note(running, message);
      running.options.progress?.(message.done, running.job.steps);
      if (message.residentBytes > options.memoryLimitBytes)
        void abandon(from, overMemory(message.residentBytes));
    } else {
      if (message.kind === 'result' && message.progress) note(running, message.progress);
      finish(from, message, running.job);
    }
  }

  function begun(now: Running, done: number, ignored: string | undefined): void {
    now.done = done;
    now.resumedAt = done;
    if (ignored !== undefined) log('warn', `a training checkpoint is ignored: ${ignored}`);
    else if (done > 0) log('info', `training goes on after step ${done} of ${now.job.steps}`);
  }

  function note(now: Running, { done, stepMs, cpuMs, residentBytes: bytes }: ChildProgress): void {
    now.done = done;
    now.stepMs = stepMs;
    usage = nextUsage(usage, { cpuMs, wallMs: performance.now() }, bytes);
  }

  function finish(
    from: ChildProcess,
    message: ChildMessage & { kind: 'result' | 'failed' },
    job: TrainingJob,
  ): void {
    if (message.kind === 'failed') settle(new Error(`training failed: ${message.message}`));
    else if (isResultOf(message.result, job)) {
      lastStepMs = message.progress?.stepMs;
      settle(undefined, message.result);
    } else settle(new Error('the training process gave a result that does not fit its job'));
    from.unref();
    from.channel?.unref();
    idle = setTimeout(() => void abandon(from), options.idleMs).unref();
  }

  /** Kills `which`, and waits for its end; the job in hand, if any, fails with `error`. */
  async function abandon(which: ChildProcess | undefined, error?: Error): Promise<void> {
    clearTimeout(idle);
    if (which === undefined) {
      if (error !== undefined) settle(error);
      return;
    }
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

  async function checkMemory(): Promise<void> {
    const which = child;
    if (which === undefined) return;
    const bytes = await residentBytes(which.pid);
    if (child === which && bytes > options.memoryLimitBytes) await abandon(which, overMemory(bytes));
  }

  /** Tells the process to stand or to go on, where that is not what it was told last. */
  function tellPause(pause: Pause | undefined): void {
    const paused = pause !== undefined;
    if (child === undefined || paused === told.paused) return;
    told = { serial: told.serial + 1, paused, answered: false };
    const { serial } = told;
    const message: ParentMessage = paused ? { kind: 'pause', serial } : { kind: 'resume', serial };
    // A process that is gone tells so by its exit.
    child.send(message, () => {});
  }

  /** Resolves when the brake is off, or the job is over. */
  async function untilFree(outcome: Promise<unknown>): Promise<void> {
    if (brake === undefined) return;
    if ((await Promise.race([brake.look(), outcome])) === undefined) return;
    let off: (() => void) | undefined;
    const free = new Promise<void>((resolve) => {
      off = brake.onChange((pause) => {
        if (pause === undefined) resolve();
      });
      if (brake.paused() === undefined) resolve();
    });
    await Promise.race([free, outcome]).finally(() => off?.());
  }

  /** Brings the process to work on `now`. Rejects with `outcome` when that fails meanwhile. */
  async function handOver(now: Running, outcome: Promise<unknown>): Promise<void> {
    await untilFree(outcome);
    const { id, job } = now;
    const { resume } = now.options;
    const from = resume === undefined ? undefined : await checkpoints?.load(resume);
    if (running !== now) return;
    child ??= spawn();
    const current = child;
    current.ref();
    current.channel?.ref();
    tellPause(brake?.paused());
    const { features } = job;
    for (let offset = 0; offset < features.length; offset += PART) {
      const values = features.subarray(offset, offset + PART);
      await hand(current, { kind: 'features', id, total: features.length, offset, values });
      if (running !== now) return;
    }
    await hand(current, {
      kind: 'train',
      id,
      job: { ...job, features: new Float32Array(0) },
      cpuShare: options.cpuShare ?? 1,
      checkpointMs: resume === undefined || !checkpoints ? 0 : (options.checkpointMs ?? CHECKPOINT_MS),
      from,
    });
  }

  return {
    async train(job, signal, trainOptions = {}) {
      signal.throwIfAborted();
      if (stopped) throw new Error('training has been stopped');
      if (running !== undefined) throw new Error('a training job is running: one at a time');
      clearTimeout(idle);
      jobs += 1;
      const id = jobs;
      let now: Running | undefined;
      const outcome = new Promise<TrainingResult>((resolve, reject) => {
        now = {
          id,
          job,
          options: trainOptions,
          since: Date.now(),
          done: 0,
          resumedAt: 0,
          stepMs: undefined,
          resolve,
          reject,
        };
      });
      running = now!;
      const end = (error: Error) => void abandon(child, error);
      const limit = setTimeout(() => {
        end(new Error(`training took longer than ${options.timeLimitMs} ms and was killed`));
      }, options.timeLimitMs);
      const memory = setInterval(() => void checkMemory(), MEMORY_CHECK_MS);
      const abort = (): void => end(new Error('training was called off', { cause: signal.reason }));
      signal.addEventListener('abort', abort, { once: true });
      const off = brake?.onChange(tellPause);
      // Its failure shows in `outcome`, which is what is waited for.
      handOver(now!, outcome).catch((error: Error) => {
        if (running === now) end(error);
      });
      try {
        return await outcome;
      } finally {
        clearTimeout(limit);
        clearInterval(memory);
        signal.removeEventListener('abort', abort);
        off?.();
        tellPause(undefined);
      }
    },
    async stop() {
      stopped = true;
      await abandon(child, new Error('training has been stopped'));
    },
    status() {
      const pause = brake?.paused();
      return {
        backend,
        job: running
          ? {
              steps: running.job.steps,
              done: running.done,
              resumedAt: running.resumedAt,
              since: running.since,
              stepMs: running.stepMs ?? null,
            }
          : null,
        paused: pause ? { ...pause, standing: child === undefined || (told.paused && told.answered) } : null,
        child:
          child?.pid === undefined
            ? null
            : { pid: child.pid, residentBytes: usage?.residentBytes ?? 0, cpu: usage?.cores ?? null },
        lastStepMs: lastStepMs ?? null,
      };
    },
  };
}

/** Sends one message; resolves when it has been written. */
function hand(child: ChildProcess, message: ParentMessage): Promise<void> {
  return new Promise((resolve, reject) => {
    child.send(message, (error) => (error === null ? resolve() : reject(error)));
  });
}

function isResultOf(result: TrainingResult, job: TrainingJob): boolean {
  return (
    result.parameters instanceof Float64Array &&
    result.parameters.length === parameterCount(job.model) &&
    result.parameters.every(Number.isFinite) &&
    result.steps === job.steps
  );
}
