import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createSigner } from '#ed25519';
import { randomBytes } from '#random';
import { openCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { createCosignatureVerifier, createCosigner } from '../../../runtime/core/log/cosignature.ts';
import { createNoteSigner, parseNote } from '../../../runtime/core/log/note.ts';
import {
  createVkey,
  ED25519_COSIGNATURE,
  ED25519_NOTE,
  formatVkey,
  type Vkey,
} from '../../../runtime/core/log/vkey.ts';
import {
  createForeignWitnesses,
  foreignFault,
  foreignLogs,
} from '../../../runtime/services/witnessing/foreign.ts';
import { witnessingSettings } from '../../../runtime/services/witnessing/settings.ts';
import { createWitness } from '../../../runtime/services/witnessing/witness.ts';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import { createConsortium, temporaryDirectory, until } from '../consortium.ts';
import { type Log, openLog } from './logs.ts';

const SETTINGS = { commitIntervalMs: 2, maxBytes: 1e9, maxDiskBytes: 2_000_000_000, maxPendingBytes: 1e8 };

const nobody = () => Promise.reject(new Error('nobody is asked here'));

/** A gateway's log, and a witness from outside the consortium: another consortium's gateway that knows this log. */
async function logAndForeigner(t: TestContext) {
  const directory = await temporaryDirectory(t);
  const log = await openLog(createConsortium({ fleets: [1, 1, 1] }), 'gateway-0', directory, nobody);
  const journal = await openJournal(join(directory, 'foreign'), SETTINGS);
  t.after(() => Promise.all([log.journal.close(), journal.close()]));
  await log.publisher.open();
  const key = createSigner(randomBytes(32));
  const vkey = createVkey('foreign.example/w', ED25519_COSIGNATURE, key.publicKey);
  const witness = createWitness({
    journal,
    cosigner: createCosigner(vkey.name, key),
    verifiersOf: (origin) => (origin === log.self.origin ? [log.self.log] : undefined),
    log: () => undefined,
  });
  return { log, witness, vkey };
}

async function serving(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/some/prefix/`;
}

/** Serves a witness as C2SP tlog-witness has it. */
function witnessOver(witness: Pick<Log['witness'], 'addCheckpoint'>, seen: string[] = []): RequestListener {
  return async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts);
    seen.push(`${request.method} ${request.url} ${body.toString().split('\n', 1)[0]}`);
    const answer = await witness.addCheckpoint(body);
    response.writeHead(answer.status, { 'content-type': answer.contentType ?? 'text/plain' });
    response.end(answer.body);
  };
}

function foreigners(log: Log, given: readonly { url: string; vkey: Vkey }[], more: object = {}) {
  const reports: string[] = [];
  const witnesses = createForeignWitnesses({
    settings: witnessingSettings.parse({
      foreignInterval: '1d',
      foreignWitness: given.map(({ url, vkey }) => ({ url, vkey: formatVkey(vkey) })),
      ...more,
    }),
    target: () => log.publisher.foreignTarget(),
    tile: (level, index, width) => log.journal.tile(level, index, width),
    log: (level, message) => void reports.push(`${level} ${message}`),
  });
  return { witnesses, reports };
}

test('a witness from outside cosigns: its line is in the note, also after a restart, and counts for no member', async (t) => {
  const { log, witness, vkey } = await logAndForeigner(t);
  const seen: string[] = [];
  const url = await serving(t, witnessOver(witness, seen));
  const { witnesses } = foreigners(log, [{ url, vkey }]);
  await witnesses.ask();
  assert.deepEqual(seen, [], 'there is no checkpoint yet');
  await log.grow(3);
  await log.publish();
  await witnesses.ask();
  await log.grow(4);
  await log.publish();
  await witnesses.ask();
  await witnesses.ask();
  assert.deepEqual(seen, [
    'POST /some/prefix/add-checkpoint old 0',
    'POST /some/prefix/add-checkpoint old 3',
  ]);
  const verifier = createCosignatureVerifier(vkey);
  const { verified } = openCheckpoint(log.publisher.newest()!, log.self.log, [verifier]);
  assert.deepEqual(verified.map(({ name }) => name).sort(), [log.self.origin, vkey.name].sort());
  assert.deepEqual(log.publisher.status().cosigners, ['member-0']);
  assert.equal(log.publisher.status().finalSize, 0);
  assert.deepEqual(witnesses.status()[0], {
    name: vkey.name,
    url,
    cosignedSize: 7,
    cosignatures: 2,
    problem: undefined,
  });
  // What is sent is the log's own signature alone.
  assert.equal(parseNote(log.publisher.foreignTarget()!.note).signatures.length, 1);
  // Its store is opened again by the same code as after a restart.
  await log.publisher.open();
  assert.ok(log.publisher.newest()!.includes(vkey.name));
});

test('a witness that knows more of the log than was asked with: 409, and once more from its size', async (t) => {
  const { log, witness, vkey } = await logAndForeigner(t);
  const seen: string[] = [];
  const url = await serving(t, witnessOver(witness, seen));
  await log.grow(2);
  await log.publish();
  await foreigners(log, [{ url, vkey }]).witnesses.ask();
  await log.grow(3);
  await log.publish();
  // Another process, which knows nothing of the first.
  const { witnesses } = foreigners(log, [{ url, vkey }]);
  await witnesses.ask();
  assert.deepEqual(
    seen.slice(1).map((line) => line.split(' old ')[1]),
    ['0', '2'],
  );
  assert.equal(witnesses.status()[0]?.cosignedSize, 5);
});

test('answers that are none: each is a problem that is said once, nothing of it gets into the note', async (t) => {
  const { log, vkey } = await logAndForeigner(t);
  await log.grow(2);
  await log.publish();
  const note = log.publisher.newest();
  const impostor = createNoteSigner(vkey.name, createSigner(randomBytes(32)));
  const forged = Buffer.alloc(4 + 72, 1);
  forged.writeUInt32BE(vkey.keyId);
  const cases: readonly (readonly [RequestListener, RegExp])[] = [
    [
      (_, response) => void response.writeHead(500).end('out of order\u001b[31m\n'),
      /status 500: out of order\?\[31m/,
    ],
    [(_, response) => void response.writeHead(404).end(), /status 404/],
    [(_, response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(), /status 302/],
    [(_, response) => void response.end(''), /./],
    [(_, response) => void response.end('nonsense\n'), /em dash/],
    [(_, response) => void response.end(Buffer.from([0xff])), /./],
    [
      (_, response) => void response.end(`\u2014 ${vkey.name} ${forged.toString('base64')}\n`),
      /does not verify/,
    ],
    [
      (_, response) =>
        void response.end(`\u2014 ${impostor.name} ${Buffer.alloc(76, 9).toString('base64')}\n`),
      /does not verify/,
    ],
    [(_, response) => void response.end('a'.repeat(100_000)), /more than 65536 bytes/],
    [(_, response) => void response.writeHead(409).end('3\n'), /older than what was published/],
    [(_, response) => void response.writeHead(409).end('three\n'), /is not a size/],
    [(_, response) => void response.writeHead(409).end('1\n'), /changes under the request/],
    [(request) => void request.socket.destroy(), /hang up|ended the connection|ECONNRESET/],
    [
      (_, response) => {
        response.writeHead(200, { 'content-length': 50 }).write('x');
        response.socket?.end();
      },
      /./,
    ],
    [() => undefined, /no answer within 300 ms/],
    [
      (_, response) => void setInterval(() => response.write('\u2014'), 20).unref(),
      /no answer within 300 ms|aborted/,
    ],
  ];
  for (const [listener, problem] of cases) {
    const url = await serving(t, listener);
    const { witnesses, reports } = foreigners(log, [{ url, vkey }], { foreignRequestLimit: '300ms' });
    await witnesses.ask();
    assert.match(witnesses.status()[0]?.problem ?? 'none', problem);
    assert.equal(reports.length, 1);
    assert.equal(log.publisher.newest(), note, String(problem));
  }
  const { witnesses } = foreigners(log, [{ url: 'http://127.0.0.1:1', vkey }]);
  await witnesses.ask();
  assert.match(witnesses.status()[0]?.problem ?? '', /ECONNREFUSED/);
});

test('one request at a time to each, a failing one is left alone for longer each time, the others are asked', async (t) => {
  const { log, witness, vkey } = await logAndForeigner(t);
  await log.grow(1);
  await log.publish();
  let asked = 0;
  let release = () => {};
  const failing = await serving(t, (_, response) => {
    asked += 1;
    release = () => void response.writeHead(503).end('later\n');
  });
  const url = await serving(t, witnessOver(witness));
  const other = createVkey('other.example/w', ED25519_COSIGNATURE, createSigner(randomBytes(32)).publicKey);
  const { witnesses, reports } = foreigners(log, [
    { url: failing, vkey: other },
    { url, vkey },
  ]);
  const first = witnesses.ask();
  void witnesses.ask();
  await until(() => asked === 1 && witnesses.status()[1]?.cosignedSize === 1, 'both are asked');
  assert.equal(asked, 1);
  release();
  await first;
  await witnesses.ask();
  assert.equal(asked, 1, 'it is left alone');
  assert.equal(reports.length, 1);
  assert.match(reports[0]!, /warn no cosignature of other\.example\/w .*status 503: later/);
});

test('a hanging witness does not hold up the stop', async (t) => {
  const { log, vkey } = await logAndForeigner(t);
  await log.grow(1);
  await log.publish();
  let asked = false;
  const url = await serving(t, () => {
    asked = true;
  });
  const { witnesses } = foreigners(log, [{ url, vkey }], {
    foreignInterval: '100ms',
    foreignRequestLimit: '3s',
  });
  witnesses.start();
  await until(() => asked, 'it is asked by itself');
  await witnesses.stop();
});

test('logs from outside: by origin, with as many keys as they have; a member’s is none of them', async (t) => {
  const { log, vkey } = await logAndForeigner(t);
  const key = () =>
    formatVkey(createVkey('log.example/a', ED25519_NOTE, createSigner(randomBytes(32)).publicKey));
  const settings = witnessingSettings.parse({
    foreignLog: [{ vkey: key() }, { vkey: key() }, { vkey: key(), origin: 'log.example/b' }],
  });
  const logs = foreignLogs(settings);
  assert.deepEqual(
    [...logs].map(([origin, keys]) => [origin, keys.length]),
    [
      ['log.example/a', 2],
      ['log.example/b', 1],
    ],
  );
  assert.equal(foreignFault(settings, log.all), undefined);

  const own = log.self.logKeys[0]!;
  const renamed = formatVkey(createVkey('log.example/a', ED25519_NOTE, own.key));
  const faults = [
    { foreignLog: [{ vkey: formatVkey(own) }] },
    { foreignLog: [{ vkey: renamed }] },
    { foreignLog: [{ vkey: key(), origin: log.self.origin }] },
    { foreignWitness: [{ url: 'http://x', vkey: formatVkey(log.self.witnessKeys[0]!) }] },
  ];
  for (const fault of faults) {
    assert.match(
      foreignFault(witnessingSettings.parse(fault), log.all) ?? 'none',
      /of a member of the consortium/,
    );
  }
  for (const [wrong, message] of [
    [{ foreignLog: [{ vkey: formatVkey(vkey) }] }, /signature type 4 instead of 1/],
    [{ foreignWitness: [{ url: 'http://x', vkey: key() }] }, /signature type 1 instead of 4/],
    [{ foreignWitness: [{ url: 'ftp://x', vkey: formatVkey(vkey) }] }, /url/],
    [{ foreignLog: [{ vkey: renamed }, { vkey: renamed }] }, /stands there twice/],
    [{ foreignLog: [{ vkey: `${renamed.slice(0, -1)}A` }] }, /malformed verifier key|its id must be/],
  ] as const) {
    const judged = witnessingSettings.safeParse(wrong);
    assert.match(JSON.stringify(judged.error?.issues), message);
  }
});
