import assert from 'node:assert/strict';
import { constants } from 'node:http2';
import { createServer as createTcpServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { MAX_WAITING } from '../../../runtime/services/peering/door.ts';
import type { PeerHandler } from '../../../runtime/services/peering/message.ts';
import { MAX_REQUESTS_IN_HAND, MAX_STREAMS } from '../../../runtime/services/peering/serving.ts';
import { until } from '../consortium.ts';
import { frame, POST, PREFACE, rawSession, rawTcp, rawTls } from './raw.ts';
import { dialler, echo, identity, nothing, type SideOptions, side, text } from './sides.ts';

/** `a` listens and knows `b`, who keeps to the rules, and `c`, whose keys the test has. */
async function threatened(t: TestContext, handler: PeerHandler = echo, options: SideOptions = {}) {
  const [a, b, c] = [await identity(t, 'a'), await dialler(t, 'b'), await dialler(t, 'c')];
  const attacked = side(t, a, [b, c], handler, options);
  const bystander = side(t, b, [a]);
  await attacked.peering.start();
  await bystander.peering.start();
  const ask = async () => (await bystander.peering.request('a', '/b', nothing)).status;
  await until(() => bystander.peering.connected('a') && attacked.peering.connected('b'), 'connected');
  return { port: a.port, a, b, c, attacked, bystander, ask };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('a request that comes byte by byte is cut off, however steadily it comes', async (t) => {
  const asked: string[] = [];
  const { port, c, attacked, ask } = await threatened(
    t,
    async (peer) => {
      asked.push(peer);
      return { status: 200, body: nothing };
    },
    { requestLimitMs: 400 },
  );
  const session = await rawSession(t, c, port);
  const stream = session.request({ ':method': 'POST', ':path': '/slow' }).on('error', () => {});
  const drip = setInterval(() => stream.writable && stream.write('x'), 20);
  t.after(() => clearInterval(drip));
  assert.equal(await ask(), 200);
  await until(() => stream.closed, 'cut off');
  clearInterval(drip);
  await until(
    () => attacked.logged.some((line) => line.includes('/slow of c failed: cut off after 400 ms')),
    'logged',
  );
  assert.deepEqual(asked, ['b']);
  assert.equal(session.closed, false);
  assert.equal(await ask(), 200);
});

test('an answer that its asker does not take is thrown away', async (t) => {
  const { port, c, attacked, ask } = await threatened(
    t,
    async (peer) => ({ status: 200, body: new Uint8Array(peer === 'c' ? 900_000 : 0) }),
    { requestLimitMs: 400 },
  );
  const session = await rawSession(t, c, port);
  const streams = Array.from({ length: 5 }, () =>
    session
      .request({ ':method': 'POST', ':path': '/greedy' })
      .on('error', () => {})
      .end(),
  );
  await until(() => streams.every((stream) => stream.closed || stream.rstCode !== undefined), 'begun');
  await until(
    () => attacked.logged.filter((line) => line.includes('cut off after 400 ms')).length >= 2,
    () => `given up: ${attacked.logged.join('\n')}`,
  );
  // Two messages of the largest size may be in hand; the others were refused at once.
  assert.ok(attacked.logged.some((line) => line.includes('bytes of its messages are in hand')));
  assert.equal(await ask(), 200);
});

test('handshakes that never end, and peers that say nothing after them, are given up from both sides', async (t) => {
  const { port, c, ask } = await threatened(t);
  // Inwards: nothing at all; a handshake in drops; TLS and then nothing.
  const silent = rawTcp(t, port);
  const dripping = rawTcp(t, port);
  const hello = Buffer.concat([Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]), Buffer.alloc(501)]);
  let at = 0;
  const drip = setInterval(() => dripping.writable && dripping.write(hello.subarray(at, ++at)), 50);
  t.after(() => clearInterval(drip));
  const mute = await rawTls(t, c, port);
  const muteReversed = await rawTls(t, c, port, 'kosmos-reverse');
  for (const socket of [silent, dripping, mute, muteReversed]) socket.resume();
  // Outwards: a listener that takes a connection and says nothing, and one that does so after TLS.
  const deaf = await identity(t, 'deaf');
  const dull = await identity(t, 'dull');
  const sockets = new Set<Socket | TLSSocket>();
  const keep = (socket: Socket | TLSSocket) => void sockets.add(socket.on('error', () => {}));
  const deafServer = createTcpServer(keep);
  const dullServer = createTlsServer(
    { key: dull.key, cert: dull.certificate, ALPNProtocols: ['h2'], minVersion: 'TLSv1.3' },
    keep,
  );
  for (const [server, { port: own }] of [
    [deafServer, deaf],
    [dullServer, dull],
  ] as const) {
    await new Promise<void>((resolve) => server.listen(own, '127.0.0.1', resolve));
    t.after(() => server.close());
  }
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  const [own, friend] = [await dialler(t, 'victim'), await identity(t, 'friend')];
  const victim = side(t, own, [friend, deaf, dull]);
  await side(t, friend, [own]).peering.start();
  await victim.peering.start();
  await until(
    () => [silent, dripping, mute, muteReversed].every((socket) => socket.destroyed),
    'all are given up inwards',
  );
  const says = (peer: string, why: string) =>
    victim.logged.some((line) => line.includes(`cannot reach ${peer}`) && line.includes(why));
  await until(
    () => says('deaf', 'no answer to the TLS handshake') && says('dull', 'it says nothing'),
    () => `all are given up outwards: ${victim.logged.join('\n')}`,
  );
  assert.equal(victim.peering.connected('friend'), true);
  assert.equal((await victim.peering.request('friend', '/x', nothing)).status, 200);
  assert.equal(await ask(), 200);
});

test('more streams than are allowed: the session ends, nothing piles up', async (t) => {
  let inHand = 0;
  let most = 0;
  const { port, c, ask } = await threatened(t, async (peer) => {
    if (peer !== 'c') return { status: 200, body: nothing };
    inHand += 1;
    most = Math.max(most, inHand);
    await pause(300);
    inHand -= 1;
    return { status: 200, body: nothing };
  });
  const socket = await rawTls(t, c, port);
  socket.resume();
  socket.write(PREFACE);
  const ids = Array.from({ length: 5000 }, (_, index) => 2 * index + 1);
  socket.write(Buffer.concat(ids.map((id) => frame(1, 5, id, POST))));
  assert.equal(await ask(), 200);
  await until(() => socket.destroyed, 'cut off');
  await until(() => inHand === 0, 'all done');
  assert.ok(most > 0 && most <= MAX_STREAMS, `${most} in hand`);
  assert.equal(await ask(), 200);
});

test('streams opened and reset without end leave no more handlers than are allowed', async (t) => {
  let inHand = 0;
  let most = 0;
  let release: () => void = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { port, c, ask } = await threatened(t, async (peer) => {
    if (peer !== 'c') return { status: 200, body: nothing };
    inHand += 1;
    most = Math.max(most, inHand);
    await held;
    inHand -= 1;
    return { status: 200, body: nothing };
  });
  const cancel = Buffer.alloc(4);
  cancel.writeUInt32BE(constants.NGHTTP2_CANCEL);
  for (let round = 0; round < 5; round += 1) {
    const socket = await rawTls(t, c, port);
    socket.resume();
    socket.write(PREFACE);
    for (let index = 0; index < 200 && !socket.destroyed; index += 1) {
      socket.write(frame(1, 5, 2 * index + 1, POST));
      if (index % 20 === 19) await pause(2);
      socket.write(frame(3, 0, 2 * index + 1, cancel));
    }
    await pause(20);
    socket.destroy();
  }
  assert.equal(await ask(), 200);
  assert.ok(most > 0 && most <= MAX_REQUESTS_IN_HAND, `${most} in hand`);
  release();
  await until(() => inHand === 0, 'all done');
});

test('a request that its sender breaks off never reaches the handler', async (t) => {
  const asked: string[] = [];
  const { port, c, attacked, ask } = await threatened(t, async (peer, { path }) => {
    asked.push(`${peer} ${path}`);
    return { status: 200, body: nothing };
  });
  const failures = () => attacked.logged.filter((line) => / of c failed/.test(line)).length;
  // With a length announced, and Node ending the stream before it resets it.
  const session = await rawSession(t, c, port);
  const stream = session
    .request({ ':method': 'POST', ':path': '/half', 'content-length': 1000 })
    .on('error', () => {});
  stream.write('half of it');
  await pause(50);
  stream.close(constants.NGHTTP2_CANCEL);
  await until(
    () => failures() === 1,
    () => `the first is logged: ${attacked.logged.join('\n')}`,
  );
  // Without one, reset with this code and that, or the connection gone.
  for (const [index, code] of [
    constants.NGHTTP2_CANCEL,
    constants.NGHTTP2_INTERNAL_ERROR,
    undefined,
  ].entries()) {
    const socket = await rawTls(t, c, port);
    socket.resume();
    socket.write(PREFACE);
    socket.write(Buffer.concat([frame(1, 4, 1, POST), frame(0, 0, 1, Buffer.from('half of it'))]));
    await pause(50);
    const reset = Buffer.alloc(4);
    reset.writeUInt32BE(code ?? 0);
    if (code === undefined) socket.destroy();
    else socket.write(frame(3, 0, 1, reset));
    await until(
      () => failures() === index + 2,
      () => `${code} is logged: ${attacked.logged.join('\n')}`,
    );
  }
  assert.equal(await ask(), 200);
  assert.deepEqual(asked, ['b /b']);
});

test('messages in hand are bounded together, and the bound is free again when they are done', async (t) => {
  let release: () => void = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let handled = 0;
  const { port, c, attacked, ask } = await threatened(t, async (peer) => {
    if (peer === 'c') {
      handled += 1;
      await held;
    }
    return { status: 200, body: nothing };
  });
  const session = await rawSession(t, c, port);
  const send = () => {
    const stream = session.request({ ':method': 'POST', ':path': '/big' }).on('error', () => {});
    stream.end(new Uint8Array(600_000));
    return stream;
  };
  for (let index = 0; index < 10; index += 1) send();
  await until(
    () => {
      const refused = attacked.logged.filter((line) =>
        line.includes('bytes of its messages are in hand'),
      ).length;
      return refused + handled === 10;
    },
    () => `all are handled or refused: ${attacked.logged.join('\n')}`,
  );
  // Three of them fit into two of the largest size.
  assert.ok(handled <= 3, `${handled} handled`);
  assert.equal(await ask(), 200);
  release();
  const after = send();
  after.resume();
  const status = await new Promise((resolve) =>
    after.once('response', (headers) => resolve(headers[':status'])),
  );
  assert.equal(status, 200);
});

test('a peer that connects hundreds of times has one connection, and the others theirs', async (t) => {
  const { port, c, attacked, bystander, ask } = await threatened(t);
  const open: TLSSocket[] = [];
  for (let round = 0; round < 15; round += 1) {
    const fresh = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const socket = await rawTls(t, c, port, index % 2 === 0 ? 'h2' : 'kosmos-reverse');
        socket.resume();
        socket.write(index % 2 === 0 ? PREFACE : PREFACE.subarray(24));
        return socket;
      }),
    );
    open.push(...fresh);
    assert.equal(await ask(), 200);
  }
  await until(() => open.filter((socket) => !socket.destroyed).length <= 2, 'one to ask, one to be asked');
  assert.ok(attacked.peering.refused() > 100, `${attacked.peering.refused()} refused`);
  assert.ok(attacked.logged.some((line) => line.includes('c connects too often')));
  assert.ok(attacked.logged.length < 250, `${attacked.logged.length} lines logged`);
  assert.equal(bystander.logged.filter((line) => line.includes('lost')).length, 0);
});

test('strangers that wait at the door are few, and keep nobody out', async (t) => {
  const { port, a, b, ask } = await threatened(t);
  const strangers = Array.from({ length: 4 * MAX_WAITING }, () => rawTcp(t, port));
  await until(() => strangers.every((socket) => !socket.connecting), 'all have knocked');
  await until(
    () => strangers.filter((socket) => !socket.destroyed).length <= MAX_WAITING,
    'the oldest are sent away',
  );
  assert.equal(await ask(), 200);
  const late = side(t, b, [a]);
  await late.peering.start();
  await until(() => late.peering.connected('a'), 'a gateway comes in');
});

test('a handshake that was recorded and is played again opens nothing', async (t) => {
  const asked: string[] = [];
  const { port, c, attacked } = await threatened(t, async (peer, { path }) => {
    asked.push(`${peer} ${path}`);
    return { status: 200, body: nothing };
  });
  const recorded: Buffer[] = [];
  const between = createTcpServer((near) => {
    const far = rawTcp(t, port);
    near.on('data', (chunk: Buffer) => void recorded.push(chunk));
    near
      .on('error', () => {})
      .pipe(far)
      .pipe(near);
  });
  await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve));
  t.after(() => between.close());
  const session = await rawSession(t, c, (between.address() as { port: number }).port);
  const stream = session.request({ ':method': 'POST', ':path': '/once' });
  stream.resume().end();
  await new Promise((resolve) => stream.once('close', resolve));
  session.destroy();
  assert.deepEqual(asked, ['c /once']);
  const before = attacked.peering.refused();
  const replay = rawTcp(t, port);
  let back = 0;
  replay.on('data', (chunk: Buffer) => {
    back += chunk.length;
  });
  for (const chunk of recorded) replay.write(chunk);
  await until(() => replay.destroyed, 'cut off');
  assert.ok(back > 0, 'it answers the recorded hello with keys of its own');
  assert.equal(attacked.peering.refused(), before + 1);
  assert.deepEqual(asked, ['c /once']);
});

test('an oversized message in a stream that announces a small one is cut off', async (t) => {
  const { port, c, attacked, ask } = await threatened(t, echo, { maxMessageBytes: 100_000 });
  const session = await rawSession(t, c, port);
  const stream = session.request({ ':method': 'POST', ':path': '/lie' }).on('error', () => {});
  stream.end(new Uint8Array(5_000_000));
  await until(() => stream.closed, 'cut off');
  assert.ok(
    attacked.logged.some((line) => line.includes('/lie of c failed: a message of more than 100000 bytes')),
  );
  assert.equal(await ask(), 200);
  assert.equal(session.closed, false);
  const fits = session.request({ ':method': 'POST', ':path': '/fits' });
  fits.end('ok');
  assert.equal(text(Buffer.concat(await fits.toArray())), 'c /fits 2');
});
