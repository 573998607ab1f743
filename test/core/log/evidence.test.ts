import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { cosign } from '../../../runtime/core/log/cosignature.ts';
import {
  createEvidence,
  type Evidence,
  formatEvidence,
  judgeEvidence,
  parseEvidence,
  planEvidence,
} from '../../../runtime/core/log/evidence.ts';
import { formatNote, parseNote, signNote } from '../../../runtime/core/log/note.ts';
import { planConsistency, readerOf, readProofSync } from '../../../runtime/core/log/proof.ts';
import { cosignerOf, logOf } from './keys.ts';
import { naiveRoot, someLeaves } from './naive.ts';

const ORIGIN = 'example.com/log';
const LOG = logOf(ORIGIN, 1);
const OTHER = logOf(ORIGIN, 2);
const WITNESS = cosignerOf('witness.example/w', 3);
const SIZE = 24;
const SHARED = 5;
const HONEST = someLeaves(SIZE);
/** The same log up to SHARED leaves, another one behind. */
const FORK = [...HONEST.slice(0, SHARED), ...someLeaves(SIZE - SHARED, 'fork')];

function textOf(leaves: readonly Uint8Array[], size: number, origin = ORIGIN): string {
  return formatCheckpoint({ origin, size, root: naiveRoot(leaves.slice(0, size)), extensions: [] });
}

function signed(leaves: readonly Uint8Array[], size: number): string {
  return formatNote(signNote(textOf(leaves, size), [LOG]));
}

/** Evidence as a peer would make it that holds the leaf hashes of the larger tree. */
function evidenceOf(
  a: readonly Uint8Array[],
  sizeA: number,
  b: readonly Uint8Array[],
  sizeB: number,
): Evidence {
  const lines = readProofSync(planEvidence(sizeA, sizeB), readerOf(sizeA > sizeB ? a : b));
  return createEvidence(LOG.vkey, [signed(a, sizeA), signed(b, sizeB)], lines);
}

test('every fork between sizes 1 and 24 convicts, from a file', () => {
  for (let sizeA = SHARED + 1; sizeA <= SIZE; sizeA++) {
    for (let sizeB = SHARED + 1; sizeB <= SIZE; sizeB++) {
      const text = formatEvidence(evidenceOf(HONEST, sizeA, FORK, sizeB));
      const verdict = judgeEvidence(parseEvidence(text));
      assert.ok(verdict.kind === 'proven', `${sizeA} ${sizeB}`);
      assert.deepEqual(
        [verdict.origin, ...verdict.sizes],
        [ORIGIN, Math.min(sizeA, sizeB), Math.max(sizeA, sizeB)],
      );
      assert.equal(
        text,
        formatEvidence(evidenceOf(FORK, sizeB, HONEST, sizeA)),
        'either order makes one file',
      );
    }
  }
});

test('no two views of an honest log convict it', () => {
  for (let small = 0; small <= SIZE; small++) {
    for (let large = small; large <= SIZE; large++) {
      const lines = readProofSync(planEvidence(small, large), readerOf(HONEST));
      const messages = [signed(HONEST, small), signed(HONEST, large)] as const;
      assert.throws(() => createEvidence(LOG.vkey, messages, lines), /this is no evidence/);
    }
  }
  // What a log and its fork share convicts nobody either.
  assert.throws(() => evidenceOf(HONEST, SHARED, FORK, SIZE), /does begin with the smaller one/);
});

test('an honest log is not convicted by any choice of hashes', () => {
  const pool = [
    ...HONEST.slice(0, 6),
    naiveRoot(HONEST.slice(0, 4)),
    naiveRoot(HONEST.slice(4, 6)),
    naiveRoot(HONEST.slice(0, 6)),
    naiveRoot(HONEST.slice(6, 9)),
  ];
  fc.assert(
    fc.property(fc.nat(8), fc.nat(8), fc.array(fc.constantFrom(...pool), { maxLength: 6 }), (a, b, lines) => {
      const [small, large] = [Math.min(a, b), Math.max(a, b)];
      const smaller = parseNote(signed(HONEST, small));
      const larger = parseNote(signed(HONEST, large));
      assert.equal(judgeEvidence({ vkey: LOG.vkey, smaller, larger, lines }).kind, 'unproven');
    }),
    { numRuns: 500 },
  );
});

test('a consistency proof that a witness refused is evidence, if the old size is no power of two', () => {
  const proof = readProofSync(planConsistency(11, 23), readerOf(FORK));
  const evidence = createEvidence(LOG.vkey, [signed(HONEST, 11), signed(FORK, 23)], proof);
  assert.equal(judgeEvidence(evidence).kind, 'proven');
  // At a power of two the proof leaves out the old root, so the hashes of planEvidence are needed.
  const short = readProofSync(planConsistency(16, 23), readerOf(FORK));
  assert.throws(
    () => createEvidence(LOG.vkey, [signed(HONEST, 16), signed(FORK, 23)], short),
    /too short|another|do not lead/,
  );
});

test('a root for the empty tree that no empty tree has', () => {
  const text = formatCheckpoint({ origin: ORIGIN, size: 0, root: HONEST[0]!, extensions: [] });
  const lie = formatNote(signNote(text, [LOG]));
  const evidence = createEvidence(LOG.vkey, [signed(HONEST, 7), lie], []);
  const verdict = judgeEvidence(parseEvidence(formatEvidence(evidence)));
  assert.ok(verdict.kind === 'proven' && verdict.sizes[0] === 0);
  assert.equal(judgeEvidence({ ...evidence, lines: [HONEST[0]!] }).kind, 'unproven');
});

test('a witness that cosigned both sides is convicted like a log', () => {
  const both = (leaves: readonly Uint8Array[], size: number) => {
    const text = textOf(leaves, size);
    const { signatures } = signNote(text, [LOG]);
    return formatNote({ text, signatures: [...signatures, cosign(WITNESS, text, 1700000000)] });
  };
  const lines = readProofSync(planEvidence(16, 23), readerOf(FORK));
  const messages = [both(HONEST, 16), both(FORK, 23)] as const;
  for (const vkey of [LOG.vkey, WITNESS.vkey]) {
    const text = formatEvidence(createEvidence(vkey, messages, lines));
    assert.equal(judgeEvidence(parseEvidence(text)).kind, 'proven');
  }
  assert.throws(
    () => createEvidence(WITNESS.vkey, [both(HONEST, 16), signed(FORK, 23)], lines),
    /"witness.example\/w" has not signed the checkpoint of the larger tree/,
  );
});

test('a key is accused only of what it signed, about its own log', () => {
  const messages = [signed(HONEST, 9), signed(FORK, 9)] as const;
  assert.throws(() => createEvidence(OTHER.vkey, messages, []), /has not signed/);
  const elsewhere = formatNote(signNote(textOf(FORK, 9, 'example.com/other'), [LOG]));
  assert.throws(() => createEvidence(LOG.vkey, [messages[0], elsewhere], []), /two logs/);
  const first = formatNote(signNote(textOf(HONEST, 9, 'example.com/other'), [LOG]));
  assert.throws(() => createEvidence(LOG.vkey, [first, elsewhere], []), /does not speak for the log/);
  // A forged signature beside a good one of another key is no signature of the accused.
  const good = parseNote(messages[1]);
  const forged = formatNote({ ...good, signatures: signNote(textOf(HONEST, 9), [LOG]).signatures });
  assert.throws(() => createEvidence(LOG.vkey, [messages[0], forged], []), /has not signed/);
});

test('evidence changed anywhere is refused or proves nothing, or still proves the same', () => {
  const text = formatEvidence(evidenceOf(HONEST, 11, FORK, 23));
  for (let at = 0; at < text.length; at++) {
    for (const put of ['A', '\n', '']) {
      const changed = text.slice(0, at) + put + text.slice(at + 1);
      if (changed === text) continue;
      let evidence: Evidence;
      try {
        evidence = parseEvidence(changed);
      } catch (error) {
        assert.match((error as Error).message, /malformed|base64|key|note|checkpoint/);
        continue;
      }
      assert.equal(formatEvidence(evidence), changed);
      assert.equal(judgeEvidence(evidence).kind, 'unproven', JSON.stringify(changed));
    }
  }
});

test('evidence has one form', () => {
  const text = formatEvidence(evidenceOf(HONEST, 11, FORK, 23));
  const [head, a, sigA, b, sigB] = text.split('\n\n') as [string, string, string, string, string];
  assert.equal(parseEvidence(new TextEncoder().encode(text)).lines.length, planEvidence(11, 23).length);
  const join = (...parts: readonly string[]) => parts.join('\n\n');
  const bad = [
    '',
    '\n\n',
    `${text}\n`,
    text.slice(0, -1),
    join(head, b, sigB.trimEnd(), a, `${sigA}\n`),
    join(head, a, sigA, b),
    join(head, a, sigA, b, sigB, sigB),
    text.replace('kosmos/equivocation/v1', 'kosmos/equivocation/v2'),
    text.replace('key ', 'vkey '),
    text.replace('key ', 'key  '),
    join(`${head}\n${'A'.repeat(43)}`, a, sigA, b, sigB),
    join(head.split('\n').slice(0, 1).join('\n'), a, sigA, b, sigB),
    join(`${head}${`\n${'A'.repeat(43)}=`.repeat(60)}`, a, sigA, b, sigB),
    text.replaceAll('\n', '\r\n'),
    `\n${text}`,
  ];
  for (const file of bad)
    assert.throws(() => parseEvidence(file), /malformed|cannot name a key/, JSON.stringify(file));
  const same = formatEvidence(evidenceOf(HONEST, 9, FORK, 9));
  const [h, c, sigC, d, sigD] = same.split('\n\n') as [string, string, string, string, string];
  assert.throws(() => parseEvidence(join(h, d, sigD.trimEnd(), c, `${sigC}\n`)), /the smaller root/);
  assert.throws(() => parseEvidence('a'.repeat(2_000_000)), /more than/);
});
