/** The daemon's Unix socket: commands reach it here, since LevelDB has one owner. */
import { chmod, lstat, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { isListening } from './client.ts';
import { type ControlResponse, MAX_LINE, parseRequest } from './protocol.ts';

/** Carries out one command; its answer must survive JSON. */
export type ControlHandler = (given: Readonly<Record<string, unknown>>) => Promise<unknown>;

export interface Control {
  /** @throws Error when another daemon answers at the socket, or it cannot be made. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

const IDLE_LIMIT_MS = 30_000;
const MAX_CONNECTIONS = 32;
/** Owner and group may speak to the daemon. */
const SOCKET_MODE = 0o660;

export function createControl(path: string, handlers: Readonly<Record<string, ControlHandler>>): Control {
  const sockets = new Set<Socket>();
  let server: Server | undefined;

  function accept(socket: Socket): void {
    sockets.add(socket);
    socket.setTimeout(IDLE_LIMIT_MS, () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
    // The other end may go at any time; there is nobody left to tell.
    socket.on('error', () => socket.destroy());
    let pending = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      pending += chunk;
      if (pending.length > MAX_LINE) {
        socket.destroy();
        return;
      }
      const lines = pending.split('\n');
      pending = lines.pop() ?? '';
      for (const line of lines)
        void answer(line).then((response) => socket.write(`${JSON.stringify(response)}\n`));
    });
  }

  async function answer(line: string): Promise<ControlResponse> {
    try {
      const request = parseRequest(line);
      const handler = Object.hasOwn(handlers, request.command) ? handlers[request.command] : undefined;
      if (!handler)
        throw new Error(`the daemon knows no command ${request.command}; is it of another version?`);
      return { ok: true, value: await handler(request.arguments) };
    } catch (error) {
      return { ok: false, error: (error as Error).message };
    }
  }

  return {
    async start() {
      if (await isListening(path)) throw new Error(`another kosmos daemon answers at ${path}; stop it first`);
      await removeStale(path);
      server = createServer(accept);
      server.maxConnections = MAX_CONNECTIONS;
      await new Promise<void>((resolve, reject) => {
        server!.once('error', (error: NodeJS.ErrnoException) =>
          reject(new Error(`cannot make the control socket ${path}: ${error.message}`, { cause: error })),
        );
        server!.listen(path, resolve);
      });
      await chmod(path, SOCKET_MODE);
    },
    async stop() {
      const listening = server;
      server = undefined;
      if (!listening) return;
      const closed = new Promise((resolve) => listening.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Takes away the socket of a daemon that is gone. @throws Error when something else lies there. */
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found && !found.isSocket())
    throw new Error(`${path} is no socket; move it away, or set another control socket`);
  await rm(path, { force: true });
}
