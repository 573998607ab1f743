import { createServer, type Server, type Socket } from 'node:net';
import type { Aedes, AedesOptions, Client } from 'aedes';
import { ASK_AGAIN, NOT_HELD_TOPIC } from './link.ts';
import { limitPackets } from './packet-limit.ts';
import { type BrokerMemory, boundSessions, type Sessions } from './sessions.ts';
import type { EmbeddedSettings } from './settings.ts';
import { filtersMeet, sampleStreamOf } from './topics.ts';

type Log = (level: 'info' | 'warn' | 'error', message: string) => void;

/** An MQTT 3.1.1 broker on loopback, for a plant that has none. */
export interface EmbeddedBroker {
  /** Rejects with an Error that says what to do when the address cannot be listened on. */
  start(): Promise<void>;
  /** Closes every connection; ends within two seconds. */
  stop(): Promise<void>;
  /** "host:port" while it listens. */
  address(): string | undefined;
}

const NOTICE = { cmd: 'publish', topic: NOT_HELD_TOPIC, qos: 0, retain: false, dup: false } as const;
const MAX_SUBSCRIPTIONS = 64;
const MAX_RETAINED = 10_000;
const MAX_PACKET = 1 << 20;
const EXPIRY_CHECK_MS = 60_000;
/** A subscriber that takes nothing for so long is disconnected; until then it slows the others down. */
const DRAIN_LIMIT_MS = 5_000;
const STOP_LIMIT_MS = 2_000;

/** What this file uses of aedes beyond its published types. */
type OpenAedes = Aedes & {
  readonly persistence: BrokerMemory;
  readonly clients: Readonly<Record<string, Client & WithSubscriptions>>;
};
interface WithSubscriptions {
  readonly subscriptions: Readonly<Record<string, unknown>>;
}

/**
 * The broker keeps sessions, queues and retained messages in memory, all bounded. aedes sends PUBACK whether
 * or not anybody takes a message; so that a publisher does not take that for more than it is, the broker
 * tells one who has subscribed to `NOT_HELD_TOPIC`, before the PUBACK of a sample, that no persistent session
 * holds it: because none asks for samples of that gateway (with QoS 1), or one that does has its queue full.
 * A session that asks for some of a gateway's samples counts for all of them: it has said what it needs.
 *
 * What a session holds is lost with the process; a client sees that by "session present" and starts anew.
 */
export function createEmbeddedBroker(settings: EmbeddedSettings, log: Log): EmbeddedBroker {
  let running: Running | undefined;
  return {
    async start() {
      running ??= await run(settings, log);
    },
    async stop() {
      const last = running;
      running = undefined;
      await last?.close();
    },
    address: () => running?.address,
  };
}

interface Running {
  readonly address: string;
  close(): Promise<void>;
}

async function run(settings: EmbeddedSettings, log: Log): Promise<Running> {
  // Loaded on demand: most gateways have a real broker.
  const { Aedes } = await import('aedes');
  const created = await Aedes.createBroker({
    drainTimeout: DRAIN_LIMIT_MS,
    maxInflightInbound: 64,
    maxTopicLevels: 16,
    ...hooks(() => ({ broker, sessions })),
  });
  const broker = created as OpenAedes;
  const limits = {
    maxSessions: settings.maxSessions,
    maxSubscriptions: MAX_SUBSCRIPTIONS,
    maxRetained: MAX_RETAINED,
    queueLimit: settings.queueLimit,
  };
  const again = { ...NOTICE, payload: Buffer.from(ASK_AGAIN) };
  const sessions = boundSessions(broker.persistence, limits, () => broker.publish(again, () => {}));
  broker.on('subscribe', (subscriptions, { id }) => {
    for (const { topic } of subscriptions) sessions.confirm(id, topic);
  });
  reportTroubles(broker, log);
  const stopExpiry = expireSessions(broker, sessions, settings.sessionExpiry, log);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    limitPackets(socket, MAX_PACKET);
    broker.handle(socket);
  });
  server.maxConnections = settings.maxClients;
  server.on('drop', () =>
    log('warn', `the embedded MQTT broker has ${settings.maxClients} clients and takes no more`),
  );
  const close = async (): Promise<void> => {
    stopExpiry();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const limit = setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, STOP_LIMIT_MS / 2);
    await Promise.race([
      Promise.all([closed, new Promise<void>((resolve) => broker.close(resolve))]),
      after(STOP_LIMIT_MS),
    ]);
    clearTimeout(limit);
  };
  try {
    const address = await listen(server, settings.listen);
    server.on('error', (error) => log('warn', `the embedded MQTT broker: ${error.message}`));
    log('info', `the embedded MQTT broker listens on ${address}`);
    return { address, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function hooks(state: () => { broker: OpenAedes; sessions: Sessions }): AedesOptions {
  return {
    authorizePublish(client, packet, callback) {
      if (packet.topic.startsWith('$'))
        return callback(new Error("topics that begin with $ are the broker's"));
      const notice = client === null || packet.qos === 0 ? undefined : noticeFor(client, packet, state());
      if (notice === undefined) return callback(null);
      client!.publish(notice, () => callback(null));
    },
    authorizeSubscribe(client, subscription, callback) {
      const { sessions } = state();
      const count = Object.keys((client as Client & WithSubscriptions).subscriptions).length;
      const admitted =
        count < MAX_SUBSCRIPTIONS && (client.clean || sessions.admits(client.id, subscription.topic));
      callback(null, admitted ? subscription : null);
    },
  };
}

type Publication = Parameters<NonNullable<AedesOptions['authorizePublish']>>[1];

/** What the publisher of a sample must hear before its PUBACK, if anything. */
function noticeFor(
  client: Client,
  packet: Publication,
  { broker, sessions }: { broker: OpenAedes; sessions: Sessions },
): Publication | undefined {
  const stream = sampleStreamOf(packet.topic);
  if (stream === undefined || !(NOT_HELD_TOPIC in (client as Client & WithSubscriptions).subscriptions))
    return undefined;
  const state = sessions.stateOf(stream);
  if (state === 'held') return undefined;
  const seen = state === 'full' || Object.values(broker.clients).some((other) => looksOn(other, stream));
  const payload = Buffer.from(`${packet.messageId} ${seen ? 'seen' : 'unseen'}`);
  return { ...NOTICE, payload };
}

function looksOn({ subscriptions }: WithSubscriptions, stream: string): boolean {
  return Object.keys(subscriptions).some((filter) => filtersMeet(filter, stream));
}

function expireSessions(broker: OpenAedes, sessions: Sessions, expiryMs: number, log: Log): () => void {
  const leftAt = new Map<string, number>();
  broker.on('client', ({ id }) => leftAt.delete(id));
  broker.on('clientDisconnect', ({ id, clean }) => {
    if (!clean) leftAt.set(id, performance.now());
  });
  const isAway = (id: string): boolean =>
    performance.now() - (leftAt.get(id) ?? performance.now()) >= expiryMs;
  const check = async (): Promise<void> => {
    await sessions.expire(isAway);
    for (const id of [...leftAt.keys()].filter(isAway)) leftAt.delete(id);
  };
  const timer = setInterval(
    () => {
      check().catch((error: unknown) =>
        log('error', `the embedded MQTT broker cannot forget a session: ${String(error)}`),
      );
    },
    Math.min(EXPIRY_CHECK_MS, expiryMs),
  );
  timer.unref();
  return () => clearInterval(timer);
}

function reportTroubles(broker: OpenAedes, log: Log): void {
  let last = '';
  const report = (who: string, error: Error): void => {
    const message = `the embedded MQTT broker: ${who}: ${error.message}`;
    if (message !== last) log('warn', message);
    last = message;
  };
  broker.on('clientError', (client, error) => report(`client ${client.id}`, error));
  broker.on('connectionError', (_, error) => report('a connection', error));
  // Not in aedes' types: what its memory throws.
  (broker as NodeJS.EventEmitter).on('error', (error: Error) => report('its memory', error));
}

function listen(server: Server, { host, port }: EmbeddedSettings['listen']): Promise<string> {
  return new Promise((resolve, reject) => {
    const refused = (error: NodeJS.ErrnoException): void => {
      const code = error.code ?? error.message;
      const hint =
        code === 'EADDRINUSE' ? 'the port is in use; choose another one' : 'choose another address';
      reject(
        new Error(
          `the embedded MQTT broker cannot listen on ${host}:${port} (${code}): ${hint} (telemetry.embedded.listen)`,
        ),
      );
    };
    server.once('error', refused);
    server.listen({ host, port }, () => {
      server.removeListener('error', refused);
      const address = server.address();
      const actual = typeof address === 'object' && address !== null ? address.port : port;
      resolve(`${host.includes(':') ? `[${host}]` : host}:${actual}`);
    });
  });
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
