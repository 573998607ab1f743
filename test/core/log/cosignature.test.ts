import assert from 'node:assert/strict';
import { createPublicKey, verify as nodeVerify } from 'node:crypto';
import { test } from 'node:test';
import {
  type CosignatureScheme,
  cosign,
  cosignatureTime,
  createCheckpointVerifier,
  createCosignatureVerifier,
  ED25519_SCHEME,
} from '../../../runtime/core/log/cosignature.ts';
import { formatNote, openNote, parseNote, signNote, verifyNote } from '../../../runtime/core/log/note.ts';
import {
  createVkey,
  ED25519_COSIGNATURE,
  formatVkey,
  ML_DSA_44_COSIGNATURE,
  parseVkey,
} from '../../../runtime/core/log/vkey.ts';
import { cosignerOf, logOf, signerOf } from './keys.ts';
import { skipVectors, vectorJson } from './vectors.ts';

const TEXT = 'example.com/log\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n';
const WITNESS = cosignerOf('witness.example/w1', 9);
const verifier = createCosignatureVerifier(WITNESS.vkey);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

test('the example of C2SP tlog-cosignature: its time, and what it signs', { skip: skipVectors }, () => {
  const { checkpoint, signedMessage } = vectorJson<{ checkpoint: string; signedMessage: string }>(
    'c2sp-spec/cosignature-shape.json',
  );
  const note = parseNote(checkpoint);
  assert.equal(formatNote(note), checkpoint);
  const [, line] = note.signatures;
  assert.equal(line?.signature.length, 72);
  const time = cosignatureTime(line!);
  assert.equal(time, 1679315147);
  assert.equal(decode(ED25519_SCHEME.message(line!.name, time, note.text)), signedMessage);
});

test('a cosignature is Ed25519 over the message of the specification', () => {
  const line = cosign(WITNESS, TEXT, 1679315147);
  const message = `cosignature/v1\ntime 1679315147\n${TEXT}`;
  const key = createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(WITNESS.vkey.key).toString('base64url') },
    format: 'jwk',
  });
  assert.ok(nodeVerify(null, Buffer.from(message), key, line.signature.subarray(8)));
  assert.equal(Buffer.from(line.signature).readBigUInt64BE(), 1679315147n);
  assert.equal(cosignatureTime(line), 1679315147);
  assert.equal(line.keyId, parseVkey(formatVkey(WITNESS.vkey)).keyId);
});

test('a cosigned checkpoint opens; any change to text, time or signature refuses it', () => {
  const log = logOf('example.com/log', 1);
  const line = cosign(WITNESS, TEXT, 1700000000);
  const note = { text: TEXT, signatures: [...signNote(TEXT, [log]).signatures, line] };
  const known = [createCheckpointVerifier(log.vkey), createCheckpointVerifier(WITNESS.vkey)];
  assert.equal(openNote(formatNote(note), known).verified.length, 2);
  const extended = `${TEXT}an extension line\n`;
  assert.ok(verifyNote({ text: extended, signatures: [cosign(WITNESS, extended, 5)] }, [verifier]));
  // Extension lines are cosigned too.
  assert.ok(!verifyNote({ text: extended, signatures: [line] }, [verifier]));
  for (let byte = 0; byte < line.signature.length; byte++) {
    const signature = new Uint8Array(line.signature);
    signature[byte]! ^= 1;
    assert.ok(!verifyNote({ text: TEXT, signatures: [{ ...line, signature }] }, [verifier]), `byte ${byte}`);
  }
  for (const length of [1, 7, 8, 64, 71]) {
    const short = { ...line, signature: line.signature.subarray(0, length) };
    assert.ok(!verifyNote({ text: TEXT, signatures: [short] }, [verifier]));
  }
  const long = { ...line, signature: Uint8Array.of(...line.signature, 0) };
  assert.ok(!verifyNote({ text: TEXT, signatures: [long] }, [verifier]));
});

test('only checkpoints are cosigned, at a time', () => {
  assert.throws(() => cosign(WITNESS, 'any text\n', 5), /malformed checkpoint/);
  assert.throws(() => cosign(WITNESS, TEXT, 0), RangeError);
  assert.throws(() => cosign(WITNESS, TEXT, -1), RangeError);
  assert.throws(() => cosign(WITNESS, TEXT, 1.5), RangeError);
  assert.throws(() => cosign(WITNESS, TEXT, 2 ** 53), RangeError);
  // A signature over the right message under a text that is no checkpoint counts for nothing.
  const text = 'no checkpoint\n';
  const bytes = signerOf(9).sign(ED25519_SCHEME.message('', 5, text));
  const signature = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 5, ...bytes);
  const line = { name: WITNESS.vkey.name, keyId: WITNESS.vkey.keyId, signature };
  assert.ok(!verifyNote({ text, signatures: [line] }, [verifier]));
  assert.throws(() => cosignatureTime({ ...line, signature: new Uint8Array(8) }), /no timestamp/);
  assert.throws(() => cosignatureTime({ ...line, signature: new Uint8Array(72).fill(255) }), /no timestamp/);
});

test('one public key under two signature types is two keys', () => {
  const asLog = logOf('witness.example/w1', 9);
  assert.deepEqual(Buffer.from(asLog.vkey.key), Buffer.from(WITNESS.vkey.key));
  assert.notEqual(asLog.keyId, WITNESS.vkey.keyId);
  const note = signNote(TEXT, [asLog]);
  assert.ok(!verifyNote(note, [verifier]));
  const moved = {
    text: TEXT,
    signatures: note.signatures.map((line) => ({ ...line, keyId: WITNESS.vkey.keyId })),
  };
  assert.ok(!verifyNote(moved, [verifier]));
});

test('another signature type comes in by handing in its scheme', () => {
  const key = new Uint8Array(1312).fill(3);
  const vkey = createVkey('witness.example/w2', ML_DSA_44_COSIGNATURE, key);
  assert.deepEqual(parseVkey(formatVkey(vkey)), vkey);
  assert.throws(() => createCosignatureVerifier(vkey), /signature type 6, which cannot be verified here/);
  const seen: string[] = [];
  const scheme: CosignatureScheme = {
    type: ML_DSA_44_COSIGNATURE,
    signatureLength: 2420,
    message: (name, time, text) => new TextEncoder().encode(`${name} ${time} ${text}`),
    createVerifier: (given) => (message, signature) => {
      seen.push(decode(message));
      return given === key && signature.length === 2420;
    },
  };
  const known = createCosignatureVerifier(vkey, [ED25519_SCHEME, scheme]);
  const signature = new Uint8Array(8 + 2420);
  signature[7] = 5;
  assert.ok(
    verifyNote({ text: TEXT, signatures: [{ name: vkey.name, keyId: vkey.keyId, signature }] }, [known]),
  );
  assert.deepEqual(seen, [`witness.example/w2 5 ${TEXT}`]);
  assert.ok(
    !verifyNote({ text: TEXT, signatures: [{ ...vkey, signature: signature.subarray(1) }] }, [known]),
  );
  assert.equal(createCosignatureVerifier(WITNESS.vkey, [ED25519_SCHEME, scheme]).keyId, WITNESS.vkey.keyId);
  assert.equal(WITNESS.vkey.type, ED25519_COSIGNATURE);
});
