/** A lasting connection to one peer: dialled, checked, dialled again with back-off and jitter when it ends. */
import type { SecureContext } from 'node:tls';
import { BACKOFF, type BackoffOptions } from './backoff.ts';
import { keepOpen, type Lasting, type Trouble } from './lasting.ts';
import { type PeerResponse, peerError } from './message.ts';
import { FORWARD, REVERSE, type Secured, secureClient } from './secure.ts';
import { openSession, type Session } from './session.ts';

/** A peer: where it listens, if it does, and the keys of which one must answer. */
export interface PeerAddress {
  readonly name: string;
  /** Absent, as is `port`, when the peer only dials out. */
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  /** Its TLS keys at this moment: asked at every handshake, so that a rotated key counts at once. */
  readonly tlsKeys: () => readonly Uint8Array[];
}

/** A session, whose key holds its other end, and how it gets there. */
export interface Reached extends Session {
  readonly key: Uint8Array;
  /** The gateway that relays; absent when the peer itself was dialled. */
  readonly through?: string;
}

export interface DialOptions {
  /** Asked at every handshake. */
  readonly context: () => SecureContext;
  readonly maxMessageBytes: number;
  /** Told of the certificate (DER) of a key that is not the peer's: it may hold the word for a newer key. */
  readonly stranger?: ((certificate: Uint8Array) => void) | undefined;
}

/** Dials a peer that listens. @throws Error when it cannot be reached or is not who it should be. */
export async function dial(peer: PeerAddress, options: DialOptions, signal: AbortSignal): Promise<Reached> {
  const { socket, key } = await dialAs(FORWARD, peer, options, signal);
  return { ...(await openSession(socket, peer.name, options.maxMessageBytes, signal)), key };
}

/** Dials a peer in order to be asked by it. */
export function dialReversed(peer: PeerAddress, options: DialOptions, signal: AbortSignal): Promise<Secured> {
  return dialAs(REVERSE, peer, options, signal);
}

async function dialAs(
  protocol: typeof FORWARD | typeof REVERSE,
  { host, port, tlsKeys }: PeerAddress,
  { context, stranger }: DialOptions,
  signal: AbortSignal,
): Promise<Secured> {
  if (host === undefined || port === undefined) throw new Error('the agreement names no address of it');
  return secureClient({ host, port }, protocol, context(), tlsKeys, signal, stranger);
}

/**
 * Reaches a peer that cannot be dialled, through one of `relays`, tried in their order.
 * @throws Error of the last one when none leads to it.
 */
export async function dialThrough(
  peer: PeerAddress,
  relays: readonly { readonly name: string; readonly session: Session }[],
  { context, maxMessageBytes, stranger }: DialOptions,
  signal: AbortSignal,
): Promise<Reached> {
  let last = new Error('it only dials out, and no gateway that could lead to it is connected');
  for (const { name, session } of relays) {
    try {
      const stream = await session.tunnel(peer.name);
      const { socket, key } = await secureClient(
        { socket: stream },
        FORWARD,
        context(),
        peer.tlsKeys,
        signal,
        stranger,
      );
      return { ...(await openSession(socket, peer.name, maxMessageBytes, signal)), key, through: name };
    } catch (error) {
      last = error as Error;
    }
    if (signal.aborted) break;
  }
  throw last;
}

export interface ConnectionOptions extends DialOptions {
  readonly requestLimitMs: number;
  readonly backoff?: BackoffOptions;
  readonly log: (level: 'info' | 'warn', message: string) => void;
}

export interface Connection {
  request(path: string, body: Uint8Array, limitMs?: number): Promise<PeerResponse>;
  connected(): boolean;
  /** Why there is no connection, and since when. */
  trouble(): Trouble | undefined;
  close(): void;
}

/** A connection to one listening peer, by itself: what a tool or a test needs to speak with a gateway. */
export function openConnection(peer: PeerAddress, options: ConnectionOptions): Connection {
  const { requestLimitMs, backoff = BACKOFF, log } = options;
  const lasting = keepOpen((signal) => dial(peer, options, signal), { what: describe(peer), backoff, log });
  return {
    request: (path, body, limitMs = requestLimitMs) => requestOver(peer.name, lasting, path, body, limitMs),
    connected: () => lasting.current() !== undefined,
    trouble: () => lasting.trouble(),
    close: () => lasting.close(),
  };
}

async function requestOver(
  peer: string,
  lasting: Lasting<Session>,
  path: string,
  body: Uint8Array,
  limitMs: number,
): Promise<PeerResponse> {
  const session = lasting.current();
  if (!session) throw peerError(peer, `unreachable (${lasting.trouble()?.why ?? 'closed'})`);
  return session.request(path, body, limitMs);
}

/** How the log calls a peer. */
export function describe({ name, host, port }: PeerAddress): string {
  return host === undefined ? name : `${name} at ${host}:${port}`;
}
