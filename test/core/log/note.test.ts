import assert from 'node:assert/strict';
import { createPublicKey, verify as nodeVerify } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';

import {
  addSignatures,
  createNoteVerifier,
  formatNote,
  judgeNote,
  MAX_NOTE_BYTES,
  MAX_SIGNATURES,
  type NoteSignature,
  openNote,
  parseNote,
  parseSignatureLines,
  signNote,
  verifyNote,
} from '../../../runtime/core/log/note.ts';
import { createVkey, formatVkey, isKeyName, parseVkey } from '../../../runtime/core/log/vkey.ts';
import { logOf } from './keys.ts';
import { skipVectors, vectorJson } from './vectors.ts';

interface GoNote {
  readonly sign: { readonly vkey: string; readonly signed: string };
  readonly sumdbCheckpoint: { readonly vkey: string; readonly checkpoint: string };
}
interface SpecNote {
  readonly vkey: string;
  readonly note: string;
  readonly unkeyed: string;
}

const TEXT = 'first line\n\nthird line, ünïcödé\n';
const PETER = logOf('PeterNeumann', 1);
const ENOCH = logOf('EnochRoot', 2);
const peter = createNoteVerifier(PETER.vkey);
const enoch = createNoteVerifier(ENOCH.vkey);

test('notes that others signed verify, and format back to the same text', { skip: skipVectors }, () => {
  const go = vectorJson<GoNote>('go-note/note.json');
  const spec = vectorJson<SpecNote>('c2sp-spec/signed-note.json');
  const notes = [
    [go.sign.vkey, go.sign.signed],
    [go.sumdbCheckpoint.vkey, go.sumdbCheckpoint.checkpoint],
    [spec.vkey, spec.note],
  ] as const;
  for (const [vkey, message] of notes) {
    assert.equal(formatVkey(parseVkey(vkey)), vkey);
    const verifier = createNoteVerifier(parseVkey(vkey));
    const { note, verified, unverified } = openNote(message, [verifier]);
    assert.equal(formatNote(note), message);
    assert.deepEqual([verified.length, unverified.length], [1, 0]);
    assert.deepEqual(openNote(new TextEncoder().encode(message), [verifier]).note, note);
    for (let at = 0; at < note.text.length; at++) {
      const changed = `${message.slice(0, at)}${message[at] === 'a' ? 'b' : 'a'}${message.slice(at + 1)}`;
      assert.throws(() => openNote(changed, [verifier]));
    }
  }
  assert.equal(formatNote(parseNote(spec.unkeyed)), spec.unkeyed);
  assert.match(parseNote(spec.unkeyed).text, /^Ognuno sta solo[\s\S]*subito sera\.\n$/);
});

test('every mangling of a verifier key is refused', { skip: skipVectors }, () => {
  const { vkey } = vectorJson<GoNote>('go-note/note.json').sign;
  for (let i = 0; i <= vkey.length; i++) {
    for (let j = i; j <= vkey.length; j++) {
      if (i !== 0 || j !== vkey.length) assert.throws(() => parseVkey(vkey.slice(i, j)), vkey.slice(i, j));
    }
  }
  for (let i = 0; i < vkey.length; i++) {
    const next = String.fromCharCode(vkey.charCodeAt(i) + 1);
    assert.throws(() => parseVkey(vkey.slice(0, i) + next + vkey.slice(i + 1)));
  }
  // As in Go's tests: a key of another length under a good id. And an id in capitals, which Go would read.
  assert.throws(() =>
    parseVkey('PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY=='),
  );
  assert.throws(() => parseVkey(vkey.replace('c74f20a3', 'C74F20A3')));
  // An unknown type is a key that can be written down, but not one that can verify.
  const unknown = parseVkey('PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW');
  assert.throws(() => createNoteVerifier(unknown), /signature type 101/);
});

test('a signed note comes back, and node:crypto agrees with its signature', () => {
  const note = signNote(TEXT, [PETER, ENOCH]);
  const message = formatNote(note);
  assert.deepEqual(parseNote(message), { text: TEXT, signatures: note.signatures.map(plain) });
  const opened = openNote(message, [peter, enoch]);
  assert.deepEqual(
    opened.verified.map(({ name }) => name),
    ['PeterNeumann', 'EnochRoot'],
  );
  const key = createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(PETER.vkey.key).toString('base64url') },
    format: 'jwk',
  });
  assert.ok(nodeVerify(null, Buffer.from(TEXT), key, opened.verified[0]!.signature));
});

function plain({ name, keyId, signature }: NoteSignature): NoteSignature {
  return { name, keyId, signature: new Uint8Array(signature) };
}

test('unknown signatures are ignored, a wrong one of a known key refuses the note', () => {
  const both = signNote(TEXT, [PETER, ENOCH]);
  const verdict = judgeNote(both, [enoch]);
  assert.equal(verdict.kind, 'verified');
  assert.ok(verdict.kind === 'verified');
  assert.deepEqual(
    verdict.verified.map(({ name }) => name),
    ['EnochRoot'],
  );
  assert.deepEqual(
    verdict.unverified.map(({ name }) => name),
    ['PeterNeumann'],
  );

  const other = { ...both, text: `${TEXT}more\n` };
  assert.equal(judgeNote(other, [peter]).kind, 'forged');
  assert.equal(verifyNote(other, [peter]), false);
  assert.equal(
    verifyNote({ ...other, signatures: [...other.signatures, ...signNote(other.text, [ENOCH]).signatures] }, [
      peter,
      enoch,
    ]),
    false,
  );
  assert.throws(() => openNote(formatNote(other), [peter]), /invalid signature for key "PeterNeumann"/);

  assert.equal(judgeNote(both, []).kind, 'unsigned');
  assert.equal(verifyNote(both, []), false);
  assert.throws(() => openNote(formatNote(both), []), /no known key/);
});

test('the same name with another id, and the same id with another name, are unknown keys', () => {
  const [line] = signNote(TEXT, [PETER]).signatures as [NoteSignature];
  for (const stranger of [
    { ...line, keyId: line.keyId ^ 1 },
    { ...line, name: 'CarmenSandiego' },
  ]) {
    assert.equal(judgeNote({ text: TEXT, signatures: [stranger] }, [peter]).kind, 'unsigned');
    assert.equal(verifyNote({ text: TEXT, signatures: [stranger, line] }, [peter]), true);
  }
});

test('repeated signatures are handled as in Go', () => {
  const [line] = signNote(TEXT, [PETER]).signatures as [NoteSignature];
  const wrong = { ...line, signature: new Uint8Array(64) };
  const [unknown] = signNote(TEXT, [ENOCH]).signatures as [NoteSignature];
  // Of a known key the first counts, and those behind it are not looked at.
  const first = judgeNote({ text: TEXT, signatures: [line, wrong, line] }, [peter]);
  assert.ok(first.kind === 'verified' && first.verified.length === 1 && first.unverified.length === 0);
  assert.equal(judgeNote({ text: TEXT, signatures: [wrong, line] }, [peter]).kind, 'forged');
  // Of an unknown key identical lines are one, different ones are not.
  const other = { ...unknown, signature: new Uint8Array(64) };
  const second = judgeNote({ text: TEXT, signatures: [unknown, line, unknown, other] }, [peter]);
  assert.ok(second.kind === 'verified');
  assert.deepEqual(second.unverified.map(plain), [unknown, other].map(plain));
  // A note as read keeps its repeated lines, or it would not format back to itself.
  const message = formatNote({ text: TEXT, signatures: [line, line] });
  assert.equal(formatNote(parseNote(message)), message);
});

test('two known keys under one name and id are an error', () => {
  assert.throws(
    () => judgeNote(signNote(TEXT, [PETER]), [peter, peter]),
    /two known keys are both "PeterNeumann"/,
  );
});

test('a new signature takes the place of an old one of the same key', () => {
  const [line] = signNote(TEXT, [PETER]).signatures as [NoteSignature];
  const old = { ...line, signature: new Uint8Array(64) };
  const [other] = signNote(TEXT, [ENOCH]).signatures as [NoteSignature];
  const note = addSignatures({ text: TEXT, signatures: [old, other] }, [line]);
  assert.deepEqual(
    note.signatures.map(({ name }) => name),
    ['EnochRoot', 'PeterNeumann'],
  );
  assert.ok(verifyNote(note, [peter, enoch]));
});

test('malformed notes are refused', () => {
  const good = formatNote(signNote(TEXT, [PETER]));
  const line = good.slice(good.lastIndexOf('\u2014'));
  const base64 = line.trimEnd().split(' ')[2]!;
  const bad: readonly string[] = [
    '',
    '\n',
    '\n\n',
    TEXT,
    `${TEXT}\n`,
    good.slice(0, -1),
    `${good}\n`,
    `${good}Unexpected line.\n`,
    `${TEXT}${line}`,
    `\u0001${good}`,
    good.replace('third', 'third\r'),
    good.replace('third', '\tthird'),
    good.replace('third', 'th\0ird'),
    good.replace('\u2014', '-'),
    good.replace('\u2014 ', '\u2014'),
    good.replace('\u2014 ', '\u2014  '),
    good.replace('PeterNeumann', 'Peter Neumann'),
    good.replace('PeterNeumann', 'Peter+Neumann'),
    good.replace('PeterNeumann', ''),
    good.replace('PeterNeumann', 'Peter\u00a0Neumann'),
    good.replace('PeterNeumann', 'Peter\u3000'),
    good.replace('PeterNeumann', '\u0085'),
    good.replace(base64, ''),
    good.replace(` ${base64}`, ''),
    good.replace(base64, 'AAAA'),
    good.replace(base64, 'AAAAAA=='),
    good.replace(base64, `${base64} `),
    good.replace(base64, base64.replace(/=$/, '')),
    good.replace(base64, `${base64}=`),
    good.replace(
      base64,
      base64.replace(/.=$/, (end) => `${String.fromCharCode(end.charCodeAt(0) + 1)}=`),
    ),
    good.replace('first', '\ud800first'),
  ];
  for (const message of bad) {
    assert.throws(() => parseNote(message), /malformed note/, JSON.stringify(message));
  }
  const bytes = new TextEncoder().encode(good);
  assert.throws(() => parseNote(Uint8Array.of(0xff, ...bytes)), /not valid UTF-8/);
  assert.throws(() => parseNote(Uint8Array.of(0xc0, 0x80, ...bytes)), /not valid UTF-8/);
  // A byte order mark is part of the text, so it may not be dropped.
  assert.equal(parseNote(Uint8Array.of(0xef, 0xbb, 0xbf, ...bytes)).text, `\ufeff${TEXT}`);
  assert.equal(parseNote(good.replace('first', '\u007ffirst')).text, `\u007f${TEXT}`);
});

test('what could not be read back is not written', () => {
  const { signatures } = signNote(TEXT, [PETER]);
  const [line] = signatures as [NoteSignature];
  assert.throws(() => formatNote({ text: TEXT, signatures: [] }), /without a signature/);
  assert.throws(() => formatNote({ text: 'no newline', signatures }), /newline/);
  assert.throws(() => formatNote({ text: 'a\rb\n', signatures }), /control character/);
  assert.throws(() => formatNote({ text: '\udc00\n', signatures }), /surrogate/);
  assert.throws(
    () => formatNote({ text: TEXT, signatures: [{ ...line, name: 'a b' }] }),
    /cannot name a key/,
  );
  assert.throws(
    () => formatNote({ text: TEXT, signatures: [{ ...line, signature: new Uint8Array(0) }] }),
    /empty/,
  );
});

test('size and number of signatures are limited', () => {
  const [line] = signNote(TEXT, [PETER]).signatures as [NoteSignature];
  const many = (count: number) => Array.from({ length: count }, (_, keyId) => ({ ...line, keyId }));
  const most = formatNote({ text: TEXT, signatures: many(MAX_SIGNATURES) });
  assert.equal(parseNote(most).signatures.length, MAX_SIGNATURES);
  assert.throws(() => formatNote({ text: TEXT, signatures: many(MAX_SIGNATURES + 1) }), /too many/);
  const lines = most.slice(most.lastIndexOf('\n\n') + 2);
  assert.throws(
    () => parseSignatureLines(lines + lines.slice(0, lines.indexOf('\n') + 1)),
    /the limit is 100/,
  );
  const large = (text: string) => formatNote({ text, signatures: [line] });
  const rest = new TextEncoder().encode(large('\n')).length;
  const longest = large(`${'a'.repeat(MAX_NOTE_BYTES - rest)}\n`);
  assert.equal(formatNote(parseNote(longest)), longest);
  assert.throws(() => parseNote(`a${longest}`), /more than 524288 bytes/);
  assert.throws(() => parseNote(new TextEncoder().encode(`a${longest}`)), /more than 524288 bytes/);
  assert.throws(() => parseNote(longest.replace('aa', 'aé')), /more than 524288 bytes/);
  assert.throws(() => parseNote('a'.repeat(2 ** 24)), /more than 524288 bytes/);
  // Sixteen post-quantum signatures of 5 kB, which a verifier must take.
  const big = Array.from({ length: 16 }, (_, keyId) => ({ ...line, keyId, signature: new Uint8Array(5000) }));
  assert.equal(parseNote(formatNote({ text: TEXT, signatures: big })).signatures.length, 16);
});

const name = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }).filter(isKeyName);
const signature = fc.record({
  name,
  keyId: fc.nat(0xffff_ffff),
  signature: fc.uint8Array({ minLength: 1, maxLength: 80 }),
});
const text = fc.string({ unit: 'binary', maxLength: 60 }).map((s) => `${s.replace(/\p{Cc}/gu, '\n')}\n`);
const note = fc.record({ text, signatures: fc.array(signature, { minLength: 1, maxLength: 5 }) });

test('what is written is read back the same', () => {
  fc.assert(
    fc.property(note, (value) => {
      const message = formatNote(value);
      const read = parseNote(new TextEncoder().encode(message));
      assert.equal(read.text, value.text);
      assert.deepEqual(
        [...read.signatures],
        value.signatures.map((line) => ({ ...line })),
      );
      assert.equal(formatNote(read), message);
    }),
    { numRuns: 500 },
  );
});

test('a note changed in one byte is refused or is another note that formats to itself', () => {
  fc.assert(
    fc.property(note, fc.nat(), fc.integer({ min: 1, max: 255 }), (value, at, flip) => {
      const bytes = new TextEncoder().encode(formatNote(value));
      bytes[at % bytes.length]! ^= flip;
      let read: ReturnType<typeof parseNote>;
      try {
        read = parseNote(bytes);
      } catch (error) {
        assert.match((error as Error).message, /^malformed note/);
        return;
      }
      assert.deepEqual(new TextEncoder().encode(formatNote(read)), bytes);
    }),
    { numRuns: 2000 },
  );
});

test('verifier keys come back as they went in', () => {
  fc.assert(
    fc.property(
      name,
      fc.constantFrom(1, 4, 200),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      (who, type, key) => {
        const vkey = createVkey(who, type, key);
        assert.deepEqual(parseVkey(formatVkey(vkey)), vkey);
      },
    ),
  );
  assert.throws(() => createVkey('a b', 1, new Uint8Array(32)), /cannot name a key/);
  assert.throws(() => createVkey('a', 1, new Uint8Array(31)), /32 bytes, not 31/);
  assert.throws(() => createVkey('a', 6, new Uint8Array(32)), /1312 bytes, not 32/);
});
