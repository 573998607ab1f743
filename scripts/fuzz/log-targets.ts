import { encodeCbor } from '../../runtime/core/encoding/cbor.ts';
import {
  decodeLeafData,
  decodeOpening,
  encodeOpening,
  encodeSalted,
  leafDataOf,
  readEntry,
} from '../../runtime/core/log/block.ts';
import { decodeBundle, encodeBundle } from '../../runtime/core/log/bundle.ts';
import { formatCheckpoint, parseCheckpoint } from '../../runtime/core/log/checkpoint.ts';
import {
  createEvidence,
  formatEvidence,
  parseEvidence,
  planEvidence,
} from '../../runtime/core/log/evidence.ts';
import { decodeExport, encodeExport } from '../../runtime/core/log/export.ts';
import {
  formatNote,
  formatSignatureLines,
  parseNote,
  parseSignatureLines,
  signNote,
} from '../../runtime/core/log/note.ts';
import { formatPolicy, parsePolicy } from '../../runtime/core/log/policy.ts';
import { inclusionProofOf, readerOf, readProofSync } from '../../runtime/core/log/proof.ts';
import { decodeUtf8 } from '../../runtime/core/log/text.ts';
import { formatTilePath, parseTilePath } from '../../runtime/core/log/tiles.ts';
import { formatTlogProof, parseTlogProof } from '../../runtime/core/log/tlog-proof.ts';
import { createVkey, formatVkey, ML_DSA_44_COSIGNATURE, parseVkey } from '../../runtime/core/log/vkey.ts';
import {
  formatAddCheckpoint,
  formatConflict,
  parseAddCheckpoint,
  parseConflict,
} from '../../runtime/core/log/witness.ts';
import {
  BLOCKS,
  bundleOf,
  checkpointOf,
  LOG,
  ORIGIN,
  POLICY,
  WITNESSES,
} from '../../test/core/log/exports.ts';
import { naiveRoot, someLeaves } from '../../test/core/log/naive.ts';
import { encodeSign1 } from './encoding-targets.ts';
import { fuzzDecoder, type Target } from './fuzz.ts';

const LEAVES = someLeaves(40);
const FORK = [...LEAVES.slice(0, 5), ...someLeaves(35, 'fork')];
const NOTE = checkpointOf(BLOCKS);
const WIDTH = 4;

function signed(leaves: readonly Uint8Array[], size: number): string {
  const text = formatCheckpoint({
    origin: ORIGIN,
    size,
    root: naiveRoot(leaves.slice(0, size)),
    extensions: [],
  });
  return formatNote(signNote(text, [LOG]));
}

/** Evidence of a fork between two sizes. */
function evidence(small: number, large: number): string {
  const lines = readProofSync(planEvidence(small, large), readerOf(FORK));
  return formatEvidence(createEvidence(LOG.vkey, [signed(LEAVES, small), signed(FORK, large)], lines));
}

/** Refuses what is no UTF-8, as every reader of text here does before it begins. */
function textual<T>(parse: (text: string) => T): (input: Uint8Array) => T | undefined {
  return (input) => {
    const text = decodeUtf8(input);
    return text === undefined ? undefined : parse(text);
  };
}

const NOTES: readonly string[] = [
  NOTE,
  checkpointOf(BLOCKS, [1]),
  `any text\n\nat all\n\n${NOTE.slice(NOTE.indexOf('\u2014'))}`,
];

const POLICIES: readonly string[] = [
  formatPolicy(POLICY),
  `# by hand\n\nlog ${formatVkey(LOG.vkey)} https://log.example/\nwitness a ${formatVkey(WITNESSES[0]!.vkey)}\n \t\nwitness b\t${formatVkey(WITNESSES[1]!.vkey)}\ngroup g any a b\nquorum g\n`,
  `log ${formatVkey(LOG.vkey)}\nquorum none\n`,
];

const TLOG_PROOFS: readonly string[] = [0, 12, 30].map((index) =>
  formatTlogProof({
    ...(index > 0 && { extra: Uint8Array.of(index, 1) }),
    index,
    hashes: inclusionProofOf(LEAVES.slice(0, 31), index),
    checkpoint: parseNote(NOTE),
  }),
);

const ADD_CHECKPOINTS: readonly string[] = [
  formatAddCheckpoint(0, [], NOTE),
  formatAddCheckpoint(5, inclusionProofOf(LEAVES, 5), NOTE),
];

export const LOG_TARGETS: readonly Target[] = [
  fuzzDecoder('note', parseNote, formatNote, NOTES),
  fuzzDecoder('signature lines', textual(parseSignatureLines), formatSignatureLines, [
    NOTE.slice(NOTE.indexOf('\u2014')),
  ]),
  fuzzDecoder('checkpoint', textual(parseCheckpoint), formatCheckpoint, [
    parseNote(NOTE).text,
    formatCheckpoint({ origin: 'o', size: 2 ** 53 - 1, root: LEAVES[0]!, extensions: ['more', '\u00fc'] }),
  ]),
  fuzzDecoder('vkey', textual(parseVkey), formatVkey, [
    formatVkey(LOG.vkey),
    formatVkey(WITNESSES[0]!.vkey),
    formatVkey(createVkey('\u00fc', 77, new Uint8Array(3).fill(250))),
    formatVkey(createVkey('q', ML_DSA_44_COSIGNATURE, new Uint8Array(1312).fill(3))),
  ]),
  {
    // Comments and spaces may stand in a policy, so it has many forms; each has one meaning, written in one.
    name: 'policy',
    seeds: POLICIES.map((text) => new TextEncoder().encode(text)),
    check(input, broken) {
      const written = formatPolicy(parsePolicy(input));
      return (
        formatPolicy(parsePolicy(written)) === written || broken(`written ${written}, it reads otherwise`)
      );
    },
  },
  fuzzDecoder('tile path', textual(parseTilePath), formatTilePath, [
    ...['tile/0/000', 'tile/63/x001/x234/067.p/255', 'tile/entries/x001/000', 'tile/1/999.p/1'],
    'tile/0/x009/x007/x199/x254/x740/991',
  ]),
  fuzzDecoder('entry bundle', (input) => decodeBundle(input, WIDTH), encodeBundle, [
    encodeBundle(Array.from({ length: WIDTH }, (_, i) => leafDataOf(BLOCKS[i]!.opening))),
    encodeBundle([new Uint8Array(0), new Uint8Array(300), new Uint8Array(1), new Uint8Array(0)]),
  ]),
  fuzzDecoder(
    'witness body',
    parseAddCheckpoint,
    ({ oldSize, proof, note, signatureFault }) =>
      // Signature lines that cannot be read are kept as a reason, not as lines.
      signatureFault === undefined ? formatAddCheckpoint(oldSize, proof, formatNote(note)) : undefined,
    ADD_CHECKPOINTS,
  ),
  fuzzDecoder('conflict body', parseConflict, formatConflict, ['0\n', '20852163\n', '9007199254740991\n']),
  fuzzDecoder('evidence', parseEvidence, formatEvidence, [evidence(9, 9), evidence(7, 38), evidence(32, 33)]),
  fuzzDecoder('tlog-proof', parseTlogProof, formatTlogProof, TLOG_PROOFS),
  fuzzDecoder(
    'opening',
    decodeOpening,
    encodeOpening,
    BLOCKS.slice(0, 4).map(({ opening }) => opening),
  ),
  fuzzDecoder('leaf data', decodeLeafData, (digest) => encodeCbor([2, digest]), [
    leafDataOf(BLOCKS[0]!.opening),
  ]),
  fuzzDecoder(
    'block entry',
    readEntry,
    (entry) => (entry.form === 'signed' ? encodeSign1(entry.message) : undefined),
    [BLOCKS[0]!.entries[0]!, BLOCKS[1]!.entries[0]!, encodeSalted(new Uint8Array(16), new Uint8Array(0))],
  ),
  fuzzDecoder('export', decodeExport, encodeExport, [
    encodeExport(bundleOf({ 0: [0], 1: [1, 4], 2: [0, 1], 3: [] })),
    encodeExport({ ...bundleOf({ 8: [3] }), document: undefined, signatures: undefined, openings: [] }),
    encodeExport({ ...bundleOf({}), statements: [] }),
  ]),
];
