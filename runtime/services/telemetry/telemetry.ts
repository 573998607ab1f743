import { setTimeout as delay } from 'node:timers/promises';
import { createBackoff } from './backoff.ts';
import { createEmbeddedBroker } from './embedded.ts';
import { type Link, openLink } from './link.ts';
import { createPredictions } from './predictions.ts';
import { createPump, type PumpCounts } from './pump.ts';
import type { SampleSource } from './samples.ts';
import type { TelemetrySettings } from './settings.ts';
import { gatewayTopics } from './topics.ts';

/** Where the room's messages go. */
export type TelemetryLog = (level: 'info' | 'warn' | 'error', message: string) => void;

export interface TelemetryOptions {
  readonly consortium: string;
  readonly gateway: string;
  readonly settings: TelemetrySettings;
  readonly samples: SampleSource;
  readonly log: TelemetryLog;
  /** How long `stop` may take; default 3,000. */
  readonly stopLimitMs?: number;
  /** First pause between two attempts to connect; default 1,000. */
  readonly firstPauseMs?: number;
  /** Pause before a sample that nobody wanted is offered to the embedded broker again; default 5,000. */
  readonly offerAgainMs?: number;
}

export interface TelemetryStatus extends PumpCounts {
  /** "off": neither a broker nor an embedded one is set. */
  readonly state: 'off' | 'connecting' | 'online' | 'stopped';
  /** The broker published to. */
  readonly broker?: string;
  /** Address of the embedded broker while it listens. */
  readonly embedded?: string;
  /** Why there is no connection, while there is none. */
  readonly problem?: string;
  /** Machines whose newest prediction is not acknowledged yet. */
  readonly pendingPredictions: number;
}

/** What one gateway tells the world over MQTT: its state, its predictions and every signed sample. */
export interface Telemetry {
  /** Begins to connect in the background; never waits for a broker and never fails for want of one. */
  start(): void;
  /** Says "offline", moves the cursor as far as it may, and ends within `stopLimitMs`; may be called twice. */
  stop(): Promise<void>;
  /**
   * Takes the machine's newest prediction for its retained topic; an older one that did not get out is
   * replaced. Never throws and never waits: what cannot be published is logged.
   */
  publishPrediction(machine: string, prediction: Readonly<Record<string, unknown>>): void;
  status(): TelemetryStatus;
}

const STOP_LIMIT_MS = 3_000;
const FIRST_PAUSE_MS = 1_000;
const OFFER_AGAIN_MS = 5_000;
const MAX_MACHINES = 4_096;

/** The telemetry of one gateway; see `Telemetry`. Throws a RangeError for names that cannot stand in a topic. */
export function createTelemetry(options: TelemetryOptions): Telemetry {
  const { settings, log, stopLimitMs = STOP_LIMIT_MS, firstPauseMs = FIRST_PAUSE_MS } = options;
  const topics = gatewayTopics(options.consortium, options.gateway);
  const clientId = settings.clientId ?? `kosmos-${options.consortium}-${options.gateway}`;
  const embedded = settings.embedded && createEmbeddedBroker(settings.embedded, log);
  const predictions = createPredictions(MAX_MACHINES);
  const pump = createPump({
    source: options.samples,
    maxInflight: settings.maxInflight,
    acknowledgeTimeoutMs: settings.acknowledgeTimeout,
    offerAgainMs: options.offerAgainMs ?? OFFER_AGAIN_MS,
  });
  const stopping = new AbortController();
  const once = createOnceLog(log);
  let link: Link | undefined;
  let onlineSince = Number.POSITIVE_INFINITY;
  let broker = settings.url;
  let problem: string | undefined;
  let running: Promise<void> | undefined;

  /** One connection, from the attempt to its end; resolves with the reason why it ended. */
  const session = async (): Promise<Error> => {
    try {
      if (embedded !== undefined && embedded.address() === undefined) await embedded.start();
      const url = settings.url ?? `mqtt://${embedded?.address()}`;
      broker = url;
      const to = { url, settings, clientId, stateTopic: topics.state, askAgain: pump.askAgain };
      const opened = await openLink(to, stopping.signal);
      link = opened;
      onlineSince = performance.now();
      problem = undefined;
      log('info', `telemetry is connected to the MQTT broker ${url}`);
      opened.publish(topics.state, 'online', true, () => {});
      predictions.attach(opened);
      await Promise.all([carrySamples(opened), endOf(opened)]);
      return toError(opened.ended.reason);
    } catch (error) {
      return toError(error);
    } finally {
      predictions.detach();
      link = undefined;
    }
  };

  const carrySamples = async (over: Link): Promise<void> => {
    const halt = new AbortController();
    const stop = (): void => halt.abort();
    if (over.ended.aborted || stopping.signal.aborted) return;
    over.ended.addEventListener('abort', stop, { once: true });
    stopping.signal.addEventListener('abort', stop, { once: true });
    try {
      const publish = createSamplePublisher(over, topics.sample, log);
      await pump.run({ publish, fail: over.fail }, halt.signal);
    } catch (error) {
      over.fail(
        new Error(`samples cannot be carried from the journal: ${messageOf(error)}`, { cause: error }),
      );
    } finally {
      stopping.signal.removeEventListener('abort', stop);
    }
  };

  const keepConnected = async (): Promise<void> => {
    const backoff = createBackoff(firstPauseMs, settings.reconnectLimit);
    while (!stopping.signal.aborted) {
      onlineSince = Number.POSITIVE_INFINITY;
      const reason = await session();
      if (stopping.signal.aborted) return;
      // A connection that held is forgiven; one that is dropped at once must not be made in a loop.
      if (performance.now() - onlineSince > settings.reconnectLimit) {
        backoff.reset();
        once.forget();
      }
      problem = messageOf(reason);
      once.log(
        'error',
        `telemetry: ${problem}. The gateway goes on; samples wait in the journal; trying again`,
      );
      await delay(backoff.next(), undefined, { signal: stopping.signal }).catch(ignoreAbort);
    }
  };

  const shutDown = async (): Promise<void> => {
    const deadline = performance.now() + stopLimitMs;
    const left = (): number => Math.max(1, deadline - performance.now());
    const last = link;
    if (last !== undefined) {
      // Its PUBACK comes after those of all samples sent before.
      const acknowledged = new Promise<void>((resolve) =>
        last.publish(topics.state, 'offline', true, () => resolve()),
      );
      stopping.abort();
      await within(left() / 2, Promise.race([acknowledged, endOf(last)]));
      await within(left() / 2, pump.committed());
      await last.close(left() / 2);
    } else stopping.abort();
    await within(left(), Promise.all([running, embedded?.stop()]));
  };

  let stopped: Promise<void> | undefined;
  return {
    start() {
      if (settings.url === undefined && embedded === undefined) return;
      running ??= keepConnected();
    },
    stop() {
      stopped ??= shutDown();
      return stopped;
    },
    publishPrediction(machine, prediction) {
      try {
        predictions.put(machine, topics.prediction(machine), JSON.stringify(prediction));
      } catch (error) {
        once.log('error', `telemetry: a prediction of ${machine} is not published: ${messageOf(error)}`);
      }
    },
    status() {
      const listening = embedded?.address();
      return {
        state: stateOf(running !== undefined, stopping.signal.aborted, link !== undefined),
        ...(broker !== undefined && { broker }),
        ...(listening !== undefined && { embedded: listening }),
        ...(problem !== undefined && { problem }),
        pendingPredictions: predictions.pending(),
        ...pump.counts(),
      };
    },
  };
}

type Publish = (
  sample: { machine: string; stream: string; bytes: Uint8Array },
  done: Parameters<Link['publish']>[3],
) => void;

/** A sample whose names fit no topic is logged and passed over: it must not hold up all the others. */
function createSamplePublisher(
  over: Link,
  topicOf: (machine: string, stream: string) => string,
  log: TelemetryLog,
): Publish {
  return (sample, done) => {
    let topic: string;
    try {
      topic = topicOf(sample.machine, sample.stream);
    } catch (error) {
      log('error', `telemetry: a sample is passed over, it stays in the journal: ${messageOf(error)}`);
      setImmediate(done, 'passed');
      return;
    }
    over.publish(topic, sample.bytes, false, done);
  };
}

function stateOf(started: boolean, stopped: boolean, online: boolean): TelemetryStatus['state'] {
  if (stopped) return 'stopped';
  if (!started) return 'off';
  return online ? 'online' : 'connecting';
}

function endOf(link: Link): Promise<void> {
  return new Promise((resolve) => {
    if (link.ended.aborted) resolve();
    else link.ended.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function within(limitMs: number, work: Promise<unknown>): Promise<void> {
  const limit = new AbortController();
  await Promise.race([work, delay(limitMs, undefined, { signal: limit.signal }).catch(ignoreAbort)]);
  limit.abort();
}

/** The same message is logged once, until `forget`. */
function createOnceLog(log: TelemetryLog): { log: TelemetryLog; forget(): void } {
  let last = '';
  return {
    log(level, message) {
      if (message === last) return;
      last = message;
      log(level, message);
    },
    forget() {
      last = '';
    },
  };
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

function messageOf(error: unknown): string {
  return toError(error).message;
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof Error) || error.name !== 'AbortError') throw error;
}
