import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toBase64 } from '../../../runtime/core/encoding/base64.ts';
import { formatCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { cosign } from '../../../runtime/core/log/cosignature.ts';
import { type Note, signNote } from '../../../runtime/core/log/note.ts';
import { type Policy, parsePolicy } from '../../../runtime/core/log/policy.ts';
import { inclusionProofOf } from '../../../runtime/core/log/proof.ts';
import {
  createTlogProofVerifier,
  formatTlogProof,
  MAX_EXTRA_BYTES,
  MAX_TLOG_PROOF_BYTES,
  parseTlogProof,
  type TlogProofVerdict,
  verifyTlogProof,
} from '../../../runtime/core/log/tlog-proof.ts';
import { createVkey, formatVkey, ML_DSA_44_COSIGNATURE } from '../../../runtime/core/log/vkey.ts';
import { cosignerOf, logOf } from './keys.ts';
import { naiveLeaf, naiveRoot } from './naive.ts';

const ORIGIN = 'example.com/log';
const LOG = logOf(ORIGIN, 1);
const OTHER_LOG = logOf('example.com/other', 2);
const W = [0, 1, 2].map((i) => cosignerOf(`witness.example/w${i}`, 10 + i));
const ENTRIES = Array.from({ length: 13 }, (_, i) => new TextEncoder().encode(`entry ${i}`));
const LEAVES = ENTRIES.map(naiveLeaf);

const POLICY: Policy = parsePolicy(
  `log ${formatVkey(LOG.vkey)}\n${W.map(({ vkey }, i) => `witness w${i} ${formatVkey(vkey)}\n`).join('')}group all 2 w0 w1 w2\nquorum all\n`,
);

function noteOf(size: number, witnesses: readonly number[] = [0, 2], log = LOG): Note {
  const text = formatCheckpoint({
    origin: log.name,
    size,
    root: naiveRoot(LEAVES.slice(0, size)),
    extensions: [],
  });
  const note = signNote(text, [log]);
  return {
    text,
    signatures: [...note.signatures, ...witnesses.map((i) => cosign(W[i]!, text, 1_700_000_000 + i))],
  };
}

function proofOf(index: number, size: number, checkpoint = noteOf(size), extra?: Uint8Array): string {
  const hashes = inclusionProofOf(LEAVES.slice(0, size), index);
  return formatTlogProof({ ...(extra && { extra }), index, hashes, checkpoint });
}

function reasonOf(verdict: TlogProofVerdict): string {
  return verdict.kind === 'refused' ? verdict.reason : verdict.kind;
}

test('every entry of every tree of 1 to 13, and no other entry', () => {
  const verify = createTlogProofVerifier(POLICY);
  for (let size = 1; size <= 13; size++) {
    for (let index = 0; index < size; index++) {
      const text = proofOf(index, size);
      const verdict = verify(text, ENTRIES[index]!);
      assert.ok(verdict.kind === 'proven', reasonOf(verdict));
      assert.deepEqual([verdict.index, verdict.checkpoint.size, verdict.extra], [index, size, undefined]);
      assert.deepEqual(verdict.cosigned, [
        { witness: 'w0', time: 1_700_000_000 },
        { witness: 'w2', time: 1_700_000_002 },
      ]);
      const other = verify(new TextEncoder().encode(text), ENTRIES[(index + 1) % 13]!);
      assert.match(reasonOf(other), /bad inclusion proof: the proof leads to another root/);
    }
  }
});

test('what it looks like', () => {
  const extra = new TextEncoder().encode('press-1');
  const text = proofOf(2, 5, noteOf(5), extra);
  const [head, checkpoint, signatures] = text.split('\n\n');
  const path = inclusionProofOf(LEAVES.slice(0, 5), 2).map(toBase64);
  assert.equal(head, ['c2sp.org/tlog-proof@v1', `extra ${toBase64(extra)}`, 'index 2', ...path].join('\n'));
  assert.ok(checkpoint?.startsWith(`${ORIGIN}\n5\n`));
  assert.equal(signatures?.split('\n').length, 4);
  const proof = parseTlogProof(text);
  assert.deepEqual(proof.extra, extra);
  assert.equal(formatTlogProof(proof), text);
  const verdict = verifyTlogProof(text, ENTRIES[2]!, POLICY);
  assert.ok(verdict.kind === 'proven');
  assert.deepEqual(verdict.extra, extra);
});

test('the policy decides: quorum, log, forged signatures', () => {
  const entry = ENTRIES[3]!;
  const judged = (note: Note, policy = POLICY) =>
    reasonOf(verifyTlogProof(proofOf(3, 9, note), entry, policy));
  assert.match(judged(noteOf(9, [1])), /quorum is not reached: cosigned by "w1"$/);
  assert.match(judged(noteOf(9, [])), /cosigned by nobody/);
  assert.match(judged(noteOf(9, [0, 1], OTHER_LOG)), /no accepted log signed/);
  const good = noteOf(9);
  const forged = good.signatures.map((line) => ({ ...line, signature: line.signature.with(20, 1) }));
  assert.match(judged({ ...good, signatures: forged }), /invalid signature/);
  const older = noteOf(8);
  assert.match(judged({ text: good.text, signatures: older.signatures }), /invalid signature/);
  const quantum = createVkey('q.example', ML_DSA_44_COSIGNATURE, new Uint8Array(1312));
  const strict: Policy = {
    ...POLICY,
    witnesses: [...POLICY.witnesses, { name: 'q', vkey: quantum }],
    groups: [],
    quorum: 'q',
  };
  assert.match(judged(good, strict), /the signatures of "q" cannot be verified here/);
  assert.equal(judged(noteOf(9, [])).startsWith('the policy'), true);
  assert.equal(judged(noteOf(9, []), { ...POLICY, quorum: 'none' }), 'proven');
});

test('a proof changed in one byte proves nothing, or only its unsigned extra data changed', () => {
  const extra = Uint8Array.of(1, 2, 3);
  const good = new TextEncoder().encode(proofOf(4, 11, noteOf(11), extra));
  const verify = createTlogProofVerifier(POLICY);
  assert.equal(verify(good, ENTRIES[4]!).kind, 'proven');
  const extraLine = `c2sp.org/tlog-proof@v1\nextra ${toBase64(extra)}`.length;
  for (let at = 0; at < good.length; at++) {
    for (const flip of [1, 2, 16, 32, 128]) {
      const verdict = verify(good.with(at, good[at]! ^ flip), ENTRIES[4]!);
      assert.ok(verdict.kind === 'refused' || at < extraLine, `byte ${at}`);
    }
  }
});

test('malformed proofs are refused', () => {
  const good = proofOf(4, 11, noteOf(11), Uint8Array.of(7));
  const line = inclusionProofOf(LEAVES.slice(0, 11), 4).map(toBase64)[0]!;
  const bad = [
    '',
    good.replace('@v1', '@v2'),
    good.replace('\n', '\r\n'),
    ` ${good}`,
    `\n${good}`,
    good.replace('extra Bw==\n', 'extra \n'),
    good.replace('extra Bw==\n', 'extra\n'),
    good.replace('extra Bw==\n', 'extra Bx==\n'),
    good.replace('extra Bw==\n', 'extra Bw==\nextra Bw==\n'),
    good.replace('extra Bw==\nindex 4\n', 'index 4\nextra Bw==\n'),
    good.replace('index 4\n', ''),
    good.replace('index 4\n', 'index 04\n'),
    good.replace('index 4\n', 'index -4\n'),
    good.replace('index 4\n', 'index 4 \n'),
    good.replace('index 4\n', 'index 9007199254740992\n'),
    good.replace('index 4\n', 'Index 4\n'),
    good.replace(line, line.slice(4)),
    good.replace(line, `${line} `),
    good.replace(line, Array.from({ length: 64 }, () => line).join('\n')),
    good.replace('\n\n', '\n\n\n'),
    good.slice(0, good.indexOf('\n\n') + 1),
    good.slice(0, good.lastIndexOf('\n\n') + 2),
    good.slice(0, -1),
    `${good}\n`,
  ];
  for (const text of bad) {
    assert.throws(() => parseTlogProof(text), /malformed/, JSON.stringify(text.slice(0, 200)));
    assert.equal(verifyTlogProof(text, ENTRIES[4]!, POLICY).kind, 'refused');
  }
  assert.throws(() => parseTlogProof('a'.repeat(MAX_TLOG_PROOF_BYTES + 1)), /more than/);
  assert.throws(() => parseTlogProof(Uint8Array.of(0xff)), /not valid UTF-8/);
  const proof = parseTlogProof(good);
  assert.throws(() => formatTlogProof({ ...proof, extra: new Uint8Array(0) }), RangeError);
  assert.throws(() => formatTlogProof({ ...proof, extra: new Uint8Array(MAX_EXTRA_BYTES + 1) }), RangeError);
  assert.throws(() => formatTlogProof({ ...proof, index: -1 }), RangeError);
  assert.throws(() => formatTlogProof({ ...proof, hashes: [new Uint8Array(31)] }), RangeError);
  assert.throws(
    () => formatTlogProof({ ...proof, hashes: Array.from({ length: 64 }, () => LEAVES[0]!) }),
    RangeError,
  );
  assert.equal(parseTlogProof(proofOf(0, 1)).hashes.length, 0);
});

/** As filippo.io/torchwood v0.9.0 wrote it, of the log of golang.org/x/mod's tlog with the records `record 0` to 20. */
const TORCHWOOD = `c2sp.org/tlog-proof@v1
extra YW55IGV4dHJh
index 16
8It6k7SgrXE0G+B0MiiSNFJECRAJ2ebboI47HQwoM3g=
dDcRj0kjkbdDZxH0wiv1p19PPgp34h86RjJAtrx2Ykk=
b+gxa4mLEl9ssGlmHFSL0D6NbYXKnYlmty1vAbb7Rf4=
LJbKx7lOixfABmX5OqlT5cvzPWRishIaDEQJ3VqRDFI=

example.com/torchwood
21
JKNLd/wVSonaeLUC+xcGzLsg5bk00IyafjPamxfY/VY=

\u2014 example.com/torchwood ISE9IyE9nRQ4rRd7ySHZkGyO9o7/hkFJ6ITJd9k/xMz2JlyrS4jG7F9qFLvtZG4OlPiTyqR4RUFYwDeyPTQ7oTTuZgQ=
\u2014 witness.example/one 1YbcZgAAAABrBL0sS3wiZTg+sjDZoqjNgV4gjK4gDypIvOKMEnxMB1wRssKjYyqKppBlx4aq6c4L7yJm2onyLLNkycThIFIHue0EBQ==
\u2014 witness.example/two D+ZcZQAAAABrBL0sqJFsBfJ3aqIFUhxL09dMYzRkTjkfXXE0JsiOJ2YOBotNL1t3mcvVXNt9hV/nNrG0+DA4DITk2CaC1UPt4JRSCg==
`;

test('a proof that torchwood wrote', () => {
  const policy = parsePolicy(`log example.com/torchwood+21213d23+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs
witness one witness.example/one+d586dc66+BIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c
witness two witness.example/two+0fe65c65+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU
group both all one two
quorum both
`);
  const record = (index: number) => new TextEncoder().encode(`record ${index}`);
  const verdict = verifyTlogProof(TORCHWOOD, record(16), policy);
  assert.ok(verdict.kind === 'proven', reasonOf(verdict));
  assert.deepEqual([verdict.index, verdict.checkpoint.size, verdict.cosigned.length], [16, 21, 2]);
  assert.equal(new TextDecoder().decode(verdict.extra), 'any extra');
  assert.equal(formatTlogProof(parseTlogProof(TORCHWOOD)), TORCHWOOD);
  assert.match(reasonOf(verifyTlogProof(TORCHWOOD, record(17), policy)), /another root/);
  const moved = TORCHWOOD.replace('index 16', 'index 17');
  assert.match(reasonOf(verifyTlogProof(moved, record(16), policy)), /bad inclusion proof/);
});
