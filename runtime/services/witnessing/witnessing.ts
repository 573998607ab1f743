/** The witnessing room: this gateway's log shown to its peers, and its peers' logs witnessed. */
import { formatTilePath, parseTilePath } from '../../core/log/tiles.ts';
import type { Journal } from '../../state/journal/journal.ts';
import type { Publisher } from './publisher.ts';
import type { Witness } from './witness.ts';

export interface WitnessingOptions {
  readonly journal: Journal;
  readonly publisher: Publisher;
  readonly witness: Witness;
  readonly intervalMs: number;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface Answer {
  readonly status: number;
  readonly body: Uint8Array;
  readonly contentType?: string;
}

export interface Witnessing {
  start(): void;
  stop(): Promise<void>;
  /** Publishes a checkpoint at once: a maintenance entry has been made. */
  publishSoon(): void;
  handle(path: string, body: Uint8Array): Promise<Answer> | undefined;
}

/** Paths of C2SP tlog-witness and tlog-tiles. */
export const ADD_CHECKPOINT = '/add-checkpoint';
const CHECKPOINT = '/checkpoint';

export function createWitnessing(options: WitnessingOptions): Witnessing {
  const { journal, publisher, witness, log } = options;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  let stopped = true;

  function round(): void {
    if (running || stopped) return;
    running = publisher
      .publish()
      .catch((error: Error) => log('error', `publishing a checkpoint failed: ${error.message}`))
      .finally(() => {
        running = undefined;
      });
  }

  async function tile(path: string): Promise<Answer> {
    const wanted = parseTilePath(path.slice(1));
    if (!wanted) return text(404, 'no such tile\n');
    const { level, index, width } = wanted;
    try {
      const bytes = await (level === 'entries'
        ? journal.bundle(index, width)
        : journal.tile(level, index, width));
      return { status: 200, body: bytes, contentType: 'application/octet-stream' };
    } catch (error) {
      return text(404, `${formatTilePath(wanted)}: ${(error as Error).message}\n`);
    }
  }

  return {
    start() {
      stopped = false;
      timer = setInterval(round, options.intervalMs);
    },
    async stop() {
      stopped = true;
      clearInterval(timer);
      // A peer that hangs must not hold up the stop: its answer is not waited for.
      await Promise.race([running, new Promise((resolve) => setTimeout(resolve, 500).unref())]);
    },
    publishSoon: round,
    handle(path, body) {
      if (path === ADD_CHECKPOINT) {
        return witness
          .addCheckpoint(body)
          .then((answer) => text(answer.status, answer.body, answer.contentType));
      }
      if (path === CHECKPOINT) {
        const note = publisher.newest();
        return Promise.resolve(note === undefined ? text(404, 'no checkpoint yet\n') : text(200, note));
      }
      return path.startsWith('/tile/') ? tile(path) : undefined;
    },
  };
}

function text(status: number, content: string, contentType = 'text/plain; charset=utf-8'): Answer {
  return { status, body: new TextEncoder().encode(content), contentType };
}
