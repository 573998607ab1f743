import { toHex } from '../../runtime/core/encoding/base64.ts';
import { type CborValue, decodeCbor, encodeCbor } from '../../runtime/core/encoding/cbor.ts';
import { leafDataOf } from '../../runtime/core/log/block.ts';
import { judgeEvidence, parseEvidence } from '../../runtime/core/log/evidence.ts';
import { decodeExport, encodeExport, showBlock } from '../../runtime/core/log/export.ts';
import { createExportVerifier } from '../../runtime/core/log/export-verifier.ts';
import { leafHash } from '../../runtime/core/log/hash.ts';
import { planMultiproof, rootFromMultiproof } from '../../runtime/core/log/multiproof.ts';
import { createNoteVerifier, parseNote } from '../../runtime/core/log/note.ts';
import { createPolicyJudge } from '../../runtime/core/log/policy.ts';
import {
  consistencyProofSync,
  inclusionProofOf,
  inclusionProofSync,
  readerOf,
  readProofSync,
} from '../../runtime/core/log/proof.ts';
import { hashReaderFromTiles } from '../../runtime/core/log/tiles.ts';
import {
  createTlogProofVerifier,
  formatTlogProof,
  parseTlogProof,
} from '../../runtime/core/log/tlog-proof.ts';
import { treeRoot } from '../../runtime/core/log/tree.ts';
import { consistencyFault, inclusionFault } from '../../runtime/core/log/verify.ts';
import { formatAddCheckpoint, judge, parseAddCheckpoint } from '../../runtime/core/log/witness.ts';
import {
  BLOCKS,
  bundleOf,
  checkpointOf,
  LOG,
  ORIGIN,
  POLICY,
  SAMPLE_KEYS,
} from '../../test/core/log/exports.ts';
import { someLeaves } from '../../test/core/log/naive.ts';
import type { Target } from './fuzz.ts';
import { LOG_TARGETS } from './log-targets.ts';

/*
 * Judges instead of decoders: whatever they are fed, they throw nothing, and believe nothing that is not true
 * of the one log that exists.
 */

const SIZE = 21;
const LEAVES = someLeaves(SIZE);
const READER = readerOf(LEAVES);
const ROOT = toHex(treeRoot(LEAVES));
const LOG_LEAVES = BLOCKS.map(({ opening }) => leafHash(leafDataOf(opening)));
const LOG_READER = readerOf(LOG_LEAVES);
const LOG_ROOTS = LOG_LEAVES.map((_, i) => toHex(treeRoot(LOG_LEAVES.slice(0, i + 1))));
const CHECKPOINT = checkpointOf(BLOCKS);

const numbers = (value: CborValue | undefined): number[] =>
  Array.isArray(value) ? value.map((item) => (typeof item === 'number' ? item : Number.NaN)) : [];
const hashes = (value: CborValue | undefined): Uint8Array[] =>
  Array.isArray(value) ? value.map((item) => (item instanceof Uint8Array ? item : new Uint8Array(0))) : [];
const fields = (input: Uint8Array): readonly CborValue[] => {
  const value = decodeCbor(input);
  return Array.isArray(value) ? (value as readonly CborValue[]) : [];
};

const same = (a: readonly Uint8Array[], b: readonly Uint8Array[]) =>
  a.length === b.length && a.every((one, at) => toHex(one) === toHex(b[at]!));

function multiproofSeed(indexes: readonly number[]): Uint8Array {
  const proof = readProofSync(planMultiproof(indexes, SIZE), READER);
  return encodeCbor([SIZE, indexes, indexes.map((i) => LEAVES[i]!), proof]);
}

const multiproof: Target = {
  name: 'multiproof',
  seeds: [[], [0], [20], [3, 4, 17], LEAVES.map((_, i) => i)].map(multiproofSeed),
  check(input, broken) {
    const [size, positions, leaves, proof] = fields(input);
    const indexes = numbers(positions);
    const shown = hashes(leaves);
    const rebuilt = rootFromMultiproof(indexes, shown, Number(size), hashes(proof));
    if ('fault' in rebuilt || toHex(rebuilt.root) !== ROOT || size !== SIZE) return false;
    const wrong = indexes.find((index, at) => toHex(shown[at]!) !== toHex(LEAVES[index]!));
    if (wrong !== undefined) return broken(`another leaf ${wrong} was proved`);
    const only = readProofSync(planMultiproof(indexes, SIZE), READER);
    return same(hashes(proof), only) || broken('there is a second proof');
  },
};

const inclusion: Target = {
  name: 'inclusion proof',
  seeds: [0, 7, 16, 20].map((i) => encodeCbor([i, SIZE, LEAVES[i]!, inclusionProofOf(LEAVES, i)])),
  check(input, broken) {
    const [index, size, leaf, proof] = fields(input);
    const shown = leaf instanceof Uint8Array ? leaf : new Uint8Array(0);
    const fault = inclusionFault(shown, Number(index), Number(size), hashes(proof), treeRoot(LEAVES));
    if (fault !== undefined || size !== SIZE) return false;
    if (toHex(LEAVES[Number(index)]!) !== toHex(shown)) return broken(`another leaf ${index} was proved`);
    return same(hashes(proof), inclusionProofOf(LEAVES, Number(index))) || broken('there is a second proof');
  },
};

const consistency: Target = {
  name: 'consistency proof',
  seeds: [1, 8, 13, 20].map((old) => {
    const proof = consistencyProofSync(old, SIZE, READER);
    return encodeCbor([old, SIZE, treeRoot(LEAVES.slice(0, old)), proof]);
  }),
  check(input, broken) {
    const [old, size, root, proof] = fields(input);
    const given = root instanceof Uint8Array ? root : new Uint8Array(0);
    const fault = consistencyFault(Number(old), Number(size), hashes(proof), given, treeRoot(LEAVES));
    if (fault !== undefined || size !== SIZE) return false;
    const really = treeRoot(LEAVES.slice(0, Number(old)));
    if (toHex(really) !== toHex(given)) return broken(`another root of ${old} leaves was proved`);
    const only = consistencyProofSync(Number(old), SIZE, READER);
    return same(hashes(proof), only) || broken('there is a second proof');
  },
};

/** A tile as a log serves it: what a proof made of it proves, is true, or the tile is another and proves nothing. */
const tile: Target = {
  name: 'tile',
  seeds: [new Uint8Array(Buffer.concat(LEAVES))],
  check(input, broken) {
    const reader = hashReaderFromTiles(SIZE, () => input);
    const proof = inclusionProofSync(7, SIZE, reader);
    if (inclusionFault(LEAVES[7]!, 7, SIZE, proof, treeRoot(LEAVES)) !== undefined) return false;
    const wrong = LEAVES.findIndex((leaf, at) => at !== 7 && toHex(leaf) !== toHex(reader(0, at)));
    return wrong === -1 || broken(`a tile with another leaf ${wrong} gave a proof`);
  },
};

const witnessing: Target = {
  name: 'witness judge',
  seeds: [4, 8].map((old) =>
    new TextEncoder().encode(
      formatAddCheckpoint(old, consistencyProofSync(old, BLOCKS.length, readerOf(LOG_LEAVES)), CHECKPOINT),
    ),
  ),
  check(input, broken) {
    const request = parseAddCheckpoint(input);
    const known = [0, 4, 8].includes(request.oldSize) ? request.oldSize : 4;
    const root = treeRoot(LOG_LEAVES.slice(0, known));
    const { origin } = request.checkpoint;
    const stored = origin === ORIGIN && known > 0 ? { origin, size: known, root } : undefined;
    const verifiers = [createNoteVerifier(LOG.vkey)];
    const judgement = judge(request, stored, (asked) => (asked === ORIGIN ? verifiers : undefined));
    if (judgement.kind !== 'accept') return false;
    const { head } = judgement;
    return (
      (head.origin === ORIGIN && LOG_ROOTS[head.size - 1] === toHex(head.root)) ||
      broken(`a head that the log never had was accepted: ${head.size}`)
    );
  },
};

const judgePolicy = createPolicyJudge(POLICY);

const policyJudge: Target = {
  name: 'policy judge',
  seeds: [new TextEncoder().encode(CHECKPOINT)],
  check(input, broken) {
    const verdict = judgePolicy(input);
    if (verdict.kind !== 'satisfied') return false;
    const { origin, size, root } = verdict.checkpoint;
    const real = origin === ORIGIN && LOG_ROOTS[size - 1] === toHex(root);
    return real || broken(`a checkpoint that nobody signed satisfies: ${origin} ${size}`);
  },
};

const verifyProof = createTlogProofVerifier(POLICY);
const ENTRY = leafDataOf(BLOCKS[6]!.opening);

const tlogProof: Target = {
  name: 'tlog-proof judge',
  seeds: [
    new TextEncoder().encode(
      formatTlogProof({
        index: 6,
        hashes: inclusionProofOf(LOG_LEAVES, 6),
        checkpoint: parseNote(CHECKPOINT),
      }),
    ),
  ],
  check(input, broken) {
    const verdict = verifyProof(input, ENTRY);
    if (verdict.kind === 'refused') return false;
    if (verdict.index !== 6) return broken(`the entry was proved at ${verdict.index}`);
    return (
      same(parseTlogProof(input).hashes, inclusionProofOf(LOG_LEAVES, 6)) || broken('there is a second proof')
    );
  },
};

const verifyExport = createExportVerifier({ policy: POLICY, sampleKeys: SAMPLE_KEYS });

const exported: Target = {
  name: 'export judge',
  refusals: ['DecodeError', 'BundleError'],
  seeds: [encodeExport(bundleOf({ 0: [0], 2: [0, 1], 5: [3] })), encodeExport(bundleOf({ 3: [], 9: [0] }))],
  check(input, broken) {
    const bundle = decodeExport(input);
    for (const { block, position, bytes } of verifyExport(bundle).entries) {
      const really = BLOCKS[block]?.entries[position];
      if (really === undefined || toHex(really) !== toHex(bytes))
        broken(`block ${block} has no such ${position}`);
    }
    // What is only carried may be anything; of proofs there is one.
    const indexes = bundle.blocks.map(({ index }) => index);
    const proof = readProofSync(planMultiproof(indexes, BLOCKS.length), LOG_READER);
    const blocks = bundle.blocks.map(({ index, positions }) =>
      showBlock(index, BLOCKS[index]!.opening, BLOCKS[index]!.entries, positions),
    );
    const only = encodeExport({ ...bundle, proof, blocks });
    if (toHex(only) !== toHex(input)) broken('there is a second proof');
    return true;
  },
};

const EVIDENCE_SEEDS = LOG_TARGETS.find(({ name }) => name === 'evidence')!.seeds;

const evidence: Target = {
  name: 'evidence judge',
  seeds: EVIDENCE_SEEDS,
  check(input, broken) {
    const verdict = judgeEvidence(parseEvidence(input));
    if (verdict.kind !== 'proven') return false;
    const pairs = ['9,9', '7,38', '32,33'];
    const sizes = verdict.sizes.join(',');
    return (
      (verdict.origin === ORIGIN && pairs.includes(sizes)) || broken(`${sizes} convicts ${verdict.origin}`)
    );
  },
};

export const PROOF_TARGETS: readonly Target[] = [
  ...[multiproof, inclusion, consistency, tile, witnessing, policyJudge, tlogProof, exported, evidence],
];
