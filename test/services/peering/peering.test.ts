import assert from 'node:assert/strict';
import { createServer as createHttp2Server } from 'node:http2';
import { connect as connectTcp, createServer as createTcpServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import type { PeerHandler } from '../../../runtime/services/peering/message.ts';
import { createPeering } from '../../../runtime/services/peering/peering.ts';
import { until } from '../consortium.ts';
import { echo, identity, nothing, type SideOptions, side, text } from './sides.ts';

async function pair(t: TestContext, handler = echo, options: SideOptions = {}) {
  const [a, b] = [await identity(t, 'a'), await identity(t, 'b')];
  const [left, right] = [side(t, a, [b], echo, options), side(t, b, [a], handler, options)];
  await left.peering.start();
  await right.peering.start();
  await until(() => left.peering.connected('b') && right.peering.connected('a'), 'both are connected');
  return { a, b, left, right };
}

test('requests go both ways, and each side knows the other by its key', async (t) => {
  const { left, right } = await pair(t);
  assert.equal(text((await left.peering.request('b', '/x', new Uint8Array(7))).body), 'a /x 7');
  assert.equal(text((await right.peering.request('a', '/y', nothing)).body), 'b /y 0');
  assert.deepEqual(
    left.peering.status().map(({ name, connected }) => ({ name, connected })),
    [{ name: 'b', connected: true }],
  );
  await assert.rejects(left.peering.request('c', '/x', nothing), {
    name: 'PeerError',
    message: /not a gateway of the agreement/,
  });
});

test('a large message arrives whole, in both directions', async (t) => {
  const answer = new Uint8Array(12_000_000).fill(5);
  const sizes: number[] = [];
  const { left } = await pair(
    t,
    async (_peer, { body }) => {
      sizes.push(body.length);
      return { status: 200, body: answer };
    },
    { maxMessageBytes: 20_000_000 },
  );
  const { body } = await left.peering.request('b', '/big', new Uint8Array(15_000_000));
  assert.deepEqual(sizes, [15_000_000]);
  assert.ok(Buffer.from(body).equals(answer));
});

test('many requests at a time, some of them slow: each gets its own answer', async (t) => {
  const { left } = await pair(t, async (_peer, { path, body }) => {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
    return { status: 200, body: new TextEncoder().encode(`${path} ${body.length}`) };
  });
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, index) => left.peering.request('b', `/${index}`, new Uint8Array(index))),
  );
  assert.deepEqual(
    answers.map(({ body }) => text(body)),
    answers.map((_, index) => `/${index} ${index}`),
  );
});

test('a certificate that the agreement does not name is refused and logged', async (t) => {
  const { b, right } = await pair(t);
  const stranger = await identity(t, 'stranger');
  const socket = connectTls({
    host: '127.0.0.1',
    port: b.port,
    key: stranger.key,
    cert: stranger.certificate,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.3',
  });
  socket.on('error', () => {});
  await until(() => socket.destroyed, 'the stranger is cut off');
  assert.equal(right.peering.refused(), 1);
  assert.ok(
    right.logged.some(
      (line) => line.startsWith('warn refused a connection') && line.includes('not in the agreement'),
    ),
  );
});

test('no certificate, an old TLS and bytes that are no TLS are refused, and the listener goes on', async (t) => {
  const { b, left, right } = await pair(t);
  const open = { host: '127.0.0.1', port: b.port, rejectUnauthorized: false };
  const bare = connectTls({ ...open, ALPNProtocols: ['h2'] }).on('error', () => {});
  const old = connectTls({ ...open, maxVersion: 'TLSv1.2' }).on('error', () => {});
  const plain = connectTcp(b.port, '127.0.0.1', () => plain.write('GET / HTTP/1.1\r\n\r\n')).on(
    'error',
    () => {},
  );
  await until(() => bare.destroyed && old.destroyed && plain.destroyed, 'all are cut off');
  assert.equal(right.peering.refused(), 3);
  assert.equal((await left.peering.request('b', '/x', nothing)).status, 200);
});

test('who answers with another key than the agreement names is not spoken to, by either side', async (t) => {
  const [a, b, impostor] = [await identity(t, 'a'), await identity(t, 'b'), await identity(t, 'b')];
  const asked: string[] = [];
  const note: PeerHandler = async (peer) => {
    asked.push(peer);
    return { status: 200, body: nothing };
  };
  const left = side(t, a, [b], note);
  // It listens where b should, knows a, and has another key.
  const right = side(t, { ...impostor, port: b.port }, [a], note);
  await left.peering.start();
  await right.peering.start();
  await until(
    () =>
      left.peering.refused() > 0 &&
      left.logged.some((line) => line.includes('its certificate does not hold the key')),
    () => `both refuse: ${left.logged.join('\n')}`,
  );
  assert.equal(left.peering.connected('b'), false);
  assert.equal(right.peering.connected('a'), false);
  await assert.rejects(left.peering.request('b', '/x', nothing), {
    name: 'PeerError',
    message: /unreachable/,
  });
  await assert.rejects(right.peering.request('a', '/x', nothing), {
    name: 'PeerError',
    message: /unreachable/,
  });
  assert.deepEqual(asked, []);
  assert.ok(!right.logged.some((line) => line.includes('connected to a')), right.logged.join('\n'));
});

test('a message beyond the limit is refused in both directions, and the connection lives', async (t) => {
  const { left, right } = await pair(
    t,
    async (_peer, { path }) => ({
      status: 200,
      body: new Uint8Array(path === '/long-answer' ? 100_001 : 10),
    }),
    { maxMessageBytes: 100_000 },
  );
  await assert.rejects(left.peering.request('b', '/long', new Uint8Array(100_001)), { name: 'PeerError' });
  await until(() => right.logged.some((line) => line.includes('100000 bytes')), 'the receiver says why');
  await assert.rejects(left.peering.request('b', '/long-answer', nothing), {
    name: 'PeerError',
    message: /100000 bytes/,
  });
  assert.equal((await left.peering.request('b', '/fits', new Uint8Array(100_000))).status, 200);
});

test('what a handler throws stays here; the peer gets a 500', async (t) => {
  const { left, right } = await pair(t, async () => {
    throw new Error('a secret of the inside');
  });
  const answer = await left.peering.request('b', '/x', nothing);
  assert.equal(answer.status, 500);
  assert.equal(answer.body.length, 0);
  assert.ok(right.logged.some((line) => line.includes('a secret of the inside')));
});

test('a peer that hangs: the request ends at its limit, others go on', async (t) => {
  const { left } = await pair(t, async (_peer, { path }) => {
    if (path === '/hang') await new Promise(() => {});
    return { status: 200, body: nothing };
  });
  const hung = left.peering.request('b', '/hang', nothing, 150);
  assert.equal((await left.peering.request('b', '/x', nothing)).status, 200);
  await assert.rejects(hung, { name: 'PeerError', message: /no answer to \/hang within 150 ms/ });
  assert.equal((await left.peering.request('b', '/x', nothing)).status, 200);
});

test('an answer that begins and does not end is cut off at the limit', async (t) => {
  const [a, b] = [await identity(t, 'a'), await identity(t, 'b')];
  const left = side(t, a, [b]);
  const http2 = createHttp2Server();
  http2.on('stream', (stream) => {
    stream.respond({ ':status': 200 });
    stream.write('begun');
  });
  const server = createTlsServer(
    { key: b.key, cert: b.certificate, ALPNProtocols: ['h2'], minVersion: 'TLSv1.3' },
    (socket) => {
      socket.on('error', () => {});
      http2.emit('connection', socket);
    },
  );
  await new Promise<void>((resolve) => server.listen(b.port, '127.0.0.1', resolve));
  t.after(() => server.close());
  await left.peering.start();
  await until(() => left.peering.connected('b'), 'connected');
  await assert.rejects(left.peering.request('b', '/x', nothing, 200), {
    name: 'PeerError',
    message: /within 200 ms/,
  });
  await left.peering.stop();
});

test('a peer that restarts is found again', async (t) => {
  const { a, b, left, right } = await pair(t);
  await right.peering.stop();
  await until(() => !left.peering.connected('b'), 'the loss is noticed');
  await assert.rejects(left.peering.request('b', '/x', nothing), {
    name: 'PeerError',
    message: /unreachable/,
  });
  const again = side(t, b, [a]);
  await again.peering.start();
  await until(() => left.peering.connected('b') && again.peering.connected('a'), 'both are connected again');
  assert.equal((await left.peering.request('b', '/x', nothing)).status, 200);
  assert.equal((await again.peering.request('a', '/x', nothing)).status, 200);
});

test('a request in flight fails when its peer goes away', async (t) => {
  const { left, right } = await pair(t, () => new Promise(() => {}));
  const asked = assert.rejects(left.peering.request('b', '/x', nothing), { name: 'PeerError' });
  await new Promise((resolve) => setTimeout(resolve, 50));
  await right.peering.stop();
  await asked;
});

test('a port in use and an address of another machine: a clear error', async (t) => {
  const own = await identity(t, 'a');
  const taken = createTcpServer();
  await new Promise<void>((resolve) => taken.listen(own.port, '127.0.0.1', resolve));
  t.after(() => taken.close());
  await assert.rejects(side(t, own, []).peering.start(), {
    message: `port 127.0.0.1:${own.port} is in use by another program; stop it, or set another [peering] listen`,
  });
  const elsewhere = createPeering({
    name: 'a',
    reachable: true,
    settings: { listen: { host: '192.0.2.1', port: own.port }, requestLimitMs: 1000, maxMessageBytes: 1000 },
    key: own.key,
    certificate: own.certificate,
    peers: [],
    handler: echo,
    log: () => {},
  });
  await assert.rejects(elsewhere.start(), { message: /192\.0\.2\.1 is not an address of this machine/ });
  await elsewhere.stop();
});

test('stop ends with requests in flight, silent connections and unanswered dials', {
  timeout: 30_000,
}, async (t) => {
  const [a, b, silent] = [await identity(t, 'a'), await identity(t, 'b'), await identity(t, 'c')];
  // It takes connections and never says a word.
  const sockets = new Set<{ destroy(): void }>();
  const mute = createTcpServer((socket) => void sockets.add(socket.on('error', () => {})));
  await new Promise<void>((resolve) => mute.listen(silent.port, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    mute.close();
  });
  const left = side(t, a, [b, silent]);
  const right = side(t, b, [a], () => new Promise(() => {}));
  await left.peering.start();
  await right.peering.start();
  await until(() => left.peering.connected('b') && sockets.size > 0, 'connected, and dialling');
  const asked = [
    left.peering.request('b', '/x', nothing),
    left.peering.request('b', '/y', new Uint8Array(500_000)),
  ];
  const ended = Promise.all(asked.map((request) => assert.rejects(request, { name: 'PeerError' })));
  const quiet = connectTcp(b.port, '127.0.0.1').on('error', () => {});
  await until(() => !quiet.connecting, 'a connection without a word');
  await right.peering.stop();
  await ended;
  await left.peering.stop();
  await until(() => quiet.destroyed, 'the silent connection is gone');
  assert.equal(left.peering.connected('b'), false);
});

test('a connection that breaks in the middle of frames harms nobody else', async (t) => {
  const { a, b, left, right } = await pair(t);
  for (const bytes of ['', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'no HTTP at all', '\x00'.repeat(100)]) {
    const raw = connectTcp(b.port, '127.0.0.1').on('error', () => {});
    const socket = connectTls({
      socket: raw,
      key: a.key,
      cert: a.certificate,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
    });
    socket.on('error', () => {});
    await new Promise<void>((resolve) => socket.once('secureConnect', resolve));
    socket.write(bytes);
    await new Promise((resolve) => setTimeout(resolve, 20));
    raw.resetAndDestroy();
  }
  assert.equal((await left.peering.request('b', '/x', nothing)).status, 200);
  assert.equal(right.peering.connected('a'), true);
});
