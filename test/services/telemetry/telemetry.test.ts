import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createTelemetry, type Telemetry } from '../../../runtime/services/telemetry/telemetry.ts';
import { memoryJournal, settingsOf, until } from './helpers.ts';

function telemetryOf(t: TestContext, settings: Record<string, unknown>, logged: string[]): Telemetry {
  const telemetry = createTelemetry({
    consortium: 'forge',
    gateway: 'north',
    settings: settingsOf(settings),
    samples: memoryJournal(5),
    log: (level, message) => logged.push(`${level} ${message}`),
    stopLimitMs: 300,
    firstPauseMs: 20,
  });
  t.after(() => telemetry.stop());
  return telemetry;
}

/** A server that does with its sockets what `onSocket` says; its port. */
async function server(t: TestContext, onSocket: (socket: Socket) => void): Promise<number> {
  const sockets: Socket[] = [];
  const listening = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    onSocket(socket);
  });
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    listening.close();
  });
  const address = listening.address();
  assert.ok(address !== null && typeof address === 'object');
  return address.port;
}

test('without a broker set nothing happens, and nothing fails', async (t) => {
  const logged: string[] = [];
  const telemetry = telemetryOf(t, {}, logged);
  telemetry.start();
  telemetry.publishPrediction('press', { rul: 1 });
  assert.equal(telemetry.status().state, 'off');
  await telemetry.stop();
  await telemetry.stop();
  assert.deepEqual(logged, []);
});

test('a server that never answers is left alone, and does not keep the gateway from stopping', async (t) => {
  let connections = 0;
  const port = await server(t, () => {
    connections++;
  });
  const logged: string[] = [];
  const telemetry = telemetryOf(t, { url: `mqtt://127.0.0.1:${port}`, connectTimeout: '200ms' }, logged);
  telemetry.start();
  await until('it tries again', () => connections >= 3);
  assert.equal(logged.length, 1);
  assert.match(logged[0] ?? '', /did not accept the connection in time; check/);
  await telemetry.stop();
  const last = connections;
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(connections, last);
});

test('a broker that accepts and then goes silent is left, and does not keep the gateway from stopping', async (t) => {
  // CONNACK and SUBACK for packet identifier 1 or whichever was asked for; no PUBACK.
  const port = await server(t, (socket) => {
    socket.on('data', (data) => {
      if (data[0] === 0x10) socket.write(Uint8Array.of(0x20, 2, 0, 0));
      if (data[0] === 0x82) socket.write(Uint8Array.of(0x90, 3, data[2] ?? 0, data[3] ?? 0, 0));
    });
  });
  const logged: string[] = [];
  const telemetry = telemetryOf(t, { url: `mqtt://127.0.0.1:${port}`, acknowledgeTimeout: '200ms' }, logged);
  telemetry.start();
  await until('it is left', () => logged.some((line) => /has not acknowledged a sample/.test(line)));
  await until('it is online again', () => telemetry.status().state === 'online');
  await telemetry.stop();
  assert.equal(telemetry.status().state, 'stopped');
});

test('a server that speaks something else is named', async (t) => {
  const port = await server(t, (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  const logged: string[] = [];
  const telemetry = telemetryOf(t, { url: `mqtt://127.0.0.1:${port}` }, logged);
  telemetry.start();
  await until('it is logged', () => logged.length > 0);
  assert.match(logged[0] ?? '', /^error telemetry: MQTT broker mqtt:\/\/127\.0\.0\.1:/);
});

test('a prediction that cannot be published is logged, and the caller goes on', (t) => {
  const logged: string[] = [];
  const telemetry = telemetryOf(t, {}, logged);
  telemetry.publishPrediction('', { rul: 1 });
  telemetry.publishPrediction('press', { rul: 1n });
  assert.equal(logged.length, 2);
  assert.match(logged[0] ?? '', /empty name/);
  for (let i = 0; i < 4_097; i++) telemetry.publishPrediction(`machine ${i}`, {});
  assert.match(logged[2] ?? '', /more than 4096 machines/);
  assert.equal(telemetry.status().pendingPredictions, 4_096);
});

test('names that cannot stand in a topic are refused at once', () => {
  const options = { settings: settingsOf({}), samples: memoryJournal(0), log: () => {} };
  assert.throws(() => createTelemetry({ ...options, consortium: '', gateway: 'north' }), RangeError);
});
