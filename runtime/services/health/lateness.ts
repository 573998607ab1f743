/**
 * How late this process's timers come: what samples, which timers start, are late by. Measured by a timer of
 * libuv's own, so that looking costs no JavaScript.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';

export interface Lateness {
  start(): void;
  stop(): void;
  /** The lateness, ms, that one in ten timers had or exceeded since the last call; undefined after too few. */
  recent(): number | undefined;
}

const EVERY_MS = 50;
const FEWEST = 10;
const NANOSECONDS = 1e6;

export function createLateness(): Lateness {
  const histogram = monitorEventLoopDelay({ resolution: EVERY_MS });
  return {
    start: () => void histogram.enable(),
    stop: () => void histogram.disable(),
    recent() {
      if (histogram.count < FEWEST) return undefined;
      // What is recorded is the time from one timer to the next.
      const late = histogram.percentile(90) / NANOSECONDS - EVERY_MS;
      histogram.reset();
      return Math.max(0, late);
    },
  };
}
