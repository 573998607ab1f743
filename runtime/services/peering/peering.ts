/**
 * Peering: HTTP/2 over TLS 1.3, both ends known by the keys that the agreement names. A gateway that listens is
 * dialled by every other, and a request goes over the connection that its sender dialled. A gateway that may only
 * dial out dials each listening peer twice, to ask and to be asked; two such gateways meet through a third.
 */
import { createSecureContext, type SecureContext } from 'node:tls';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { BACKOFF, type BackoffOptions } from './backoff.ts';
import type { PeerAddress } from './connection.ts';
import { createDialling } from './dialling.ts';
import { createDoor, type Guest } from './door.ts';
import type { Trouble } from './lasting.ts';
import { type PeerHandler, type PeerResponse, peerError } from './message.ts';
import { REVERSE, type TlsIdentity } from './secure.ts';
import { createServing, refuse, type Served } from './serving.ts';
import { openSession, type Session } from './session.ts';
import type { PeeringSettings } from './settings.ts';
import { createSeats, createStanding } from './standing.ts';
import { createRelay } from './tunnel.ts';

export interface PeeringOptions extends TlsIdentity {
  /** This gateway's own name. */
  readonly name: string;
  /** Whether the agreement names an address of this gateway: without one it never listens. */
  readonly reachable: boolean;
  readonly settings: PeeringSettings;
  readonly peers: readonly PeerAddress[];
  readonly handler: PeerHandler;
  /** Told of certificates (DER) whose key is not the peer's or nobody's: they may hold the word for a newer key. */
  readonly stranger?: (certificate: Uint8Array) => void;
  /** How long to wait between two dials. */
  readonly backoff?: BackoffOptions;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface PeerStatus {
  readonly name: string;
  /** Whether it can be asked. */
  readonly connected: boolean;
  /** How it is reached: `dialled`, `reverse` (it dialled), or `through bolt-1`. */
  readonly via?: string;
  readonly trouble?: string;
  readonly since?: number;
}

export interface Peering {
  /** @throws Error when the port is taken or the address is not this machine's. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** @throws PeerError when the peer is unknown, unreachable, or does not answer in time. */
  request(
    peer: string,
    path: string,
    body: Uint8Array,
    limitMs?: number,
    maxBytes?: number,
  ): Promise<PeerResponse>;
  connected(peer: string): boolean;
  status(): readonly PeerStatus[];
  /** Connections refused since the start: strangers, handshakes that failed, peers that connect too often. */
  refused(): number;
  /** Closes every connection whose other end's key is no longer one of its gateway's. Call it when a key changed. */
  recheck(): void;
  /** This gateway's own key and certificate from now on; connections that stand are kept. */
  renew(identity: TlsIdentity): void;
}

/** RFC 9110, 15.5.20: who listens is to be dialled. */
const MISDIRECTED = 421;

export function createPeering(options: PeeringOptions): Peering {
  const { name, settings, peers, log, backoff = BACKOFF } = options;
  const listen = options.reachable ? settings.listen : undefined;
  const byName = new Map(peers.map((peer) => [peer.name, peer]));
  let identity: TlsIdentity = options;
  let context = contextOf(identity);
  let stopping = new AbortController();
  const standing = createStanding((peer) => byName.get(peer)?.tlsKeys() ?? []);
  /** What peers dialled in order to ask, and in order to be asked. */
  const asking = createSeats<Served>();
  const reversed = createSeats<Session>();

  const relay = createRelay({ sessionTo: reversed.get, log });
  const serving = createServing({
    handler: options.handler,
    limitMs: settings.requestLimitMs,
    maxMessageBytes: settings.maxMessageBytes,
    connect(peer, target, stream) {
      if (target !== name) return void relay.lead(peer, target, stream);
      if (listen) return refuse(stream, MISDIRECTED);
      stream.respond({ ':status': 200 });
      door.take(stream, peer);
    },
    log,
  });
  const dialling = createDialling({
    peers,
    listens: listen !== undefined,
    context: () => context,
    stranger: options.stranger,
    maxMessageBytes: settings.maxMessageBytes,
    serving,
    standing,
    backoff,
    log,
  });
  const door = createDoor({
    identity: () => identity,
    whose: (key) => peers.find(({ tlsKeys }) => tlsKeys().some((known) => equalBytes(known, key)))?.name,
    stranger: (certificate) => options.stranger?.(certificate),
    welcome,
    log,
  });

  async function welcome({ socket, key, peer, protocol, tunnelled }: Guest): Promise<void> {
    if (protocol === REVERSE) {
      if (tunnelled) throw new Error(`${peer} reverses a tunnel`);
      const session = await openSession(socket, peer, settings.maxMessageBytes, stopping.signal);
      reversed.take(peer, standing.enter(peer, key, session));
      log('info', `${peer} has connected, to be asked`);
    } else {
      const served = serving.serve(socket, peer, { tunnelled });
      await served.spoken;
      asking.take(peer, standing.enter(peer, key, served));
    }
  }

  const sessionTo = (peer: string) => dialling.session(peer) ?? reversed.get(peer);

  function troubleOf(peer: string): Trouble {
    const why =
      byName.get(peer)?.host === undefined ? 'it only dials out, and has not connected' : 'not dialled yet';
    return dialling.trouble(peer) ?? { why, since: reversed.emptySince(peer) };
  }

  function statusOf({ name: peer }: PeerAddress): PeerStatus {
    const dialled = dialling.session(peer);
    const connected = sessionTo(peer) !== undefined;
    const deaf = dialling.deaf(peer);
    const trouble = connected
      ? deaf && { why: `it cannot ask here: ${deaf.why}`, since: deaf.since }
      : troubleOf(peer);
    const via = dialled ? (dialled.through ? `through ${dialled.through}` : 'dialled') : 'reverse';
    return {
      name: peer,
      connected,
      ...(connected ? { via } : {}),
      ...(trouble ? { trouble: trouble.why, since: trouble.since } : {}),
    };
  }

  return {
    async start() {
      stopping = new AbortController();
      if (listen) await door.listen(listen.host, listen.port);
      dialling.start();
    },
    async stop() {
      stopping.abort();
      dialling.stop();
      standing.endAll('stopped');
      await door.close();
    },
    async request(peer, path, body, limitMs = settings.requestLimitMs, maxBytes) {
      if (!byName.has(peer)) throw peerError(peer, 'not a gateway of the agreement');
      const session = sessionTo(peer);
      if (!session) throw peerError(peer, `unreachable (${troubleOf(peer).why})`);
      return session.request(path, body, limitMs, maxBytes);
    },
    connected: (peer) => sessionTo(peer) !== undefined,
    status: () => peers.map(statusOf),
    refused: () => door.refused(),
    recheck: () => standing.recheck(),
    renew(fresh) {
      context = contextOf(fresh);
      identity = fresh;
    },
  };
}

function contextOf({ key, certificate }: TlsIdentity): SecureContext {
  return createSecureContext({ key, cert: certificate, minVersion: 'TLSv1.3' });
}
