import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connectAsync } from 'mqtt';
import { KIND, kindOf } from '../../runtime/core/encoding/kind.ts';
import { decodeSample } from '../../runtime/core/encoding/sample.ts';
import { readEntry } from '../../runtime/core/log/block.ts';
import { createEmbeddedBroker } from '../../runtime/services/telemetry/embedded.ts';
import { decodeBlockRecord } from '../../runtime/state/journal/block-record.ts';
import { keys } from '../../runtime/state/journal/keys.ts';
import { openStore } from '../../runtime/state/journal/store.ts';
import { type Consortium, type ConsortiumOptions, createConsortium } from './consortium.ts';
import { childrenOf, isAlive, labPort, startKosmos, until, within } from './program.ts';

async function consortium(t: TestContext, options: ConsortiumOptions): Promise<Consortium> {
  const made = await createConsortium(options);
  t.after(() => made.remove());
  return made;
}

/** "machine/stream/incarnation/sequence" of a signed sample, or undefined for another entry. */
function sampleName(bytes: Uint8Array): string | undefined {
  const { payload } = readEntry(bytes);
  if (kindOf(payload) !== KIND.sample) return undefined;
  const { machine, stream, incarnation, sequence } = decodeSample(payload);
  return `${machine}/${stream}/${incarnation}/${sequence}`;
}

/** All samples of a directory whose daemon has ended. */
async function storedSamples(directory: string): Promise<ReadonlyMap<string, Uint8Array>> {
  const store = await openStore(join(directory, 'journal'), 'existing');
  const samples = new Map<string, Uint8Array>();
  try {
    for await (const [, block] of store.entries(keys.blocks)) {
      for (const bytes of decodeBlockRecord(block).entries) {
        const name = sampleName(bytes);
        if (name === undefined) continue;
        assert.ok(!samples.has(name), `${name} was given twice`);
        samples.set(name, Uint8Array.from(bytes));
      }
    }
  } finally {
    await store.close();
  }
  return samples;
}

/** A broker in this process and a client that keeps every signed sample it is sent. */
async function collector(t: TestContext) {
  const port = await labPort();
  const settings = {
    listen: { host: '127.0.0.1', port },
    maxClients: 8,
    maxSessions: 4,
    queueLimit: 100_000,
    sessionExpiry: 3_600_000,
  };
  const broker = createEmbeddedBroker(settings, () => undefined);
  await broker.start();
  t.after(() => broker.stop());
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, { clean: false, clientId: 'collector' });
  t.after(() => client.endAsync(true));
  const received = new Map<string, Uint8Array>();
  client.on('message', (_topic, payload) => {
    const name = sampleName(payload)!;
    const before = received.get(name);
    assert.ok(!before || Buffer.compare(before, payload) === 0, `${name} came twice with other bytes`);
    received.set(name, Uint8Array.from(payload));
  });
  await client.subscribeAsync('kosmos/lab/+/sample/#', { qos: 1 });
  return { url: `mqtt://127.0.0.1:${port}`, received };
}

test('SIGTERM: exit code 0, the training process is gone, everything signed is there and verifies', async (t) => {
  const { gateways, startAll, verify } = await consortium(t, { gateways: 3, machines: 'live' });
  await startAll();
  const [first] = gateways;
  await until('a model, with its training process still there', async () => {
    const { federation } = await first!.mustStatus();
    return federation.version > 0 && childrenOf(first!.pid()).length > 0;
  });
  const children = childrenOf(first!.pid());
  const before = await first!.mustStatus();
  const ended = await first!.kill('SIGTERM');
  assert.equal(ended.code, 0, ended.stderr);
  assert.match(ended.stderr, /stopping: SIGTERM[\s\S]*stopped/);
  assert.deepEqual(children.filter(isAlive), []);
  const samples = before.acquisition.streams.reduce((sum, stream) => sum + stream.samples, 0);
  assert.ok((await storedSamples(first!.directory)).size >= samples);
  const checked = await verify(first!);
  assert.equal(checked.code, 0, checked.stderr);
  assert.match(checked.stdout, /^alpina-1 holds: /);
});

test('a daemon that cannot start ends, though its parent lives', async (t) => {
  const { gateways, program } = await consortium(t, { gateways: 3, machines: 'live' });
  const [one] = gateways;
  const server = createServer().listen(one!.port, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const started = startKosmos(program, ['run', '--config', one!.config, '--with-parent']);
  t.after(() => started.child.kill('SIGKILL'));
  const ended = await within(60_000, started.ended);
  assert.equal(ended?.code, 1, started.stderr());
  assert.match(ended.stderr, /is in use by another program/);
});

test('SIGKILL under load, again and again: nothing acknowledged is lost, no number is used twice', async (t) => {
  const { url, received } = await collector(t);
  // Of the three only one runs: acquisition, journal and telemetry need nobody.
  const { gateways, verify } = await consortium(t, {
    gateways: 3,
    machines: 'live',
    machinesEach: 4,
    cycleMs: 10,
    commitInterval: '20ms',
    telemetry: () => `url = "${url}"\n`,
  });
  const gateway = gateways[0]!;
  let acknowledged = 0;
  for (let kill = 0; kill < 4; kill++) {
    const before = received.size;
    await gateway.start();
    const { journal } = await gateway.mustStatus();
    assert.ok(
      journal.entries >= acknowledged,
      `${journal.entries} entries, ${acknowledged} were there before`,
    );
    await until('samples reach the subscriber', () => received.size > before + 200);
    await delay(Math.random() * 300);
    acknowledged = (await gateway.mustStatus()).journal.entries;
    const ended = await gateway.kill('SIGKILL');
    assert.equal(ended.signal, 'SIGKILL');
    const checked = await verify(gateway);
    assert.equal(checked.code, 0, checked.stderr);
  }
  await gateway.start();
  await until(
    'sampling goes on',
    async () => (await gateway.mustStatus()).journal.entries > acknowledged + 100,
  );
  assert.equal((await gateway.kill('SIGTERM')).code, 0);
  const stored = await storedSamples(gateway.directory);
  const lost = [...received].filter(
    ([name, bytes]) => Buffer.compare(stored.get(name) ?? new Uint8Array(0), bytes) !== 0,
  );
  assert.deepEqual(
    lost.map(([name]) => name),
    [],
  );
  assert.ok(stored.size >= acknowledged - 20, 'the entries were samples, but for a few');
  // It verifies, so each stream's numbers follow on from 0 without a gap, over all restarts.
  const checked = await verify(gateway);
  assert.equal(checked.code, 0, checked.stderr);
});
