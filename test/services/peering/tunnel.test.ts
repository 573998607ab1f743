import assert from 'node:assert/strict';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createServer,
  type Http2Server,
  performServerHandshake,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createSecureContext } from 'node:tls';
import { dial, dialThrough } from '../../../runtime/services/peering/connection.ts';
import { createRelay, MAX_TUNNELS, MAX_TUNNELS_A_PAIR } from '../../../runtime/services/peering/tunnel.ts';
import { until } from '../consortium.ts';
import { rawSession, rawTls } from './raw.ts';
import { dialler, type Identity, identity, nothing, side } from './sides.ts';

/** `r` leads between `a` and `b`, whose keys the test has, and `d`, who keeps to the rules. */
async function crossroads(t: TestContext) {
  const [r, a, b, d] = [
    await identity(t, 'r'),
    await dialler(t, 'a'),
    await dialler(t, 'b'),
    await dialler(t, 'd'),
  ];
  const relay = side(t, r, [a, b, d]);
  const bystander = side(t, d, [r, a]);
  await relay.peering.start();
  await bystander.peering.start();
  const ask = async () => (await bystander.peering.request('r', '/d', nothing)).status;
  await until(() => bystander.peering.connected('r') && relay.peering.connected('d'), 'connected');
  return { r, a, b, d, relay, bystander, ask };
}

/** Offers itself to be asked by the listener on `port`; `take` gets each tunnel that is led to it. */
async function offer(t: TestContext, own: Identity, port: number, take: (stream: ServerHttp2Stream) => void) {
  const socket = await rawTls(t, own, port, 'kosmos-reverse');
  performServerHandshake(socket, { settings: { maxConcurrentStreams: 1000 } })
    .on('error', () => {})
    .on('stream', (stream) => {
      stream.on('error', () => {});
      take(stream);
    });
}

function knock(
  session: ClientHttp2Session,
  target: string,
): Promise<[number | undefined, ClientHttp2Stream]> {
  const stream = session.request({ ':method': 'CONNECT', ':authority': target }).on('error', () => {});
  return new Promise((resolve) => {
    stream.once('response', (headers) => resolve([headers[':status'], stream]));
    stream.once('close', () => resolve([undefined, stream]));
  });
}

test('from one gateway to another there are so many tunnels and no more, and closed ones make room', async (t) => {
  const { r, a, b, relay, ask } = await crossroads(t);
  await offer(t, b, r.port, (stream) => stream.respond({ ':status': 200 }));
  await until(() => relay.peering.connected('b'), 'offered');
  const session = await rawSession(t, a, r.port);
  const answers = await Promise.all(Array.from({ length: 100 }, () => knock(session, 'b')));
  const open = answers.flatMap(([status, stream]) => (status === 200 ? [stream] : []));
  assert.equal(open.length, MAX_TUNNELS_A_PAIR);
  assert.equal(answers.filter(([status]) => status === 429).length, 100 - MAX_TUNNELS_A_PAIR);
  assert.equal(await ask(), 200);
  for (const stream of open) stream.close();
  await until(async () => {
    const [status, stream] = await knock(session, 'b');
    stream.close();
    return status === 200;
  }, 'there is room again');
});

test('a gateway has so many tunnels in all, whomever they lead to or come from', async (t) => {
  const far = createServer().on('stream', (stream) =>
    stream.on('error', () => {}).respond({ ':status': 200 }),
  );
  const near = createServer().on('stream', (stream, headers) => {
    const [from, target] = String(headers[':authority']).split('.') as [string, string];
    void relay.lead(
      from,
      target,
      stream.on('error', () => {}),
    );
  });
  const connectTo = async (server: Http2Server) => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    t.after(() => {
      session.destroy();
      server.close();
    });
    return session;
  };
  const onward = await connectTo(far);
  const session = await connectTo(near);
  const relay = createRelay({
    sessionTo: () => ({
      ended: new Promise(() => {}),
      alive: () => true,
      end: () => {},
      request: () => Promise.reject(new Error('not asked')),
      async tunnel(target) {
        const [, stream] = await knock(onward, target);
        return stream;
      },
    }),
    log: () => {},
  });
  const counts = async (names: readonly string[]) =>
    (await Promise.all(names.map((name) => knock(session, name)))).filter(([status]) => status === 200)
      .length;
  const many = Array.from({ length: MAX_TUNNELS + 20 }, (_, index) => index);
  assert.equal(await counts(many.map((index) => `a.x${index}`)), MAX_TUNNELS);
  assert.equal(await counts(many.map((index) => `y${index}.b`)), MAX_TUNNELS);
  assert.equal(relay.open(), 2 * MAX_TUNNELS);
  assert.equal(await counts(['c.d']), 1);
  session.destroy();
  await until(() => relay.open() === 0, 'all are closed');
});

test('who is led to and does not read holds back who writes, and nobody else', async (t) => {
  const { r, a, b, relay, ask } = await crossroads(t);
  await offer(t, b, r.port, (stream) => stream.respond({ ':status': 200 }));
  await until(() => relay.peering.connected('b'), 'offered');
  const session = await rawSession(t, a, r.port);
  const [status, stream] = await knock(session, 'b');
  assert.equal(status, 200);
  let taken = 0;
  const chunk = Buffer.alloc(65_536);
  const pour = () => {
    while (!stream.destroyed && stream.write(chunk, () => (taken += chunk.length)));
    stream.once('drain', pour);
  };
  pour();
  // Until nothing moves any more.
  let before = -1;
  await until(async () => {
    const still = taken === before;
    before = taken;
    await new Promise((resolve) => setTimeout(resolve, 300));
    return still && taken === before;
  }, 'it stands still');
  assert.ok(taken < 2_000_000, `${taken} bytes went into a tunnel that nobody reads`);
  assert.equal(await ask(), 200);
  assert.equal((await relay.peering.request('d', '/x', nothing)).status, 200);
  // A request over the same session as the tunnel that is stuck.
  const other = session.request({ ':method': 'POST', ':path': '/x' });
  other.end(chunk);
  assert.equal(Buffer.concat(await other.toArray()).toString(), 'a /x 65536');
});

test('a target that refuses or breaks off: the asker is told, and the next tunnel is tried afresh', async (t) => {
  const { r, a, b, relay, ask } = await crossroads(t);
  const ways = [
    (stream: ServerHttp2Stream) => stream.respond({ ':status': 403 }, { endStream: true }),
    (stream: ServerHttp2Stream) => stream.close(2),
    (stream: ServerHttp2Stream) => stream.session?.destroy(),
  ];
  let way = 0;
  await offer(t, b, r.port, (stream) => ways[way]!(stream));
  await until(() => relay.peering.connected('b'), 'offered');
  const session = await rawSession(t, a, r.port);
  for (; way < ways.length; way += 1) assert.equal((await knock(session, 'b'))[0], 502);
  await until(() => !relay.peering.connected('b'), 'gone');
  assert.equal((await knock(session, 'b'))[0], 404);
  assert.equal((await knock(session, 'nobody'))[0], 404);
  assert.equal(await ask(), 200);
});

test('nobody leads on from a tunnel, and who listens is not reached through one', async (t) => {
  const { r, a, d, relay, bystander } = await crossroads(t);
  const signal = new AbortController().signal;
  const options = {
    context: () => createSecureContext({ key: a.key, cert: a.certificate, minVersion: 'TLSv1.3' }),
    maxMessageBytes: 1000,
  };
  const toRelay = { name: 'r', host: '127.0.0.1', port: r.port, tlsKeys: () => [r.tlsKey] };
  const direct = await dial(toRelay, options, signal);
  t.after(() => direct.end('done'));
  await assert.rejects(direct.tunnel('r'), { message: /it answers 421/ });
  const through = await dialThrough(
    { name: 'd', tlsKeys: () => [d.tlsKey] },
    [{ name: 'r', session: direct }],
    options,
    signal,
  );
  t.after(() => through.end('done'));
  assert.equal((await through.request('/x', nothing, 5000)).status, 200);
  for (const target of ['r', 'd', 'a'])
    await assert.rejects(through.tunnel(target), { message: /it answers 403/ });
  assert.equal((await relay.peering.request('d', '/x', nothing)).status, 200);
  assert.equal(bystander.peering.connected('r'), true);
});

test('a stranger behind the one in the middle gets no further than the handshake', async (t) => {
  const { r, a, d, bystander } = await crossroads(t);
  // a's tunnel, and in it a key that d does not know.
  const stranger = await dialler(t, 'a');
  const signal = new AbortController().signal;
  const context =
    ({ key, certificate }: Identity) =>
    () =>
      createSecureContext({ key, cert: certificate, minVersion: 'TLSv1.3' });
  const toRelay = { name: 'r', host: '127.0.0.1', port: r.port, tlsKeys: () => [r.tlsKey] };
  const direct = await dial(toRelay, { context: context(a), maxMessageBytes: 1000 }, signal);
  t.after(() => direct.end('done'));
  const before = bystander.peering.refused();
  await assert.rejects(
    dialThrough(
      { name: 'd', tlsKeys: () => [d.tlsKey] },
      [{ name: 'r', session: direct }],
      { context: context(stranger), maxMessageBytes: 1000 },
      signal,
    ),
  );
  await until(() => bystander.peering.refused() === before + 1, 'refused');
  assert.ok(
    bystander.logged.some((line) =>
      line.includes('refused a connection from a tunnel through r: its key is not'),
    ),
  );
});
