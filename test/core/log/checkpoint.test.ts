import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Checkpoint,
  formatCheckpoint,
  openCheckpoint,
  parseCheckpoint,
} from '../../../runtime/core/log/checkpoint.ts';
import { createNoteVerifier, formatNote, parseNote, signNote } from '../../../runtime/core/log/note.ts';
import { parseVkey } from '../../../runtime/core/log/vkey.ts';
import { logOf } from './keys.ts';
import { skipVectors, vectorJson } from './vectors.ts';

const ROOT = 'CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=';
const GOOD = `example.com/behind-the-sofa\n20852163\n${ROOT}\n`;

test('checkpoints that others wrote', { skip: skipVectors }, () => {
  const { sumdbCheckpoint } = vectorJson<{ sumdbCheckpoint: { vkey: string; checkpoint: string } }>(
    'go-note/note.json',
  );
  // The checksum database calls its log otherwise than its key, so it is no log of ours; its text still reads.
  const { text } = parseNote(sumdbCheckpoint.checkpoint);
  const sum = parseCheckpoint(text);
  assert.deepEqual([sum.origin, sum.size], ['go.sum database tree', 35225469]);
  assert.equal(formatCheckpoint(sum), text);
  assert.throws(
    () => openCheckpoint(sumdbCheckpoint.checkpoint, createNoteVerifier(parseVkey(sumdbCheckpoint.vkey))),
    /the checkpoint is of "go.sum database tree", not of "sum.golang.org"/,
  );

  const { logVkey, otherVkey, old } = vectorJson<Record<string, string>>('witness/witness.json') as Record<
    'logVkey' | 'otherVkey' | 'old',
    string
  >;
  const opened = openCheckpoint(old, createNoteVerifier(parseVkey(logVkey)));
  assert.deepEqual([opened.checkpoint.origin, opened.checkpoint.size], ['monkeys', 5]);
  assert.throws(() => openCheckpoint(old, createNoteVerifier(parseVkey(otherVkey))), /no known key/);
});

test('a checkpoint has one form', () => {
  assert.equal(formatCheckpoint(parseCheckpoint(GOOD)), GOOD);
  const extended = `${GOOD}extension one\n two\n`;
  assert.deepEqual(parseCheckpoint(extended).extensions, ['extension one', ' two']);
  assert.equal(formatCheckpoint(parseCheckpoint(extended)), extended);
  const bad = [
    '',
    '\n',
    GOOD.slice(0, -1),
    `${GOOD}\n`,
    `\n${GOOD}`,
    `${GOOD}a\n\nb\n`,
    `${GOOD}a`,
    GOOD.replace('example', '\nexample'),
    'origin\n1\n',
    `\n1\n${ROOT}\n`,
    GOOD.replace('20852163', ''),
    GOOD.replace('20852163', '020852163'),
    GOOD.replace('20852163', '-1'),
    GOOD.replace('20852163', '00'),
    GOOD.replace('20852163', '9007199254740992'),
    GOOD.replace('20852163', '18446744073709551615'),
    GOOD.replace('20852163', '1e3'),
    GOOD.replace('20852163', ' 1'),
    GOOD.replace('20852163', '1 '),
    GOOD.replace(ROOT, ''),
    GOOD.replace('q2I=', 'q2I'),
    GOOD.replace('q2I=', 'q2J='),
    GOOD.replace(ROOT, ROOT.slice(4)),
    GOOD.replace(ROOT, `${ROOT} `),
    GOOD.replace(ROOT, ROOT.replace('+', '-').replace('/', '_')),
    GOOD.replaceAll('\n', '\r\n'),
    GOOD.replace(ROOT, `AAAA${ROOT}`),
  ];
  for (const text of bad)
    assert.throws(() => parseCheckpoint(text), /malformed checkpoint/, JSON.stringify(text));
});

test('what is written is read back the same', () => {
  const line = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }).filter((s) => !s.includes('\n'));
  const checkpoint: fc.Arbitrary<Checkpoint> = fc.record({
    origin: line,
    size: fc.maxSafeNat(),
    root: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    extensions: fc.array(line, { maxLength: 3 }),
  });
  fc.assert(
    fc.property(checkpoint, (value) => {
      assert.deepEqual(parseCheckpoint(formatCheckpoint(value)), { ...value });
    }),
  );
});

test('what could not be read back is not written', () => {
  const good = parseCheckpoint(GOOD);
  assert.throws(() => formatCheckpoint({ ...good, origin: '' }), /cannot be a line/);
  assert.throws(() => formatCheckpoint({ ...good, origin: 'a\nb' }), /cannot be a line/);
  assert.throws(() => formatCheckpoint({ ...good, extensions: [''] }), /cannot be a line/);
  assert.throws(() => formatCheckpoint({ ...good, size: -1 }), RangeError);
  assert.throws(() => formatCheckpoint({ ...good, size: 2 ** 53 }), RangeError);
  assert.throws(() => formatCheckpoint({ ...good, root: good.root.subarray(1) }), RangeError);
});

test("a log's checkpoint needs its own signature, and its own name", () => {
  const log = logOf('example.com/log', 1);
  const member = logOf('example.com/member', 2);
  const [known, other] = [createNoteVerifier(log.vkey), createNoteVerifier(member.vkey)] as const;
  const text = GOOD.replace('example.com/behind-the-sofa', 'example.com/log');
  const both = formatNote(signNote(text, [log, member]));
  assert.equal(openCheckpoint(both, known, [other]).verified.length, 2);
  assert.equal(openCheckpoint(both, known).unverified.length, 1);
  assert.equal(openCheckpoint(both, known).text, text);
  assert.throws(() => openCheckpoint(formatNote(signNote(text, [member])), known, [other]), /has not signed/);
  assert.throws(() => openCheckpoint(formatNote(signNote(GOOD, [log])), known), /not of "example.com\/log"/);
  assert.throws(() => openCheckpoint(formatNote(signNote('hello\n', [log])), known), /malformed checkpoint/);
  const forged = {
    text,
    signatures: [...signNote(text, [log]).signatures, ...signNote(GOOD, [member]).signatures],
  };
  assert.equal(openCheckpoint(formatNote(forged), known).verified.length, 1);
  assert.throws(() => openCheckpoint(formatNote(forged), known, [other]), /invalid signature/);
});
