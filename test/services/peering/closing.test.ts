/** Other ends that have the connection closed and do not let it come to its end. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { until } from '../consortium.ts';
import { frame, POST, PREFACE } from './raw.ts';
import { dialler, identity, type Listening, nothing, side } from './sides.ts';

/** GOAWAY (RFC 9113, 6.8) without an error: `last` is the last stream that is still served. */
function goaway(last: number): Buffer {
  const payload = Buffer.alloc(8);
  payload.writeUInt32BE(last);
  return frame(7, 0, 0, payload);
}

/** RST_STREAM with REFUSED_STREAM. */
const refusal = (stream: number): Buffer => frame(3, 0, stream, Uint8Array.of(0, 0, 0, 7));

/** The settings of a server, and that it takes those of the client. */
const GREETING = PREFACE.subarray(24);

/** Whether these frames, from a client and behind its preface, open a stream. */
function opensStream(said: Buffer): boolean {
  for (let at = 24; at + 9 <= said.length; at += 9 + said.readUIntBE(at, 3))
    if (said[at + 3] === 1) return true;
  return false;
}

/**
 * A gateway that says `word` once it has been asked for something, and from then on neither reads nor closes; the
 * connections that it was given, in their order.
 */
async function lingering(t: TestContext, own: Listening, word: Uint8Array): Promise<readonly TLSSocket[]> {
  const sockets: TLSSocket[] = [];
  const server = createTlsServer(
    {
      key: own.key,
      cert: own.certificate,
      ALPNProtocols: ['h2'],
      minVersion: 'TLSv1.3',
      allowHalfOpen: true,
    },
    (socket) => {
      sockets.push(socket.on('error', () => {}));
      socket.write(GREETING);
      let said = Buffer.alloc(0);
      const listen = (chunk: Buffer) => {
        said = Buffer.concat([said, chunk]);
        if (!opensStream(said)) return;
        socket.off('data', listen).pause();
        socket.write(word);
      };
      socket.on('data', listen);
    },
  );
  await new Promise<void>((resolve) => server.listen(own.port, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return sockets;
}

for (const [what, word, bytes] of [
  ['with a request open', goaway(1), 0],
  ['with a request refused', Buffer.concat([goaway(0), refusal(1)]), 0],
  ['with a request that it does not read to its end', goaway(1), 4_000_000],
  ['with a request refused that it does not read', Buffer.concat([goaway(0), refusal(1)]), 4_000_000],
] as const) {
  test(`a peer that says it closes, ${what}, and keeps its half open is dialled anew`, async (t) => {
    const [own, peer] = [await dialler(t, 'a'), await identity(t, 'b')];
    const sockets = await lingering(t, peer, word);
    const { peering, logged } = side(t, own, [peer], undefined, { maxMessageBytes: 8_000_000 });
    await peering.start();
    await until(() => peering.connected('b'), 'connected');
    const before = sockets.length;
    await assert.rejects(peering.request('b', '/x', new Uint8Array(bytes)), { name: 'PeerError' });
    await until(
      () => peering.connected('b') && sockets.length > before,
      () => `dialled anew: ${JSON.stringify(peering.status())}\n${logged.join('\n')}`,
    );
    assert.ok(logged.some((line) => line.startsWith('warn lost b at')));
  });
}

test('a peer that falls silent in the middle of a request is cut off, and dialled anew', async (t) => {
  const [own, peer] = [await dialler(t, 'a'), await identity(t, 'b')];
  const sockets = await lingering(t, peer, nothing);
  const { peering, logged } = side(t, own, [peer], undefined, { maxMessageBytes: 8_000_000 });
  await peering.start();
  await until(() => peering.connected('b'), 'connected');
  const before = sockets.length;
  await assert.rejects(peering.request('b', '/x', new Uint8Array(4_000_000)), { name: 'PeerError' });
  await until(
    () => peering.connected('b') && sockets.length > before,
    () => `dialled anew: ${JSON.stringify(peering.status())}\n${logged.join('\n')}`,
  );
  assert.ok(logged.some((line) => /^warn lost b at .*: no answer to a ping$/.test(line)));
});

test('while a connection is being closed, the status says so', async (t) => {
  const [own, peer] = [await dialler(t, 'a'), await identity(t, 'b')];
  await lingering(t, peer, goaway(1));
  const { peering } = side(t, own, [peer]);
  assert.match(String(peering.status()[0]?.trouble), /not dialled yet/);
  await peering.start();
  await until(() => peering.connected('b'), 'connected');
  const asked = peering.request('b', '/x', nothing);
  asked.catch(() => {});
  await until(() => !peering.connected('b'), 'closing');
  assert.match(String(peering.status()[0]?.trouble), /the connection is being closed/);
  await assert.rejects(peering.request('b', '/x', nothing), /unreachable \(the connection is being closed\)/);
  await assert.rejects(asked, { name: 'PeerError' });
});

test('who asks, says that it closes and keeps its half open is cut off', async (t) => {
  const [own, peer] = [await identity(t, 'a'), await dialler(t, 'b')];
  let asked = 0;
  const { peering } = side(t, own, [peer], () => {
    asked += 1;
    return new Promise(() => {});
  });
  await peering.start();
  const options = {
    host: '127.0.0.1',
    port: own.port,
    key: peer.key,
    cert: peer.certificate,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.3' as const,
    allowHalfOpen: true,
  };
  const socket = connectTls(options).on('error', () => {});
  t.after(() => socket.destroy());
  await new Promise<void>((resolve) => socket.once('secureConnect', resolve));
  socket.resume();
  socket.write(Buffer.concat([PREFACE, frame(1, 5, 1, POST)]));
  await until(() => asked === 1, 'asked');
  socket.write(goaway(0));
  // Only who writes learns that nobody is there any more.
  const ping = setInterval(() => socket.writable && socket.write(frame(6, 0, 0, new Uint8Array(8))), 50);
  t.after(() => clearInterval(ping));
  await until(() => socket.destroyed, 'cut off');
});

test('a stop closes what the other end would keep open', async (t) => {
  const [own, peer] = [await dialler(t, 'a'), await identity(t, 'b')];
  const sockets = await lingering(t, peer, goaway(1));
  const { peering } = side(t, own, [peer]);
  await peering.start();
  await until(() => peering.connected('b'), 'connected');
  peering.request('b', '/x', nothing).catch(() => {});
  await until(() => !peering.connected('b'), 'closing');
  await peering.stop();
  const [socket] = sockets;
  assert.ok(socket);
  const ping = setInterval(() => socket.writable && socket.write(frame(6, 0, 0, new Uint8Array(8))), 50);
  t.after(() => clearInterval(ping));
  socket.resume();
  await until(() => socket.destroyed, 'cut off');
  assert.equal(sockets.length, 1);
});
