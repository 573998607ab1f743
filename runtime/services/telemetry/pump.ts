import { setTimeout as delay } from 'node:timers/promises';
import type { Delivery, OutgoingSample, SampleLink, SampleSource } from './samples.ts';

/** Carries samples from the journal to a broker, in order and at least once. */
export interface Pump {
  /** Publishes over `link` until `signal` is aborted; rejects when the journal fails. One run at a time. */
  run(link: SampleLink, signal: AbortSignal): Promise<void>;
  /** The embedded broker's sessions have changed: what is not held may be now. */
  askAgain(): void;
  /** Settles when the cursor has been moved as far as it may be. */
  committed(): Promise<void>;
  counts(): PumpCounts;
}

export interface PumpCounts {
  /** Publications, repetitions included, since the start. */
  readonly published: number;
  /** Samples that the cursor has passed since the start. */
  readonly delivered: number;
  /** Samples read and not yet acknowledged. */
  readonly inFlight: number;
  /** Samples are waiting for a persistent session at the embedded broker. */
  readonly waitingForSession: boolean;
}

export interface PumpOptions {
  readonly source: SampleSource;
  readonly maxInflight: number;
  readonly acknowledgeTimeoutMs: number;
  /** How long samples that nobody wanted rest before they are offered again. */
  readonly offerAgainMs: number;
}

interface Entry {
  readonly sample: OutgoingSample;
  state: 'waiting' | 'sent' | 'acknowledged';
  sentAt: number;
}

/** A source that returns nothing although it should have waited must not become a busy loop. */
const EMPTY_PAUSE_MS = 250;

/**
 * The window holds what has been read and not been acknowledged, in order; it survives a connection, and
 * what was on its way when one broke is sent again over the next. The cursor moves over the acknowledged
 * beginning of the window only.
 *
 * With the embedded broker a sample can be acknowledged without being held. If nobody saw it, it stays in
 * the window, and one is offered again from time to time. If somebody looks on and the source can rewind, the pump runs
 * ahead of the cursor: it goes on publishing and leaves the cursor where it is, until a sample is held
 * again; then it starts anew from the cursor, so that the session gets all of it. The broker says when it is
 * worth asking again.
 */
export function createPump(options: PumpOptions): Pump {
  const { source, maxInflight, acknowledgeTimeoutMs, offerAgainMs } = options;
  let window: Entry[] = [];
  let aheadOfCursor = false;
  let rewindWanted = false;
  let restingUntil = 0;
  let probing = false;
  let asking = false;
  let lastSeen: OutgoingSample | undefined;
  let published = 0;
  let delivered = 0;
  let wake: () => void = () => {};

  const cursor = createCursor(
    source,
    (count) => {
      delivered += count;
    },
    () => wake(),
  );

  const acknowledge = (entry: Entry, delivery: Delivery): void => {
    // An entry that is no longer in the window belongs to a run before a rewind.
    if (entry.state !== 'sent' || !window.includes(entry)) return;
    if (delivery === 'passed') entry.state = 'acknowledged';
    else settle(entry, delivery);
    advance();
    wake();
  };

  const settle = (entry: Entry, delivery: Exclude<Delivery, 'passed'>): void => {
    probing = delivery === 'unseen' || (delivery === 'seen' && source.rewind === undefined);
    if (probing) {
      entry.state = 'waiting';
      restingUntil = performance.now() + offerAgainMs;
    } else if (delivery === 'held') {
      entry.state = 'acknowledged';
      rewindWanted ||= aheadOfCursor;
    } else {
      entry.state = 'acknowledged';
      aheadOfCursor = true;
      lastSeen = entry.sample;
    }
  };

  const advance = (): void => {
    const unfinished = window.findIndex(({ state }) => state !== 'acknowledged');
    const done = window.splice(0, unfinished === -1 ? window.length : unfinished);
    const last = done.at(-1);
    if (last !== undefined && !aheadOfCursor) cursor.moveTo(last.sample.position, done.length);
  };

  const sendWaiting = (link: SampleLink): void => {
    if (probing && window.some(({ state }) => state === 'sent')) return;
    for (const entry of window) {
      if (entry.state !== 'waiting') continue;
      entry.state = 'sent';
      entry.sentAt = performance.now();
      published++;
      link.publish(entry.sample, (delivery) => acknowledge(entry, delivery));
      // While nobody wants the samples, one is enough to ask with.
      if (probing) return;
    }
  };

  /** With nothing new to publish, the last one is published once more to learn whether it would be held. */
  const ask = (link: SampleLink): void => {
    if (!asking || lastSeen === undefined) return;
    asking = false;
    published++;
    link.publish(lastSeen, (delivery) => {
      rewindWanted ||= aheadOfCursor && delivery === 'held';
      wake();
    });
  };

  const rewind = async (): Promise<void> => {
    await cursor.settled();
    window = [];
    await source.rewind?.();
    aheadOfCursor = false;
    rewindWanted = false;
    lastSeen = undefined;
  };

  const fill = async (signal: AbortSignal): Promise<void> => {
    if (signal.aborted) return;
    const reading = new AbortController();
    const stop = (): void => reading.abort();
    signal.addEventListener('abort', stop, { once: true });
    wake = () => {
      const unsent = window.some(({ state }) => state === 'waiting');
      if (unsent || asking || rewindWanted || cursor.failed()) stop();
    };
    try {
      const samples = await source.next(maxInflight - window.length, reading.signal);
      for (const sample of samples) window.push({ sample, state: 'waiting', sentAt: 0 });
      if (samples.length === 0 && !reading.signal.aborted)
        await delay(EMPTY_PAUSE_MS, undefined, { signal: reading.signal });
    } catch (error) {
      if (!reading.signal.aborted) throw error;
    } finally {
      wake = () => {};
      signal.removeEventListener('abort', stop);
    }
  };

  /** Until an acknowledgement comes, the rest is over, or the signal is aborted. */
  const pause = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const rest = restingUntil - performance.now();
      const timer = rest > 0 ? setTimeout(() => end(), rest) : undefined;
      const end = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        wake = () => {};
        resolve();
      };
      signal.addEventListener('abort', end, { once: true });
      wake = end;
    });

  const watch = (link: SampleLink): NodeJS.Timeout =>
    setInterval(() => {
      const oldest = window.find(({ state }) => state === 'sent');
      if (oldest !== undefined && performance.now() - oldest.sentAt > acknowledgeTimeoutMs) {
        link.fail(new Error(`the broker has not acknowledged a sample for ${acknowledgeTimeoutMs} ms`));
      }
    }, acknowledgeTimeoutMs / 2);

  return {
    async run(link, signal) {
      for (const entry of window) if (entry.state === 'sent') entry.state = 'waiting';
      restingUntil = 0;
      probing = false;
      asking = aheadOfCursor;
      cursor.retry();
      const watchdog = watch(link);
      try {
        while (!signal.aborted) {
          cursor.throwIfFailed();
          if (rewindWanted) await rewind();
          const resting = restingUntil > performance.now();
          if (!resting) sendWaiting(link);
          ask(link);
          // Reading a quarter of the window at a time keeps reads few under load.
          const room = maxInflight - window.length >= Math.max(1, maxInflight / 4);
          if (room && !resting) await fill(signal);
          else await pause(signal);
        }
      } finally {
        clearInterval(watchdog);
      }
    },
    askAgain() {
      restingUntil = 0;
      asking = aheadOfCursor;
      wake();
    },
    committed: () => cursor.settled(),
    counts: () => ({
      published,
      delivered,
      inFlight: window.length,
      waitingForSession: aheadOfCursor || probing,
    }),
  };
}

interface Cursor {
  /** Asks for the cursor to be moved over `count` more samples to `position`; one commit runs at a time. */
  moveTo(position: unknown, count: number): void;
  settled(): Promise<void>;
  failed(): boolean;
  /** Throws the error of a commit that failed, until `retry`. */
  throwIfFailed(): void;
  /** Tries again what failed. */
  retry(): void;
}

interface Target {
  readonly position: unknown;
  readonly count: number;
}

function createCursor(source: SampleSource, onMoved: (count: number) => void, onFailed: () => void): Cursor {
  let target: Target | undefined;
  let running = Promise.resolve();
  let busy = false;
  let failure: Error | undefined;

  const take = (): Target | undefined => {
    const taken = target;
    target = undefined;
    return taken;
  };
  const work = async (): Promise<void> => {
    let next: Target | undefined;
    try {
      for (next = take(); next !== undefined; next = take()) {
        await source.commit(next.position);
        onMoved(next.count);
      }
    } catch (error) {
      const later = take();
      target = later === undefined || next === undefined ? next : join(next, later);
      failure = new Error(`the cursor cannot be moved: ${String(error)}`, { cause: error });
      onFailed();
    } finally {
      // In the same turn as the last look at the target, or one that comes between is never seen.
      busy = false;
    }
  };
  const start = (): void => {
    if (busy) return;
    busy = true;
    running = work();
  };
  return {
    moveTo(position, count) {
      target = target === undefined ? { position, count } : join(target, { position, count });
      start();
    },
    settled: () => running,
    failed: () => failure !== undefined,
    throwIfFailed() {
      if (failure !== undefined) throw failure;
    },
    retry() {
      failure = undefined;
      start();
    },
  };
}

function join(first: Target, later: Target): Target {
  return { position: later.position, count: first.count + later.count };
}
