/** Peers that do not keep to the rules: sockets and sessions with real keys, driven by hand. */
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp, createServer as createTcpServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { Identity } from './sides.ts';

/** A TCP connection; whatever befalls it is no error. */
export function rawTcp(t: TestContext, port: number): Socket {
  const socket = connectTcp(port, '127.0.0.1').on('error', () => {});
  t.after(() => socket.destroy());
  return socket;
}

/** TLS with the keys of `own`, its handshake done; it is not read until somebody does. */
export async function rawTls(
  t: TestContext,
  own: Identity,
  port: number,
  protocol = 'h2',
): Promise<TLSSocket> {
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    key: own.key,
    cert: own.certificate,
    rejectUnauthorized: false,
    ALPNProtocols: [protocol],
    minVersion: 'TLSv1.3',
  }).on('error', () => {});
  t.after(() => socket.destroy());
  await new Promise<void>((resolve) => socket.once('secureConnect', resolve).once('close', resolve));
  return socket;
}

/** HTTP/2 with the keys of `own`, the other end having spoken, or closed. */
export async function rawSession(t: TestContext, own: Identity, port: number): Promise<ClientHttp2Session> {
  const socket = await rawTls(t, own, port);
  const session = connectHttp2('https://raw', { createConnection: () => socket }).on('error', () => {});
  t.after(() => session.destroy());
  await new Promise<void>((resolve) =>
    session.once('remoteSettings', () => resolve()).once('close', resolve),
  );
  return session;
}

/** One HTTP/2 frame (RFC 9113, 4.1). */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** What a client says first: the preface and its settings, and that it takes the server's. */
export const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  frame(4, 0, 0, new Uint8Array(0)),
  frame(4, 1, 0, new Uint8Array(0)),
]);

/** The headers of `POST https /x` by HPACK's static table (RFC 7541, appendix A). */
export const POST = Uint8Array.of(0x83, 0x87, 0x04, 2, 0x2f, 0x78, 0x01, 1, 0x78);

/** A TCP listener that does `what` with each connection. */
export async function createTcpServerThat(
  t: TestContext,
  port: number,
  what: (socket: Socket) => void,
): Promise<void> {
  const server = createTcpServer((socket) => what(socket.on('error', () => {})));
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.after(() => server.close());
}
