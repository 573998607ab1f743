import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex, toBase64 } from '../../../runtime/core/encoding/base64.ts';
import { formatCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { emptyRoot } from '../../../runtime/core/log/hash.ts';
import {
  createNoteVerifier,
  formatNote,
  type NoteVerifier,
  signNote,
} from '../../../runtime/core/log/note.ts';
import { consistencyProofSync, readerOf } from '../../../runtime/core/log/proof.ts';
import { createVkey, ED25519_NOTE, parseVkey } from '../../../runtime/core/log/vkey.ts';
import {
  formatAddCheckpoint,
  formatConflict,
  type Judgement,
  judge,
  MAX_REQUEST_BYTES,
  parseAddCheckpoint,
  parseConflict,
  type WitnessedHead,
} from '../../../runtime/core/log/witness.ts';
import { logOf } from './keys.ts';
import { naiveRoot, someLeaves } from './naive.ts';
import { skipVectors, vectorJson } from './vectors.ts';

interface Sequence {
  readonly logKeyHex: string;
  readonly steps: readonly {
    readonly body: string;
    readonly status: number;
    readonly assert: 'contains' | '==';
    readonly text: string;
  }[];
}

test("the sequence of litewitness's own test, in order", { skip: skipVectors }, () => {
  const { logKeyHex, steps } = vectorJson<Sequence>('witness/litewitness-sequence.json');
  const origin = 'sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562';
  const verifiers = [createNoteVerifier(createVkey(origin, ED25519_NOTE, fromHex(logKeyHex)))];
  let head: WitnessedHead | undefined;
  for (const step of steps) {
    const request = parseAddCheckpoint(step.body);
    const stored = request.checkpoint.origin === origin ? head : undefined;
    const judgement = judge(request, stored, (asked) => (asked === origin ? verifiers : undefined));
    if (judgement.kind === 'accept') {
      assert.equal(step.status, 200);
      head = judgement.head;
    } else if (judgement.kind === 'conflict') {
      assert.equal(step.status, 409);
      assert.equal(formatConflict(judgement.size), step.text);
    } else {
      // litewitness answers 403 for a log it does not know, where the specification asks for 404.
      const unknown = step.text === 'unknown log';
      assert.equal(judgement.status, unknown ? 404 : step.status, judgement.reason);
      if (!unknown) assert.ok(judgement.reason.includes(step.text), judgement.reason);
    }
  }
  assert.equal(head?.size, 5);
  assert.equal(steps.length, 9);
});

test('the checkpoints of the transparency-dev witness', { skip: skipVectors }, () => {
  const v = vectorJson<{
    logVkey: string;
    otherVkey: string;
    old: string;
    new: string;
    consistencyProofHex: readonly string[];
  }>('witness/witness.json');
  const log = [createNoteVerifier(parseVkey(v.logVkey))];
  const other = [createNoteVerifier(parseVkey(v.otherVkey))];
  const proof = v.consistencyProofHex.map(fromHex);
  const first = judge(parseAddCheckpoint(formatAddCheckpoint(0, [], v.old)), undefined, () => log);
  assert.ok(first.kind === 'accept');
  const grow = (lines: readonly Uint8Array[], verifiers: readonly NoteVerifier[] = log) =>
    judge(parseAddCheckpoint(formatAddCheckpoint(5, lines, v.new)), first.head, () => verifiers);
  const second = grow(proof);
  assert.ok(second.kind === 'accept');
  assert.deepEqual([second.head.origin, second.head.size], ['monkeys', 8]);
  assert.equal(statusOf(grow(proof.toReversed())), 422);
  assert.equal(statusOf(grow(proof.slice(1))), 422);
  assert.equal(statusOf(grow([])), 422);
  assert.equal(statusOf(grow(proof, other)), 403);
});

function statusOf(judgement: Judgement): number {
  if (judgement.kind === 'accept') return 200;
  return judgement.kind === 'conflict' ? 409 : judgement.status;
}

const ORIGIN = 'example.com/log';
const LOG = logOf(ORIGIN, 1);
const OLD_KEY = logOf(ORIGIN, 2);
const STRANGER = logOf('example.com/stranger', 3);
const VERIFIERS = [createNoteVerifier(LOG.vkey), createNoteVerifier(OLD_KEY.vkey)];
const LEAVES = someLeaves(70);
const FORK = [...LEAVES.slice(0, 20), ...someLeaves(50, 'fork')];
const verifiersOf = (origin: string) => (origin === ORIGIN ? VERIFIERS : undefined);

function checkpointOf(leaves: readonly Uint8Array[], size: number, origin = ORIGIN): string {
  return formatCheckpoint({ origin, size, root: naiveRoot(leaves.slice(0, size)), extensions: [] });
}

function headOf(size: number): WitnessedHead {
  return { origin: ORIGIN, size, root: naiveRoot(LEAVES.slice(0, size)) };
}

/** Asks a witness whose head has `stored` leaves to go from `old` to `size`. */
function ask(
  stored: number | undefined,
  old: number,
  size: number,
  leaves = LEAVES,
  signers = [LOG],
): Judgement {
  const note = formatNote(signNote(checkpointOf(leaves, size), signers));
  const proof = old <= size ? consistencyProofSync(old, size, readerOf(leaves)) : [];
  const request = parseAddCheckpoint(formatAddCheckpoint(old, proof, note));
  return judge(request, stored === undefined ? undefined : headOf(stored), verifiersOf);
}

test('a witness follows a log that only grows', () => {
  let stored: number | undefined;
  for (const size of [0, 0, 1, 2, 3, 3, 8, 31, 32, 70, 70]) {
    const judgement = ask(stored, stored ?? 0, size);
    assert.ok(judgement.kind === 'accept', `${size}`);
    assert.deepEqual(
      { ...judgement.head, root: toBase64(judgement.head.root) },
      { ...headOf(size), root: toBase64(headOf(size).root) },
    );
    stored = size;
  }
});

test('an old size that is not the stored one is a conflict, whatever else is wrong', () => {
  for (const [stored, old, size] of [
    [undefined, 5, 9],
    [0, 5, 9],
    [7, 0, 9],
    [7, 6, 9],
    [7, 8, 9],
    [7, 0, 3],
    [7, 3, 3],
  ] as const) {
    assert.deepEqual(ask(stored, old, size), { kind: 'conflict', size: stored ?? 0 });
    assert.deepEqual(ask(stored, old, size, FORK), { kind: 'conflict', size: stored ?? 0 });
  }
});

test('an old size above the size is 400, and comes before the conflict', () => {
  assert.equal(statusOf(ask(9, 9, 5)), 400);
  assert.equal(statusOf(ask(3, 9, 5)), 400);
  assert.equal(statusOf(ask(undefined, 1, 0)), 400);
});

test('a fork is 422, and is marked as signed', () => {
  for (const [stored, size] of [
    [21, 70],
    [32, 70],
    [64, 65],
    [40, 40],
    [21, 22],
  ] as const) {
    const judgement = ask(stored, stored, size, FORK);
    assert.ok(
      judgement.kind === 'refuse' && judgement.status === 422 && judgement.signed,
      `${stored} ${size}`,
    );
  }
  // Up to where the fork begins both views are one.
  assert.equal(ask(20, 20, 70, FORK).kind, 'accept');
});

test('proofs where there must be none are 422', () => {
  const note = (size: number) => formatNote(signNote(checkpointOf(LEAVES, size), [LOG]));
  const go = (stored: number | undefined, old: number, size: number) =>
    judge(
      parseAddCheckpoint(formatAddCheckpoint(old, [LEAVES[0]!], note(size))),
      stored === undefined ? undefined : headOf(stored),
      verifiersOf,
    );
  assert.equal(statusOf(go(undefined, 0, 5)), 422);
  assert.equal(statusOf(go(0, 0, 5)), 422);
  assert.equal(statusOf(go(undefined, 0, 0)), 422);
  assert.equal(statusOf(go(5, 5, 5)), 422);
});

test('an empty tree has the empty root', () => {
  const note = (root: Uint8Array) =>
    formatNote(signNote(formatCheckpoint({ origin: ORIGIN, size: 0, root, extensions: [] }), [LOG]));
  const go = (root: Uint8Array) =>
    judge(parseAddCheckpoint(formatAddCheckpoint(0, [], note(root))), undefined, verifiersOf);
  assert.equal(statusOf(go(emptyRoot)), 200);
  assert.equal(statusOf(go(LEAVES[0]!)), 422);
});

test('who signed: any key of the log, ignoring strangers, refusing forgeries', () => {
  assert.equal(statusOf(ask(5, 5, 9, LEAVES, [OLD_KEY])), 200);
  assert.equal(statusOf(ask(5, 5, 9, LEAVES, [STRANGER, LOG])), 200);
  const unsigned = ask(5, 5, 9, LEAVES, [STRANGER]);
  assert.ok(unsigned.kind === 'refuse' && unsigned.status === 403 && !unsigned.signed);
  const text = checkpointOf(LEAVES, 9);
  const wrong = signNote(checkpointOf(LEAVES, 8), [OLD_KEY]).signatures;
  const note = formatNote({ text, signatures: [...signNote(text, [LOG]).signatures, ...wrong] });
  const proof = consistencyProofSync(5, 9, readerOf(LEAVES));
  const forged = judge(parseAddCheckpoint(formatAddCheckpoint(5, proof, note)), headOf(5), verifiersOf);
  assert.ok(forged.kind === 'refuse' && forged.status === 403 && !forged.signed);
  // The signature is judged before anything that only the log may set off.
  assert.equal(statusOf(ask(7, 6, 9, LEAVES, [STRANGER])), 403);
});

test('signature lines that cannot be read are no signature of the log', () => {
  const body = formatAddCheckpoint(0, [], formatNote(signNote(checkpointOf(LEAVES, 9), [LOG])));
  const bad = [
    body.replace(/.=\n$/, 'x=\n'),
    body.slice(0, -1),
    `${body}more\n`,
    body.replace('\u2014', '-'),
  ];
  for (const broken of bad) {
    const request = parseAddCheckpoint(broken);
    const judgement = judge(request, undefined, verifiersOf);
    assert.ok(judgement.kind === 'refuse' && judgement.status === 403 && !judgement.signed, judgement.kind);
    assert.equal(statusOf(judge(request, undefined, () => undefined)), 404);
  }
});

test('an unknown log is 404, before its signature is looked at', () => {
  const text = checkpointOf(LEAVES, 9, 'example.com/stranger');
  const note = formatNote(signNote(text, [STRANGER]));
  const judgement = judge(parseAddCheckpoint(formatAddCheckpoint(0, [], note)), undefined, verifiersOf);
  assert.ok(judgement.kind === 'refuse' && judgement.status === 404);
  assert.throws(
    () => judge(parseAddCheckpoint(formatAddCheckpoint(0, [], note)), headOf(3), verifiersOf),
    /the stored head is of/,
  );
});

test('a model of a witness: it never accepts two sizes out of order, nor a fork', () => {
  const step = fc.record({ old: fc.nat(70), size: fc.nat(70), fork: fc.boolean(), current: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      let stored: { readonly size: number; readonly fork: boolean } | undefined;
      for (const { old, size, fork, current } of steps) {
        const from = current ? (stored?.size ?? 0) : old;
        const view = fork ? FORK : LEAVES;
        const note = formatNote(signNote(checkpointOf(view, size), [LOG]));
        const proof = from <= size ? consistencyProofSync(from, size, readerOf(view)) : [];
        const head = stored && {
          origin: ORIGIN,
          size: stored.size,
          root: naiveRoot((stored.fork ? FORK : LEAVES).slice(0, stored.size)),
        };
        const judgement = judge(
          parseAddCheckpoint(formatAddCheckpoint(from, proof, note)),
          head,
          verifiersOf,
        );
        const known = stored?.size ?? 0;
        const sameView = known <= 20 || stored?.fork === fork;
        assert.equal(judgement.kind === 'accept', from === known && size >= known && sameView);
        if (judgement.kind === 'accept') stored = { size, fork };
      }
    }),
    { numRuns: 100 },
  );
});

test('the example body of C2SP tlog-witness', () => {
  const body = `old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u2014 example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
`;
  const request = parseAddCheckpoint(new TextEncoder().encode(body));
  assert.deepEqual([request.oldSize, request.proof.length, request.checkpoint.size], [20852014, 4, 20852163]);
  assert.equal(request.note.signatures.length, 2);
  assert.equal(formatAddCheckpoint(request.oldSize, request.proof, formatNote(request.note)), body);
});

test('malformed bodies are refused', () => {
  const note = formatNote(signNote(checkpointOf(LEAVES, 9), [LOG]));
  const line = `${toBase64(LEAVES[0]!)}\n`;
  const good = `old 5\n${line}\n${note}`;
  assert.equal(parseAddCheckpoint(good).oldSize, 5);
  assert.equal(parseAddCheckpoint(`old 5\n${line.repeat(63)}\n${note}`).proof.length, 63);
  const bad = [
    '',
    'old 5\n',
    'old 5\n\n',
    note,
    `\n\n${note}`,
    `old 5\n${note}`,
    `${line}\n${note}`,
    `old 5\n${line.repeat(64)}\n${note}`,
    good.replace('old', 'Old'),
    good.replace('old 5', 'old'),
    good.replace('old 5', 'old 05'),
    good.replace('old 5', 'old  5'),
    good.replace('old 5', 'old 5 '),
    good.replace('old 5', 'old -5'),
    good.replace('old 5', 'old 9007199254740992'),
    good.replace('old 5', ' old 5'),
    good.replace(line, line.slice(4)),
    good.replace(line, ` ${line}`),
    good.replace('=\n', '\n'),
    good.replace(line, `${line}\n`),
    good.replace('\n', '\r\n'),
    `${good}\n`,
    good.replace('\n9\n', '\n09\n'),
  ];
  for (const body of bad) assert.throws(() => parseAddCheckpoint(body), /malformed/, JSON.stringify(body));
  assert.throws(() => parseAddCheckpoint('a'.repeat(MAX_REQUEST_BYTES + 1)), /more than/);
  assert.throws(() => parseAddCheckpoint(Uint8Array.of(0xff)), /not valid UTF-8/);
  assert.throws(
    () =>
      formatAddCheckpoint(
        5,
        Array.from({ length: 64 }, () => LEAVES[0]!),
        note,
      ),
    RangeError,
  );
  assert.throws(() => formatAddCheckpoint(5, [new Uint8Array(31)], note), RangeError);
  assert.throws(() => formatAddCheckpoint(-1, [], note), RangeError);
});

test('a body changed in one byte is never accepted', () => {
  const note = formatNote(signNote(checkpointOf(LEAVES, 9), [LOG]));
  const good = new TextEncoder().encode(
    formatAddCheckpoint(5, consistencyProofSync(5, 9, readerOf(LEAVES)), note),
  );
  assert.equal(judge(parseAddCheckpoint(good), headOf(5), verifiersOf).kind, 'accept');
  for (let at = 0; at < good.length; at++) {
    for (const flip of [1, 2, 16, 32, 128]) {
      const body = new Uint8Array(good);
      body[at]! ^= flip;
      let request: ReturnType<typeof parseAddCheckpoint>;
      try {
        request = parseAddCheckpoint(body);
      } catch (error) {
        assert.match((error as Error).message, /^malformed/);
        continue;
      }
      const stored = request.checkpoint.origin === ORIGIN ? headOf(5) : undefined;
      assert.notEqual(judge(request, stored, verifiersOf).kind, 'accept', `byte ${at}`);
    }
  }
});

test('the body of a 409 answer', () => {
  assert.equal(formatConflict(3), '3\n');
  assert.equal(parseConflict(new TextEncoder().encode('20852163\n')), 20852163);
  for (const body of [
    '',
    '\n',
    '3',
    '03\n',
    '3\n\n',
    ' 3\n',
    '3\r\n',
    '-1\n',
    '9007199254740992\n',
    '3'.repeat(40),
  ]) {
    assert.throws(() => parseConflict(body), /malformed answer/);
  }
});
