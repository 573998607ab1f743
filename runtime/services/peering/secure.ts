/** TLS 1.3 between two gateways, each known by the Ed25519 key of its certificate, over a socket or a tunnel. */
import type { Duplex } from 'node:stream';
import { connect, createServer, type SecureContext, type TLSSocket } from 'node:tls';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { certifiedKey } from '../../state/provenance/certificate.ts';

/** Who dialled asks: HTTP/2 as usual. */
export const FORWARD = 'h2';
/** Who dialled is asked: HTTP/2 with its roles reversed. */
export const REVERSE = 'kosmos-reverse';
/** All of a handshake, however it is spread. */
export const HANDSHAKE_LIMIT_MS = 5000;

/** A gateway's TLS key and certificate, PEM. */
export interface TlsIdentity {
  readonly key: string;
  readonly certificate: string;
}

/** A connection on which the other end has proved that it holds `key`. */
export interface Secured {
  readonly socket: TLSSocket;
  readonly key: Uint8Array;
}

export type TlsTarget = { readonly host: string; readonly port: number } | { readonly socket: Duplex };

/**
 * Connects as the client of TLS, to an address or over a stream, and checks that the other end's key is one of
 * `keys`, asked when it has shown its own. The certificate of another key goes to `stranger`.
 * @throws Error when it has another key, breaks off, or takes longer than HANDSHAKE_LIMIT_MS in all.
 */
export function secureClient(
  target: TlsTarget,
  protocol: typeof FORWARD | typeof REVERSE,
  context: SecureContext,
  keys: () => readonly Uint8Array[],
  signal: AbortSignal,
  stranger: (certificate: Uint8Array) => void = () => {},
): Promise<Secured> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...target,
      secureContext: context,
      minVersion: 'TLSv1.3',
      ALPNProtocols: [protocol],
      // No authority signs these certificates: the key is compared with those that the agreement names.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    const fail = (error: Error) => {
      done();
      socket.destroy();
      if ('socket' in target) target.socket.destroy();
      reject(error);
    };
    const limit = setTimeout(() => fail(new Error('no answer to the TLS handshake')), HANDSHAKE_LIMIT_MS);
    const stopped = () => fail(new Error('stopped'));
    const done = () => {
      clearTimeout(limit);
      signal.removeEventListener('abort', stopped);
    };
    signal.addEventListener('abort', stopped);
    if (signal.aborted) stopped();
    // This listener stays: an error that nobody listens for would end the process.
    socket.on('error', fail);
    socket.once('close', () => fail(new Error('the connection was closed in the TLS handshake')));
    socket.once('secureConnect', () => {
      const shown = presented(socket);
      const key = shown?.key;
      if (!key || !keys().some((known) => equalBytes(known, key))) {
        if (shown) stranger(shown.certificate);
        fail(new Error('its certificate does not hold the key that the agreement names'));
      } else if (socket.alpnProtocol !== protocol) {
        fail(new Error(`it does not speak ${protocol}`));
      } else {
        done();
        if (!('socket' in target)) socket.setNoDelay(true);
        resolve({ socket, key });
      }
    });
  });
}

/**
 * Does a TLS handshake as the server over `transport`. Whose key it is, the caller judges.
 * @throws Error when the handshake fails; ending one that hangs is the caller's business, by destroying `transport`.
 */
export function secureServer(transport: Duplex, { key, certificate }: TlsIdentity): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    // A server for one connection: it tells which connection became secure, over whatever stream it runs, and
    // a new key takes effect at the next one.
    const server = createServer({
      key,
      cert: certificate,
      minVersion: 'TLSv1.3',
      ALPNProtocols: [FORWARD, REVERSE],
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_LIMIT_MS,
    });
    server.once('secureConnection', (socket) => {
      socket.on('error', () => {});
      resolve(socket);
    });
    server.once('tlsClientError', reject);
    transport.on('error', reject);
    transport.once('close', () => reject(new Error('closed in the TLS handshake')));
    server.emit('connection', transport);
  });
}

/** What the other end has presented: its certificate (DER), and the key in it where that is an Ed25519 key. */
export interface Presented {
  readonly certificate: Uint8Array;
  readonly key: Uint8Array | undefined;
}

/** To be asked once a socket: Node takes the certificate of a server out of the chain when it hands it out. */
export function presented(socket: TLSSocket): Presented | undefined {
  const certificate = socket.getPeerX509Certificate();
  return certificate && { certificate: certificate.raw, key: certifiedKey(certificate.raw) };
}
