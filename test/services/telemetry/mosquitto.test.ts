import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createTelemetry, type Telemetry } from '../../../runtime/services/telemetry/telemetry.ts';
import {
  createMosquitto,
  type MemoryJournal,
  type Mosquitto,
  memoryJournal,
  mosquittoSub,
  type Subscriber,
  settingsOf,
  until,
  withoutMosquitto,
} from './helpers.ts';

const skip = withoutMosquitto;

interface Bench {
  readonly broker: Mosquitto;
  readonly logged: string[];
  telemetry(journal: MemoryJournal, settings?: Record<string, unknown>): Telemetry;
  subscribe(...args: string[]): Promise<Subscriber>;
}

/** A broker (not started), and all that is started around it ended after the test. */
async function bench(t: TestContext, lines?: (directory: string) => readonly string[]): Promise<Bench> {
  const broker = await createMosquitto(lines);
  const logged: string[] = [];
  const ends: (() => Promise<void>)[] = [];
  t.after(async () => {
    await Promise.all(ends.map((end) => end()));
    await broker.remove();
  });
  return {
    broker,
    logged,
    telemetry(journal, settings = {}) {
      const telemetry = createTelemetry({
        consortium: 'forge',
        gateway: 'north',
        settings: settingsOf({ url: `mqtt://127.0.0.1:${broker.port}`, ...settings }),
        samples: journal,
        log: (level, message) => logged.push(`${level} ${message}`),
        firstPauseMs: 20,
      });
      ends.push(() => telemetry.stop());
      telemetry.start();
      return telemetry;
    },
    async subscribe(...args) {
      const subscriber = await mosquittoSub(broker.port, args);
      ends.push(() => subscriber.stop());
      return subscriber;
    },
  };
}

/** The numbers of the samples that a subscriber got, in order of arrival. */
function samplesOf(subscriber: Subscriber): number[] {
  const pattern = /^kosmos\/forge\/north\/sample\/(press|lathe)\/spindle (\d+)$/;
  return subscriber.lines.flatMap((line) => {
    const found = pattern.exec(line);
    if (found === null) return [];
    assert.equal(found[1], Number(found[2]) % 2 === 0 ? 'press' : 'lathe');
    return [Number(found[2])];
  });
}

function upTo(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

test('mosquitto_sub sees the state, the newest predictions and every sample', { skip }, async (t) => {
  const { broker, telemetry, subscribe } = await bench(t);
  await broker.start();
  const samples = await subscribe('-q', '1', '-t', 'kosmos/+/+/sample/#');
  const journal = memoryJournal(500);
  const north = telemetry(journal);
  north.publishPrediction('press', { rul: 90 });
  north.publishPrediction('press', { rul: 89 });
  north.publishPrediction('lathe/1', { rul: 5 });
  await until(
    'all samples are delivered',
    () => journal.cursor() === 500 && north.status().pendingPredictions === 0,
  );
  await until('all samples are seen', () => samples.lines.length === 500);
  assert.deepEqual(samplesOf(samples), upTo(500));
  // Who comes later sees what is retained, and no sample.
  const late = await subscribe('-t', 'kosmos/#');
  await until('what is retained is seen', () => late.lines.length === 3);
  assert.deepEqual([...late.lines].sort(), [
    'kosmos/forge/north/prediction/lathe%2F1 {"rul":5}',
    'kosmos/forge/north/prediction/press {"rul":89}',
    'kosmos/forge/north/state online',
  ]);
  assert.equal(north.status().state, 'online');
  await north.stop();
  await until('offline is seen', () => late.lines.at(-1) === 'kosmos/forge/north/state offline');
  assert.equal(north.status().state, 'stopped');
});

test('no sample is lost when the broker is restarted in the middle', { skip }, async (t) => {
  const { broker, telemetry, subscribe, logged } = await bench(t);
  await broker.start();
  const subscriber = await subscribe(
    '-q',
    '1',
    '-c',
    '-i',
    'planner',
    '-t',
    'kosmos/forge/north/sample/#',
    '-t',
    'kosmos/forge/north/state',
  );
  const journal = memoryJournal(0);
  telemetry(journal, { maxInflight: 16 });
  for (let i = 0; i < 3; i++) {
    journal.append(400);
    await until('some are out', () => journal.cursor() > 400 * i + 50);
    await broker.stop();
    // Acquisition goes on while there is no broker.
    journal.append(100);
    await broker.start();
    await until('the others follow', () => journal.cursor() >= 400 * (i + 1));
  }
  const total = 1_500;
  await until('all are delivered', () => journal.cursor() === total);
  await until('all are seen', () => new Set(samplesOf(subscriber)).size === total);
  assert.deepEqual([...new Set(samplesOf(subscriber))], upTo(total));
  assert.ok(logged.some((line) => line.startsWith('error ') && line.includes('samples wait in the journal')));
  const states = subscriber.lines.filter((line) => line.includes('/state'));
  assert.equal(states.at(-1), 'kosmos/forge/north/state online');
});

test('a publisher that is killed leaves "offline" behind, and its successor leaves no gap', {
  skip,
}, async (t) => {
  const { broker, telemetry, subscribe } = await bench(t);
  await broker.start();
  const subscriber = await subscribe('-q', '1', '-t', 'kosmos/forge/north/#');
  const script = new URL('publisher.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, ['--import', 'tsx', script, String(broker.port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let cursor = 0;
  child.stdout.on('data', (chunk) => {
    cursor = Number(String(chunk).trim().split('\n').at(-1));
  });
  await until('it publishes', () => cursor > 0);
  child.kill('SIGKILL');
  await until('the Will is seen', () => subscriber.lines.at(-1) === 'kosmos/forge/north/state offline');
  assert.ok(subscriber.lines.includes('kosmos/forge/north/state online'));
  const journal = memoryJournal(150, cursor);
  telemetry(journal);
  await until('the rest is delivered', () => journal.cursor() === 150);
  await until('all are seen', () => new Set(samplesOf(subscriber)).size === 150);
  assert.deepEqual([...new Set(samplesOf(subscriber))], upTo(150));
});

test('a wrong password is logged once and stops nothing; the right one is taken without a restart', {
  skip,
}, async (t) => {
  const { broker, telemetry, subscribe, logged } = await bench(t, (directory) => [
    'allow_anonymous false',
    `password_file ${join(directory, 'passwords')}`,
  ]);
  const passwords = join(broker.directory, 'passwords');
  spawnSync('mosquitto_passwd', ['-b', '-c', passwords, 'north', 'correct horse']);
  await broker.start();
  const passwordFile = join(broker.directory, 'secret');
  await writeFile(passwordFile, 'wrong horse\n');
  const journal = memoryJournal(10);
  const north = telemetry(journal, { username: 'north', passwordFile });
  await until('it is refused', () => logged.length > 0);
  for (let i = 0; i < 20; i++) north.publishPrediction('press', { rul: i });
  journal.append(5);
  const seen = logged.length;
  await new Promise((resolve) => setTimeout(resolve, 600));
  assert.equal(logged.length, seen);
  assert.match(
    logged.join('\n'),
    /^error telemetry: MQTT broker mqtt:\/\/127\.0\.0\.1:\d+: .*check telemetry\.username/,
  );
  assert.doesNotMatch(logged.join('\n'), /horse/);
  assert.equal(north.status().state, 'connecting');
  assert.match(north.status().problem ?? '', /check telemetry\.username/);
  assert.equal(journal.cursor(), 0);
  await rm(passwordFile);
  await until('the missing file is logged', () =>
    logged.some((line) => line.includes('password_file: cannot read')),
  );
  await writeFile(passwordFile, 'correct horse\n');
  await until('all is delivered', () => journal.cursor() === 15 && north.status().pendingPredictions === 0);
  assert.equal(north.status().problem, undefined);
  const late = await subscribe('-u', 'north', '-P', 'correct horse', '-t', 'kosmos/forge/north/prediction/#');
  await until('the newest prediction is seen', () => late.lines.length === 1);
  assert.deepEqual(late.lines, ['kosmos/forge/north/prediction/press {"rul":19}']);
});

test('a gateway runs without its broker, and begins to deliver when it comes', { skip }, async (t) => {
  const { broker, telemetry, logged } = await bench(t);
  const journal = memoryJournal(30);
  const north = telemetry(journal);
  north.publishPrediction('press', { rul: 1 });
  await until('the attempt is logged', () => logged.length > 0);
  assert.match(logged[0] ?? '', /cannot be reached \(ECONNREFUSED\); check telemetry\.url/);
  await broker.start();
  await until('all is delivered', () => journal.cursor() === 30 && north.status().pendingPredictions === 0);
  assert.equal(logged.filter((line) => line.startsWith('error')).length, 1);
});

test('mqtts needs the right authority, and says so', {
  skip: skip || (spawnSync('openssl', ['version']).error ? 'openssl is not installed' : false),
}, async (t) => {
  const { broker, telemetry, logged } = await bench(t, (directory) => [
    'allow_anonymous true',
    `certfile ${directory}/cert.pem`,
    `keyfile ${directory}/key.pem`,
  ]);
  const made = spawnSync('openssl', [
    ...[
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=broker',
    ],
    ...[
      '-addext',
      'subjectAltName=IP:127.0.0.1',
      '-keyout',
      `${broker.directory}/key.pem`,
      '-out',
      `${broker.directory}/cert.pem`,
    ],
  ]);
  assert.equal(made.status, 0, String(made.stderr));
  await broker.start();
  const journal = memoryJournal(5);
  const url = `mqtts://127.0.0.1:${broker.port}`;
  const blind = telemetry(journal, { url, clientId: 'blind' });
  await until('it is refused', () => logged.length > 0);
  assert.match(logged[0] ?? '', /certificate is not accepted .*set telemetry\.ca_file/);
  await blind.stop();
  telemetry(journal, { url, caFile: join(broker.directory, 'cert.pem') });
  await until('all is delivered', () => journal.cursor() === 5);
});
