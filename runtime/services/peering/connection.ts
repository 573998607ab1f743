/** A lasting connection to one peer: dialled, checked, dialled again with back-off and jitter when it ends. */
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { connect as connectTls, type SecureContext, type TLSSocket } from 'node:tls';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { certifiedKey } from '../../state/provenance/certificate.ts';
import { type PeerResponse, peerError, readAll } from './message.ts';

/** Whom to dial, and the key that must answer. */
export interface PeerAddress {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly tlsKey: Uint8Array;
}

export interface ConnectionOptions {
  readonly context: SecureContext;
  readonly requestLimitMs: number;
  readonly maxMessageBytes: number;
  readonly log: (level: 'info' | 'warn', message: string) => void;
}

export interface Connection {
  request(path: string, body: Uint8Array, limitMs?: number): Promise<PeerResponse>;
  connected(): boolean;
  /** Why there is no connection, and since when (milliseconds since 1970). */
  trouble(): { readonly why: string; readonly since: number } | undefined;
  close(): void;
}

const HANDSHAKE_LIMIT_MS = 5000;
const FIRST_DELAY_MS = 250;
const LAST_DELAY_MS = 10_000;
const PING_MS = 5000;
/** What HTTP/2 may hold for one connection, in megabytes. */
export const SESSION_MEMORY_MB = 64;

export function openConnection(peer: PeerAddress, options: ConnectionOptions): Connection {
  let session: ClientHttp2Session | undefined;
  let dialling: TLSSocket | undefined;
  let closed = false;
  let delay = FIRST_DELAY_MS;
  let timer: NodeJS.Timeout | undefined;
  let trouble: { why: string; since: number } | undefined = { why: 'not connected yet', since: Date.now() };

  async function dial(): Promise<void> {
    try {
      const socket = connectTo(peer, options.context);
      dialling = socket;
      await handshake(socket, peer);
      const fresh = await openSession(socket, peer);
      if (closed) {
        fresh.destroy();
        return;
      }
      fresh.on('error', (error) => lost(fresh, error.message));
      fresh.on('close', () => lost(fresh, 'the connection was closed'));
      keepAlive(fresh);
      session = fresh;
      trouble = undefined;
      delay = FIRST_DELAY_MS;
      options.log('info', `connected to ${peer.name}`);
    } catch (error) {
      failed((error as Error).message);
    }
  }

  function lost(which: ClientHttp2Session, why: string): void {
    if (session !== which) return;
    session = undefined;
    which.destroy();
    if (!closed) options.log('warn', `lost ${peer.name}: ${why}`);
    failed(why);
  }

  function failed(why: string): void {
    if (closed) return;
    if (!trouble) trouble = { why, since: Date.now() };
    else if (trouble.why !== why) {
      trouble = { why, since: trouble.since };
      options.log('warn', `cannot reach ${peer.name} at ${peer.host}:${peer.port}: ${why}`);
    }
    // Jitter, or gateways that lost each other together would dial together for ever.
    timer = setTimeout(dial, delay * (0.5 + Math.random()));
    timer.unref();
    delay = Math.min(LAST_DELAY_MS, delay * 2);
  }

  void dial();
  return {
    async request(path, body, limitMs = options.requestLimitMs) {
      if (!session) throw peerError(peer.name, `unreachable (${trouble?.why ?? 'closed'})`);
      return exchange(session, peer.name, path, body, limitMs, options.maxMessageBytes);
    },
    connected: () => session !== undefined,
    trouble: () => trouble,
    close() {
      closed = true;
      clearTimeout(timer);
      dialling?.destroy();
      session?.destroy();
    },
  };
}

function connectTo(peer: PeerAddress, context: SecureContext): TLSSocket {
  return connectTls({
    host: peer.host,
    port: peer.port,
    secureContext: context,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2'],
    // No authority signs these certificates: the key is compared with the agreement's in the handshake.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
}

/** Resolves when the other end has proved that it holds the pinned key. */
function handshake(socket: TLSSocket, peer: PeerAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.setTimeout(HANDSHAKE_LIMIT_MS, () => socket.destroy(new Error('no answer to the TLS handshake')));
    socket.on('error', reject);
    socket.once('close', () => reject(new Error('the connection was closed in the TLS handshake')));
    socket.once('secureConnect', () => {
      socket.setTimeout(0);
      socket.setNoDelay(true);
      const key = presentedKey(socket);
      if (key && equalBytes(key, peer.tlsKey)) resolve();
      else {
        socket.destroy();
        reject(new Error('its certificate does not hold the key that the agreement names'));
      }
    });
  });
}

/**
 * An HTTP/2 session on which the other end has spoken. In TLS 1.3 the client has done its handshake before the
 * server has looked at its certificate: only the server's first frame says that it was taken.
 */
function openSession(socket: TLSSocket, peer: PeerAddress): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2(`https://${peer.name}`, {
      createConnection: () => socket,
      maxSessionMemory: SESSION_MEMORY_MB,
    });
    const limit = setTimeout(() => session.destroy(new Error('it says nothing')), HANDSHAKE_LIMIT_MS);
    session.on('error', reject);
    session.once('close', () => {
      clearTimeout(limit);
      reject(new Error('it closes the connection; perhaps its agreement does not name this key'));
    });
    session.once('remoteSettings', () => {
      clearTimeout(limit);
      resolve(session);
    });
  });
}

/** The Ed25519 key of the certificate that the other end presented, if it did. */
export function presentedKey(socket: TLSSocket): Uint8Array | undefined {
  const certificate = socket.getPeerX509Certificate();
  return certificate && certifiedKey(certificate.raw);
}

/** Notices a peer that is gone without a word. */
function keepAlive(session: ClientHttp2Session): void {
  let answered = true;
  const timer = setInterval(() => {
    // Destroying is not yet closing: the event that ends this timer may still be on its way.
    if (session.destroyed) return;
    if (!answered) {
      session.destroy(new Error('no answer to a ping'));
      return;
    }
    answered = false;
    session.ping((error) => {
      if (!error) answered = true;
    });
  }, PING_MS);
  timer.unref();
  session.once('close', () => clearInterval(timer));
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
    stream.on('error', (error) => {
      clearTimeout(deadline);
      reject(peerError(peer, `${path} failed: ${error.message}`, error));
    });
    let answered = false;
    stream.once('close', () => {
      // After an answer has begun, reading its body tells whether it came whole.
      if (answered) return;
      clearTimeout(deadline);
      reject(peerError(peer, `${path} was cut off`));
    });
    stream.once('response', (headers) => {
      answered = true;
      readAll(stream, maxBytes)
        .then((answer) => {
          clearTimeout(deadline);
          resolve({
            status: Number(headers[':status']),
            body: answer,
            contentType: String(headers['content-type'] ?? ''),
          });
        })
        .catch((error: Error) => {
          clearTimeout(deadline);
          stream.close(constants.NGHTTP2_CANCEL);
          reject(peerError(peer, `${path}: ${error.message}`, error));
        });
    });
    stream.end(body);
  });
}
