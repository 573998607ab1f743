/** Reads a log over HTTP (C2SP tlog-tiles): every answer has a size and a time, and a busy server is asked again. */
import { problem } from '../terminal/problem.ts';

export interface LogClient {
  /** The body of `path` below the log's URL. @throws Problem when it cannot be had. */
  get(path: string, maxBytes: number): Promise<Uint8Array>;
  /** Bytes read so far. */
  bytes(): number;
  /** Ends what is on its way: whoever has found a fault waits for nothing more. */
  close(): void;
}

export interface ClientOptions {
  /** For one answer, milliseconds. */
  readonly limitMs?: number;
  readonly tries?: number;
  /** The longest wait that a busy server may ask for. */
  readonly maxWaitMs?: number;
}

const BUSY = new Set([429, 502, 503, 504]);

export function createLogClient(url: string, options: ClientOptions = {}): LogClient {
  const { limitMs = 30_000, tries = 8, maxWaitMs = 30_000 } = options;
  const base = url.replace(/\/+$/, '');
  const closed = new AbortController();
  let total = 0;

  async function attempt(where: string, maxBytes: number): Promise<Uint8Array | number> {
    const response = await fetch(where, {
      signal: AbortSignal.any([closed.signal, AbortSignal.timeout(limitMs)]),
    });
    if (BUSY.has(response.status)) {
      await response.body?.cancel();
      const asked = Number(response.headers.get('retry-after'));
      return Number.isFinite(asked) && asked > 0 ? Math.min(asked * 1000, maxWaitMs) : 1000;
    }
    if (response.status !== 200) {
      await response.body?.cancel();
      throw problem(`the answer has status ${response.status}`, {
        where,
        todo: 'is that the URL of a log, as C2SP tlog-tiles has it?',
      });
    }
    return readBody(response, where, maxBytes);
  }

  return {
    bytes: () => total,
    close: () => closed.abort(),
    async get(path, maxBytes) {
      const where = `${base}/${path}`;
      let why = 'the server is busy';
      for (let tried = 0; tried < tries; tried++) {
        const answer = await attempt(where, maxBytes).catch((error: Error) => {
          if ('isProblem' in error || closed.signal.aborted) throw error;
          why = reasonOf(error, limitMs);
          return Math.min(250 * 2 ** tried, maxWaitMs);
        });
        if (typeof answer !== 'number') {
          total += answer.length;
          return answer;
        }
        if (tried + 1 < tries) await new Promise((resolve) => setTimeout(resolve, answer));
      }
      throw problem(`no answer after ${tries} tries: ${why}`, { where });
    },
  };
}

async function readBody(response: Response, where: string, maxBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > maxBytes) throw problem(`the answer has more than ${maxBytes} bytes`, { where });
    parts.push(part);
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    body.set(part, at);
    at += part.length;
  }
  return body;
}

/** fetch says "fetch failed" of everything; the cause says more. */
function reasonOf(error: Error, limitMs: number): string {
  if (error.name === 'TimeoutError') return `no answer within ${limitMs} ms`;
  return error.cause instanceof Error ? error.cause.message : error.message;
}
