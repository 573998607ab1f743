import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { decodeBundle } from '../../../runtime/core/log/bundle.ts';
import { openCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { leafHash } from '../../../runtime/core/log/hash.ts';
import { judgeNote, parseNote, parseSignatureLines } from '../../../runtime/core/log/note.ts';
import { evaluatePolicy, parsePolicy } from '../../../runtime/core/log/policy.ts';
import { consistencyProof } from '../../../runtime/core/log/proof.ts';
import { formatTilePath, hashReaderFromTiles, tilesOf } from '../../../runtime/core/log/tiles.ts';
import { treeRoot } from '../../../runtime/core/log/tree.ts';
import { formatAddCheckpoint } from '../../../runtime/core/log/witness.ts';
import { createWitness } from '../../../runtime/services/witnessing/witness.ts';
import { get, grown, type PublicGateway, publicGateway, raw, statusOf } from './public-gateway.ts';

/** More than one full tile and a partial one. */
const SIZE = 300;

async function bytes(url: string): Promise<Uint8Array> {
  const response = await fetch(url);
  assert.equal(response.status, 200, `${url}: ${await response.clone().text()}`);
  return new Uint8Array(await response.arrayBuffer());
}

test('a stranger reads the log: checkpoint, every tile and every entry, and they sum up', async (t) => {
  const gateway = await publicGateway(t);
  const none = await fetch(`${gateway.url}/checkpoint`);
  assert.deepEqual([none.status, none.headers.get('cache-control')], [404, 'no-store']);
  await none.arrayBuffer();
  await gateway.log.grow(3);
  await grown(gateway, SIZE);

  const response = await fetch(`${gateway.url}/checkpoint`);
  assert.equal(response.headers.get('content-type'), 'text/plain; charset=utf-8');
  assert.equal(response.headers.get('cache-control'), 'no-cache');
  assert.equal(response.headers.get('access-control-allow-origin'), '*');
  const note = await response.text();
  const policy = await (await fetch(`${gateway.url}/policy`)).text();
  const verdict = evaluatePolicy(parsePolicy(policy), note);
  assert.equal(verdict.kind, 'satisfied');
  const { checkpoint } = openCheckpoint(note, gateway.log.self.log);
  assert.equal(checkpoint.size, SIZE);

  const leaves: Uint8Array[] = [];
  for (const tile of [...tilesOf(SIZE)].filter(({ level }) => level === 0)) {
    const path = formatTilePath({ ...tile, level: 'entries' });
    leaves.push(...decodeBundle(await bytes(`${gateway.url}/${path}`), tile.width).map(leafHash));
  }
  assert.deepEqual(treeRoot(leaves), checkpoint.root);

  for (const tile of tilesOf(SIZE)) {
    const served = await fetch(`${gateway.url}/${formatTilePath(tile)}`);
    assert.equal(served.headers.get('content-type'), 'application/octet-stream');
    assert.equal(served.headers.get('cache-control'), 'public, max-age=31536000, immutable');
    assert.equal(served.headers.get('x-content-type-options'), 'nosniff');
    const hashes = new Uint8Array(await served.arrayBuffer());
    assert.equal(hashes.length, tile.width * 32);
    if (tile.level === 0) assert.deepEqual(hashes.slice(0, 32), leaves[tile.index * 256]);
  }
  // Tiles of the sizes before are still served: a client may hold an older checkpoint.
  assert.deepEqual(
    await bytes(`${gateway.url}/tile/0/001.p/7`),
    (await bytes(`${gateway.url}/tile/0/001.p/44`)).slice(0, 224),
  );
});

test('what the log has beyond its newest checkpoint is nobody’s yet', async (t) => {
  const gateway = await publicGateway(t);
  await grown(gateway, 5);
  await gateway.log.journal.pad(252);
  for (const path of [
    'tile/0/000',
    'tile/0/000.p/6',
    'tile/1/000.p/1',
    'tile/entries/000',
    'tile/0/001.p/1',
  ]) {
    const response = await fetch(`${gateway.url}/${path}`);
    assert.equal(response.status, 404, path);
    assert.equal(response.headers.get('cache-control'), 'no-store', 'it may be there soon');
    await response.arrayBuffer();
  }
  assert.equal((await bytes(`${gateway.url}/tile/0/000.p/5`)).length, 160);
  await gateway.log.publish();
  assert.equal((await bytes(`${gateway.url}/tile/0/000`)).length, 8192);
  assert.equal((await bytes(`${gateway.url}/tile/1/000.p/1`)).length, 32);
});

test('nothing but these paths, each in its one written form, and these methods', async (t) => {
  const gateway = await publicGateway(t, { settings: { burst: 10_000, rate: 1000 } });
  await grown(gateway, SIZE);
  for (const target of [
    '/',
    '//checkpoint',
    '/checkpoint/',
    '/checkpoint?x=1',
    '/Checkpoint',
    '/../checkpoint',
    '/tile/../checkpoint',
    '/tile/0/../0/000',
    '/tile/%30/000',
    '/tile/0/000%2ep/5',
    '/tile/00/000',
    '/tile/0/0',
    '/tile/0/x000/000',
    '/tile/0/000.p/0',
    '/tile/0/000.p/256',
    '/tile/0/000.p/05',
    '/tile/0/-01',
    '/tile/64/000',
    '/tile/0/x999/x999/x999/x999/x999/999',
    '/tile/data/000',
    '/tile/entries/000/',
    '/keys/log.pem',
    '/..%2f..%2fkeys/log.pem',
    '/%00',
    '/witness/x/checkpoint',
    '/add-checkpoint/',
    'checkpoint',
    '*',
  ]) {
    const answer = await get(gateway.port, target);
    assert.ok([400, 404].includes(statusOf(answer)), `${target}: ${answer}`);
    assert.doesNotMatch(answer, /Error|at .*\.ts|node:|journal/, target);
  }
  assert.equal(statusOf(await get(gateway.port, 'http://log.example/checkpoint')), 200);
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
    const answer = await get(gateway.port, '/checkpoint', method);
    assert.equal(statusOf(answer), 405, method);
    assert.match(answer, /\r\nallow: GET, HEAD\r\n/i);
    assert.equal(statusOf(await get(gateway.port, '/tile/0/000', method)), 405);
  }
  assert.match(await get(gateway.port, '/add-checkpoint'), /^HTTP\/1\.1 405 [\s\S]*\r\nallow: POST\r\n/i);
  assert.equal(statusOf(await raw(gateway.port, 'nonsense\r\n\r\n')), 400);
  assert.equal(
    statusOf(await raw(gateway.port, `GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(9000)}\r\n\r\n`)),
    431,
  );

  const whole = await get(gateway.port, '/tile/0/000');
  const head = await get(gateway.port, '/tile/0/000', 'HEAD');
  assert.match(head, /content-length: 8192/i);
  assert.equal(head.split('\r\n\r\n')[1], '');
  const headersOf = (answer: string) => answer.split('\r\n\r\n')[0]!.replace(/date: .*/i, '');
  assert.equal(headersOf(head), headersOf(whole));
});

async function submit(gateway: PublicGateway, body: string | Uint8Array) {
  const response = await fetch(`${gateway.url}/add-checkpoint`, {
    method: 'POST',
    body: new Uint8Array(Buffer.from(body)),
  });
  return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
}

test('a stranger submits a member’s checkpoints: every answer of tlog-witness', async (t) => {
  const gateway = await publicGateway(t);
  const [member] = gateway.peers as [PublicGateway['log'], PublicGateway['log']];
  await member.grow(2);
  await member.publisher.open();
  await member.publisher.publish();
  const first = member.publisher.foreignTarget()!.note;
  await member.grow(3);
  await member.publisher.publish();
  const { note: second } = member.publisher.foreignTarget()!;
  const reader = hashReaderFromTiles(5, (level, index, width) => member.journal.tile(level, index, width));
  const proof = await consistencyProof(2, 5, reader);

  const accepted = await submit(gateway, formatAddCheckpoint(0, [], first));
  assert.equal(accepted.status, 200);
  const verdict = judgeNote({ text: parseNote(first).text, signatures: parseSignatureLines(accepted.text) }, [
    gateway.log.self.witness,
  ]);
  assert.equal(verdict.kind, 'verified');
  const conflict = await submit(gateway, formatAddCheckpoint(0, [], second));
  assert.deepEqual(conflict, { status: 409, type: 'text/x.tlog.size', text: '2\n' });
  assert.equal((await submit(gateway, formatAddCheckpoint(2, proof.slice(1), second))).status, 422);
  assert.equal((await submit(gateway, formatAddCheckpoint(6, [], second))).status, 400);
  assert.equal((await submit(gateway, formatAddCheckpoint(2, proof, second))).status, 200);
  assert.equal((await submit(gateway, 'nonsense')).status, 400);
  assert.equal((await submit(gateway, new Uint8Array([0xff, 0xfe]))).status, 400);
  const stranger = second.replaceAll(member.self.origin, 'stranger.example/log');
  assert.equal((await submit(gateway, formatAddCheckpoint(0, [], stranger))).status, 404);
  const forged = second.replace('\n5\n', '\n6\n');
  assert.equal((await submit(gateway, formatAddCheckpoint(5, [], forged))).status, 403);
  assert.deepEqual(
    gateway.log.reports.filter((line) => line.includes('stranger')),
    [],
    'a stranger writes no lines into the log',
  );
  assert.ok(gateway.log.reports.filter((line) => line.includes('refused')).length <= 1);

  const hash = createHash('sha256').update(member.self.origin).digest('hex');
  const shown = await (await fetch(`${gateway.url}/witness/${hash}/checkpoint`)).text();
  const opened = openCheckpoint(shown, member.self.log, [gateway.log.self.witness]);
  assert.deepEqual([opened.checkpoint.size, opened.verified.length, opened.unverified.length], [5, 2, 0]);
  const unknown = await fetch(`${gateway.url}/witness/${'0'.repeat(64)}/checkpoint`);
  assert.equal(unknown.status, 404);
  await unknown.arrayBuffer();
});

test('what strangers put under a checkpoint is not kept, and the same checkpoint again costs no write', async (t) => {
  const gateway = await publicGateway(t);
  const [member] = gateway.peers as [PublicGateway['log'], PublicGateway['log']];
  await member.grow(2);
  await member.publisher.open();
  await member.publisher.publish();
  const { note } = member.publisher.foreignTarget()!;
  const junk = `\u2014 junk.example/key ${Buffer.alloc(2000, 7).toString('base64')}\n`;
  assert.equal((await submit(gateway, formatAddCheckpoint(0, [], note + junk))).status, 200);
  let writes = 0;
  const { journal } = gateway.log;
  const { write } = journal;
  Object.assign(journal, {
    write: (...given: Parameters<typeof write>) => {
      writes += 1;
      return write(...given);
    },
  });
  assert.equal((await submit(gateway, formatAddCheckpoint(2, [], note))).status, 200);
  assert.equal(writes, 0);
  // A witness that has just been started knows it from what is stored.
  const witness = createWitness({
    journal,
    cosigner: gateway.log.signers.cosigner,
    verifiersOf: (origin) => (origin === member.self.origin ? [member.self.log] : undefined),
    log: () => undefined,
  });
  const stored = (await witness.newest(member.self.origin))!;
  assert.ok(!stored.includes('junk'));
  const { verified } = openCheckpoint(stored, member.self.log, [gateway.log.self.witness]);
  assert.equal(verified.length, 2);
});

test('a journal that cannot be read: 500, no word of why to the stranger, one line in the log', async (t) => {
  const gateway = await publicGateway(t);
  await grown(gateway, SIZE);
  await gateway.log.journal.close();
  for (let i = 0; i < 3; i++) {
    const answer = await get(gateway.port, '/tile/0/000');
    assert.equal(statusOf(answer), 500);
    assert.match(answer, /\r\n\r\nthis could not be read here\n$/);
  }
  assert.equal(gateway.reports.filter((line) => line.startsWith('error')).length, 1);
});

test('a checkpoint that no quorum has cosigned is shown when there is no other', async (t) => {
  const gateway = await publicGateway(t, { cosigned: false });
  await grown(gateway, 2);
  const note = await (await fetch(`${gateway.url}/checkpoint`)).text();
  assert.equal(openCheckpoint(note, gateway.log.self.log).checkpoint.size, 2);
});
