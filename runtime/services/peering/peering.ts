/**
 * Peering: HTTP/2 over TLS 1.3, both ends known by the key that the agreement pins. Each gateway listens and
 * dials every other; a request goes over the connection that its sender dialled.
 */
import { performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { createSecureContext, createServer, type Server, type TLSSocket } from 'node:tls';
import { equalBytes } from '../../core/encoding/cbor.ts';
import {
  type Connection,
  openConnection,
  type PeerAddress,
  presentedKey,
  SESSION_MEMORY_MB,
} from './connection.ts';
import { type PeerHandler, type PeerResponse, peerError, readAll } from './message.ts';
import type { PeeringSettings } from './settings.ts';

export interface PeeringOptions {
  readonly settings: PeeringSettings;
  /** PEM. */
  readonly key: string;
  readonly certificate: string;
  readonly peers: readonly PeerAddress[];
  readonly handler: PeerHandler;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface PeerStatus {
  readonly name: string;
  readonly connected: boolean;
  readonly trouble?: string;
  readonly since?: number;
}

export interface Peering {
  /** @throws Error when the port is taken or the address is not this machine's. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** @throws PeerError when the peer is unknown, unreachable, or does not answer in time. */
  request(peer: string, path: string, body: Uint8Array, limitMs?: number): Promise<PeerResponse>;
  connected(peer: string): boolean;
  status(): readonly PeerStatus[];
  /** Handshakes refused since the start: certificates whose key the agreement does not name. */
  refused(): number;
}

const MAX_STREAMS = 64;
const MAX_CONNECTIONS = 256;
const IDLE_LIMIT_MS = 60_000;

export function createPeering(options: PeeringOptions): Peering {
  const { settings, peers, log } = options;
  const context = createSecureContext({ key: options.key, cert: options.certificate, minVersion: 'TLSv1.3' });
  const connections = new Map<string, Connection>();
  const sessions = new Set<ServerHttp2Session>();
  /** Every connection taken, those without a word or in the handshake too. */
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  let refused = 0;

  function accept(socket: TLSSocket): void {
    // The HTTP/2 session tells of what matters; an error without a listener would end the process.
    socket.on('error', () => {});
    const key = presentedKey(socket);
    const peer = key && peers.find((candidate) => equalBytes(candidate.tlsKey, key));
    if (!peer || socket.alpnProtocol !== 'h2') {
      refused += 1;
      log(
        'warn',
        `refused a connection from ${socket.remoteAddress}: ${key ? 'its key is not in the agreement' : 'it showed no Ed25519 certificate'}`,
      );
      socket.destroy();
      return;
    }
    const session = performServerHandshake(socket, {
      maxSessionMemory: SESSION_MEMORY_MB,
      settings: { maxConcurrentStreams: MAX_STREAMS },
    });
    sessions.add(session);
    session.on('error', (error) => log('warn', `connection from ${peer.name}: ${error.message}`));
    session.on('close', () => sessions.delete(session));
    session.on('stream', (stream, headers) => {
      stream.on('error', (error) => log('warn', `request of ${peer.name}: ${error.message}`));
      stream.setTimeout(IDLE_LIMIT_MS, () => stream.close());
      void serve(peer.name, String(headers[':path']), stream);
    });
  }

  async function serve(peer: string, path: string, stream: ServerHttp2Stream): Promise<void> {
    const answer = await readAll(stream, settings.maxMessageBytes)
      .then((body) => options.handler(peer, { path, body }))
      .catch((error: Error): PeerResponse => {
        log('error', `request ${path} of ${peer} failed: ${error.message}`);
        return { status: 500, body: new Uint8Array(0) };
      });
    if (stream.destroyed || stream.closed) return;
    stream.respond({
      ':status': answer.status,
      'content-type': answer.contentType ?? 'application/octet-stream',
      'content-length': answer.body.length,
    });
    stream.end(answer.body);
  }

  return {
    async start() {
      server = createServer(
        {
          key: options.key,
          cert: options.certificate,
          minVersion: 'TLSv1.3',
          ALPNProtocols: ['h2'],
          requestCert: true,
          // The key is compared with the agreement's in `accept`, before a byte of HTTP is read.
          rejectUnauthorized: false,
          handshakeTimeout: 5000,
        },
        accept,
      );
      server.maxConnections = MAX_CONNECTIONS;
      server.on('tlsClientError', (error, socket) => {
        refused += 1;
        log('warn', `refused a connection from ${socket.remoteAddress}: ${error.message}`);
      });
      server.on('connection', (socket: Socket) => {
        sockets.add(socket);
        socket.once('close', () => sockets.delete(socket));
      });
      await listen(server, settings.listen.host, settings.listen.port);
      server.on('error', (error) => log('error', `listener: ${error.message}`));
      for (const peer of peers) {
        connections.set(
          peer.name,
          openConnection(peer, {
            context,
            requestLimitMs: settings.requestLimitMs,
            maxMessageBytes: settings.maxMessageBytes,
            log,
          }),
        );
      }
    },
    async stop() {
      for (const connection of connections.values()) connection.close();
      for (const session of sessions) session.destroy();
      const listening = server;
      server = undefined;
      if (!listening) return;
      const closed = new Promise((resolve) => listening.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    async request(peer, path, body, limitMs) {
      const connection = connections.get(peer);
      if (!connection) throw peerError(peer, 'not a gateway of the agreement');
      return connection.request(path, body, limitMs);
    },
    connected: (peer) => connections.get(peer)?.connected() ?? false,
    status: () =>
      peers.map(({ name }) => {
        const connection = connections.get(name);
        const trouble = connection?.trouble();
        return {
          name,
          connected: connection?.connected() ?? false,
          ...(trouble ? { trouble: trouble.why, since: trouble.since } : {}),
        };
      }),
    refused: () => refused,
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where = `${host}:${port}`;
      if (error.code === 'EADDRINUSE') {
        reject(
          new Error(`port ${where} is in use by another program; stop it, or set another [peering] listen`),
        );
      } else if (error.code === 'EADDRNOTAVAIL') {
        reject(new Error(`${host} is not an address of this machine; set another [peering] listen`));
      } else reject(new Error(`cannot listen on ${where}: ${error.message}`));
    });
    server.listen(port, host, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
}
