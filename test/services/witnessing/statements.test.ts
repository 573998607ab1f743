import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { decodeCbor, encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { createStatements, STATEMENTS } from '../../../runtime/services/witnessing/statements.ts';
import { openRoster } from '../../../runtime/state/provenance/roster.ts';
import { opened } from '../../state/journal/helpers.ts';
import { endorsed, enrolmentOfAll, GATEWAYS, revoked } from '../../state/provenance/rosters.ts';
import { until } from '../consortium.ts';

const enrolment = enrolmentOfAll();
type Context = Parameters<typeof opened>[0];
type Node = Awaited<ReturnType<typeof createNode>>;

/** Gateways that reach each other over the links that are up. */
async function createNetwork(t: Context) {
  const links = new Set<string>();
  const nodes = new Map<string, Node>();
  const link = (a: string, b: string) => [a, b].sort().join();
  for (const [, name] of GATEWAYS) {
    nodes.set(
      name,
      await createNode(
        t,
        name,
        (peer) => links.has(link(name, peer)),
        async (peer, path, body) => {
          if (!links.has(link(name, peer))) throw new Error('not connected');
          return (await nodes.get(peer)!.service.handle(name, path, body)) ?? { status: 404, body };
        },
      ),
    );
  }
  return {
    of: (name: string) => nodes.get(name)!,
    up: (a: string, b: string) => void links.add(link(a, b)),
    down: (a: string, b: string) => void links.delete(link(a, b)),
    all: () => [...nodes.values()],
  };
}

async function createNode(
  t: Context,
  name: string,
  connected: (peer: string) => boolean,
  request: (peer: string, path: string, body: Uint8Array) => Promise<{ status: number; body: Uint8Array }>,
) {
  const journal = await opened(t);
  const storage = { section: journal.section('roster'), write: journal.write };
  const roster = await openRoster(enrolment, { storage });
  const entries: string[] = [];
  const logged: string[] = [];
  const sent: string[] = [];
  const make = () =>
    createStatements({
      roster,
      peers: GATEWAYS.map(([, peer]) => peer).filter((peer) => peer !== name),
      connected,
      request: (peer, path, body) => {
        sent.push(`${peer}:${(decodeCbor(body) as unknown[]).length}`);
        return request(peer, path, body);
      },
      section: journal.section('statements'),
      enter: async (statement, writes) => {
        await journal.write(writes);
        entries.push(toHex(statement));
      },
      intervalMs: 5,
      log: (level, message) => void logged.push(`${level} ${message}`),
    });
  return { name, roster, entries, logged, sent, service: make(), make };
}

async function running(t: Context) {
  const network = await createNetwork(t);
  for (const { service } of network.all()) service.start();
  const stop = () => Promise.all(network.all().map(({ service }) => service.stop()));
  return { network, stop };
}

test('a statement goes on to peers that its gateway cannot reach, and each enters it in its log once', async (t) => {
  const { network, stop } = await running(t);
  try {
    // A line: mill - hall-1 - hall-2, and lathe away.
    network.up('mill', 'hall-1');
    network.up('hall-1', 'hall-2');
    const statement = endorsed('mill', 1);
    await network.of('mill').roster.add(statement);
    await until(() => network.of('hall-2').entries.length > 0, 'the far end has it in its log');
    assert.equal(network.of('hall-2').roster.current('mill').serial, 1);
    assert.equal(network.of('lathe').roster.current('mill').serial, 0);
    // Later mill is gone, and lathe comes back to somebody else.
    network.down('mill', 'hall-1');
    network.up('lathe', 'hall-2');
    await until(() => network.of('lathe').entries.length > 0, 'who was away has it through a third');
    await network.of('hall-2').roster.add(revoked('mill', 'sample', 0, 5));
    await until(
      () => ['hall-1', 'hall-2', 'lathe'].every((name) => network.of(name).entries.length === 2),
      'the revocation reaches all that are there',
    );
    assert.deepEqual(network.of('mill').entries, [toHex(statement)]);
    for (const { logged } of network.all()) {
      assert.deepEqual(
        logged.filter((line) => !line.startsWith('info')),
        [],
      );
    }
  } finally {
    await stop();
  }
});

test('nothing is sent twice while a peer stays, and all of it when it comes back', async (t) => {
  const { network, stop } = await running(t);
  try {
    const mill = network.of('mill');
    network.up('mill', 'lathe');
    for (const serial of [1, 2]) await mill.roster.add(endorsed('mill', serial));
    await until(() => network.of('lathe').roster.current('mill').serial === 2, 'lathe has them');
    const sent = () =>
      mill.sent.map((line) => Number(line.split(':')[1])).reduce((sum, count) => sum + count, 0);
    const before = sent();
    assert.equal(before, 2);
    assert.deepEqual(network.of('lathe').sent, [], 'who told it is not told it');
    network.down('mill', 'lathe');
    await new Promise((resolve) => setTimeout(resolve, 50));
    network.up('mill', 'lathe');
    await until(() => sent() === before + 2, 'both are sent again');
  } finally {
    await stop();
  }
});

test('what was entered is not entered again after a restart', async (t) => {
  const { network, stop } = await running(t);
  const mill = network.of('mill');
  await mill.roster.add(endorsed('mill', 1));
  await until(() => mill.entries.length === 1, 'it is entered');
  await stop();
  const again = mill.make();
  again.start();
  await mill.roster.add(endorsed('mill', 2));
  await until(() => mill.entries.length === 2, 'only the new one is entered');
  await again.stop();
  assert.deepEqual(
    mill.entries,
    [1, 2].map((serial) => toHex(endorsed('mill', serial))),
  );
});

test('a peer’s nonsense is refused, told once, and does not hold up what is good beside it', async (t) => {
  const network = await createNetwork(t);
  const { service, roster, logged } = network.of('mill');
  const ask = async (body: Uint8Array) => {
    const answer = await service.handle('lathe', STATEMENTS, body)!;
    return { status: answer.status, text: new TextDecoder().decode(answer.body) };
  };
  assert.equal(service.handle('lathe', '/checkpoint', new Uint8Array(0)), undefined);
  assert.equal((await ask(new Uint8Array(0))).status, 400);
  assert.equal((await ask(encodeCbor('text'))).status, 400);
  assert.equal((await ask(encodeCbor([1, 2]))).status, 400);
  assert.equal((await ask(encodeCbor(Array.from({ length: 65 }, () => endorsed('lathe', 1))))).status, 400);
  const forged = endorsed('hall-1', 1);
  forged[forged.length - 1]! ^= 1;
  for (let times = 0; times < 3; times++) {
    const { status, text } = await ask(encodeCbor([forged, endorsed('lathe', 1), Uint8Array.of(1)]));
    assert.equal(status, 200);
    assert.match(text, /not signed by the identity key/);
  }
  assert.equal(roster.current('lathe').serial, 1);
  assert.equal(roster.current('hall-1').serial, 0);
  assert.equal(logged.filter((line) => /not signed by the identity key/.test(line)).length, 1);
  const clone = await ask(encodeCbor([endorsed('lathe', 2, 1)]));
  assert.match(clone.text, /in two hands/);
});
