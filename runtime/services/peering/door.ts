/**
 * The door: connections that others dialled, or that came through a tunnel, until it is known whose they are.
 * Before a connection's key is found in the agreement not a byte of HTTP is read, and strangers at the door are
 * few at any time: who has the most connections waiting loses its oldest.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { createAllowance } from './backoff.ts';
import { quiet } from './quiet.ts';
import { HANDSHAKE_LIMIT_MS, presented, type Secured, secureServer, type TlsIdentity } from './secure.ts';

/** Connections that have not shown yet whose they are, or have not spoken since. */
export const MAX_WAITING = 64;
/** Connections of one peer: so many at once, then one a second. */
export const CONNECTIONS_AT_ONCE = 32;

export interface Guest extends Secured {
  readonly peer: string;
  /** What was agreed on in the handshake: FORWARD or REVERSE. */
  readonly protocol: string;
  readonly tunnelled: boolean;
}

export interface DoorOptions {
  readonly identity: () => TlsIdentity;
  /** The peer whose key this is. */
  readonly whose: (key: Uint8Array) => string | undefined;
  /** Told of the certificate (DER) of a key that is nobody's. */
  readonly stranger: (certificate: Uint8Array) => void;
  /** Takes a peer's connection; resolves when it has spoken, rejects when it never did. */
  readonly welcome: (guest: Guest) => Promise<void>;
  readonly log: (level: 'warn' | 'error', message: string) => void;
}

export interface Door {
  /** @throws Error when the port is taken or the address is not this machine's. */
  listen(host: string, port: number): Promise<void>;
  /** A stream from afar, through `relay`, on which a TLS handshake is to come. */
  take(stream: Duplex, relay: string): void;
  /** Connections refused since the start. */
  refused(): number;
  close(): Promise<void>;
}

interface Waiting {
  readonly transport: Duplex;
  readonly from: string;
}

export function createDoor({ identity, whose, stranger, welcome, log }: DoorOptions): Door {
  const waiting = new Set<Waiting>();
  /** Everything that came in, for closing. */
  const transports = new Set<Duplex>();
  const allowances = new Map<string, () => boolean>();
  // A flood of strangers is not to become a flood of the log.
  const refusal = quiet(log);
  let server: Server | undefined;
  let refused = 0;
  let closing = false;

  function refuse(from: string, why: string): void {
    if (closing) return;
    refused += 1;
    refusal('warn', `refused a connection from ${from}: ${why}`);
  }

  function mayConnect(peer: string): boolean {
    const allowance = allowances.get(peer) ?? createAllowance(CONNECTIONS_AT_ONCE, 1);
    allowances.set(peer, allowance);
    return allowance();
  }

  /** @throws Error that says why the connection is refused. */
  function identify(socket: TLSSocket): { readonly peer: string; readonly key: Uint8Array } {
    const shown = presented(socket);
    const key = shown?.key;
    if (!key) throw new Error('it showed no Ed25519 certificate');
    const peer = whose(key);
    if (peer === undefined) {
      stranger(shown.certificate);
      throw new Error('its key is not in the agreement');
    }
    if (!socket.alpnProtocol) throw new Error(`${peer} named no protocol`);
    if (!mayConnect(peer)) throw new Error(`${peer} connects too often`);
    return { peer, key };
  }

  async function admit(transport: Duplex, from: string, tunnelled: boolean): Promise<void> {
    const entry: Waiting = { transport, from };
    waiting.add(entry);
    transports.add(transport);
    transport.once('close', () => transports.delete(transport));
    makeRoom();
    const limit = setTimeout(() => transport.destroy(), HANDSHAKE_LIMIT_MS);
    try {
      const socket = await secureServer(transport, identity());
      socket.once('close', () => transport.destroy());
      const { peer, key } = identify(socket);
      await welcome({ socket, peer, key, protocol: String(socket.alpnProtocol), tunnelled });
    } catch (error) {
      refuse(from, (error as Error).message);
      transport.destroy();
    } finally {
      clearTimeout(limit);
      waiting.delete(entry);
    }
  }

  function makeRoom(): void {
    if (waiting.size <= MAX_WAITING) return;
    const counts = new Map<string, number>();
    for (const { from } of waiting) counts.set(from, (counts.get(from) ?? 0) + 1);
    const most = Math.max(...counts.values());
    for (const entry of waiting) {
      if (counts.get(entry.from) !== most) continue;
      waiting.delete(entry);
      entry.transport.destroy();
      return;
    }
  }

  return {
    async listen(host, port) {
      closing = false;
      server = createServer((socket: Socket) => {
        socket.setNoDelay(true);
        void admit(socket, socket.remoteAddress ?? 'an address unknown', false);
      });
      await listening(server, host, port);
      server.on('error', (error) => log('error', `listener: ${error.message}`));
    },
    take: (stream, relay) => void admit(stream, `a tunnel through ${relay}`, true),
    refused: () => refused,
    async close() {
      closing = true;
      const open = server;
      server = undefined;
      const closed = open && new Promise((resolve) => open.close(resolve));
      for (const transport of transports) transport.destroy();
      await closed;
    },
  };
}

function listening(server: Server, host: string, port: number): Promise<void> {
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
