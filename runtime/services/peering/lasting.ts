/** Something that is opened, and opened again after a while whenever it ends. */
import { type BackoffOptions, createBackoff } from './backoff.ts';

/** What ends some time, and says why. */
export interface Ending {
  /** Resolves with the reason; never rejects. */
  readonly ended: Promise<string>;
  alive(): boolean;
  end(why: string): void;
}

export interface Trouble {
  readonly why: string;
  /** Milliseconds since 1970. */
  readonly since: number;
}

export interface Lasting<T> {
  /** What is open now. */
  current(): T | undefined;
  /** Why nothing is open, and since when. */
  trouble(): Trouble | undefined;
  close(): void;
}

export interface LastingOptions {
  /** How the log calls it: `bolt-1 at 10.0.0.2:7400`. */
  readonly what: string;
  readonly backoff: BackoffOptions;
  readonly log: (level: 'info' | 'warn', message: string) => void;
}

/** `open` must settle in bounded time, and at once when its signal is aborted. */
export function keepOpen<T extends Ending>(
  open: (signal: AbortSignal) => Promise<T>,
  { what, backoff: waits, log }: LastingOptions,
): Lasting<T> {
  const stopping = new AbortController();
  const backoff = createBackoff(waits);
  let current: T | undefined;
  let timer: NodeJS.Timeout | undefined;
  let trouble: Trouble | undefined = { why: 'not connected yet', since: Date.now() };

  async function hold(): Promise<number> {
    const fresh = await open(stopping.signal);
    if (stopping.signal.aborted) {
      fresh.end('stopped');
      return 0;
    }
    const from = performance.now();
    current = fresh;
    trouble = undefined;
    log('info', `connected to ${what}`);
    const why = await fresh.ended;
    current = undefined;
    trouble = { why, since: Date.now() };
    if (!stopping.signal.aborted) log('warn', `lost ${what}: ${why}`);
    return performance.now() - from;
  }

  async function attempt(): Promise<void> {
    const held = await hold().catch((error: Error) => {
      failed(error.message);
      return 0;
    });
    if (stopping.signal.aborted) return;
    timer = setTimeout(() => void attempt(), backoff.next(held));
    timer.unref();
  }

  function failed(why: string): void {
    if (trouble?.why === why || stopping.signal.aborted) return;
    trouble = { why, since: trouble?.since ?? Date.now() };
    log('warn', `cannot reach ${what}: ${why}`);
  }

  void attempt();
  return {
    current: () => (current?.alive() ? current : undefined),
    trouble() {
      if (current && !current.alive())
        trouble ??= { why: 'the connection is being closed', since: Date.now() };
      return trouble;
    },
    close() {
      stopping.abort();
      clearTimeout(timer);
      current?.end('stopped');
    },
  };
}
