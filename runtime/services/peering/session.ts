/** The asking end of an HTTP/2 session with one peer, whoever dialled the socket below it. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
  type Http2Session,
  type IncomingHttpHeaders,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Ending } from './lasting.ts';
import { cameWhole, type PeerResponse, peerError, readAll } from './message.ts';
import { HANDSHAKE_LIMIT_MS } from './secure.ts';

/** How often a session is looked at. */
const LOOK_MS = 1000;
/** Looks from one ping to the next. */
const LOOKS_A_PING = 5;
/** A session that is being closed and is still there at so many looks is cut off. */
const LOOKS_TO_CLOSE = 3;
/** What HTTP/2 may hold for one connection, in megabytes. */
export const SESSION_MEMORY_MB = 64;

/** An HTTP/2 session over which the peer can be asked. */
export interface Session extends Ending {
  /** @throws PeerError when the whole answer is not here within the limit. */
  /** @param maxBytes of the answer, where less than the settings allow is enough. */
  request(path: string, body: Uint8Array, limitMs: number, maxBytes?: number): Promise<PeerResponse>;
  /** A stream that the peer leads on to `target`. @throws Error when it does not. */
  tunnel(target: string): Promise<ClientHttp2Stream>;
}

/** Watches a session of either end, on `socket`: why it ended, and whether the other end is still there. */
export function watch(session: Http2Session, socket: Duplex): Ending {
  let reason: string | undefined;
  let over: () => void = () => {};
  const ended = new Promise<string>((resolve) => {
    over = () => resolve(reason ?? 'the connection was closed');
  });
  const cutOff = (why?: string) => {
    if (why !== undefined) reason ??= why;
    socket.destroy();
    over();
  };
  session.on('error', (error: Error) => {
    reason ??= error.message;
  });
  session.once('close', over);
  keepAlive(session, cutOff);
  return {
    ended,
    alive: () => !session.destroyed && !session.closed,
    end(why) {
      reason ??= why;
      session.destroy();
      // Time for the GOAWAY to leave.
      setTimeout(cutOff, LOOK_MS).unref();
    },
  };
}

/**
 * Notices a peer that is gone without a word, and a session that is being closed and does not come to its end. Node
 * waits without a limit for the other end to end its half of the socket, once a GOAWAY has come, even if
 * this end destroys the session; and for a write to be taken, before it reads on or closes. The end of such a write
 * may never be told when the other end resets the connection meanwhile, as a gateway that stops does: then neither
 * socket nor session tells of anything any more.
 */
function keepAlive(session: Http2Session, cutOff: (why?: string) => void): void {
  let answered = true;
  let looks = 0;
  let closing = 0;
  const timer = setInterval(() => {
    if (session.destroyed || session.closed) {
      closing += 1;
      if (closing < LOOKS_TO_CLOSE) return;
      clearInterval(timer);
      cutOff();
      return;
    }
    looks += 1;
    if (looks % LOOKS_A_PING !== 0) return;
    if (!answered) {
      clearInterval(timer);
      session.destroy();
      cutOff('no answer to a ping');
      return;
    }
    answered = false;
    session.ping((error) => {
      if (!error) answered = true;
    });
  }, LOOK_MS);
  timer.unref();
  session.once('close', () => clearInterval(timer));
}

/**
 * A session on which the other end has spoken. In TLS 1.3 the client has done its handshake before the server
 * has looked at its certificate: only the other end's first frame says that it took the connection.
 */
export function openSession(
  socket: TLSSocket,
  peer: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Session> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2(`https://${peer}`, {
      createConnection: () => socket,
      maxSessionMemory: SESSION_MEMORY_MB,
      settings: { enablePush: false },
    });
    const ending = watch(session, socket);
    const stopped = () => ending.end('stopped');
    signal.addEventListener('abort', stopped);
    const limit = setTimeout(() => ending.end('it says nothing'), HANDSHAKE_LIMIT_MS);
    const settle = () => {
      clearTimeout(limit);
      signal.removeEventListener('abort', stopped);
    };
    void ending.ended.then((why) => {
      settle();
      reject(
        new Error(
          why === 'the connection was closed'
            ? 'it closes the connection; perhaps its agreement does not name this key'
            : why,
        ),
      );
    });
    session.once('remoteSettings', () => {
      settle();
      resolve({
        ...ending,
        request: (path, body, limitMs, most = maxBytes) =>
          exchange(session, peer, path, body, limitMs, Math.min(most, maxBytes)),
        tunnel: (target) => openTunnel(session, peer, target),
      });
    });
  });
}

/** A CONNECT stream (RFC 9113, 8.5); the authority is the name of the gateway at its far end. */
function openTunnel(session: ClientHttp2Session, peer: string, target: string): Promise<ClientHttp2Stream> {
  return new Promise((resolve, reject) => {
    if (session.destroyed || session.closed) throw peerError(peer, 'the connection is being closed');
    const stream = session.request({ ':method': 'CONNECT', ':authority': target });
    const fail = (why: string) => {
      clearTimeout(limit);
      stream.close(constants.NGHTTP2_CANCEL);
      reject(peerError(peer, `no tunnel to ${target}: ${why}`));
    };
    const limit = setTimeout(() => fail('no answer'), HANDSHAKE_LIMIT_MS);
    stream.on('error', (error) => fail(error.message));
    stream.once('close', () => fail('cut off'));
    stream.once('response', (headers) => {
      if (headers[':status'] !== 200) {
        stream.resume();
        fail(`it answers ${headers[':status']}`);
        return;
      }
      clearTimeout(limit);
      resolve(stream);
    });
  });
}

function exchange(
  session: ClientHttp2Session,
  peer: string,
  path: string,
  body: Uint8Array,
  limitMs: number,
  maxBytes: number,
): Promise<PeerResponse> {
  return new Promise((resolve, reject) => {
    if (session.destroyed || session.closed) throw peerError(peer, 'the connection is being closed');
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-length': body.length });
    const deadline = setTimeout(() => {
      stream.close(constants.NGHTTP2_CANCEL);
      reject(peerError(peer, `no answer to ${path} within ${limitMs} ms`));
    }, limitMs);
    const fail = (error: Error) => {
      clearTimeout(deadline);
      stream.close(constants.NGHTTP2_CANCEL);
      reject(peerError(peer, `${path} failed: ${error.message}`, error));
    };
    stream.on('error', fail);
    let headers: IncomingHttpHeaders | undefined;
    stream.once('response', (answered) => {
      headers = answered;
    });
    // Read from the start: over a tunnel a short answer can be complete before its headers are told of (Node 24).
    readAll(stream, maxBytes).then((answer) => {
      if (!headers) return fail(new Error('cut off without an answer'));
      if (!cameWhole(stream, headers, answer)) return fail(new Error('the answer was cut off'));
      clearTimeout(deadline);
      resolve({
        status: Number(headers[':status']),
        body: answer,
        contentType: String(headers['content-type'] ?? ''),
      });
    }, fail);
    stream.end(body);
  });
}
