/** The answering end of HTTP/2 sessions. What one peer can make this gateway hold is bounded, over all its sessions. */
import {
  constants,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { Ending } from './lasting.ts';
import { cameWhole, type PeerHandler, type PeerResponse, readAll } from './message.ts';
import { type Log, quiet } from './quiet.ts';
import { HANDSHAKE_LIMIT_MS } from './secure.ts';
import { SESSION_MEMORY_MB, watch } from './session.ts';

/** Streams a peer may have open on one session, tunnels included. */
export const MAX_STREAMS = 128;
/**
 * Requests of one peer that are worked on. More than a session's streams: a stream that its peer has closed
 * leaves its handler behind for a while, and one that opens and closes without end must not pile those up.
 */
export const MAX_REQUESTS_IN_HAND = 2 * MAX_STREAMS;

/** How long the asker of a refused request may leave its half of the stream open. */
const REFUSAL_LIMIT_MS = 2000;

export interface ServingOptions {
  readonly handler: PeerHandler;
  /** How long a request's body may take to come, and its answer to be taken, each in all. */
  readonly limitMs: number;
  readonly maxMessageBytes: number;
  /** A CONNECT of `peer` to the gateway called `target`. Not asked on sessions that came through a tunnel. */
  readonly connect: (peer: string, target: string, stream: ServerHttp2Stream) => void;
  readonly log: Log<'warn' | 'error'>;
}

export interface Served extends Ending {
  /** Resolves when the other end has spoken HTTP/2. @throws Error when it ended before. */
  readonly spoken: Promise<void>;
}

export interface Serving {
  /** Serves `peer` on a secured socket, whichever end dialled. */
  serve(socket: TLSSocket, peer: string, how: { readonly tunnelled: boolean }): Served;
}

interface Load {
  /** What goes wrong with this peer's requests: it is the peer that can make it many lines. */
  readonly log: Log<'warn' | 'error'>;
  requests: number;
  bytes: number;
}

export function createServing({ handler, limitMs, maxMessageBytes, connect, log }: ServingOptions): Serving {
  const loads = new Map<string, Load>();
  /** Two messages of the largest size at a time, or many smaller ones. */
  const maxBytes = 2 * maxMessageBytes;

  function loadOf(peer: string): Load {
    const load = loads.get(peer) ?? { log: quiet(log), requests: 0, bytes: 0 };
    loads.set(peer, load);
    return load;
  }

  async function answer(
    peer: string,
    headers: IncomingHttpHeaders,
    stream: ServerHttp2Stream,
  ): Promise<void> {
    const path = pathOf(headers);
    const load = loadOf(peer);
    if (load.requests >= MAX_REQUESTS_IN_HAND) {
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return;
    }
    load.requests += 1;
    let held = 0;
    const take = (bytes: number) => {
      if (load.bytes + bytes > maxBytes)
        throw new Error(`more than ${maxBytes} bytes of its messages are in hand`);
      load.bytes += bytes;
      held += bytes;
    };
    try {
      const body = await within(stream, limitMs, () => readAll(stream, maxMessageBytes, take));
      if (!cameWhole(stream, headers, body)) throw new Error('broken off by its sender');
      const response = await handler(peer, { path, body });
      take(response.body.length);
      await within(stream, limitMs, () => send(stream, response));
    } catch (error) {
      load.log('error', `request ${path} of ${peer} failed: ${(error as Error).message}`);
      if (!stream.headersSent) fail(stream);
    } finally {
      load.requests -= 1;
      load.bytes -= held;
    }
  }

  return {
    serve(socket, peer, { tunnelled }) {
      const session = performServerHandshake(socket, {
        maxSessionMemory: SESSION_MEMORY_MB,
        settings: { maxConcurrentStreams: MAX_STREAMS },
      });
      const ending = watch(session, socket);
      session.on('stream', (stream, headers) => {
        stream.on('error', (error) => loadOf(peer).log('warn', `request of ${peer}: ${error.message}`));
        if (headers[':method'] !== 'CONNECT') void answer(peer, headers, stream);
        else if (tunnelled) refuse(stream, constants.HTTP_STATUS_FORBIDDEN);
        else connect(peer, String(headers[':authority']), stream);
      });
      return { ...ending, spoken: spoken(session, ending) };
    },
  };
}

function spoken(session: ServerHttp2Session, ending: Ending): Promise<void> {
  return new Promise((resolve, reject) => {
    const limit = setTimeout(() => ending.end('it says nothing'), HANDSHAKE_LIMIT_MS);
    session.once('remoteSettings', () => {
      clearTimeout(limit);
      resolve();
    });
    void ending.ended.then((why) => {
      clearTimeout(limit);
      reject(new Error(why));
    });
  });
}

/** What a request asks for, cut to a length that a log can take. */
function pathOf(headers: IncomingHttpHeaders): string {
  return String(headers[':path']).slice(0, 256);
}

/** Answers with a status alone. */
export function refuse(stream: ServerHttp2Stream, status: number): void {
  if (stream.destroyed || stream.closed) return;
  stream.respond({ ':status': status }, { endStream: true });
  // Closed at once, the stream would take the answer with it (Node 22); its other half is to end all the same.
  const limit = setTimeout(() => stream.close(), REFUSAL_LIMIT_MS);
  limit.unref();
  stream.once('close', () => clearTimeout(limit));
  stream.resume();
}

/** After a failure: a status if the request came whole, else the stream is cut off. */
function fail(stream: ServerHttp2Stream): void {
  if (stream.readableEnded) refuse(stream, constants.HTTP_STATUS_INTERNAL_SERVER_ERROR);
  else stream.close(constants.NGHTTP2_CANCEL);
}

/** Cuts `stream` off when `work` takes longer than `limitMs` in all, however steadily bytes trickle. */
async function within<T>(stream: ServerHttp2Stream, limitMs: number, work: () => Promise<T>): Promise<T> {
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    stream.destroy();
  }, limitMs);
  try {
    const result = await work();
    if (!late) return result;
  } catch (error) {
    if (!late) throw error;
  } finally {
    clearTimeout(timer);
  }
  throw new Error(`cut off after ${limitMs} ms`);
}

/** Resolves when the other end has taken all, or has gone. */
function send(stream: ServerHttp2Stream, { status, body, contentType }: PeerResponse): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed || stream.closed) return resolve();
    stream.once('close', resolve);
    stream.respond({
      ':status': status,
      'content-type': contentType ?? 'application/octet-stream',
      'content-length': body.length,
    });
    stream.end(body);
  });
}
