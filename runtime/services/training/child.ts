/**
 * The main of the training process: takes jobs from its parent one at a time, and ends with it. It keeps
 * nothing, so that it may be killed at any time.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { randomBytes } from '#random';
import { startTraining } from '../../core/learning/dpsgd.ts';
import type { TrainingResult } from '../../core/learning/job.ts';
import { startBackend } from './backend.ts';
import type { ChildMessage, TrainMessage } from './messages.ts';

/** How long training may go on before messages (and the parent's end) are looked at, and progress told. */
const TURN_MS = 100;

function send(message: ChildMessage): void {
  // The parent may be gone: then `disconnect` ends this process, and nobody misses the message.
  process.send?.(message, undefined, undefined, () => {});
}

async function train({ id, job }: TrainMessage): Promise<TrainingResult> {
  const training = startTraining(job, randomBytes);
  let looked = performance.now();
  for (let done = 0; done < job.steps; ) {
    done = training.step();
    if (performance.now() - looked < TURN_MS) continue;
    send({ kind: 'progress', id, done, residentBytes: process.memoryUsage.rss() });
    await turn();
    looked = performance.now();
  }
  return training.result();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function main(): Promise<void> {
  if (process.send === undefined) {
    console.error('This is the training process of a gateway: it is started by kosmos run.');
    process.exitCode = 2;
    return;
  }
  process.on('disconnect', () => process.exit(0));
  // Ctrl-C and systemd signal the whole group; the parent decides when this process ends.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => {});
  try {
    const backend = await startBackend();
    process.on('message', (message: TrainMessage) => {
      train(message).then(
        (result) => send({ kind: 'result', id: message.id, result }),
        (error: unknown) => send({ kind: 'failed', id: message.id, message: messageOf(error) }),
      );
    });
    send({ kind: 'ready', backend: backend.detail });
  } catch (error) {
    send({ kind: 'broken', message: messageOf(error) });
  }
}

await main();
