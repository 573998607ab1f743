/** Logs that damage has taken records from, the own one and mirrors, filled again from copies as soon as one is there. */
import type { Refillable } from '../../state/journal/refill.ts';
import { refill, type Source } from './refill.ts';

export interface Damaged {
  /** Whose log it is. */
  readonly gateway: string;
  readonly log: Refillable;
  /** Copies that are in reach; what goes wrong with one is for the next time. */
  readonly sources: () => Promise<readonly Source[]>;
}

export interface RefillingOptions {
  readonly logs: () => readonly Damaged[];
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface RefillStatus {
  readonly gateway: string;
  /** Bundles and tiles that are not whole. */
  readonly records: number;
  readonly trouble: string;
}

export interface Refilling {
  /** Fills what is absent, unless the last try is too recent. */
  round(): Promise<void>;
  /** Whether nothing is absent, or was found to be: damage is looked for at the start alone. */
  done(): boolean;
  stop(): void;
  status(): readonly RefillStatus[];
}

const FIRST_RETRY_MS = 10_000;
const LAST_RETRY_MS = 3_600_000;

export function createRefilling({ logs, now, report }: RefillingOptions): Refilling {
  const stopping = new AbortController();
  let waiting: readonly Damaged[] | undefined;
  let retryAt = Number.NEGATIVE_INFINITY;
  let wait = FIRST_RETRY_MS;
  const absent = new Map<string, RefillStatus>();

  function note({ gateway }: Damaged, records: number, trouble: string): void {
    if (absent.get(gateway)?.trouble !== trouble)
      report('warn', `records of the log of ${gateway} are gone and not back yet: ${trouble}`);
    absent.set(gateway, { gateway, records, trouble });
  }

  async function fill(damaged: Damaged): Promise<'whole' | 'alone' | 'open'> {
    const { gateway, log } = damaged;
    const before = await log.holes();
    if (before.length === 0) {
      absent.delete(gateway);
      return 'whole';
    }
    const sources = await damaged.sources();
    if (sources.length === 0) {
      note(damaged, before.length, 'no gateway that has a copy of it is in reach');
      return 'alone';
    }
    const { records, open, failures } = await refill(log, sources, stopping.signal);
    const from = sources.map((source) => source.gateway).join(', ');
    if (records > 0)
      report('info', `${records} records of the log of ${gateway} were put back, from ${from}`);
    if (open.length === 0) {
      absent.delete(gateway);
      return 'whole';
    }
    const why = failures.map((failure) => `${failure.gateway}: ${failure.reason}`).join('; ');
    note(damaged, open.length, why || `the copies of ${from} do not reach that far yet`);
    return 'open';
  }

  async function tryToFill(damaged: Damaged): Promise<'whole' | 'alone' | 'open'> {
    try {
      return await fill(damaged);
    } catch (error) {
      const { records = 0 } = absent.get(damaged.gateway) ?? {};
      if (!stopping.signal.aborted) note(damaged, records, (error as Error).message);
      return 'open';
    }
  }

  return {
    async round() {
      if (now() < retryAt) return;
      waiting ??= logs();
      let asked = false;
      for (const damaged of waiting) {
        if (stopping.signal.aborted) return;
        const found = await tryToFill(damaged);
        if (found === 'whole') waiting = waiting.filter((one) => one !== damaged);
        asked ||= found === 'open';
      }
      retryAt = now() + (asked ? wait : FIRST_RETRY_MS);
      if (asked) wait = Math.min(LAST_RETRY_MS, wait * 2);
    },
    done: () => waiting?.length === 0,
    stop: () => stopping.abort(),
    status: () => [...absent.values()],
  };
}
