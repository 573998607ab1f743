import assert from 'node:assert/strict';
import * as crypto from 'node:crypto';
import { test } from 'node:test';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { formatCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { type Cosigner, cosign } from '../../../runtime/core/log/cosignature.ts';
import { cosignedMessage, mlDsa44Scheme } from '../../../runtime/core/log/ml-dsa.ts';
import { formatNote, signNote } from '../../../runtime/core/log/note.ts';
import { evaluatePolicy, parsePolicy } from '../../../runtime/core/log/policy.ts';
import { createVkey, formatVkey, ML_DSA_44_COSIGNATURE } from '../../../runtime/core/log/vkey.ts';
import { logOf } from './keys.ts';

const ROOT = new Uint8Array(32).fill(0xab);
const ORIGIN = 'example.com/log';
const textOf = (extensions: readonly string[] = [], origin = ORIGIN) =>
  formatCheckpoint({ origin, size: 258, root: ROOT, extensions });

test('the message, byte for byte', () => {
  const ascii = (text: string) => toHex(new TextEncoder().encode(text));
  const expected = [
    ascii('subtree/v1\n\0'),
    `09${ascii('w.example')}`,
    '000000006553f100',
    `0f${ascii('example.com/log')}`,
    '0000000000000000',
    '0000000000000102',
    'ab'.repeat(32),
  ].join('');
  assert.equal(toHex(cosignedMessage('w.example', 1_700_000_000, textOf())), expected);
  // Nothing is said about extension lines.
  assert.equal(toHex(cosignedMessage('w.example', 1_700_000_000, textOf(['more']))), expected);
  assert.throws(() => cosignedMessage('w.example', 1, 'no checkpoint\n'), /malformed checkpoint/);
  assert.throws(() => cosignedMessage('', 1, textOf()), RangeError);
  assert.throws(() => cosignedMessage('w'.repeat(256), 1, textOf()), RangeError);
  assert.throws(() => cosignedMessage('w', 1, textOf([], 'o'.repeat(256))), RangeError);
  assert.equal(cosignedMessage('w'.repeat(255), 1, textOf([], 'o'.repeat(255))).length, 580);
});

/** Node's own ML-DSA, from 24.6 on, built with OpenSSL 3.5; its types are not those of the Node that is the floor. */
interface MlDsa {
  generateKeyPairSync(type: 'ml-dsa-44'): crypto.KeyPairKeyObjectResult;
}

function keyPair(): crypto.KeyPairKeyObjectResult | undefined {
  try {
    return (crypto as unknown as MlDsa).generateKeyPairSync('ml-dsa-44');
  } catch {
    return undefined;
  }
}

const PAIR = keyPair();
const skip = PAIR === undefined ? `Node ${process.version} has no ML-DSA: 24.6 and later have` : false;

test('a policy counts an ML-DSA cosignature where the platform can check it', { skip }, () => {
  const { privateKey, publicKey } = PAIR!;
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const raw = new Uint8Array(spki.subarray(spki.length - 1312));
  const head = spki.subarray(0, spki.length - 1312);
  const scheme = mlDsa44Scheme((key) => {
    const one = crypto.createPublicKey({ key: Buffer.concat([head, key]), format: 'der', type: 'spki' });
    return (message, signature) => crypto.verify(null, message, one, signature);
  });
  const vkey = createVkey('w.example', ML_DSA_44_COSIGNATURE, raw);
  const witness: Cosigner = { vkey, scheme, sign: (message) => crypto.sign(null, message, privateKey) };
  const log = logOf(ORIGIN, 1);
  const policy = parsePolicy(`log ${formatVkey(log.vkey)}\nwitness w ${formatVkey(vkey)}\nquorum w\n`);
  const text = textOf();
  const line = cosign(witness, text, 1_700_000_000);
  assert.equal(line.signature.length, 8 + 2420);
  const judged = (signature: Uint8Array, of = text) => {
    const signatures = [...signNote(of, [log]).signatures, { ...line, signature }];
    return evaluatePolicy(policy, formatNote({ text: of, signatures }), { schemes: [scheme] });
  };
  const verdict = judged(line.signature);
  assert.ok(verdict.kind === 'satisfied');
  assert.deepEqual(verdict.cosigned, [{ witness: 'w', time: 1_700_000_000 }]);
  for (const at of [0, 7, 8, 1000, 2427]) {
    assert.equal(judged(line.signature.with(at, line.signature[at]! ^ 1)).kind, 'refused', `byte ${at}`);
  }
  assert.equal(judged(line.signature.subarray(1)).kind, 'refused');
  const other = formatCheckpoint({ origin: ORIGIN, size: 259, root: ROOT, extensions: [] });
  assert.equal(judged(line.signature, other).kind, 'refused');
});
