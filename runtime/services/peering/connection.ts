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

export function openConnection(peer: PeerAddress, options: ConnectionOptions): Connection {
  let session: ClientHttp2Session | undefined;
  let closed = false;
  let delay = FIRST_DELAY_MS;
  let timer: NodeJS.Timeout | undefined;
  let trouble: { why: string; since: number } | undefined = { why: 'not connected yet', since: Date.now() };

  async function dial(): Promise<void> {
    try {
      const socket = await handshake(peer, options.context);
      if (closed) {
        socket.destroy();
        return;
      }
      const fresh = connectHttp2(`https://${peer.name}`, { createConnection: () => socket });
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
      session?.destroy();
    },
  };
}

/** A TLS 1.3 connection whose other end has proved that it holds the pinned key. */
function handshake(peer: PeerAddress, context: SecureContext): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      host: peer.host,
      port: peer.port,
      secureContext: context,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['h2'],
      // No authority signs these certificates: the key is compared with the agreement's below.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    socket.setTimeout(HANDSHAKE_LIMIT_MS, () => socket.destroy(new Error('no answer to the TLS handshake')));
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      socket.setTimeout(0);
      socket.setNoDelay(true);
      const key = presentedKey(socket);
      if (key && equalBytes(key, peer.tlsKey)) resolve(socket);
      else {
        socket.destroy();
        reject(new Error('its certificate does not hold the key that the agreement names'));
      }
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
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-length': body.length });
    const deadline = setTimeout(() => {
      stream.close(constants.NGHTTP2_CANCEL);
      reject(peerError(peer, `no answer to ${path} within ${limitMs} ms`));
    }, limitMs);
    stream.once('error', (error) => {
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
          stream.close(constants.NGHTTP2_CANCEL);
          reject(peerError(peer, `${path}: ${error.message}`, error));
        });
    });
    stream.end(body);
  });
}
