import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createSigner } from '#ed25519';
import { randomBytes } from '#random';
import { openCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { cosign, createCosigner } from '../../../runtime/core/log/cosignature.ts';
import { formatSignatureLines } from '../../../runtime/core/log/note.ts';
import { parseAddCheckpoint } from '../../../runtime/core/log/witness.ts';
import { witnessName } from '../../../runtime/services/witnessing/names.ts';
import type { AskWitness } from '../../../runtime/services/witnessing/publisher.ts';
import { createWitnessing } from '../../../runtime/services/witnessing/witnessing.ts';
import { createConsortium, temporaryDirectory, until } from '../consortium.ts';
import { type Log, openLog } from './logs.ts';

/** All gateways as logs and witnesses of each other; `alter` stands between the first and those it asks. */
async function consortiumOf(
  t: TestContext,
  fleets: readonly number[],
  alter: (to: string, ask: () => ReturnType<AskWitness>, body: string) => ReturnType<AskWitness> = (
    _to,
    ask,
  ) => ask(),
) {
  const consortium = createConsortium({ fleets });
  const directory = await temporaryDirectory(t);
  const logs = new Map<string, Log>();
  const ask =
    (from: string): AskWitness =>
    async (to, body) => {
      const honest = async () => {
        const { status, body: text } = await logs.get(to)!.witness.addCheckpoint(body);
        return { status, body: new TextEncoder().encode(text) };
      };
      return from === 'gateway-0' ? alter(to, honest, body) : honest();
    };
  const open = async (name: string) => {
    const log = await openLog(consortium, name, directory, ask(name));
    logs.set(name, log);
    await log.publisher.open();
    return log;
  };
  for (const { name } of consortium.gateways) await open(name);
  t.after(() => Promise.all([...logs.values()].map((log) => log.journal.close())));
  return {
    consortium,
    directory,
    log: (name = 'gateway-0') => logs.get(name)!,
    async reopen(name = 'gateway-0') {
      await logs.get(name)!.journal.close();
      return open(name);
    },
  };
}

const refusal = { status: 404, body: new TextEncoder().encode('not today\n') };

test('a checkpoint is final with a quorum of members, itself counted', async (t) => {
  const willing = new Set<string>();
  const { log } = await consortiumOf(t, [1, 1, 1, 1], (to, ask) =>
    willing.has(to) ? ask() : Promise.resolve(refusal),
  );
  await log().grow(2);
  await log().publish();
  assert.deepEqual([log().publisher.status().published, log().publisher.status().finalSize], [2, 0]);
  willing.add('gateway-1');
  await log().publish();
  assert.deepEqual(log().publisher.status().cosigners, ['member-0', 'member-1']);
  assert.equal(log().publisher.status().finalSize, 0);
  willing.add('gateway-3');
  await log().publish();
  assert.equal(log().publisher.status().finalSize, 2);
  assert.ok(
    log().reports.some((line) => line.includes('no cosignature of gateway-2: status 404: not today')),
  );
});

test('many gateways of one member are one vote', async (t) => {
  const { log } = await consortiumOf(t, [1, 4, 1], (to, ask) =>
    to.startsWith('gateway-2') ? Promise.resolve(refusal) : ask(),
  );
  await log().grow(1);
  await log().publish();
  const status = log().publisher.status();
  assert.equal(status.cosignatures, 4);
  assert.deepEqual(status.cosigners, ['member-0', 'member-1']);
  assert.equal(status.finalSize, 0);
});

test('a cosignature of another key, of another checkpoint or under another name is not counted', async (t) => {
  let lie: 'key' | 'checkpoint' | 'name' | 'nonsense' | 'none' = 'key';
  const { log, consortium } = await consortiumOf(t, [1, 1, 1], async (to, ask, body) => {
    if (to !== 'gateway-1' || lie === 'none') return ask();
    const { note } = parseAddCheckpoint(body);
    const name = witnessName(`test-plant/member-1/gateway-1`);
    const own = consortium.gateways.find((gateway) => gateway.name === to)!.keys.witness;
    const cosigner =
      lie === 'key'
        ? createCosigner(name, createSigner(randomBytes(32)))
        : createCosigner(lie === 'name' ? witnessName('test-plant/member-2/gateway-2') : name, own);
    const text = lie === 'checkpoint' ? note.text.replace('\n1\n', '\n9\n') : note.text;
    const answer =
      lie === 'nonsense' ? 'nonsense' : formatSignatureLines([cosign(cosigner, text, 1_700_000_000)]);
    return { status: 200, body: new TextEncoder().encode(answer) };
  });
  await log().grow(1);
  for (const kind of ['key', 'checkpoint', 'name', 'nonsense'] as const) {
    lie = kind;
    await log().publish();
    assert.deepEqual(log().publisher.status().cosigners, ['member-0', 'member-2'], kind);
    assert.equal(log().publisher.status().finalSize, 0, kind);
  }
  lie = 'none';
  await log().publish();
  assert.equal(log().publisher.status().finalSize, 1);
});

test('what a witness has cosigned before is learned from its 409', async (t) => {
  const asked: number[] = [];
  const { log, reopen } = await consortiumOf(t, [1, 1, 1], async (to, ask, body) => {
    if (to !== 'gateway-1') return ask();
    asked.push(parseAddCheckpoint(body).oldSize);
    const answer = await ask();
    if (asked.length === 1) throw new Error('the answer is lost');
    return answer;
  });
  await log().grow(300);
  await log().publish();
  await reopen();
  // It starts without that knowledge, asks from 0, and asks again from what it is told.
  await log().grow(20);
  await log().publish();
  assert.deepEqual(asked, [0, 0, 300]);
  assert.equal(log().publisher.status().finalSize, 320);
  await log().grow(1);
  await log().publish();
  assert.deepEqual(asked, [0, 0, 300, 320]);
});

test('a restart goes on from the stored checkpoint and its cosignatures', async (t) => {
  const { log, reopen } = await consortiumOf(t, [1, 1, 1]);
  await log().grow(3);
  await log().publish();
  const note = log().publisher.newest();
  await reopen();
  assert.equal(log().publisher.newest(), note);
  const { published, finalSize, cosigners } = log().publisher.status();
  assert.deepEqual(
    { published, finalSize, cosigners },
    { published: 3, finalSize: 3, cosigners: ['member-0', 'member-1', 'member-2'] },
  );
  await log().publish();
  assert.equal(log().publisher.newest(), note, 'a log that has not grown gets no new checkpoint');
});

test('after a restart no witness is shown a checkpoint that it has to refuse', async (t) => {
  const statuses: number[] = [];
  const { log, reopen } = await consortiumOf(t, [1, 1, 1], async (_to, ask) => {
    const answer = await ask();
    statuses.push(answer.status);
    return answer;
  });
  await log().grow(3);
  await log().publish();
  await reopen();
  await log().grow(2);
  statuses.length = 0;
  await log().publish();
  assert.deepEqual(statuses, [200, 200]);
  assert.equal(log().publisher.status().finalSize, 5);
});

test('the checkpoint is stored before a witness sees it', async (t) => {
  let shown: string | undefined;
  const { log, reopen } = await consortiumOf(t, [1, 1, 1], async (_to, _ask, body) => {
    shown ??= body.slice(body.indexOf('\n\n') + 2);
    throw new Error('the power goes');
  });
  await log().grow(2);
  await log().publish();
  await reopen();
  const { self } = log();
  const stored = openCheckpoint(new TextEncoder().encode(log().publisher.newest()!), self.log, [
    self.witness,
  ]);
  const seen = openCheckpoint(new TextEncoder().encode(shown!), self.log, [self.witness]);
  assert.deepEqual(stored.checkpoint, seen.checkpoint);
});

test('a journal that ends before a signed checkpoint is not published from', async (t) => {
  const { log, directory, consortium } = await consortiumOf(t, [1, 1, 1]);
  await log().grow(3);
  await log().publish();
  const note = log().publisher.newest()!;
  // A journal of the same gateway that has lost its newest block, but not the checkpoint over it.
  const shorter = await openLog(consortium, 'gateway-0', `${directory}/restored`, () =>
    Promise.reject(new Error('nobody')),
  );
  t.after(() => shorter.journal.close());
  await shorter.grow(2);
  const section = shorter.journal.section('checkpoint');
  await shorter.journal.write([section.put('00000000000003', new TextEncoder().encode(note))]);
  await assert.rejects(shorter.publisher.open(), {
    message: /the journal ends at block 2, but a checkpoint of size 3 was signed/,
  });
});

test('a stored checkpoint with a changed byte is noticed', async (t) => {
  const { log, reopen } = await consortiumOf(t, [1, 1, 1]);
  await log().grow(1);
  await log().publish();
  const note = log().publisher.newest()!;
  // In the middle of the last signature.
  const at = note.length - 30;
  const changed = `${note.slice(0, at)}${note[at] === 'A' ? 'B' : 'A'}${note.slice(at + 1)}`;
  await log().journal.write([
    log().journal.section('checkpoint').put('00000000000001', new TextEncoder().encode(changed)),
  ]);
  await assert.rejects(reopen());
});

test('a witness that does not answer holds up neither checkpoints nor the others', async (t) => {
  const { log } = await consortiumOf(t, [1, 1, 1, 1], (to, ask) =>
    to === 'gateway-3' ? new Promise(() => {}) : ask(),
  );
  const witnessing = createWitnessing({
    journal: log().journal,
    publisher: log().publisher,
    witness: log().witness,
    intervalMs: 10,
    log: () => {},
  });
  witnessing.start();
  for (const size of [1, 2, 3]) {
    await log().grow(1);
    await until(() => log().publisher.status().finalSize >= size, `size ${size} becomes final`);
  }
  await witnessing.stop();
});

test('an answer that comes late makes its own checkpoint final', async (t) => {
  let release: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { log } = await consortiumOf(t, [1, 1, 1], async (_to, ask) => {
    await gate;
    return ask();
  });
  await log().grow(1);
  await log().publisher.publish();
  await log().grow(1);
  await log().publisher.publish();
  release();
  await log().publisher.asked();
  assert.deepEqual([log().publisher.status().published, log().publisher.status().finalSize], [2, 1]);
  await log().publish();
  assert.equal(log().publisher.status().finalSize, 2);
});

test('the number of stored checkpoints is bounded, also when nothing becomes final any more', async (t) => {
  let willing = true;
  const { log } = await consortiumOf(t, [1, 1, 1], (_to, ask) =>
    willing ? ask() : Promise.resolve(refusal),
  );
  await log().grow(1);
  await log().publish();
  willing = false;
  const section = log().journal.section('checkpoint');
  const keys = async () => {
    const found: string[] = [];
    for await (const [key] of section.entries()) found.push(key);
    return found;
  };
  for (let count = 0; count < 1040; count++) {
    await log().journal.append([Uint8Array.of(1)], { urgent: true });
    await log().publisher.publish();
  }
  await log().publisher.asked();
  const found = await keys();
  assert.ok(found.length <= 1025, `${found.length} are stored`);
  assert.equal(found[0], '00000000000001', 'the newest final one stays');
});
