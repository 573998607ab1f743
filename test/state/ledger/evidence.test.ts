import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { type CborValue, encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import {
  checkOpening,
  commit,
  decodeIdentity,
  type EpisodeIdentity,
  type Evidence,
  encodeEvidence,
  encodeIdentity,
  openEvidence,
  rowsDigest,
  setRoot,
  settingOf,
  type UpdateEvidence,
  updateDigest,
} from '../../../runtime/state/ledger/evidence.ts';

const sha = (...parts: readonly Uint8Array[]) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};
const bytes = (value: number, length = 32) => new Uint8Array(length).fill(value);

const episodes: readonly EpisodeIdentity[] = [
  { machine: 'press-1', end: 'failure', ended: 1000, rows: 3, digest: bytes(1) },
  { machine: 'press-2', end: 'censored', ended: 2000, rows: 5, digest: bytes(2) },
  { machine: 'press-1', end: 'failure', ended: 3000, rows: 7, digest: bytes(3) },
];
const salt = bytes(8);
const seed = bytes(9);

const update: UpdateEvidence = {
  form: 'update',
  agreement: bytes(7),
  round: 4,
  version: 3,
  set: commit(salt, setRoot(episodes.map(encodeIdentity))),
  seed: commit(salt, seed),
  modelIn: bytes(5),
  updateOut: bytes(6),
  charge: bytes(4),
  parameters: {
    unit: 'episode',
    sampler: 'poisson',
    loss: 'squared',
    clipNorm: 0.1,
    samplingRate: 0.5,
    noiseMultiplier: 2,
    steps: 5,
    learningRate: 0.03,
    expectedBatch: 10,
    optimiser: settingOf({ kind: 'adam', epsilon: 1e-8, beta2: 0.999, beta1: 0.9 } as { kind: string }),
    clipping: settingOf({ kind: 'flat' }),
  },
};

test('evidence comes back as it was; a commitment is the SHA-256 of salt and value', () => {
  const opening: Evidence = {
    form: 'opening',
    agreement: bytes(7),
    round: 4,
    update: bytes(1),
    part: 'seed',
    charge: undefined,
  };
  for (const one of [update, { ...update, charge: undefined }, opening, { ...opening, charge: bytes(2) }])
    assert.deepEqual(openEvidence(encodeEvidence(one)), one);
  assert.deepEqual(update.seed, sha(salt, seed));
  // RFC 6962 over three leaves, by hand.
  const leaf = (one: EpisodeIdentity) => sha(Uint8Array.of(0), encodeIdentity(one));
  const [a, b, c] = episodes.map(leaf) as [Uint8Array, Uint8Array, Uint8Array];
  const node = (left: Uint8Array, right: Uint8Array) => sha(Uint8Array.of(1), left, right);
  assert.deepEqual(update.set, sha(salt, node(node(a, b), c)));
  assert.deepEqual(
    update.parameters.optimiser.values.map(([name]) => name),
    ['beta1', 'beta2', 'epsilon'],
  );
});

test('other forms of a training entry are refused', () => {
  const body = encodeEvidence(update) as readonly CborValue[];
  const parameters = body[9] as readonly CborValue[];
  const refused: readonly (readonly [CborValue, RegExp])[] = [
    [null, /form is unknown/],
    [['draws', ...body.slice(1)], /form is unknown/],
    [body.slice(0, 9), /9 fields instead of 10/],
    [body.with(4, bytes(1, 31)), /set has 31 bytes/],
    [body.with(8, bytes(1, 33)), /charge has 33 bytes/],
    [body.with(9, parameters.slice(1)), /10 fields instead of 11/],
    [body.with(9, parameters.with(0, 'sample')), /unit sample is unknown/],
    [body.with(9, parameters.with(9, ['sgd', 'momentum'])), /not a kind and its values/],
    [body.with(9, parameters.with(9, ['sgd', 'momentum', 1])), /not a float/],
    [['opening', bytes(1), 1, bytes(1), 'draws', null], /part draws is unknown/],
  ];
  for (const [value, why] of refused) assert.throws(() => openEvidence(value), why);
});

test('an opening fits its entry or is refused, whatever was changed', () => {
  checkOpening(update, { part: 'seed', salt, seed });
  checkOpening(update, { part: 'set', salt, episodes });
  const other = (one: Partial<EpisodeIdentity>) => [{ ...episodes[0]!, ...one }, ...episodes.slice(1)];
  const wrong: readonly (readonly EpisodeIdentity[])[] = [
    [],
    episodes.slice(0, 2),
    [...episodes, episodes[0]!],
    [episodes[1]!, episodes[0]!, episodes[2]!],
    other({ machine: 'press-3' }),
    other({ end: 'censored' }),
    other({ ended: 1001 }),
    other({ rows: 4 }),
    other({ digest: bytes(2) }),
  ];
  for (const set of wrong)
    assert.throws(
      () => checkOpening(update, { part: 'set', salt, episodes: set }),
      /is not the set that round 4/,
    );
  assert.throws(() => checkOpening(update, { part: 'set', salt: bytes(1), episodes }), /not the set/);
  assert.throws(() => checkOpening(update, { part: 'seed', salt, seed: bytes(1) }), /not the seed/);
  assert.throws(() => checkOpening(update, { part: 'seed', salt: seed, seed: salt }), /not the seed/);
  // Cut elsewhere, salt and seed would hash alike.
  assert.throws(
    () => checkOpening(update, { part: 'seed', salt: bytes(8, 31), seed: Uint8Array.of(8, ...seed) }),
    /not the seed/,
  );
});

test('digests tell rows and updates apart', () => {
  const rows = fc.array(fc.array(fc.double({ noNaN: true }), { maxLength: 4 }), { maxLength: 4 });
  fc.assert(
    fc.property(rows, rows, (one, other) => {
      const same = Buffer.from(encodeCbor(one.map((row) => row.map((float) => ({ float }))))).equals(
        encodeCbor(other.map((row) => row.map((float) => ({ float })))),
      );
      assert.equal(Buffer.from(rowsDigest(one)).equals(rowsDigest(other)), same);
    }),
  );
  // By hand, over more than one buffer.
  const many = Array.from({ length: 9000 }, (_, index) => [index, -index / 3]);
  const parts = many.map((row) =>
    [Uint32Array.of(2), Float64Array.from(row)].map((one) => new Uint8Array(one.buffer)),
  );
  const wide = Array.from({ length: 20_000 }, (_, index) => index);
  assert.deepEqual(rowsDigest(many), sha(...parts.flat()));
  assert.deepEqual(
    rowsDigest([[1], wide]),
    sha(
      ...[Uint32Array.of(1), Float64Array.of(1), Uint32Array.of(20_000), Float64Array.from(wide)].map(
        (one) => new Uint8Array(one.buffer),
      ),
    ),
  );
  assert.deepEqual(updateDigest(Float64Array.of(1, -2)), sha(new Uint8Array(Float64Array.of(1, -2).buffer)));
  for (const one of episodes) assert.deepEqual(decodeIdentity(encodeIdentity(one)), one);
});
