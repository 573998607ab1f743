import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createVerifier } from '#ed25519';
import { createSign1Signer } from '../../../runtime/core/encoding/cose.ts';
import { decodeSample } from '../../../runtime/core/encoding/sample.ts';
import { MAX_BLOCK_ENTRIES } from '../../../runtime/core/log/block.ts';
import { type ExportedBlock, showBlock } from '../../../runtime/core/log/export.ts';
import { decodeShownBlock, encodeShownBlock, openShownBlock } from '../../../runtime/core/log/shown-block.ts';
import { type Block, blockOf, SAMPLE_SIGNER } from './exports.ts';
import { signerOf } from './keys.ts';

const VERIFIER = createVerifier(SAMPLE_SIGNER.publicKey);
const all = () => true;

function shown(block: Block, positions: readonly number[], index = 7): ExportedBlock {
  return showBlock(index, block.opening, block.entries, positions);
}

function sequences(bytes: Uint8Array): readonly number[] {
  return openShownBlock(bytes, VERIFIER).map((payload) => decodeSample(payload).sequence);
}

/** Numbers that are the same in every run (mulberry32). */
function chance(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

test('what is encoded is read back, and opens to its payloads', () => {
  const block = blockOf(3, 13, all);
  const one = shown(block, [0, 4, 5, 12]);
  const bytes = encodeShownBlock(one);
  assert.deepEqual(decodeShownBlock(bytes), one);
  assert.deepEqual(sequences(bytes), [300, 304, 305, 312]);
});

test('any positions of blocks of any size open to just those entries', () => {
  const draw = chance(1);
  for (let round = 0; round < 150; round++) {
    const count = 1 + draw(round % 5 === 0 ? 300 : 20);
    const block = blockOf(round, count, all);
    const positions = Array.from({ length: count }, (_, at) => at).filter(() => draw(3) === 0);
    const bytes = encodeShownBlock(shown(block, positions, draw(1_000_000)));
    assert.deepEqual(
      sequences(bytes),
      positions.map((at) => 100 * round + at),
    );
  }
});

test('no byte can be changed, dropped or added without being noticed', () => {
  const block = blockOf(2, 6, all);
  const one = shown(block, [1, 2, 5]);
  const bytes = encodeShownBlock(one);
  const index = bytes.indexOf(one.index);
  assert.equal(index, 1);
  for (let at = 0; at < bytes.length; at++) {
    for (const bit of [1, 0x80]) {
      const changed = Uint8Array.from(bytes);
      changed[at]! ^= bit;
      // Where the block stands in the log, and what salts its leaf, is for the log to prove.
      const isSaltOfOpening =
        Buffer.from(one.opening).indexOf(Buffer.from([0x58, 0x20])) >= 0 && inSalt(at, bytes, one);
      if (at === index || isSaltOfOpening) continue;
      assert.throws(
        () => openShownBlock(changed, VERIFIER),
        { name: 'DecodeError' },
        `bit ${bit} of byte ${at}`,
      );
    }
    assert.throws(() => openShownBlock(bytes.slice(0, at), VERIFIER), { name: 'DecodeError' });
  }
  assert.throws(() => openShownBlock(Buffer.concat([bytes, Uint8Array.of(0)]), VERIFIER), {
    name: 'DecodeError',
  });
});

/** Whether a byte is one of the 32 that salt the opening: after the heads of an array and of a byte string. */
function inSalt(at: number, bytes: Uint8Array, one: ExportedBlock): boolean {
  const start = Buffer.from(bytes).indexOf(Buffer.from(one.opening)) + 3;
  return at >= start && at < start + 32;
}

test('entries that are swapped, of other positions, left out or of another block are refused', () => {
  const block = blockOf(2, 9, all);
  const one = shown(block, [1, 4, 6]);
  const refused = (change: Partial<ExportedBlock>, why: RegExp) =>
    assert.throws(() => openShownBlock(encodeShownBlock({ ...one, ...change }), VERIFIER), { message: why });
  const [a, b, c] = one.entries as [Uint8Array, Uint8Array, Uint8Array];
  const notOfTheBlock = /do not lead to the block’s root/;
  refused({ entries: [b, a, c] }, notOfTheBlock);
  refused({ positions: [1, 4, 7] }, notOfTheBlock);
  refused({ positions: [4, 1, 6] }, /not ascending/);
  refused({ positions: [1, 1, 6] }, /not ascending/);
  refused({ positions: [1, 4, 9] }, /there is no leaf 9/);
  refused({ positions: [1, 4] }, /not a position an entry/);
  refused({ entries: [a, b], positions: [1, 4] }, /too long|do not lead/);
  refused({ hashes: one.hashes.slice(1) }, /too short|do not lead/);
  refused({ hashes: [...one.hashes, one.hashes[0]!] }, /too long/);
  refused({ hashes: one.hashes.map((hash) => hash.slice(1)) }, /31 bytes, not 32/);
  refused({ entries: [blockOf(5, 9, all).entries[1]!, b, c] }, notOfTheBlock);
  refused({ opening: blockOf(5, 9, all).opening }, notOfTheBlock);
  refused({ opening: new Uint8Array(5) }, /./);
  const many = Array.from({ length: MAX_BLOCK_ENTRIES + 1 }, (_, at) => at);
  refused({ positions: many, entries: many.map(() => a) }, /./);
});

test('another key, and a block that nobody has signed', () => {
  const bytes = encodeShownBlock(shown(blockOf(2, 4, all), [0]));
  const other = createVerifier(signerOf(21).publicKey);
  assert.throws(() => openShownBlock(bytes, other), { message: /the block’s signature does not verify/ });
  const foreign = blockOf(2, 4, all, createSign1Signer(signerOf(21)));
  assert.throws(() => openShownBlock(encodeShownBlock(shown(foreign, [0])), VERIFIER), {
    message: /the block’s signature does not verify/,
  });
  const unsigned = blockOf(2, 4, () => false);
  assert.throws(() => openShownBlock(encodeShownBlock(shown(unsigned, [0])), VERIFIER), {
    message: /not signed/,
  });
});

test('an entry with a signature of its own is shown in its own form, not in this one', () => {
  const mixed = blockOf(2, 6, (at) => at % 2 === 0);
  assert.deepEqual(sequences(encodeShownBlock(shown(mixed, [0, 2, 4]))), [200, 202, 204]);
  assert.throws(() => openShownBlock(encodeShownBlock(shown(mixed, [0, 1])), VERIFIER), {
    message: /an entry has a signature of its own/,
  });
});
