/**
 * The main of the training process: takes jobs from its parent one at a time, and ends with it. It keeps
 * nothing, so that it may be killed at any time; its state goes to the parent now and then.
 */
import { writeFileSync } from 'node:fs';
import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises';
import { randomBytes } from '#random';
import { startTraining, type Training } from '../../core/learning/dpsgd.ts';
import type { TrainingJob, TrainingResult, TrainingState } from '../../core/learning/job.ts';
import { startBackend } from './backend.ts';
import { jobDigest, packState, unpackState } from './checkpoint.ts';
import type { ChildMessage, ChildProgress, ParentMessage, TrainMessage } from './messages.ts';
import { createPace } from './pace.ts';

/** How long training may go on before messages (and the parent's end) are looked at, and progress told. */
const TURN_MS = 100;
/** A timer is not finer than 1 ms, and each waking costs. */
const SHORTEST_SLEEP_MS = 5;
/** What checkpoints may cause to be written, on average: memory cards wear. */
const CHECKPOINT_BYTES_PER_MS = 100;

/** Released when training may go on; undefined while it may. */
let paused: { readonly until: Promise<void>; readonly release: () => void } | undefined;
/** Told once the job in hand stands still. */
let pauseSerial: number | undefined;
let busy = false;
let handed: { readonly id: number; readonly values: Float32Array } | undefined;

function send(message: ChildMessage): void {
  // The parent may be gone: then `disconnect` ends this process, and nobody misses the message.
  process.send?.(message, undefined, undefined, () => {});
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function wallMs(): number {
  return performance.now();
}

/** Starts `job` where the checkpoint left it, or from the beginning, and tells which. */
function begin(id: number, job: TrainingJob, digest: string, from: Uint8Array | undefined): Training {
  let ignored: string | undefined;
  if (from !== undefined) {
    try {
      // Whether it is one, startTraining judges.
      const state = unpackState(digest, from) as TrainingState;
      const training = startTraining(job, randomBytes, state);
      send({ kind: 'started', id, done: state.done });
      return training;
    } catch (error) {
      ignored = messageOf(error);
    }
  }
  const training = startTraining(job, randomBytes);
  send({ kind: 'started', id, done: 0, ...(ignored === undefined ? {} : { ignored }) });
  return training;
}

async function train(message: TrainMessage): Promise<{ result: TrainingResult; progress: ChildProgress }> {
  const { id, cpuShare, checkpointMs } = message;
  if (handed !== undefined && handed.id !== id) handed = undefined;
  const job: TrainingJob = { ...message.job, features: handed?.values ?? message.job.features };
  handed = undefined;
  const digest = checkpointMs > 0 ? jobDigest(job) : '';
  const training = begin(id, job, digest, message.from);
  const first = training.result().steps;
  const pace = createPace(cpuShare, wallMs, cpuMs);
  let done = first;
  let spent = 0;
  let looked = wallMs();
  let keptDone = first;
  let keepAt = wallMs() + checkpointMs;

  function keep(): void {
    if (checkpointMs === 0 || done === keptDone) return;
    const bytes = packState(digest, training.state());
    send({ kind: 'checkpoint', id, bytes });
    keptDone = done;
    keepAt = wallMs() + Math.max(checkpointMs, bytes.length / CHECKPOINT_BYTES_PER_MS);
  }

  function progress(): ChildProgress {
    const stepMs = done > first ? spent / (done - first) : 0;
    return { done, stepMs, cpuMs: cpuMs(), residentBytes: process.memoryUsage.rss() };
  }

  while (done < job.steps) {
    if (paused !== undefined) {
      keep();
      send({ kind: 'progress', id, ...progress() });
      stand();
      await paused.until;
      continue;
    }
    const started = wallMs();
    done = training.step();
    spent += wallMs() - started;
    if (keepAt <= wallMs()) keep();
    const owed = pace.owed();
    if (owed >= SHORTEST_SLEEP_MS) await wait(owed);
    if (wallMs() - looked < TURN_MS) continue;
    send({ kind: 'progress', id, ...progress() });
    await turn();
    looked = wallMs();
  }
  return { result: training.result(), progress: progress() };
}

/** Says, once, that nothing is being computed any more. */
function stand(): void {
  if (pauseSerial === undefined) return;
  send({ kind: 'standing', serial: pauseSerial, paused: true });
  pauseSerial = undefined;
}

function pause(serial: number): void {
  pauseSerial = serial;
  if (paused === undefined) {
    const { promise: until, resolve: release } = withResolver();
    paused = { until, release };
  }
  if (!busy) stand();
}

function resume(serial: number): void {
  pauseSerial = undefined;
  paused?.release();
  paused = undefined;
  send({ kind: 'standing', serial, paused: false });
}

function withResolver(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

function receive(message: ParentMessage): void {
  if (message.kind === 'pause') pause(message.serial);
  else if (message.kind === 'resume') resume(message.serial);
  else if (message.kind === 'features') {
    const { id, total, offset, values } = message;
    if (handed?.id !== id) handed = { id, values: new Float32Array(total) };
    handed.values.set(values, offset);
  } else {
    const { id } = message;
    busy = true;
    train(message)
      .then(
        ({ result, progress }) => send({ kind: 'result', id, result, progress }),
        (error: unknown) => send({ kind: 'failed', id, message: messageOf(error) }),
      )
      .finally(() => {
        busy = false;
        stand();
      });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A core file would hold the plant's data: no memory goes into one (core(5)), whatever takes it. */
function leaveNoCore(): void {
  try {
    writeFileSync('/proc/self/coredump_filter', '0');
  } catch {
    // Not Linux, or no such file: the limit that the parent sets is what there is.
  }
}

/** What went wrong, without a message that might quote data: where it was thrown says enough. */
function leaveNoWords(error: unknown): void {
  const { name = 'Error', stack = '' } = error instanceof Error ? error : {};
  const frame = stack.split('\n').find((line) => line.startsWith('    at '));
  process.stderr.write(`${name}${frame === undefined ? '' : ` ${frame.trim()}`}\n`, () => process.exit(1));
}

async function main(): Promise<void> {
  if (process.send === undefined) {
    console.error('This is the training process of a gateway: it is started by kosmos run.');
    process.exitCode = 2;
    return;
  }
  leaveNoCore();
  process.on('uncaughtException', leaveNoWords);
  process.on('disconnect', () => process.exit(0));
  // Ctrl-C and systemd signal the whole group; the parent decides when this process ends.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => {});
  try {
    const backend = await startBackend();
    process.on('message', receive);
    send({ kind: 'ready', name: backend.name, backend: backend.detail });
  } catch (error) {
    send({ kind: 'broken', message: messageOf(error) });
  }
}

await main();
