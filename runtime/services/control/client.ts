/** Asks a running daemon over its Unix socket. */
import { connect } from 'node:net';
import { MAX_LINE, parseResponse } from './protocol.ts';

/** No daemon answers at the socket. */
export interface NoDaemon extends Error {
  readonly name: 'NoDaemon';
}

const DEFAULT_LIMIT_MS = 10_000;

/**
 * Sends one command and gives its value.
 * @throws NoDaemon when nobody listens; Error with the daemon's own words when it refuses; Error on a time-out.
 */
export function askDaemon(
  path: string,
  command: string,
  given: Readonly<Record<string, unknown>> = {},
  limitMs = DEFAULT_LIMIT_MS,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let received = '';
    const end = (finish: () => void) => {
      socket.destroy();
      finish();
    };
    socket.setTimeout(limitMs, () =>
      end(() => reject(new Error(`the daemon at ${path} does not answer within ${limitMs} ms`))),
    );
    socket.setEncoding('utf8');
    socket.once('connect', () => socket.write(`${JSON.stringify({ command, arguments: given })}\n`));
    socket.once('error', (error: NodeJS.ErrnoException) => end(() => reject(explain(path, error))));
    socket.once('close', () => reject(new Error(`the daemon at ${path} closed the connection`)));
    socket.on('data', (chunk: string) => {
      received += chunk;
      if (received.length > MAX_LINE) end(() => reject(new Error('the daemon’s answer is too long')));
      const line = received.indexOf('\n');
      if (line < 0) return;
      end(() => {
        try {
          const response = parseResponse(received.slice(0, line));
          if (response.ok) resolve(response.value);
          else reject(new Error(response.error));
        } catch (error) {
          reject(error as Error);
        }
      });
    });
  });
}

function explain(path: string, error: NodeJS.ErrnoException): Error {
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
    return Object.assign(new Error(`no kosmos daemon runs at ${path}`, { cause: error }), {
      name: 'NoDaemon' as const,
    });
  }
  if (error.code === 'ECONNRESET' || error.code === 'EPIPE') {
    return new Error(`the daemon at ${path} closed the connection`, { cause: error });
  }
  if (error.code === 'EACCES') {
    return new Error(`the control socket ${path} may not be used by this user; join the group kosmos`, {
      cause: error,
    });
  }
  return new Error(`the control socket ${path} cannot be used: ${error.message}`, { cause: error });
}

/** Whether a daemon accepts connections at `path`. */
export function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.setTimeout(1000, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
