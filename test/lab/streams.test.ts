/** A subscriber that knows a gateway's public sample key and nothing else of it. */
import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connectAsync, type MqttClient } from 'mqtt';
import { createVerifier, type Verifier } from '#ed25519';
import { fromBase64 } from '../../runtime/core/encoding/base64.ts';
import { parseSign1, verifySign1 } from '../../runtime/core/encoding/cose.ts';
import { decodeSample, type Sample } from '../../runtime/core/encoding/sample.ts';
import { openShownBlock } from '../../runtime/core/log/shown-block.ts';
import { keys, unordered } from '../../runtime/state/journal/keys.ts';
import { openStore } from '../../runtime/state/journal/store.ts';
import { createMosquitto, type Mosquitto, withoutMosquitto } from '../services/telemetry/helpers.ts';
import { type Consortium, createConsortium, type LabGateway } from './consortium.ts';
import { type Ended, kosmos, labPort, lastJson, until } from './program.ts';

const PADDING = 8;
const FAST =
  '[[machine.stream]]\nname = "fast"\ndriver = "machine-monitor"\ninterval = "10ms"\nsigning = "block"\n';

let three: Consortium;
let gateway: LabGateway;
let broker: Mosquitto | undefined;
let subscriber: MqttClient;
const received: { readonly topic: string; readonly payload: Uint8Array }[] = [];

before(async () => {
  if (!withoutMosquitto) {
    broker = await createMosquitto();
    await broker.start();
  }
  const port = broker?.port ?? (await labPort());
  const settings = broker
    ? `url = "mqtt://127.0.0.1:${port}"\n`
    : `[telemetry.embedded]\nlisten = "127.0.0.1:${port}"\n`;
  three = await createConsortium({
    gateways: 3,
    machines: 'live',
    machinesEach: 1,
    commitInterval: '50ms',
    padding: PADDING,
    telemetry: (index) => (index === 0 ? settings : ''),
    more: () => `${FAST}[machine.stream.settings]\nbus = "sim:0"\n`,
  });
  [gateway] = three.gateways as [LabGateway];
  const subscribe = async () => {
    subscriber = await connectAsync(`mqtt://127.0.0.1:${port}`, { clientId: 'planner', clean: false });
    subscriber.on('message', (topic, payload) => received.push({ topic, payload: new Uint8Array(payload) }));
    await subscriber.subscribeAsync('kosmos/lab/+/sample/#', { qos: 1 });
  };
  if (broker) await subscribe();
  await three.startAll();
  if (!broker) await subscribe();
});

after(async () => {
  subscriber?.end(true);
  await three?.remove();
  await broker?.remove();
});

async function ok(...args: string[]): Promise<Ended> {
  const ended = await kosmos(three.program, args);
  assert.equal(ended.code, 0, `${args.join(' ')}: ${ended.stderr}`);
  return ended;
}

/** What the gateway tells of its own keys; a subscriber has it from the agreement. */
async function sampleKey(): Promise<Verifier> {
  const { keys: rows } = lastJson(
    (await ok('keys', 'list', '--directory', gateway.directory, '--name', gateway.name, '--json')).stdout,
  ) as { readonly keys: readonly { readonly purpose: string; readonly publicKey: string }[] };
  return createVerifier(fromBase64(rows.find(({ purpose }) => purpose === 'sample')!.publicKey));
}

/** The samples of a message. @throws where the key has not signed them. */
function opened(payload: Uint8Array, verify: Verifier): readonly Sample[] {
  if (payload[0] !== 0xd2) return openShownBlock(payload, verify).map(decodeSample);
  const message = parseSign1(payload);
  assert.ok(verifySign1(message, verify), 'a sample’s signature');
  return [decodeSample(message.payload)];
}

test('every message is verified with the public key alone, none is missing, and both forms come', async () => {
  const verify = await sampleKey();
  const next = new Map<string, number>();
  const messages = new Map<string, number>();
  let read = 0;
  await until('many samples of both streams', () => {
    for (; read < received.length; read++) {
      const { topic, payload } = received[read]!;
      const stream = topic.split('/').at(-1)!;
      assert.equal(topic, `kosmos/lab/${gateway.name}/sample/press-1/${stream}`);
      messages.set(stream, (messages.get(stream) ?? 0) + 1);
      assert.equal(payload[0] === 0xd2, stream === 'monitor', `${stream} comes in its own form`);
      for (const sample of opened(payload, verify)) {
        assert.deepEqual([sample.machine, sample.stream], ['press-1', stream]);
        const expected = next.get(stream) ?? 0;
        // At least once, in order: what is repeated has been there before.
        assert.ok(sample.sequence <= expected, `${stream}: number ${sample.sequence} after ${expected - 1}`);
        next.set(stream, Math.max(expected, sample.sequence + 1));
      }
    }
    return (next.get('fast') ?? 0) > 300 && (next.get('monitor') ?? 0) > 60;
  });
  assert.ok(messages.get('fast')! < next.get('fast')!, 'samples of one block come together');
  const changed = received.find(({ topic }) => topic.endsWith('/fast'))!.payload.slice();
  changed[changed.length >> 1]! ^= 1;
  assert.throws(() => opened(changed, verify));
});

test('a sample that its block signs is exported and verifies, as a bundle and as a tlog-proof', async () => {
  await until('a final checkpoint', async () => (await gateway.mustStatus()).log.finalSize > 3 * PADDING);
  const bundle = join(three.directory, 'sample.kosmos');
  const sample = ['export', '--directory', gateway.directory, '--sample', 'press-1/fast/0/7'];
  await ok(...sample, '--output', bundle);
  const report = lastJson((await ok('verify', bundle, '--json')).stdout);
  assert.equal(report.samples, 1);
  assert.deepEqual(report.machines, ['press-1']);
  const { stdout } = await ok('verify', bundle, '--print');
  assert.match(stdout, /"stream":"fast".*"sequence":7,/);
  const proof = join(three.directory, 'sample.tlog-proof');
  await ok(...sample, '--format', 'tlog-proof', '--output', proof);
  const agreement = join(gateway.directory, 'agreement.toml');
  const { entry } = lastJson((await ok('verify', proof, '--agreement', agreement, '--json')).stdout);
  assert.equal((entry as { sequence: number }).sequence, 7);
});

test('the directories verify, and every checkpoint ever signed is of whole steps', async () => {
  assert.deepEqual(await three.stopAll(), [0, 0, 0]);
  for (const one of three.gateways) {
    const report = lastJson((await ok('verify', one.directory, '--json')).stdout);
    assert.ok((report.samples as number) > 300, JSON.stringify(report));
    // The usual stream's are signed one by one, the others a block at a time.
    assert.ok((report.signatures as number) < (report.entries as number), JSON.stringify(report));
    assert.equal((report.finalSize as number) % PADDING, 0);
    const copy = `${one.directory}-read`;
    await cp(join(one.directory, 'journal'), copy, { recursive: true });
    const store = await openStore(copy, 'existing');
    const base = keys.section('checkpoint', '');
    const sizes: number[] = [];
    for await (const [key] of store.entries({ from: base, to: `${base}\uffff` }))
      sizes.push(unordered(key.slice(base.length)));
    await store.close();
    assert.ok(sizes.length > 5);
    for (const [at, size] of sizes.entries()) {
      assert.equal(size % PADDING, 0, `${one.name}: ${size}`);
      if (at > 0) assert.ok(size >= sizes[at - 1]! + PADDING);
    }
  }
});
