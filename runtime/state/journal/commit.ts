/**
 * Group commit: what is handed in between two commits becomes durable in one fsync. A commit that fails is
 * tried again as it is, with the same bytes under the same keys, so that a half-written one does no harm.
 */
import { setTimeout as sleep } from 'node:timers/promises';

export interface CommitSettings {
  readonly intervalMs: number;
  /** Bytes that may wait for a commit; more are refused. */
  readonly maxPendingBytes: number;
}

/** One hand-in: it is durable as a whole, or not at all. */
export interface Work {
  readonly bytes: number;
  /** Whether it may be given up for newer work while nothing can be written. */
  readonly droppable?: boolean;
  /** Called when it is given up, before whoever waits for it hears of that. */
  readonly gone?: (() => void) | undefined;
}

export interface Committer<W extends Work> {
  /**
   * Resolves when `work` is durable. When too much waits already, the oldest that may be given up is, and
   * rejects with JournalFull; where that makes no room, `work` itself does. Else `taken` is called before this
   * returns.
   */
  submit(work: W, urgent: boolean, taken?: () => void): Promise<void>;
  /** What keeps commits from succeeding, or undefined. */
  trouble(): string | undefined;
  /** Commits what waits and stops; gives up after `limitMs`. */
  close(limitMs: number): Promise<void>;
}

/** The journal takes no more until a commit succeeds. */
export interface JournalFull extends Error {
  readonly name: 'JournalFull';
}

interface Waiting<W> {
  readonly work: W;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const FIRST_RETRY_MS = 200;
const LAST_RETRY_MS = 5000;

/**
 * @param commit makes a batch of work durable; it is called by one at a time, and again with the same batch
 *   after `recover` when it failed.
 */
export function createCommitter<W extends Work>(
  settings: CommitSettings,
  prepare: (batch: readonly W[]) => () => Promise<void>,
  recover: () => Promise<void>,
): Committer<W> {
  let waiting: Waiting<W>[] = [];
  /** Of all that is not durable yet: what waits, and the batch that is being written. */
  let bytes = 0;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  let urgentNext = false;
  let trouble: string | undefined;
  let closed = false;
  /** A batch was given up while closing. */
  let failed = false;
  const closing = new AbortController();

  async function run(): Promise<void> {
    const batch = waiting;
    waiting = [];
    urgentNext = false;
    try {
      if (failed) throw new Error(`the journal is closed: ${trouble}`);
      const attempt = prepare(batch.map((item) => item.work));
      await untilDurable(attempt);
      for (const item of batch) item.resolve();
    } catch (error) {
      const reason = error instanceof Error ? error : new Error(String(error));
      for (const item of batch) item.reject(reason);
    } finally {
      for (const item of batch) bytes -= item.work.bytes;
    }
  }

  async function untilDurable(attempt: () => Promise<void>): Promise<void> {
    for (let delay = FIRST_RETRY_MS; ; delay = Math.min(LAST_RETRY_MS, delay * 2)) {
      try {
        await attempt();
        trouble = undefined;
        return;
      } catch (error) {
        trouble = error instanceof Error ? error.message : String(error);
        if (closing.signal.aborted) {
          // What was worked out for this batch is ahead of what is stored: nothing may be written behind it.
          failed = true;
          throw error;
        }
        await sleep(delay, undefined, { signal: closing.signal }).catch(() => undefined);
        await recover().catch((again: Error) => {
          trouble = again.message;
        });
      }
    }
  }

  /** Never two at once: both would begin at the same durable state, and one would overwrite the other's block. */
  function start(): void {
    clearTimeout(timer);
    timer = undefined;
    if (running || waiting.length === 0) return;
    running = run().finally(() => {
      running = undefined;
      if (waiting.length > 0) schedule(urgentNext);
    });
  }

  function schedule(urgent: boolean): void {
    if (running) urgentNext ||= urgent;
    else if (urgent) setImmediate(start);
    else timer ??= setTimeout(start, settings.intervalMs);
  }

  /** What is being written stays: it is tried again as it is. */
  function makeRoom(needed: number): readonly Waiting<W>[] | undefined {
    const free = () => settings.maxPendingBytes - bytes;
    if (free() >= needed) return [];
    const droppable = waiting.filter(({ work }) => work.droppable);
    const gain = droppable.reduce((sum, { work }) => sum + work.bytes, 0);
    if (free() + gain < needed) return undefined;
    const given = new Set<Waiting<W>>();
    for (const item of droppable) {
      if (free() >= needed) break;
      given.add(item);
      bytes -= item.work.bytes;
    }
    waiting = waiting.filter((item) => !given.has(item));
    return [...given];
  }

  return {
    submit(work, urgent, taken) {
      if (closed) return Promise.reject(new Error('the journal is closed'));
      const given = makeRoom(work.bytes);
      if (!given) return Promise.reject(tooMuchWaits(settings.maxPendingBytes, trouble));
      bytes += work.bytes;
      taken?.();
      const durable = new Promise<void>((resolve, reject) => {
        waiting.push({ work, resolve, reject });
      });
      schedule(urgent);
      // Last, since whoever is told may hand in more.
      for (const item of given) {
        item.work.gone?.();
        item.reject(tooMuchWaits(settings.maxPendingBytes, trouble));
      }
      return durable;
    },
    trouble: () => trouble,
    async close(limitMs) {
      // At once: whoever goes on handing in would keep this from ending.
      closed = true;
      const deadline = setTimeout(() => closing.abort(), limitMs);
      while (running || waiting.length > 0) {
        start();
        await running;
      }
      clearTimeout(deadline);
      closing.abort();
    },
  };
}

export function journalFull(why: string): JournalFull {
  return Object.assign(new Error(why), { name: 'JournalFull' as const });
}

function tooMuchWaits(limit: number, trouble: string | undefined): JournalFull {
  return journalFull(
    `${limit} bytes wait for the journal already, only the newest are kept${trouble ? `: ${trouble}` : ''}`,
  );
}
