import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { openCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { MAX_REQUEST_BYTES } from '../../../runtime/core/log/witness.ts';
import { publicSettings } from '../../../runtime/services/witnessing/settings.ts';
import { createCertificate } from '../../../runtime/state/provenance/certificate.ts';
import { temporaryDirectory, until } from '../consortium.ts';
import { get, grown, publicGateway, raw, statusOf } from './public-gateway.ts';

test('a body over the limit: 413, declared or not', async (t) => {
  const gateway = await publicGateway(t);
  const declared = await raw(
    gateway.port,
    `POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: ${MAX_REQUEST_BYTES + 1}\r\nExpect: 100-continue\r\n\r\n`,
  );
  assert.equal(statusOf(declared), 413, 'and it was not asked to send it');
  const chunk = 'a'.repeat(MAX_REQUEST_BYTES + 1);
  const chunked = await raw(
    gateway.port,
    `POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.length.toString(16)}\r\n${chunk}\r\n0\r\n\r\n`,
  );
  assert.equal(statusOf(chunked), 413);
});

test('too many requests: 429 with the time to wait, for this address alone', async (t) => {
  const gateway = await publicGateway(t, {
    settings: { burst: 10, rate: 0.1, totalBurst: 50, totalRate: 0.1 },
  });
  await grown(gateway, 1);
  const answers = [];
  for (let i = 0; i < 12; i++) answers.push(await get(gateway.port, '/checkpoint'));
  assert.deepEqual(answers.map(statusOf), [...Array.from({ length: 10 }, () => 200), 429, 429]);
  assert.match(answers[11]!, /\r\nretry-after: \d+\r\n/i);
  assert.equal(gateway.outside.status().public.limited, 2);
  const status = await new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: gateway.port, path: '/checkpoint', localAddress: '127.0.0.2' };
    const request = httpRequest(options, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('error', reject);
    request.end();
  });
  assert.equal(status, 200);
});

/** One byte again and again until the other side has had enough; what it said. */
function drip(port: number, start: string, byte: string): Promise<string> {
  return new Promise((resolve) => {
    let said = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(start));
    const timer = setInterval(() => socket.write(byte), 20);
    socket.setEncoding('utf8').on('data', (part: string) => {
      said += part;
    });
    // Writing into a closed connection is what this does.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearInterval(timer);
      resolve(said);
    });
  });
}

test('slow senders, silent ones and idle ones are cut off, and others are served meanwhile', async (t) => {
  const gateway = await publicGateway(t, { settings: { requestLimit: '400ms', idleLimit: '400ms' } });
  await grown(gateway, 1);
  const slow = [
    drip(gateway.port, 'GET /checkpoint HTTP/1.1\r\nHost: x\r\nA: ', 'a'),
    drip(gateway.port, 'POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n', 'a'),
    drip(gateway.port, 'G', ''),
    raw(gateway.port, ''),
    raw(gateway.port, 'GET /checkpoint HTTP/1.1\r\nHost: x\r\n\r\n'),
  ];
  assert.equal(statusOf(await get(gateway.port, '/checkpoint')), 200);
  const [headers, body, , silent, idle] = await Promise.all(slow);
  assert.ok([408, 503].includes(statusOf(headers!)), headers);
  assert.ok(body === '' || [408, 503].includes(statusOf(body!)), body);
  assert.ok(silent === '' || statusOf(silent!) === 408, silent);
  assert.equal(statusOf(idle!), 200);
  await until(() => gateway.outside.status().public.connections === 0, 'no connection is left');
});

function opened(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket));
    socket.on('error', reject);
  });
}

test('an address has so many connections, and then none more until one ends', async (t) => {
  const gateway = await publicGateway(t, { settings: { connectionsPerAddress: 2 } });
  await grown(gateway, 1);
  const first = await opened(gateway.port);
  const second = await opened(gateway.port);
  assert.equal(await raw(gateway.port, '').catch(() => ''), '');
  const closed = new Promise((resolve) => first.once('close', resolve));
  first.end();
  await closed;
  let status = 0;
  for (let tries = 0; status !== 200 && tries < 100; tries++) {
    status = statusOf(await get(gateway.port, '/checkpoint').catch(() => ''));
  }
  assert.equal(status, 200);
  second.destroy();
});

test('stopping ends what hangs and frees the port; a port in use is said; without listen nothing is', async (t) => {
  const gateway = await publicGateway(t);
  await grown(gateway, 1);
  const hanging = await opened(gateway.port);
  const ended = new Promise((resolve) => hanging.once('close', resolve));
  await assert.rejects(
    publicGateway(t, { settings: { listen: `127.0.0.1:${gateway.port}` } }),
    /port 127\.0\.0\.1:\d+ is in use by another program; stop it, or set another \[public\] listen/,
  );
  await gateway.outside.stop();
  await ended;
  assert.equal(gateway.outside.status().public.address, undefined);
  await assert.rejects(get(gateway.port, '/checkpoint'), /ECONNREFUSED/);
});

test('with a certificate it serves HTTPS, and plain HTTP not at all', async (t) => {
  const directory = await temporaryDirectory(t);
  const key = join(directory, 'key.pem');
  const certificate = join(directory, 'certificate.pem');
  const { privateKey } = generateKeyPairSync('ed25519');
  await writeFile(key, privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  await createCertificate(directory, 'log.example', { key, certificate });
  const gateway = await publicGateway(t, { settings: { certificate, key } });
  await grown(gateway, 2);
  const ca = await readFile(certificate, 'utf8');
  const note = await new Promise<string>((resolve, reject) => {
    const options = { ca, checkServerIdentity: () => undefined, agent: false };
    httpsRequest(`${gateway.url}/checkpoint`, options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve(text));
    })
      .on('error', reject)
      .end();
  });
  assert.equal(openCheckpoint(note, gateway.log.self.log).checkpoint.size, 2);
  assert.doesNotMatch(await get(gateway.port, '/checkpoint').catch(() => ''), /200/);

  const wrong = { certificate: key, key };
  await assert.rejects(
    publicGateway(t, { settings: wrong }),
    /key\.pem and .*key\.pem \(\[public\]\) cannot be used/,
  );
  const absent = { certificate: join(directory, 'none.pem'), key };
  await assert.rejects(publicGateway(t, { settings: absent }), /none\.pem/);
  assert.match(
    JSON.stringify(publicSettings.safeParse({ listen: '127.0.0.1:0', certificate }).error?.issues),
    /certificate and key belong together/,
  );
});

/** A submission that is announced, asked for, and never sent. */
function unsent(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(
        'POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n',
      ),
    );
    socket.setEncoding('utf8').on('data', (said: string) => {
      if (said.startsWith('HTTP/1.1 100 ')) resolve(socket);
      else reject(new Error(said));
    });
    socket.on('error', reject);
  });
}

test('submissions that never arrive keep nobody from submitting', async (t) => {
  const gateway = await publicGateway(t, { settings: { requestLimit: '1m', idleLimit: '1m' } });
  await grown(gateway, 1);
  const idle = await Promise.all(Array.from({ length: 20 }, () => unsent(gateway.port)));
  assert.equal(gateway.outside.status().public.connections, idle.length);
  const note = await get(gateway.port, '/checkpoint');
  const body = `old 0\n\n${note.slice(note.indexOf('\r\n\r\n') + 4)}`;
  const submission = `POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  const answer = await raw(gateway.port, submission);
  // The witness knows the checkpoint already: what matters is that it was asked.
  assert.ok([200, 409].includes(statusOf(answer)), answer);
  for (const socket of idle) socket.destroy();
});
