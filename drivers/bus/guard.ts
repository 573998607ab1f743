import { busError, messageOf } from './errors.ts';

/** Runs bus calls one at a time. */
export interface Guard {
  /** Runs `call` when those before it are done. `what` names it in errors. */
  run<T>(what: string, call: () => Promise<T>): Promise<T>;
  /** True while a call that ran out of time has still not come back. */
  readonly stuck: boolean;
  /** Refuses what waits and what comes, and resolves when `finish` has run or cannot be waited for any longer. */
  close(finish: () => Promise<void>): Promise<void>;
}

export interface GuardOptions {
  /** How the bus is named in errors. */
  readonly name: string;
  /** Longest time for one call, ms. */
  readonly timeLimitMs?: number;
  /** Most calls waiting. */
  readonly maxWaiting?: number;
}

interface Waiting {
  readonly what: string;
  readonly start: () => void;
  readonly refuse: (error: Error) => void;
}

/**
 * One call in flight, the others in a bounded queue, each with a time limit. A kernel call on a hung bus cannot be
 * cancelled and holds a thread of libuv's pool: after a call ran out of time the bus counts as stuck and every later
 * call fails at once, until the hung one comes back.
 */
export function createGuard({ name, timeLimitMs = 500, maxWaiting = 64 }: GuardOptions): Guard {
  const waiting: Waiting[] = [];
  let busy = false;
  let hung: { what: string; back: Promise<void> } | null = null;
  let closed = false;

  const stuckError = (what: string): Error =>
    busError(
      'EBUSSTUCK',
      `${name}: ${what} not tried, the bus is stuck: ${hung?.what} has not come back. ` +
        'Check the wiring and the power of the devices on it.',
    );
  const closedError = (what: string): Error =>
    busError('EBUSCLOSED', `${name}: ${what} not done, the bus is closed.`);

  const refuseAll = (make: (what: string) => Error): void => {
    for (const entry of waiting.splice(0)) entry.refuse(make(entry.what));
  };

  const next = (): void => {
    const entry = waiting.shift();
    busy = entry !== undefined;
    entry?.start();
  };

  const launch = <T>(
    what: string,
    call: () => Promise<T>,
    resolve: (value: T) => void,
    reject: (error: Error) => void,
  ): void => {
    let timedOut = false;
    let markBack: () => void = () => {};
    const timer = setTimeout(() => {
      timedOut = true;
      hung = { what, back: new Promise((done) => (markBack = done)) };
      reject(
        busError(
          'EBUSTIMEOUT',
          `${name}: ${what} gave no answer within ${timeLimitMs} ms; the bus counts as stuck.`,
        ),
      );
      refuseAll(stuckError);
    }, timeLimitMs);
    const settle = (report: () => void): void => {
      clearTimeout(timer);
      if (timedOut) {
        hung = null;
        markBack();
      } else {
        report();
      }
      next();
    };
    (async () => call())().then(
      (value) => settle(() => resolve(value)),
      (error: unknown) =>
        settle(() =>
          reject(
            error instanceof Error ? error : busError('EBUSIO', `${name}: ${what}: ${messageOf(error)}`),
          ),
        ),
    );
  };

  return {
    get stuck() {
      return hung !== null;
    },
    run: (what, call) =>
      new Promise((resolve, reject) => {
        if (closed) return reject(closedError(what));
        if (hung) return reject(stuckError(what));
        const start = (): void => launch(what, call, resolve, reject);
        if (busy) {
          if (waiting.length >= maxWaiting) {
            return reject(
              busError(
                'EBUSQUEUE',
                `${name}: ${what} refused, ${maxWaiting} calls are waiting already. Sample more slowly or use another bus.`,
              ),
            );
          }
          waiting.push({ what, start, refuse: reject });
        } else {
          busy = true;
          start();
        }
      }),
    async close(finish) {
      if (closed) return;
      closed = true;
      refuseAll(closedError);
      if (busy && !hung) {
        await new Promise<void>((resolve) => {
          waiting.push({ what: 'closing', start: resolve, refuse: () => resolve() });
        });
      }
      if (hung) {
        // Closing a descriptor under a call in flight is not safe: it is closed when, and if, the call comes back.
        // Nobody is left then to be told that closing failed.
        hung.back.then(finish).catch(() => {});
        return;
      }
      await finish();
    },
  };
}
