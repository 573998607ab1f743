import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messages } from '../../../runtime/services/federation/messages.ts';
import { PATH } from '../../../runtime/services/federation/wire.ts';
import { createConsortium, temporaryDirectory, until } from '../consortium.ts';
import { createNetwork, HASTY } from './network.ts';

/** One member that answers wrongly must not keep four others from making rounds. */
for (const [what, path, answer] of [
  ['nonsense for a promise', PATH.prepare, () => ({ status: 200, body: Uint8Array.of(1, 2, 3) })],
  [
    'that a later round was promised',
    PATH.prepare,
    () => ({ status: 412, body: new TextEncoder().encode('9007199254740990') }),
  ],
  ['that there is a newer model', PATH.prepare, () => ({ status: 410, body: new Uint8Array(0) })],
  ['nonsense for a vote', PATH.record, () => ({ status: 200, body: Uint8Array.of(1, 2, 3) })],
  ['nothing to a vote', PATH.record, () => ({ status: 500, body: new Uint8Array(0) })],
] as const) {
  test(`a member that answers ${what} does not stop the others`, async (t) => {
    const directory = await temporaryDirectory(t);
    const network = await createNetwork({
      consortium: createConsortium({ fleets: [1, 1, 1, 1, 1] }),
      directory,
      timing: HASTY,
    });
    t.after(() => network.stopAll());
    network.onRequest((from, to, asked) =>
      to === 'gateway-4' && from !== to && asked === path ? answer() : undefined,
    );
    await network.startAll();
    const rest = network.names.slice(0, 4);
    await until(
      () => rest.every((name) => network.version(name) >= 3),
      () => network.logged.slice(-30).join('\n'),
    );
    network.checkModels();
  });
}

test('a member that names a record that does not hold, as one it has voted for, does not stop the others', async (t) => {
  const directory = await temporaryDirectory(t);
  const network = await createNetwork({
    consortium: createConsortium({ fleets: [1, 1, 1, 1, 1] }),
    directory,
    timing: HASTY,
  });
  t.after(() => network.stopAll());
  network.onRequest((from, to, path, body) => {
    if (to !== 'gateway-4' || from === to || path !== PATH.prepare) return undefined;
    const { parties, signer } = network.member('gateway-4');
    const { round } = messages.prepare.open(body, parties, from);
    const promise = {
      round,
      unready: '',
      waiting: false,
      accepted: { round: 2 ** 50, record: Uint8Array.of(1) },
    };
    return { status: 200, body: messages.promise.seal(signer, promise) };
  });
  await network.startAll();
  const rest = network.names.slice(0, 4);
  await until(
    () => rest.every((name) => network.version(name) >= 2),
    () => network.logged.slice(-30).join('\n'),
  );
  assert.ok(network.logged.some((line) => line.includes('gateway-4 names a record that does not hold')));
  network.checkModels();
});
