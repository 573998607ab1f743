import { readFile } from 'node:fs/promises';
import type { IClientOptions, MqttClient } from 'mqtt';
import { describeFailure } from './failure.ts';
import type { Delivery } from './samples.ts';
import type { TelemetrySettings } from './settings.ts';

/** One connection to a broker, from CONNACK to its end. */
export interface Link {
  /**
   * Publishes with QoS 1. `done` is called at the PUBACK, never before this returns and never after the
   * connection has ended; whoever published what was not acknowledged publishes it again over the next link.
   */
  publish(
    topic: string,
    payload: Uint8Array | string,
    retain: boolean,
    done: (delivery: Delivery) => void,
  ): void;
  /** Ends the connection at once; the first reason given stays. */
  fail(reason: Error): void;
  /** Says DISCONNECT, so that the Will is not sent, and ends the connection within `limitMs`. */
  close(limitMs: number): Promise<void>;
  /** Aborted when the connection has ended, with the reason. */
  readonly ended: AbortSignal;
}

export interface LinkOptions {
  readonly url: string;
  readonly settings: TelemetrySettings;
  readonly clientId: string;
  readonly stateTopic: string;
  /** Called when the embedded broker's sessions have changed. */
  readonly askAgain: () => void;
}

/**
 * Here the embedded broker tells a publisher, just before the PUBACK, that no session holds a sample:
 * "<packet identifier> seen" or "<packet identifier> unseen". To all publishers it says "again" when its
 * sessions have changed. Other brokers publish nothing here.
 */
export const NOT_HELD_TOPIC = '$SYS/kosmos/not-held';
export const ASK_AGAIN = 'again';

/**
 * Connects, with a retained "offline" as Will. Rejects with an Error that says what to do when the
 * broker is not there, refuses, or does not answer in time, and when `signal` is aborted.
 */
export async function openLink(options: LinkOptions, signal: AbortSignal): Promise<Link> {
  const clientOptions = await clientOptionsOf(options);
  // Loaded on demand: a gateway without a broker does not pay for it.
  const { connect } = await import('./mqtt-client.ts');
  signal.throwIfAborted();
  const client = connect(options.url, clientOptions);
  const ended = new AbortController();
  const fail = (reason: Error): void => {
    if (ended.signal.aborted) return;
    ended.abort(reason);
    client.end(true);
  };
  const notHeld = new Map<number, Delivery>();
  client.on('error', (error) => fail(describeFailure(error, options)));
  let accepted = false;
  client.once('connect', () => {
    accepted = true;
  });
  client.on('close', () => {
    const early = 'it closed the connection without accepting it';
    fail(describeFailure(new Error(accepted ? 'the connection was closed' : early), options));
  });
  client.on('message', (topic, payload) => {
    if (topic !== NOT_HELD_TOPIC) return;
    const text = payload.toString('latin1');
    const [, id, delivery] = /^(\d{1,5}) (seen|unseen)$/.exec(text) ?? [];
    if (text === ASK_AGAIN) options.askAgain();
    else if (delivery === 'seen' || delivery === 'unseen') notHeld.set(Number(id), delivery);
  });
  const aborted = (): void => fail(new Error('telemetry is being stopped'));
  signal.addEventListener('abort', aborted, { once: true });
  try {
    await ready(client, ended.signal, fail, options);
  } finally {
    signal.removeEventListener('abort', aborted);
  }
  return {
    publish(topic, payload, retain, done) {
      client.publish(topic, Buffer.from(payload), { qos: 1, retain }, (error, acknowledgement) => {
        if (ended.signal.aborted) return;
        if (error) return fail(describeFailure(error, options));
        const id = acknowledgement?.messageId ?? 0;
        const delivery = notHeld.get(id) ?? 'held';
        notHeld.delete(id);
        done(delivery);
      });
    },
    fail,
    async close(limitMs) {
      const limit = setTimeout(
        () => fail(new Error(`the broker did not let go within ${limitMs} ms`)),
        limitMs,
      );
      await new Promise<void>((resolve) => {
        if (ended.signal.aborted) return resolve();
        ended.signal.addEventListener('abort', () => resolve(), { once: true });
        client.end(false);
      });
      clearTimeout(limit);
    },
    ended: ended.signal,
  };
}

async function clientOptionsOf({ settings, clientId, stateTopic }: LinkOptions): Promise<IClientOptions> {
  const { username, passwordFile, caFile, keepAliveSeconds, connectTimeout } = settings;
  const password = passwordFile === undefined ? undefined : await readSecret(passwordFile);
  const ca = caFile === undefined ? undefined : await readFor('ca_file', caFile);
  return {
    clientId,
    clean: true,
    protocolVersion: 4,
    keepalive: keepAliveSeconds,
    connectTimeout,
    // The room has a back-off of its own; a new attempt is a new client.
    reconnectPeriod: 0,
    will: { topic: stateTopic, payload: Buffer.from('offline'), qos: 1, retain: true },
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(ca !== undefined && { ca }),
  };
}

/** The file's text without the line end that editors add. */
async function readSecret(path: string): Promise<string> {
  return (await readFor('password_file', path)).toString('utf8').replace(/\r?\n$/, '');
}

async function readFor(key: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new Error(
      `telemetry.${key}: cannot read ${path} (${code}); make it readable for the gateway's user`,
      {
        cause: error,
      },
    );
  }
}

/** Waits for the CONNACK and the answer to the one subscription. */
function ready(
  client: MqttClient,
  ended: AbortSignal,
  fail: (reason: Error) => void,
  options: LinkOptions,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let limit: NodeJS.Timeout | undefined;
    const onEnded = (): void => {
      clearTimeout(limit);
      reject(ended.reason);
    };
    if (ended.aborted) return onEnded();
    ended.addEventListener('abort', onEnded, { once: true });
    client.once('connect', () => {
      // mqtt.js limits the wait for the CONNACK, not for the SUBACK.
      const silent = new Error('it does not answer a subscription');
      limit = setTimeout(() => fail(describeFailure(silent, options)), options.settings.connectTimeout);
      // A broker that refuses this subscription is not the embedded one, and all it acknowledges it holds.
      client.subscribe(NOT_HELD_TOPIC, { qos: 0 }, () => {
        clearTimeout(limit);
        resolve();
      });
    });
  });
}
