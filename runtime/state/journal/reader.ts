/** Reads the journal's entries in order, from a durable cursor on, and waits where they end. */
import type { Journal, Position } from './journal.ts';

/** An entry, and the position behind it: what a consumer commits when it has finished with it. */
export interface ReadEntry {
  readonly bytes: Uint8Array;
  readonly at: Position;
  readonly after: Position;
}

export interface JournalReader {
  /** At least one entry and at most `limit`; an empty list only when `signal` fires. One call at a time. */
  next(limit: number, signal: AbortSignal): Promise<readonly ReadEntry[]>;
  /** Everything before `position` is finished with, durably. */
  commit(position: Position): Promise<void>;
}

/** A consumer called `name`, which reads on from where it committed last. */
export function createJournalReader(journal: Journal, name: string): JournalReader {
  let at: Position | undefined;

  async function available(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && at!.block >= journal.state().blocks) {
      await new Promise<void>((resolve) => {
        const done = () => {
          unlisten();
          signal.removeEventListener('abort', done);
          resolve();
        };
        const unlisten = journal.onCommit(done);
        signal.addEventListener('abort', done, { once: true });
      });
    }
  }

  return {
    async next(limit, signal) {
      at ??= await journal.cursor(name);
      const read: ReadEntry[] = [];
      while (read.length === 0) {
        await available(signal);
        if (signal.aborted) return [];
        // Blocks that retention has dropped meanwhile are gone for this consumer too.
        if (at.block < journal.state().first) at = { block: journal.state().first, entry: 0 };
        const entries = await journal.block(at.block);
        if (!entries) {
          const next: number = (await journal.nextHeld(at.block + 1)) ?? journal.state().blocks;
          at = { block: next, entry: 0 };
          continue;
        }
        const until = Math.min(entries.length, at.entry + limit);
        for (let entry = at.entry; entry < until; entry++) {
          const after =
            entry + 1 < entries.length
              ? { block: at.block, entry: entry + 1 }
              : { block: at.block + 1, entry: 0 };
          read.push({ bytes: entries[entry]!, at: { block: at.block, entry }, after });
        }
        at = read.at(-1)?.after ?? { block: at.block + 1, entry: 0 };
      }
      return read;
    },
    commit: (position) => journal.moveCursor(name, position),
  };
}
