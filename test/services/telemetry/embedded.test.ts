import assert from 'node:assert/strict';
import { connect as connectSocket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { createTelemetry, type Telemetry } from '../../../runtime/services/telemetry/telemetry.ts';
import {
  type MemoryJournal,
  memoryJournal,
  mosquittoSub,
  rewindable,
  settingsOf,
  until,
  withoutMosquitto,
} from './helpers.ts';

const SAMPLES = 'kosmos/forge/north/sample/#';

interface House {
  readonly telemetry: Telemetry;
  readonly port: number;
  readonly logged: string[];
  client(options?: IClientOptions): Promise<Reader>;
}

interface Reader {
  readonly client: MqttClient;
  /** "topic payload", in order of arrival. */
  readonly lines: string[];
}

/** A gateway with an embedded broker; everything is ended after the test. */
async function house(
  t: TestContext,
  journal: MemoryJournal,
  embedded: Record<string, unknown> = {},
  settings: Record<string, unknown> = {},
): Promise<House> {
  const logged: string[] = [];
  const telemetry = createTelemetry({
    consortium: 'forge',
    gateway: 'north',
    settings: settingsOf({ embedded: { listen: '127.0.0.1:0', ...embedded }, maxInflight: 16, ...settings }),
    samples: journal,
    log: (level, message) => logged.push(`${level} ${message}`),
    offerAgainMs: 40,
    firstPauseMs: 20,
  });
  const clients: MqttClient[] = [];
  t.after(async () => {
    for (const client of clients) client.end(true);
    await telemetry.stop();
  });
  telemetry.start();
  await until('it is online', () => telemetry.status().state === 'online');
  const port = Number(telemetry.status().embedded?.split(':').at(-1));
  return {
    telemetry,
    port,
    logged,
    async client(options = {}) {
      const lines: string[] = [];
      const client = await connectAsync(
        `mqtt://127.0.0.1:${port}`,
        { reconnectPeriod: 0, ...options },
        false,
      );
      client.on('error', () => {});
      client.on('message', (topic, payload) => lines.push(`${topic} ${payload}`));
      clients.push(client);
      return { client, lines };
    },
  };
}

const PLANNER: IClientOptions = { clientId: 'planner', clean: false };

function numbers(reader: Reader): number[] {
  return reader.lines
    .filter((line) => line.includes('/sample/'))
    .map((line) => Number(line.split(' ').at(-1)));
}

function upTo(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

test('with nobody there the cursor stays; a persistent session that comes gets everything', async (t) => {
  const journal = memoryJournal(100);
  const { telemetry, client } = await house(t, journal);
  await until('it is known that nobody is there', () => telemetry.status().waitingForSession);
  assert.equal(journal.cursor(), 0);
  const planner = await client(PLANNER);
  await planner.client.subscribeAsync(SAMPLES, { qos: 1 });
  await until('all is delivered', () => journal.cursor() === 100);
  await until('all is seen', () => new Set(numbers(planner)).size === 100);
  assert.deepEqual([...new Set(numbers(planner))], upTo(100));
  assert.ok(!telemetry.status().waitingForSession);
});

test('whoever looks on without a session sees all and moves no cursor; a session then gets all', async (t) => {
  const journal = rewindable(100);
  const { telemetry, client } = await house(t, journal);
  const onlooker = await client();
  await onlooker.client.subscribeAsync('kosmos/#');
  await until('all is seen', () => new Set(numbers(onlooker)).size === 100);
  assert.equal(journal.cursor(), 0);
  assert.ok(telemetry.status().waitingForSession);
  assert.ok(onlooker.lines.includes('kosmos/forge/north/state online'));
  // QoS 0 in a persistent session keeps nothing, so it does not count.
  const half = await client({ clientId: 'half', clean: false });
  await half.client.subscribeAsync(SAMPLES, { qos: 0 });
  journal.append(10);
  await until('the new ones are seen', () => new Set(numbers(onlooker)).size === 110);
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(journal.cursor(), 0);
  const planner = await client(PLANNER);
  await planner.client.subscribeAsync(SAMPLES, { qos: 1 });
  await until('all is delivered', () => journal.cursor() === 110);
  await until('all is seen', () => new Set(numbers(planner)).size === 110);
  assert.equal(journal.rewinds(), 1);
});

test('a session that is away holds samples up to its limit, and the journal keeps the rest', async (t) => {
  for (const journal of [memoryJournal(0), rewindable(0)]) {
    const { telemetry, client } = await house(t, journal, { queueLimit: 50 });
    const first = await client(PLANNER);
    await first.client.subscribeAsync(SAMPLES, { qos: 1 });
    journal.append(10);
    await until(
      'the first are delivered',
      () => journal.cursor() === 10 && new Set(numbers(first)).size === 10,
    );
    await first.client.endAsync();
    journal.append(490);
    await until('the session is full', () => telemetry.status().waitingForSession);
    const cursor = journal.cursor();
    assert.ok(cursor >= 60 && cursor <= 10 + 2 * 50, `${cursor}`);
    // One that can rewind has nothing new to publish when the session comes back: it must be told to ask.
    if (journal.rewind) await until('all has been shown', () => telemetry.status().published >= 500);
    const back = await client(PLANNER);
    await until('all is delivered', () => journal.cursor() === 500);
    await until('all is seen', () => new Set([...numbers(first), ...numbers(back)]).size === 500);
    assert.ok(back.client.connected);
    await telemetry.stop();
  }
});

test('a session that asks for some samples of a gateway counts for all; one for another gateway does not', async (t) => {
  const journal = memoryJournal(40);
  const { client } = await house(t, journal);
  const other = await client({ clientId: 'other', clean: false });
  await other.client.subscribeAsync('kosmos/forge/south/sample/#', { qos: 1 });
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(journal.cursor(), 0);
  const planner = await client(PLANNER);
  await planner.client.subscribeAsync('kosmos/+/north/sample/press/+', { qos: 1 });
  await until('all is delivered', () => journal.cursor() === 40);
  await until('its part is seen', () => new Set(numbers(planner)).size === 20);
  assert.deepEqual(
    [...new Set(numbers(planner))],
    upTo(20).map((i) => 2 * i),
  );
});

test('a session that stays away too long is forgotten', async (t) => {
  const journal = memoryJournal(10);
  const { telemetry, client } = await house(t, journal, { sessionExpiry: '1s' });
  const planner = await client(PLANNER);
  await planner.client.subscribeAsync(SAMPLES, { qos: 1 });
  await until('all is delivered', () => journal.cursor() === 10);
  await planner.client.endAsync();
  await until('it is forgotten', () => {
    journal.append(1);
    return telemetry.status().waitingForSession;
  });
  const back = await client(PLANNER);
  await until('it is told', () => back.client.connected);
  assert.deepEqual(numbers(back), []);
});

test("a message that is retained and one that is not do not get in each other's way", async (t) => {
  const { client } = await house(t, memoryJournal(0));
  const [live, kept, sender] = [await client(), await client(PLANNER), await client()];
  for (const reader of [live, kept]) await reader.client.subscribeAsync('test/#', { qos: 1 });
  const sent = upTo(400).map((i) =>
    sender.client.publishAsync(`test/${i % 2}`, String(i), { qos: 1, retain: i % 3 === 0 }),
  );
  await Promise.all(sent);
  for (const reader of [live, kept]) {
    await until('all arrive', () => new Set(reader.lines).size === 400);
  }
});

test('limits: packets, connections, sessions, subscriptions, topics of its own', async (t) => {
  const { port, client, logged, telemetry } = await house(t, memoryJournal(0), {
    maxClients: 4,
    maxSessions: 1,
  });
  const first = await client(PLANNER);
  await first.client.subscribeAsync('a', { qos: 1 });
  const second = await client({ clientId: 'second', clean: false });
  await assert.rejects(second.client.subscribeAsync('a', { qos: 1 }), 'a second persistent session');
  const many = upTo(80).map((i) => first.client.subscribeAsync(`many/${i}`, { qos: 1 }));
  const refused = (await Promise.allSettled(many)).filter(({ status }) => status === 'rejected').length;
  assert.ok(refused >= 16 && refused < 80, `${refused} refused`);
  // The fourth connection besides the gateway's own and these two; the fifth is dropped.
  const third = await client();
  await assert.rejects(client());
  await until('it is logged', () => logged.some((line) => line.includes('4 clients')));
  third.client.publish('big', Buffer.alloc(2 << 20), { qos: 1 });
  await until('the big packet ends the connection', () => !third.client.connected);
  second.client.publish('$SYS/kosmos/not-held', '1 seen', { qos: 1 });
  await until('the forger is thrown out', () => !second.client.connected);
  const raw = connectSocket(port, '127.0.0.1');
  raw.on('error', () => {});
  raw.write('GET / HTTP/1.1\r\n\r\n');
  await new Promise((resolve) => raw.once('close', resolve));
  assert.equal(telemetry.status().state, 'online');
});

test('a port in use is logged with what to do, tried again, and the gateway goes on', async (t) => {
  const { port } = await house(t, memoryJournal(0));
  const logged: string[] = [];
  const journal = memoryJournal(3);
  const second = createTelemetry({
    consortium: 'forge',
    gateway: 'south',
    settings: settingsOf({ embedded: { listen: `127.0.0.1:${port}` } }),
    samples: journal,
    log: (level, message) => logged.push(`${level} ${message}`),
    firstPauseMs: 20,
  });
  t.after(() => second.stop());
  second.start();
  second.publishPrediction('press', { rul: 3 });
  await until('it is logged', () => logged.length > 0);
  assert.match(logged[0] ?? '', /cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\): the port is in use/);
});

test('another gateway publishes to it by url, under the same rule', async (t) => {
  const { port, client } = await house(t, memoryJournal(0));
  const journal = memoryJournal(20);
  const south = createTelemetry({
    consortium: 'forge',
    gateway: 'south',
    settings: settingsOf({ url: `mqtt://127.0.0.1:${port}` }),
    samples: journal,
    log: () => {},
    offerAgainMs: 40,
  });
  t.after(() => south.stop());
  south.start();
  await until('it is known that nobody is there', () => south.status().waitingForSession);
  assert.equal(journal.cursor(), 0);
  const planner = await client(PLANNER);
  await planner.client.subscribeAsync('kosmos/#', { qos: 1 });
  await until('all is delivered', () => journal.cursor() === 20);
  await until('all is seen', () => new Set(numbers(planner)).size === 20);
});

test('mosquitto_sub reads from it', { skip: withoutMosquitto }, async (t) => {
  const journal = rewindable(20);
  const { telemetry, port } = await house(t, journal);
  telemetry.publishPrediction('press', { rul: 12 });
  const subscriber = await mosquittoSub(port, ['-t', 'kosmos/#', '-q', '1', '-c', '-i', 'screen']);
  t.after(() => subscriber.stop());
  await until('all is delivered', () => journal.cursor() === 20);
  await until('all is seen', () => new Set(subscriber.lines).size === 22);
  assert.ok(subscriber.lines.includes('kosmos/forge/north/prediction/press {"rul":12}'));
});
