import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { type CborValue, decodeCbor, encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { createSign1Signer } from '../../../runtime/core/encoding/cose.ts';
import { decodeSample } from '../../../runtime/core/encoding/sample.ts';
import { blockRoot, decodeOpening, encodeOpening } from '../../../runtime/core/log/block.ts';
import {
  decodeExport,
  type ExportBundle,
  type ExportedBlock,
  encodeExport,
  isExport,
  MAX_EXPORT_BYTES,
} from '../../../runtime/core/log/export.ts';
import {
  type BundleError,
  createExportVerifier,
  type Sealed,
} from '../../../runtime/core/log/export-verifier.ts';
import {
  BLOCKS,
  blockOf,
  bundleOf,
  checkpointOf,
  ORIGIN,
  POLICY,
  SAMPLE_KEY,
  SAMPLE_KEYS,
} from './exports.ts';
import { signerOf } from './keys.ts';

const verify = createExportVerifier({ policy: POLICY, sampleKeys: SAMPLE_KEYS });
const hex = (bytes: Uint8Array) => toHex(bytes);
const through = (bundle: ExportBundle) => verify(decodeExport(encodeExport(bundle)));
/** Signed one by one; as a block; mixed; none. */
const SOME = { 0: [0], 1: [1, 4], 2: [0, 1], 3: [], 8: [0, 2, 4], 9: [0] };

function replaced(bundle: ExportBundle, at: number, change: Partial<ExportedBlock>): ExportBundle {
  return { ...bundle, blocks: bundle.blocks.with(at, { ...bundle.blocks[at]!, ...change }) };
}

function fault(bundle: ExportBundle): BundleError {
  try {
    verify(bundle);
  } catch (error) {
    assert.equal((error as Error).name, 'BundleError', String(error));
    return error as BundleError;
  }
  return assert.fail('the bundle was believed');
}

test('a bundle comes back as it was, and shows what it shows', () => {
  const bundle = bundleOf(SOME);
  const bytes = encodeExport(bundle);
  assert.ok(isExport(bytes));
  const decoded = decodeExport(bytes);
  assert.deepEqual(
    decoded.blocks.map(({ positions }) => positions),
    Object.values(SOME),
  );
  assert.equal(hex(encodeExport(decoded)), hex(bytes));
  const verified = verify(decoded);
  assert.equal(verified.checkpoint.origin, ORIGIN);
  assert.equal(verified.cosigned.length, 3);
  assert.equal(verified.samePolicy, true);
  assert.deepEqual(
    verified.blocks,
    Object.keys(SOME).map((index) => ({
      index: Number(index),
      count: BLOCKS[Number(index)]!.entries.length,
    })),
  );
  assert.deepEqual(
    verified.entries.map(({ block, position, signedBy }) => [block, position, signedBy]),
    [
      [0, 0, 'entry'],
      [1, 1, 'block'],
      [1, 4, 'block'],
      [2, 0, 'block'],
      [2, 1, 'entry'],
      [8, 0, 'entry'],
      [8, 2, 'entry'],
      [8, 4, 'entry'],
      [9, 0, 'block'],
    ],
  );
  for (const { block, position, bytes: entry, payload, keyId } of verified.entries) {
    assert.equal(hex(entry), hex(BLOCKS[block]!.entries[position]!));
    assert.equal(decodeSample(payload).sequence, 100 * block + position);
    assert.equal(hex(keyId), hex(SAMPLE_KEY.keyId));
  }
});

test('any choice of entries holds', () => {
  const choice = fc.array(fc.tuple(fc.nat(10), fc.array(fc.nat(8), { maxLength: 9 })), { maxLength: 11 });
  fc.assert(
    fc.property(choice, (chosen) => {
      const positions: Record<number, number[]> = {};
      for (const [block, at] of chosen) {
        const count = BLOCKS[block]!.entries.length;
        positions[block] = [...new Set(at.filter((one) => one < count))].sort((a, b) => a - b);
      }
      const shown = Object.values(positions).flat().length;
      assert.equal(through(bundleOf(positions)).entries.length, shown);
    }),
    { numRuns: 40 },
  );
});

test('what is broken is named', () => {
  const bundle = bundleOf(SOME);
  const other = bundleOf({ 0: [0], 1: [0] });
  const [first, second] = bundle.blocks as [ExportedBlock, ExportedBlock];
  const stranger = createSign1Signer(signerOf(30));
  const cases: readonly (readonly [ExportBundle, RegExp, Partial<BundleError>])[] = [
    [
      { ...bundle, checkpoint: checkpointOf(BLOCKS, [0, 1]) },
      /quorum is not reached/,
      { part: 'checkpoint' },
    ],
    [{ ...bundle, checkpoint: 'nothing' }, /checkpoint: malformed note/, { part: 'checkpoint' }],
    [{ ...bundle, checkpoint: checkpointOf(BLOCKS, undefined, 10) }, /log proof/, { part: 'log proof' }],
    [{ ...bundle, checkpoint: checkpointOf(BLOCKS, undefined, 9) }, /no leaf 9/, { part: 'log proof' }],
    [{ ...bundle, proof: bundle.proof.slice(1) }, /log proof: the proof is too short/, { part: 'log proof' }],
    [{ ...bundle, proof: [...bundle.proof, ...bundle.proof] }, /too long/, { part: 'log proof' }],
    [{ ...bundle, proof: bundle.proof.toReversed() }, /checkpoint's root/, { part: 'log proof' }],
    [replaced(bundle, 0, { opening: second.opening }), /checkpoint's root/, { part: 'log proof' }],
    [replaced(bundle, 5, { index: 10 }), /log proof/, { part: 'log proof' }],
    [replaced(bundle, 1, { hashes: [] }), /block 1: the proof is too short/, { part: 'block', block: 1 }],
    [replaced(bundle, 1, { hashes: second.hashes.toReversed() }), /block 1: entries and/, { block: 1 }],
    [replaced(bundle, 1, { entries: second.entries.toReversed() }), /block 1: entries and/, { block: 1 }],
    [replaced(bundle, 1, { positions: [1, 3] }), /block 1: /, { part: 'block', block: 1 }],
    [replaced(bundle, 1, { positions: [1, 99] }), /block 1: there is no leaf 99/, { block: 1 }],
    [replaced(bundle, 0, { entries: other.blocks[1]!.entries }), /block 0: /, { part: 'block', block: 0 }],
    [replaced(bundle, 0, { hashes: [...first.hashes, new Uint8Array(32)] }), /block 0: .*too long/, {}],
  ];
  for (const [broken, why, blame] of cases) {
    const error = fault(broken);
    assert.match(error.message, why);
    for (const [name, value] of Object.entries(blame)) {
      assert.equal(error[name as keyof BundleError], value, error.message);
    }
  }
  // What a gateway logged, and nobody but its key may have signed.
  const signed = [blockOf(0, 3, () => false, stranger), blockOf(1, 3, () => true, stranger)];
  assert.match(fault(bundleOf({ 0: [2] }, signed)).message, /block 0, entry 2: no sample key .* counts/);
  assert.match(fault(bundleOf({ 1: [2] }, signed)).message, /block 1: no sample key .* counts/);
});

test('a log cannot pass off what its sample key did not sign', () => {
  const good = blockOf(5, 3, () => true);
  const opening = decodeOpening(good.opening);
  const entries = blockOf(5, 3, () => false).entries;
  const forgedEntry = entries[1]!.with(-1, entries[1]!.at(-1)! ^ 1);
  const spoilt = opening.signature!.with(-1, opening.signature!.at(-1)! ^ 1);
  const others = decodeOpening(blockOf(6, 3, () => true).opening).signature;
  const openings: readonly (readonly [Uint8Array | undefined, RegExp])[] = [
    [spoilt, /block 0: invalid signature/],
    [others, /block 0: .*over another block/],
    [undefined, /block 0: .*not signed/],
    [Uint8Array.of(1), /block 0: /],
    [entries[0], /block 0: .*over another block/],
  ];
  for (const [signature, why] of openings) {
    const block = { opening: encodeOpening({ ...opening, signature }), entries: good.entries };
    const error = fault(bundleOf({ 0: [1] }, [block]));
    assert.match(error.message, why);
    assert.equal(error.part, 'block');
  }
  const block = blockOf(5, 3, () => false);
  const forged = [block.entries[0]!, forgedEntry, block.entries[2]!];
  const root = { ...decodeOpening(block.opening), ...rootOf(forged) };
  const bundle = bundleOf({ 0: [1] }, [{ opening: encodeOpening(root), entries: forged }]);
  const error = fault(bundle);
  assert.deepEqual([error.part, error.block, error.position], ['entry', 0, 1]);
  assert.match(error.message, /block 0, entry 1: invalid signature/);
  // The neighbours are good, and are believed.
  assert.equal(
    verify(bundleOf({ 0: [0, 2] }, [{ opening: encodeOpening(root), entries: forged }])).entries.length,
    2,
  );
  const garbage = [
    Uint8Array.of(1, 2, 3),
    Uint8Array.of(0xd2),
    encodeCbor([new Uint8Array(15), new Uint8Array(1)]),
  ];
  const opened = encodeOpening({ ...root, ...rootOf(garbage) });
  for (const position of [0, 1, 2]) {
    const why = fault(bundleOf({ 0: [position] }, [{ opening: opened, entries: garbage }]));
    assert.deepEqual([why.part, why.position], ['entry', position]);
  }
});

function rootOf(entries: readonly Uint8Array[]) {
  return { count: entries.length, root: blockRoot(entries) };
}

test('a key is asked for once, with the log and the times of its witnesses', () => {
  const asked: Sealed[] = [];
  const careful = createExportVerifier({
    policy: POLICY,
    sampleKeys: (keyId, sealed) => {
      asked.push(sealed);
      return SAMPLE_KEYS(keyId, sealed);
    },
  });
  assert.equal(careful(bundleOf(SOME)).entries.length, 9);
  assert.equal(asked.length, 1);
  assert.deepEqual(
    [asked[0]?.origin, asked[0]?.cosigned.map(({ time }) => time - 1_700_000_000)],
    [ORIGIN, [0, 1, 2]],
  );
  const revoked = createExportVerifier({
    policy: POLICY,
    sampleKeys: (keyId, sealed) =>
      sealed.cosigned.every(({ time }) => time <= 1_700_000_001) ? SAMPLE_KEYS(keyId, sealed) : undefined,
  });
  assert.throws(
    () => revoked(bundleOf(SOME)),
    /no sample key .* counts in the log "example.com\/plant\/gw1"/,
  );
  assert.equal(verify({ ...bundleOf(SOME), policy: '# another\n' }).samePolicy, false);
});

test('a byte changed is refused, or is in what the bundle only carries', () => {
  const bundle = bundleOf({ 1: [2], 4: [0] });
  const good = encodeExport(bundle);
  let believed = 0;
  for (let at = 0; at < good.length; at++) {
    for (const flip of [1, 64]) {
      let decoded: ExportBundle;
      try {
        decoded = decodeExport(good.with(at, good[at]! ^ flip));
      } catch (error) {
        assert.equal((error as Error).name, 'DecodeError', String(error));
        continue;
      }
      assert.equal(hex(encodeExport(decoded)), hex(good.with(at, good[at]! ^ flip)));
      try {
        verify(decoded);
      } catch (error) {
        assert.equal((error as Error).name, 'BundleError', String(error));
        continue;
      }
      believed++;
      const { document, signatures, policy, statements, openings } = decoded;
      const judged = { ...decoded, ...pick(bundle) };
      assert.equal(hex(encodeExport(judged)), hex(good), `byte ${at}`);
      assert.notDeepEqual({ document, signatures, policy, statements, openings }, pick(bundle));
    }
  }
  assert.ok(believed > 0);
});

function pick({ document, signatures, policy, statements, openings }: ExportBundle) {
  return { document, signatures, policy, statements, openings };
}

test('other forms are refused', () => {
  const fields = decodeCbor(encodeExport(bundleOf({ 0: [0], 1: [1] }))) as readonly CborValue[];
  const blocks = fields[7] as readonly (readonly CborValue[])[];
  const [one, two] = blocks as readonly [readonly CborValue[], readonly CborValue[]];
  const at = (index: number, value: CborValue) => fields.with(index, value);
  const block = (index: number, value: CborValue) => at(7, [one.with(index, value), two]);
  const digest = new Uint8Array(32).fill(7);
  const refused: readonly (readonly [CborValue, RegExp])[] = [
    [null, /not an array/],
    [fields.slice(1), /8 fields instead of 9/],
    [at(0, 'kosmos/bundle/v2'), /does not open with/],
    [at(1, 'text'), /agreement is not a byte string/],
    [at(1, null), /signatures of an agreement that is not in it/],
    [at(2, digest), /signatures of the agreement is not text/],
    [at(3, null), /policy is not text/],
    [at(4, [1]), /statements: an item is not a byte string/],
    [at(4, [new Uint8Array(65_537)]), /bytes of one statement/],
    [at(5, digest), /checkpoint is not text/],
    [at(6, [digest.subarray(1)]), /log proof: hash 1 has 31 bytes/],
    [at(7, [two, one]), /block 0 comes behind block 1/],
    [at(7, [one, one]), /block 0 comes behind block 0/],
    [at(7, [one.slice(1)]), /block 1: 4 fields instead of 5/],
    [block(0, -1), /log index is not a whole number/],
    [block(1, 'x'), /block 1: opening is not a byte string/],
    [block(2, [0, 1]), /2 positions, but 1 entries/],
    [block(2, [2n ** 60n]), /not a whole number/],
    [block(3, ['x']), /entries: an item is not a byte string/],
    [block(4, [new Uint8Array(33)]), /block 0: hash 1 has 33 bytes/],
    [at(7, [one.with(2, [1, 1]).with(3, [digest, digest])]), /positions are not ascending/],
    [at(8, [[digest]]), /opening 1: 1 fields instead of 2/],
    [at(8, [[digest.subarray(1), digest]]), /openings: hash 1 has 31 bytes/],
    [
      at(8, [
        [digest, digest],
        [digest, digest],
      ]),
      /opening 2 is not in the order/,
    ],
  ];
  for (const [value, why] of refused) {
    assert.throws(
      () => decodeExport(encodeCbor(value)),
      (error: Error) => {
        assert.equal(error.name, 'DecodeError');
        assert.match(error.message, why);
        return true;
      },
    );
  }
  assert.throws(() => decodeExport(new Uint8Array(MAX_EXPORT_BYTES + 1)), /at most 268435456 are allowed/);
  assert.throws(() => encodeExport({ ...bundleOf({ 0: [0] }), document: undefined }), RangeError);
  assert.throws(() => encodeExport({ ...bundleOf({ 0: [0] }), policy: '\ud800' }), RangeError);
  assert.equal(isExport(new Uint8Array(0)), false);
  assert.equal(isExport(encodeCbor(at(0, 'kosmos/bundle/v2'))), false);
});
