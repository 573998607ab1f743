import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createSigner } from '#ed25519';
import { randomBytes } from '#random';
import { formatCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import {
  createNoteSigner,
  formatNote,
  judgeNote,
  type NoteSigner,
  parseSignatureLines,
  signNote,
} from '../../../runtime/core/log/note.ts';
import { consistencyProof } from '../../../runtime/core/log/proof.ts';
import { hashReaderFromTiles } from '../../../runtime/core/log/tiles.ts';
import { formatAddCheckpoint } from '../../../runtime/core/log/witness.ts';
import { createConsortium, temporaryDirectory } from '../consortium.ts';
import { type Log, openLog } from './logs.ts';

const nobody = () => Promise.reject(new Error('nobody is asked here'));

async function logAndWitness(t: TestContext) {
  const consortium = createConsortium({ fleets: [1, 1, 1] });
  const directory = await temporaryDirectory(t);
  const log = await openLog(consortium, 'gateway-0', directory, nobody);
  let witness = await openLog(consortium, 'gateway-1', directory, nobody);
  t.after(async () => {
    await log.journal.close();
    await witness.journal.close();
  });
  return {
    consortium,
    log,
    witness: () => witness,
    async reopen() {
      await witness.journal.close();
      witness = await openLog(consortium, 'gateway-1', directory, nobody);
    },
  };
}

interface Head {
  readonly size: number;
  readonly root: Uint8Array;
}

function noteOf(
  log: Log,
  { size, root }: Head,
  signer: NoteSigner = log.signers.log,
  origin = log.self.origin,
): string {
  return formatNote(signNote(formatCheckpoint({ origin, size, root, extensions: [] }), [signer]));
}

async function proofBetween(log: Log, from: number, to: number): Promise<readonly Uint8Array[]> {
  if (from === 0 || from === to) return [];
  return consistencyProof(
    from,
    to,
    hashReaderFromTiles(to, (level, index, width) => log.journal.tile(level, index, width)),
  );
}

/** The heads of a log after each of these sizes. */
async function headsOf(log: Log, sizes: readonly number[]): Promise<Head[]> {
  const heads: Head[] = [];
  for (const size of sizes) {
    await log.grow(size - (log.journal.head()?.size ?? 0));
    heads.push(log.journal.head()!);
  }
  return heads;
}

function verifies(witness: Log, note: string, lines: string): boolean {
  const text = `${note.split('\n\n')[0]}\n`;
  return (
    judgeNote({ text, signatures: parseSignatureLines(lines) }, [witness.self.witness]).kind === 'verified'
  );
}

test('a checkpoint that only grew is cosigned; the cosignature is the witness’s', async (t) => {
  const { log, witness } = await logAndWitness(t);
  let before = 0;
  for (const head of await headsOf(log, [1, 2, 5, 300])) {
    const note = noteOf(log, head);
    const answer = await witness().witness.addCheckpoint(
      formatAddCheckpoint(before, await proofBetween(log, before, head.size), note),
    );
    assert.equal(answer.status, 200, answer.body);
    assert.ok(verifies(witness(), note, answer.body));
    assert.ok(!verifies(log, note, answer.body));
    before = head.size;
  }
  assert.deepEqual([...witness().witness.heads()], [[log.self.origin, 300]]);
  assert.equal(witness().witness.counts().cosigned, 4);
});

test('the same checkpoint again is cosigned again', async (t) => {
  const { log, witness } = await logAndWitness(t);
  const [head] = await headsOf(log, [3]);
  const note = noteOf(log, head!);
  assert.equal((await witness().witness.addCheckpoint(formatAddCheckpoint(0, [], note))).status, 200);
  assert.equal((await witness().witness.addCheckpoint(formatAddCheckpoint(3, [], note))).status, 200);
});

test('another old size than the stored one: 409 with the stored size', async (t) => {
  const { log, witness } = await logAndWitness(t);
  const [three, five] = await headsOf(log, [3, 5]);
  await witness().witness.addCheckpoint(formatAddCheckpoint(0, [], noteOf(log, three!)));
  for (const old of [0, 1, 2, 4, 5]) {
    const answer = await witness().witness.addCheckpoint(
      formatAddCheckpoint(old, await proofBetween(log, old, 5), noteOf(log, five!)),
    );
    assert.deepEqual(answer, { status: 409, body: '3\n', contentType: 'text/x.tlog.size' });
  }
});

test('what is refused: strangers, wrong keys, bad proofs, forks, rollbacks, malformed requests', async (t) => {
  const { log, witness } = await logAndWitness(t);
  const [three, five] = await headsOf(log, [3, 5]);
  const proof = await proofBetween(log, 3, 5);
  assert.equal(
    (await witness().witness.addCheckpoint(formatAddCheckpoint(0, [], noteOf(log, three!)))).status,
    200,
  );
  const refused = async (body: string, status: number) => {
    const answer = await witness().witness.addCheckpoint(body);
    assert.equal(answer.status, status, answer.body);
  };
  const other = createNoteSigner('example.org/other', createSigner(randomBytes(32)));
  const forger = createNoteSigner(log.self.origin, createSigner(randomBytes(32)));
  const note = noteOf(log, five!);
  const flipped = Uint8Array.from(proof[0]!, (byte, index) => (index === 7 ? byte ^ 1 : byte));
  await refused(formatAddCheckpoint(0, [], noteOf(log, five!, other, 'example.org/other')), 404);
  await refused(formatAddCheckpoint(3, proof, noteOf(log, five!, forger)), 403);
  await refused(formatAddCheckpoint(3, [flipped, ...proof.slice(1)], note), 422);
  await refused(formatAddCheckpoint(3, proof.slice(1), note), 422);
  await refused(formatAddCheckpoint(3, [], note), 422);
  await refused(formatAddCheckpoint(3, proof, noteOf(log, { size: 5, root: three!.root })), 422);
  // The same size with another root: a fork.
  await refused(formatAddCheckpoint(3, [], noteOf(log, { size: 3, root: five!.root })), 422);
  // Smaller than what is stored: a rollback.
  await refused(formatAddCheckpoint(3, [], noteOf(log, { size: 2, root: three!.root })), 400);
  await refused('old three\n\nnonsense', 400);
  await refused('', 400);
  assert.deepEqual([...witness().witness.heads()], [[log.self.origin, 3]]);
  await refused(formatAddCheckpoint(3, proof, note), 200);
});

test('the head is durable before the cosignature is given, and no restart forgets it', async (t) => {
  const { log, witness, reopen } = await logAndWitness(t);
  const [three, five] = await headsOf(log, [3, 5]);
  assert.equal(
    (await witness().witness.addCheckpoint(formatAddCheckpoint(0, [], noteOf(log, five!)))).status,
    200,
  );
  await reopen();
  const back = await witness().witness.addCheckpoint(formatAddCheckpoint(0, [], noteOf(log, three!)));
  assert.deepEqual([back.status, back.body], [409, '5\n']);
  const fork = await witness().witness.addCheckpoint(
    formatAddCheckpoint(5, [], noteOf(log, { size: 5, root: three!.root })),
  );
  assert.equal(fork.status, 422);
});

test('no cosignature without a durable head: a journal that takes nothing gives none', async (t) => {
  const { log, witness, reopen } = await logAndWitness(t);
  const [three] = await headsOf(log, [3]);
  await witness().journal.close();
  await assert.rejects(witness().witness.addCheckpoint(formatAddCheckpoint(0, [], noteOf(log, three!))));
  assert.equal(witness().witness.counts().cosigned, 0);
  await reopen();
  const answer = await witness().witness.addCheckpoint(formatAddCheckpoint(0, [], noteOf(log, three!)));
  assert.equal(answer.status, 200, 'nothing had been stored');
});

test('requests of one log at the same time: one after the other, and the head never goes back', async (t) => {
  const { log, witness } = await logAndWitness(t);
  const heads = await headsOf(log, [4, 5, 6, 7, 8, 9]);
  await witness().witness.addCheckpoint(formatAddCheckpoint(0, [], noteOf(log, heads[0]!)));
  const bodies = await Promise.all(
    heads
      .slice(1)
      .map(async (head) => formatAddCheckpoint(4, await proofBetween(log, 4, head.size), noteOf(log, head))),
  );
  const answers = await Promise.all(bodies.reverse().map((body) => witness().witness.addCheckpoint(body)));
  assert.deepEqual(
    answers.map(({ status, body }) => (status === 409 ? `409 ${body.trim()}` : `${status}`)),
    ['200', '409 9', '409 9', '409 9', '409 9'],
  );
});

test('two roots of one size at the same time: one of them is cosigned', async (t) => {
  const { log, witness } = await logAndWitness(t);
  const [three, five] = await headsOf(log, [3, 5]);
  const bodies = [three!.root, five!.root].map((root) =>
    formatAddCheckpoint(0, [], noteOf(log, { size: 7, root })),
  );
  const answers = await Promise.all(bodies.map((body) => witness().witness.addCheckpoint(body)));
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 409],
  );
});
