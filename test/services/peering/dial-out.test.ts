import assert from 'node:assert/strict';
import { connect as connectHttp2, performServerHandshake } from 'node:http2';
import { createServer as createTcpServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import type { PeerHandler } from '../../../runtime/services/peering/message.ts';
import { createPeering } from '../../../runtime/services/peering/peering.ts';
import { certifiedKey } from '../../../runtime/state/provenance/certificate.ts';
import { until } from '../consortium.ts';
import { dialler, echo, type Identity, identity, type Listening, nothing, side, text } from './sides.ts';

const others = (all: readonly Identity[], own: Identity) => all.filter(({ name }) => name !== own.name);

/** `r` listens; `a` and `b` only dial out. All run. */
async function three(t: TestContext, handlerOf: (name: string) => PeerHandler = () => echo) {
  const [r, a, b] = [await identity(t, 'r'), await dialler(t, 'a'), await dialler(t, 'b')];
  const all = [r, a, b];
  const [relay, left, right] = all.map((own) => side(t, own, others(all, own), handlerOf(own.name))) as [
    ReturnType<typeof side>,
    ReturnType<typeof side>,
    ReturnType<typeof side>,
  ];
  for (const { peering } of [relay, left, right]) await peering.start();
  await until(
    () =>
      relay.peering.connected('a') &&
      relay.peering.connected('b') &&
      left.peering.connected('r') &&
      left.peering.connected('b') &&
      right.peering.connected('r') &&
      right.peering.connected('a'),
    () => `all reach all: ${[relay, left, right].flatMap(({ logged }) => logged).join('\n')}`,
  );
  return { r, a, b, relay, left, right };
}

test('a gateway that only dials out asks and is asked, by who listens and by another that only dials out', async (t) => {
  const { relay, left, right } = await three(t);
  const ask = async ({ peering }: ReturnType<typeof side>, peer: string) =>
    text((await peering.request(peer, '/x', new Uint8Array(3))).body);
  assert.equal(await ask(left, 'r'), 'a /x 3');
  assert.equal(await ask(relay, 'a'), 'r /x 3');
  assert.equal(await ask(relay, 'b'), 'r /x 3');
  assert.equal(await ask(left, 'b'), 'a /x 3');
  assert.equal(await ask(right, 'a'), 'b /x 3');
  const shown = ({ peering }: ReturnType<typeof side>) =>
    peering.status().map(({ name, connected, via, trouble }) => ({ name, connected, via, trouble }));
  assert.deepEqual(shown(relay), [
    { name: 'a', connected: true, via: 'reverse', trouble: undefined },
    { name: 'b', connected: true, via: 'reverse', trouble: undefined },
  ]);
  assert.deepEqual(shown(left), [
    { name: 'r', connected: true, via: 'dialled', trouble: undefined },
    { name: 'b', connected: true, via: 'through r', trouble: undefined },
  ]);
});

test('a large message and many at a time go through a tunnel', async (t) => {
  const { left } = await three(t, () => async (_peer, { body }) => ({ status: 200, body }));
  const large = new Uint8Array(1_000_000).map((_, index) => index % 251);
  const { body } = await left.peering.request('b', '/x', large);
  assert.ok(Buffer.from(body).equals(large));
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, index) =>
      left.peering.request('b', '/x', new Uint8Array(index).fill(index)),
    ),
  );
  for (const [index, answer] of answers.entries())
    assert.ok(Buffer.from(answer.body).equals(Buffer.alloc(index, index)));
});

test('a listener whose peers only dial out says so until they come, and when they have gone', async (t) => {
  const [r, a] = [await identity(t, 'r'), await dialler(t, 'a')];
  const relay = side(t, r, [a]);
  await relay.peering.start();
  const [before] = relay.peering.status();
  assert.equal(before?.connected, false);
  assert.match(before?.trouble ?? '', /only dials out, and has not connected/);
  await assert.rejects(relay.peering.request('a', '/x', nothing), {
    name: 'PeerError',
    message: /a: unreachable \(it only dials out/,
  });
  const left = side(t, a, [r]);
  await left.peering.start();
  await until(() => relay.peering.connected('a'), 'it has come');
  await left.peering.stop();
  await until(() => !relay.peering.connected('a'), 'it has gone');
  const [after] = relay.peering.status();
  assert.ok((after?.since ?? 0) >= (before?.since ?? 0));
});

test('the gateway in the middle restarts: all reach all again', async (t) => {
  const { r, a, b, relay, left, right } = await three(t);
  await relay.peering.stop();
  await until(
    () => !left.peering.connected('b') && !right.peering.connected('r') && !relay.peering.connected('a'),
    'the loss is noticed',
  );
  await assert.rejects(left.peering.request('b', '/x', nothing), { name: 'PeerError' });
  const again = side(t, r, [a, b]);
  await again.peering.start();
  await until(
    () => left.peering.connected('b') && right.peering.connected('a') && again.peering.connected('b'),
    'all reach all again',
  );
  assert.equal((await left.peering.request('b', '/x', nothing)).status, 200);
});

test('with two in the middle, one that stops is replaced by the other', async (t) => {
  const [r, s, a, b] = [
    await identity(t, 'r'),
    await identity(t, 's'),
    await dialler(t, 'a'),
    await dialler(t, 'b'),
  ];
  const all = [r, s, a, b];
  const sides = new Map(all.map((own) => [own.name, side(t, own, others(all, own))]));
  for (const { peering } of sides.values()) await peering.start();
  const left = sides.get('a')!.peering;
  const via = () => left.status().find(({ name }) => name === 'b')?.via;
  await until(() => via() !== undefined, 'a tunnel');
  const first = via()!.replace('through ', '');
  await sides.get(first)!.peering.stop();
  await until(() => via() !== undefined && via() !== `through ${first}`, 'the other tunnel');
  assert.equal(text((await left.request('b', '/x', nothing)).body), 'a /x 0');
});

test('a gateway with an address at which nothing listens is asked over what it dialled', async (t) => {
  const [r, a, closed] = [await identity(t, 'r'), await dialler(t, 'a'), await identity(t, 'b')];
  // The agreement has an address for b, and b was configured without a listener.
  const relay = side(t, r, [a, closed]);
  const left = side(t, a, [r, closed]);
  const { port: _none, ...mute } = closed;
  const right = side(t, mute, [r, a]);
  for (const { peering } of [relay, left, right]) await peering.start();
  await until(
    () => relay.peering.connected('b') && left.peering.connected('b') && right.peering.connected('a'),
    'both reach it',
  );
  assert.equal(text((await relay.peering.request('b', '/x', nothing)).body), 'r /x 0');
  assert.equal(text((await left.peering.request('b', '/x', nothing)).body), 'a /x 0');
});

/** A listener of the test's own in place of `r`, that joins a tunnel's two ends as `meddle` wants. */
async function ownRelay(
  t: TestContext,
  r: Listening,
  meddle: (toTarget: NodeJS.ReadWriteStream, fromSource: NodeJS.ReadWriteStream) => void,
): Promise<void> {
  let target: ReturnType<typeof connectHttp2> | undefined;
  const sockets = new Set<TLSSocket>();
  const server = createTlsServer(
    {
      key: r.key,
      cert: r.certificate,
      ALPNProtocols: ['h2', 'kosmos-reverse'],
      minVersion: 'TLSv1.3',
      requestCert: true,
      rejectUnauthorized: false,
    },
    (socket) => {
      sockets.add(socket.on('error', () => {}));
      if (socket.alpnProtocol === 'kosmos-reverse') {
        const session = connectHttp2('https://x', { createConnection: () => socket }).on('error', () => {});
        if (socket.getPeerX509Certificate()?.subject.endsWith('/b')) target = session;
        return;
      }
      performServerHandshake(socket)
        .on('error', () => {})
        .on('stream', (stream, headers) => {
          stream.on('error', () => {});
          if (headers[':method'] !== 'CONNECT' || headers[':authority'] !== 'b' || !target) {
            stream.respond({ ':status': 404 }, { endStream: true });
            return;
          }
          const far = target.request({ ':method': 'CONNECT', ':authority': 'b' }).on('error', () => {});
          far.once('response', () => {
            stream.respond({ ':status': 200 });
            meddle(far, stream);
          });
        });
    },
  );
  await new Promise<void>((resolve) => server.listen(r.port, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
}

test('who is in the middle sees ciphertext alone', async (t) => {
  const [r, a, b] = [await identity(t, 'r'), await dialler(t, 'a'), await dialler(t, 'b')];
  const seen: Buffer[] = [];
  await ownRelay(t, r, (far, near) => {
    for (const end of [far, near]) end.on('data', (chunk: Buffer) => void seen.push(chunk));
    far.pipe(near).pipe(far);
  });
  const word = 'a word that only the two ends may read';
  const left = side(t, a, [r, b]);
  const right = side(t, b, [r, a], async (_peer, { body }) => ({ status: 200, body }));
  await left.peering.start();
  await right.peering.start();
  await until(() => left.peering.connected('b'), 'a tunnel');
  const answer = await left.peering.request(
    'b',
    `/${word.replaceAll(' ', '-')}`,
    new TextEncoder().encode(word),
  );
  assert.equal(text(answer.body), word);
  const all = Buffer.concat(seen);
  // A TLS record of the handshake comes first (RFC 8446, 5.1).
  assert.deepEqual([...all.subarray(0, 2)], [22, 3]);
  assert.ok(all.length > 500);
  assert.ok(!all.includes('only'));
  assert.ok(!all.includes(b.certificate.slice(100, 140)));
});

test('who is in the middle cannot answer in another’s place, nor change what goes through', async (t) => {
  const [r, a, b] = [await identity(t, 'r'), await dialler(t, 'a'), await dialler(t, 'b')];
  const asked: string[] = [];
  const note: PeerHandler = async (peer) => {
    asked.push(peer);
    return { status: 200, body: nothing };
  };
  let tunnels = 0;
  await ownRelay(t, r, (far, near) => {
    tunnels += 1;
    if (tunnels % 2 === 1) {
      // It speaks TLS itself, with its own key, which is a gateway's too.
      const server = createTlsServer(
        {
          key: r.key,
          cert: r.certificate,
          ALPNProtocols: ['h2'],
          requestCert: true,
          rejectUnauthorized: false,
        },
        (socket) => void performServerHandshake(socket.on('error', () => {})).on('error', () => {}),
      );
      server.on('tlsClientError', () => {});
      server.emit('connection', near);
    } else {
      far.on('data', (chunk: Buffer) => {
        const last = chunk.length - 1;
        chunk[last] = chunk[last]! ^ 1;
        near.write(chunk);
      });
      near.pipe(far);
    }
  });
  const left = side(t, a, [r, b], note);
  const right = side(t, b, [r, a], note);
  await left.peering.start();
  await right.peering.start();
  await until(() => tunnels > 4, 'it has tried both several times');
  assert.equal(left.peering.connected('b'), false);
  assert.ok(left.logged.some((line) => line.includes('its certificate does not hold the key')));
  assert.deepEqual(asked, []);
});

test('the middle leads to no stranger, and nobody leads on from a tunnel', async (t) => {
  const { relay, left } = await three(t);
  const lonely = await dialler(t, 'lonely');
  const r = { ...(await identity(t, 'r')), name: 'r' };
  assert.ok(!relay.peering.connected('lonely'));
  await assert.rejects(left.peering.request('lonely', '/x', nothing), { name: 'PeerError' });
  // b, who is not connected to this one, is asked for.
  const [a, b] = [await dialler(t, 'a'), await dialler(t, 'b')];
  const other = side(t, r, [a, b]);
  const alone = side(t, a, [r, b, lonely]);
  await other.peering.start();
  await alone.peering.start();
  await until(() => alone.logged.some((line) => line.includes('no tunnel to b: it answers 404')), 'refused');
  assert.equal(alone.peering.connected('b'), false);
});

test('a key that is rotated counts at once, and what stands by the old one ends', async (t) => {
  const [r, a, next] = [await identity(t, 'r'), await dialler(t, 'a'), await dialler(t, 'a')];
  let keys = [a.tlsKey];
  const relay = side(t, r, [a], echo, { keysOf: () => keys });
  const left = side(t, a, [r]);
  await relay.peering.start();
  await left.peering.start();
  await until(() => relay.peering.connected('a') && left.peering.connected('r'), 'connected');
  // Both keys hold for a while.
  keys = [a.tlsKey, next.tlsKey];
  relay.peering.recheck();
  assert.equal(relay.peering.connected('a'), true);
  left.peering.renew(next);
  keys = [next.tlsKey];
  relay.peering.recheck();
  assert.equal(relay.peering.connected('a'), false);
  await until(() => relay.peering.connected('a') && left.peering.connected('r'), 'connected by the new key');
  assert.equal((await relay.peering.request('a', '/x', nothing)).status, 200);
  assert.equal((await left.peering.request('r', '/x', nothing)).status, 200);
  // Neither the old key nor none at all comes back in.
  keys = [a.tlsKey];
  relay.peering.recheck();
  await until(() => !left.peering.connected('r'), 'cut off');
  await until(() => relay.logged.some((line) => line.includes('not in the agreement')), 'refused');
  assert.equal(relay.peering.connected('a'), false);
});

test('a key that is nobody’s is refused once, learned from its certificate, and taken the next time', async (t) => {
  const [r, a, next] = [await identity(t, 'r'), await dialler(t, 'a'), await dialler(t, 'x')];
  const known = new Map([
    ['r', [r.tlsKey]],
    ['a', [a.tlsKey]],
  ]);
  const learn = (name: string) => (certificate: Uint8Array) =>
    void known.set(name, [...known.get(name)!, certifiedKey(certificate)!]);
  const keysOf = (peer: string) => known.get(peer)!;
  const relay = side(t, r, [a], echo, { keysOf, stranger: learn('a') });
  await relay.peering.start();
  await side(t, { ...next, name: 'a' }, [r]).peering.start();
  await until(() => relay.peering.connected('a'), 'the listener has learned');
  assert.ok(relay.peering.refused() >= 1);
  const elsewhere = await identity(t, 'x');
  const left = side(t, a, [{ ...r, port: elsewhere.port }], echo, { keysOf, stranger: learn('r') });
  const moved = side(t, { ...elsewhere, name: 'r' }, [a], echo);
  await moved.peering.start();
  await left.peering.start();
  await until(() => left.peering.connected('r'), 'the dialler has learned');
});

test('a listener’s rotated key is taken by who dials it', async (t) => {
  const [r, a, next] = [await identity(t, 'r'), await dialler(t, 'a'), await dialler(t, 'r')];
  let keys = [r.tlsKey];
  const relay = side(t, r, [a]);
  const left = side(t, a, [r], echo, { keysOf: () => keys });
  await relay.peering.start();
  await left.peering.start();
  await until(() => relay.peering.connected('a') && left.peering.connected('r'), 'connected');
  relay.peering.renew(next);
  keys = [next.tlsKey];
  left.peering.recheck();
  await until(() => relay.peering.connected('a') && left.peering.connected('r'), 'connected by the new key');
  assert.equal((await left.peering.request('r', '/x', nothing)).status, 200);
});

test('who has no address in the agreement does not listen, though its configuration says so', async (t) => {
  const [r, a] = [await identity(t, 'r'), await identity(t, 'a')];
  const settings = {
    listen: { host: '127.0.0.1', port: a.port },
    requestLimitMs: 1000,
    maxMessageBytes: 100_000,
  };
  const relay = side(t, r, [{ ...a, port: undefined }]);
  const peers = [{ name: 'r', host: '127.0.0.1', port: r.port, tlsKeys: () => [r.tlsKey] }];
  const left = createPeering({ ...a, reachable: false, settings, peers, handler: echo, log: () => {} });
  t.after(() => left.stop());
  await relay.peering.start();
  await left.start();
  await until(() => relay.peering.connected('a'), 'it has dialled in order to be asked');
  // The port is free for another.
  const taken = createTcpServer();
  await new Promise<void>((resolve, reject) => {
    taken.once('error', reject);
    taken.listen(a.port, '127.0.0.1', resolve);
  });
  taken.close();
});
