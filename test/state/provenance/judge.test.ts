import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { createSign1Signer, keyIdOf, parseSign1, verifySign1 } from '../../../runtime/core/encoding/cose.ts';
import {
  acceptedKeys,
  createKeyring,
  everyKey,
  keyUse,
  revocationOf,
} from '../../../runtime/state/provenance/judge.ts';
import { rosterOf } from '../../../runtime/state/provenance/roster.ts';
import { endorsed, enrolmentOfAll, keysOf, revoked } from './rosters.ts';

const enrolment = enrolmentOfAll();
const SECOND = 1_700_000_000;
const MS = SECOND * 1000;
const sample = (generation: number) => keysOf('mill', generation).sample.publicKey;
const about = (...statements: Uint8Array[]) => rosterOf(enrolment, statements).keys('mill');
const use = (keys: ReturnType<typeof about>, generation: number, cosigned: number | undefined) =>
  keyUse(keys, { purpose: 'sample', key: sample(generation), cosigned });

test('a key that was rotated and not revoked stays good, however late its signature is seen', () => {
  const keys = about(endorsed('mill', 1));
  for (const cosigned of [undefined, 1, SECOND, Number.MAX_SAFE_INTEGER]) {
    assert.deepEqual(use(keys, 0, cosigned), { kind: 'good', serial: 0 });
    assert.deepEqual(use(keys, 1, cosigned), { kind: 'good', serial: 1 });
  }
});

test('a key of nobody, of another gateway or of another purpose is unknown', () => {
  const keys = about(endorsed('mill', 1));
  assert.equal(use(keys, 2, SECOND).kind, 'unknown-key');
  for (const key of [keysOf('lathe').sample.publicKey, keysOf('mill').log.publicKey, new Uint8Array(32)]) {
    const verdict = keyUse(keys, { purpose: 'sample', key, cosigned: SECOND });
    assert.ok(verdict.kind === 'unknown-key');
    assert.ok(verdict.reason.includes(toHex(keyIdOf(key))));
  }
});

test('what a revoked key signed counts when a quorum had seen it by then, to the second', () => {
  const keys = about(endorsed('mill', 1), revoked('mill', 'sample', 0, MS));
  assert.equal(use(keys, 0, SECOND - 1).kind, 'good');
  assert.equal(use(keys, 0, SECOND).kind, 'good');
  const late = use(keys, 0, SECOND + 1);
  assert.ok(late.kind === 'revoked');
  assert.match(
    late.reason,
    /revoked by its identity key as of 2023-11-14T22:13:20.000Z.* only at 2023-11-14T22:13:21/,
  );
  assert.match((use(keys, 0, undefined) as { reason: string }).reason, /no quorum of witnesses has seen it/);
  assert.equal(use(keys, 1, SECOND + 1).kind, 'good', 'the other key is not meant');
  const before = about(revoked('mill', 'sample', 0, MS - 1));
  assert.equal(use(before, 0, SECOND).kind, 'revoked', 'one millisecond short');
});

test('the earliest revocation counts, and the member’s word before an identity’s', () => {
  const early = revoked('mill', 'sample', 0, MS - 5000);
  const late = revoked('mill', 'sample', 0, MS + 5000);
  const member = revoked('mill', 'sample', 0, MS, 'member');
  const timeOf = (...statements: Uint8Array[]) =>
    revocationOf(about(...statements).revocations, 'sample', sample(0))?.time;
  assert.equal(timeOf(late), MS + 5000);
  assert.equal(timeOf(late, early), MS - 5000);
  assert.equal(timeOf(early, late), MS - 5000);
  assert.equal(timeOf(early, member, late), MS, 'a thief with the identity key disowns nothing');
  assert.equal(timeOf(member, revoked('mill', 'sample', 0, MS - 9000, 'member')), MS - 9000);
  assert.equal(timeOf(revoked('mill', 'log', 0, MS)), undefined);
});

test('an identity that is revoked takes every key with it, those it endorses later as well', () => {
  const stolen = revoked('mill', 'identity', 0, MS, 'member');
  for (const keys of [about(endorsed('mill', 1), stolen), about(stolen, endorsed('mill', 1))]) {
    for (const generation of [0, 1]) {
      assert.equal(use(keys, generation, SECOND).kind, 'good');
      assert.equal(use(keys, generation, SECOND + 1).kind, 'revoked');
    }
    for (const purpose of ['sample', 'log', 'witness', 'tls'] as const) {
      assert.deepEqual(acceptedKeys(keys, purpose), []);
    }
  }
});

test('for what is new: the keys that are not revoked, newest first', () => {
  const keys = about(endorsed('mill', 1), endorsed('mill', 2), revoked('mill', 'sample', 1, MS));
  assert.deepEqual(
    everyKey(keys, 'sample').map(toHex),
    [2, 1, 0].map((n) => toHex(sample(n))),
  );
  assert.deepEqual(
    acceptedKeys(keys, 'sample').map(toHex),
    [2, 0].map((n) => toHex(sample(n))),
  );
  assert.equal(acceptedKeys(keys, 'log').length, 3);
});

test('a keyring follows the roster', async () => {
  const roster = rosterOf(enrolment);
  const keyring = createKeyring(() => roster.keys('mill'), 'sample');
  const message = (generation: number) =>
    parseSign1(createSign1Signer(keysOf('mill', generation).sample).sign(Uint8Array.of(1)));
  const accepts = (generation: number) => {
    const one = message(generation);
    const verify = keyring.accepted(one.keyId);
    return verify !== undefined && verifySign1(one, verify);
  };
  assert.deepEqual([accepts(0), accepts(1)], [true, false]);
  await roster.add(endorsed('mill', 1));
  assert.deepEqual([accepts(0), accepts(1)], [true, true]);
  await roster.add(revoked('mill', 'sample', 0, MS));
  assert.deepEqual([accepts(0), accepts(1)], [false, true]);
  const stored = keyring.ever(message(0).keyId)!;
  assert.equal(toHex(stored.key), toHex(sample(0)));
  assert.ok(verifySign1(message(0), stored.verify));
  assert.ok(verifySign1(message(0), keyring.verifyAny) && verifySign1(message(1), keyring.verifyAny));
  assert.ok(!verifySign1(message(2), keyring.verifyAny));
});
