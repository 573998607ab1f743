/** Reads the tables of a journal again and again, slowly, so that a byte that has changed on the disk is found early. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Journal } from './journal.ts';

export interface ScrubOptions {
  readonly journal: Pick<Journal, 'scrub'>;
  readonly bytesPerSecond: number;
  /** From the end of one time to the beginning of the next. */
  readonly pauseMs: number;
  /** Told of what is damaged, once a time. */
  readonly report: (damaged: readonly string[]) => void;
}

export interface Scrub {
  start(): void;
  stop(): Promise<void>;
}

/** The most that is read before it waits. */
const STRETCH = 256_000;

export function createScrub({ journal, bytesPerSecond, pauseMs, report }: ScrubOptions): Scrub {
  const stopping = new AbortController();
  let running: Promise<void> | undefined;
  let read = 0;

  const wait = (ms: number) =>
    sleep(ms, undefined, { signal: stopping.signal, ref: false }).catch(() => undefined);

  function pause(bytes: number): Promise<void> | undefined {
    stopping.signal.throwIfAborted();
    read += bytes;
    if (read < STRETCH) return undefined;
    const ms = (1000 * read) / bytesPerSecond;
    read = 0;
    return wait(ms);
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        const damaged = await journal.scrub(pause);
        if (damaged.length > 0) report(damaged);
      } catch (error) {
        if (!stopping.signal.aborted) report([`the tables cannot be read: ${(error as Error).message}`]);
      }
      await wait(pauseMs);
    }
  }

  return {
    start() {
      running ??= run();
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
