/**
 * The listener for anybody: HTTP/1.1 without client certificates, for reading the log (C2SP tlog-tiles) and for
 * submitting checkpoints to the witness (C2SP tlog-witness). Nothing it serves is secret, and whoever asks is
 * a stranger: everything has a rate, a size and a time.
 */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { sha256 } from '#sha256';
import { toHex } from '../../core/encoding/base64.ts';
import { MAX_REQUEST_BYTES } from '../../core/log/witness.ts';
import { readBounded } from '../../state/files.ts';
import { formatHostPort, type HostPort } from '../../state/settings/units.ts';
import { addressKey, createRateLimit } from './rate-limit.ts';
import { createResources, type PublicSource } from './resources.ts';
import type { PublicSettings } from './settings.ts';
import type { WitnessResponse } from './witness.ts';

export interface PublicOptions {
  readonly settings: PublicSettings;
  readonly source: PublicSource;
  /** The witness: answers an add-checkpoint request. */
  readonly addCheckpoint: (body: Uint8Array) => Promise<WitnessResponse>;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface PublicStatus {
  /** Where it listens; undefined when it does not. */
  readonly address: HostPort | undefined;
  readonly connections: number;
  readonly answered: number;
  /** Requests refused for their number, and connections closed for theirs. */
  readonly limited: number;
  /** Answers that failed for a reason of our own. */
  readonly failed: number;
}

export interface PublicListener {
  /** Does nothing without `listen`. @throws Error when the port is taken or the certificate cannot be used. */
  start(): Promise<void>;
  stop(): Promise<void>;
  status(): PublicStatus;
}

const MAX_HEADER_BYTES = 8192;
const MAX_HEADERS = 64;
const REQUESTS_PER_CONNECTION = 1000;
const CONNECTION_AGE_MS = 10 * 60_000;
const MAX_ADDRESSES = 10_000;
/** Requests that are worked on at a time, and those among them that make a witness check and write. */
const MAX_AT_WORK = 64;
const MAX_CHECKPOINTS_AT_WORK = 8;
/** A submitted checkpoint costs as many tokens as this many tiles: a signature check and a synchronous write. */
const CHECKPOINT_TOKENS = 5;
const HEADER_LIMIT_MS = 10_000;
const REREAD_CERTIFICATE_MS = 3_600_000;
const COMPLAIN_EVERY_MS = 60_000;
const MAX_PEM = 262_144;
const STOP_LIMIT_MS = 2000;

const ADD_CHECKPOINT = '/add-checkpoint';
const TEXT = 'text/plain; charset=utf-8';

interface Answer {
  readonly status: number;
  readonly body: Uint8Array | string;
  readonly headers?: Readonly<Record<string, string>>;
}

export function createPublicListener(options: PublicOptions): PublicListener {
  const { settings, source, log } = options;
  const resources = createResources(source, (text) => toHex(sha256(new TextEncoder().encode(text))));
  const limit = createRateLimit({
    each: { rate: settings.rate, burst: settings.burst },
    all: { rate: settings.totalRate, burst: settings.totalBurst },
    maxAddresses: MAX_ADDRESSES,
  });
  const sockets = new Set<Socket>();
  const perAddress = new Map<string, number>();
  const counts = { answered: 0, limited: 0, failed: 0 };
  let server: Server | undefined;
  let renewal: NodeJS.Timeout | undefined;
  let atWork = 0;
  let checkpointsAtWork = 0;
  let complained = Number.NEGATIVE_INFINITY;

  function admit(socket: Socket): void {
    const key = addressKey(socket.remoteAddress ?? '');
    const mine = perAddress.get(key) ?? 0;
    if (mine >= settings.connectionsPerAddress) {
      counts.limited += 1;
      socket.destroy();
      return;
    }
    sockets.add(socket);
    perAddress.set(key, mine + 1);
    const age = setTimeout(() => socket.destroy(), CONNECTION_AGE_MS).unref();
    socket.once('close', () => {
      clearTimeout(age);
      sockets.delete(socket);
      const left = (perAddress.get(key) ?? 1) - 1;
      if (left > 0) perAddress.set(key, left);
      else perAddress.delete(key);
    });
  }

  function failed(error: Error): Answer {
    counts.failed += 1;
    if (performance.now() - complained >= COMPLAIN_EVERY_MS) {
      complained = performance.now();
      log('error', `a public request could not be answered: ${error.message}`);
    }
    return { status: 500, body: 'this could not be read here\n' };
  }

  async function submit(request: IncomingMessage, mayCome: () => void): Promise<Answer> {
    if (request.method !== 'POST') return notAllowed('POST');
    if (Number(request.headers['content-length'] ?? 0) > MAX_REQUEST_BYTES) return tooLarge();
    mayCome();
    const body = await readBody(request, MAX_REQUEST_BYTES).catch(() => 'cut off' as const);
    if (body === 'cut off') return { status: 400, body: 'the request ends too early\n' };
    if (!body) return tooLarge();
    // Only now: whoever sends slowly must not take the place of those whose checkpoint is here.
    if (checkpointsAtWork >= MAX_CHECKPOINTS_AT_WORK) return busy();
    checkpointsAtWork += 1;
    try {
      const { status, body: content, contentType = TEXT } = await options.addCheckpoint(body);
      return { status, body: content, headers: { 'content-type': contentType, 'cache-control': 'no-store' } };
    } finally {
      checkpointsAtWork -= 1;
    }
  }

  async function answer(request: IncomingMessage, mayCome: () => void): Promise<Answer> {
    const path = pathOf(request.url ?? '');
    const reading = request.method === 'GET' || request.method === 'HEAD';
    const wait = limit.take(
      request.socket.remoteAddress ?? '',
      path === ADD_CHECKPOINT && !reading ? CHECKPOINT_TOKENS : 1,
    );
    if (wait > 0) {
      counts.limited += 1;
      return { status: 429, body: 'too many requests\n', headers: { 'retry-after': `${wait}` } };
    }
    if (path === ADD_CHECKPOINT) return submit(request, mayCome).catch((error: Error) => failed(error));
    if (atWork >= MAX_AT_WORK) return busy();
    atWork += 1;
    try {
      if (!reading) return knownPath(path) ? notAllowed('GET, HEAD') : notFound();
      const found = await resources.read(path);
      if (!found) return notFound();
      const { status, body, contentType, cacheControl } = found;
      return { status, body, headers: { 'content-type': contentType, 'cache-control': cacheControl } };
    } catch (error) {
      return failed(error as Error);
    } finally {
      atWork -= 1;
    }
  }

  function knownPath(path: string): boolean {
    return path === '/checkpoint' || path === '/policy' || /^\/(tile|witness)\//.test(path);
  }

  function serve(request: IncomingMessage, response: ServerResponse, mayCome = () => {}): void {
    // Its peer may go away at any time; the answer to that is the end of the socket.
    request.on('error', () => response.destroy());
    response.on('error', () => response.destroy());
    const timer = setTimeout(() => {
      if (response.headersSent || response.destroyed) response.destroy();
      else send(request, response, busy(), true);
      // A receiver that takes nothing gets no further chance.
      setTimeout(() => response.destroy(), HEADER_LIMIT_MS).unref();
    }, settings.requestLimitMs);
    response.once('close', () => clearTimeout(timer));
    void answer(request, mayCome).then((ready) => {
      if (response.headersSent || response.destroyed) return;
      counts.answered += 1;
      send(request, response, ready, ready.status === 413);
    });
  }

  function createServer(pem: { readonly cert: string; readonly key: string } | undefined): Server {
    const http: ServerOptions = {
      headersTimeout: Math.min(HEADER_LIMIT_MS, settings.requestLimitMs),
      requestTimeout: settings.requestLimitMs,
      keepAliveTimeout: settings.idleLimitMs,
      connectionsCheckingInterval: Math.min(1000, Math.ceil(settings.requestLimitMs / 2)),
      maxHeaderSize: MAX_HEADER_BYTES,
    };
    const made = pem
      ? createHttpsServer({ ...http, ...pem, minVersion: 'TLSv1.2', handshakeTimeout: HEADER_LIMIT_MS })
      : createHttpServer(http);
    made.maxConnections = settings.maxConnections;
    made.maxHeadersCount = MAX_HEADERS;
    made.maxRequestsPerSocket = REQUESTS_PER_CONNECTION;
    made.on('connection', admit);
    made.on('drop', () => {
      counts.limited += 1;
    });
    made.on('request', (request, response) => serve(request, response));
    made.on('checkContinue', (request, response) => serve(request, response, () => response.writeContinue()));
    return made;
  }

  function withPem(given: Awaited<ReturnType<typeof pem>>): Server {
    try {
      return createServer(given);
    } catch (error) {
      throw new Error(
        `${settings.certificate} and ${settings.key} ([public]) cannot be used: ${(error as Error).message}`,
      );
    }
  }

  async function pem() {
    const { certificate, key } = settings;
    if (certificate === undefined || key === undefined) return undefined;
    return { cert: await readBounded(certificate, MAX_PEM), key: await readBounded(key, MAX_PEM) };
  }

  /** Certificates are renewed while the gateway runs. */
  function renew(https: HttpsServer): void {
    pem()
      .then((renewed) => renewed && https.setSecureContext({ ...renewed, minVersion: 'TLSv1.2' }))
      .catch((error: Error) => log('error', `the renewed certificate cannot be used: ${error.message}`));
  }

  return {
    async start() {
      const { listen } = settings;
      if (!listen || server) return;
      const made = withPem(await pem());
      await listening(made, listen);
      made.on('error', (error) => log('error', `the public listener failed: ${error.message}`));
      server = made;
      if (settings.certificate !== undefined) {
        renewal = setInterval(() => renew(made as HttpsServer), REREAD_CERTIFICATE_MS).unref();
      }
      log('info', `anybody may read the log at ${formatHostPort(addressOf(made))}`);
    },
    async stop() {
      clearInterval(renewal);
      const running = server;
      server = undefined;
      if (!running) return;
      const closed = new Promise<void>((resolve) => running.close(() => resolve()));
      running.closeIdleConnections();
      const rest = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, STOP_LIMIT_MS);
      await closed;
      clearTimeout(rest);
    },
    status: () => ({
      address: server && addressOf(server),
      connections: sockets.size,
      ...counts,
    }),
  };
}

/** Sends an answer; with `last` the connection ends behind it. */
function send(request: IncomingMessage, response: ServerResponse, answer: Answer, last: boolean): void {
  const body = Buffer.from(answer.body);
  if (last) response.shouldKeepAlive = false;
  response.writeHead(answer.status, {
    'content-type': TEXT,
    'cache-control': 'no-store',
    'content-length': body.length,
    'x-content-type-options': 'nosniff',
    // Pages in a browser may verify the log.
    ...(request.method === 'GET' || request.method === 'HEAD' ? { 'access-control-allow-origin': '*' } : {}),
    ...answer.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** The body, or undefined when it is longer than `most` bytes; what is beyond is read a little, and thrown away. */
async function readBody(request: IncomingMessage, most: number): Promise<Uint8Array | undefined> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length <= most) parts.push(part);
    else parts.length = 0;
    // So that a client that has sent a little too much reads why, and one that sends for ever is cut off.
    if (length > 2 * most) return undefined;
  }
  return length > most ? undefined : Buffer.concat(parts);
}

/** The path of a request target; the form with a host stands for the same (RFC 9112, section 3.2.2). */
function pathOf(target: string): string {
  return /^https?:\/\/[^/]*(\/.*)$/i.exec(target)?.[1] ?? target;
}

function listening(server: Server, { host, port }: HostPort): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(listenError(error, { host, port }));
    server.once('error', fail);
    server.listen(port, host, () => {
      server.off('error', fail);
      resolve();
    });
  });
}

function listenError(error: NodeJS.ErrnoException, at: HostPort): Error {
  if (error.code === 'EADDRINUSE') {
    return new Error(
      `port ${formatHostPort(at)} is in use by another program; stop it, or set another [public] listen`,
    );
  }
  return new Error(`cannot listen at ${formatHostPort(at)} ([public] listen): ${error.message}`);
}

function addressOf(server: Server): HostPort {
  const { address, port } = server.address() as AddressInfo;
  return { host: address, port };
}

function busy(): Answer {
  return { status: 503, body: 'too much to do just now\n', headers: { 'retry-after': '1' } };
}

function tooLarge(): Answer {
  return { status: 413, body: `a request has at most ${MAX_REQUEST_BYTES} bytes\n` };
}

function notAllowed(allow: string): Answer {
  return { status: 405, body: `${allow} only\n`, headers: { allow } };
}

function notFound(): Answer {
  return { status: 404, body: 'no such path\n' };
}
