import { createVerifier } from '#ed25519';
import { encodeCbor } from '../../runtime/core/encoding/cbor.ts';
import { parseSign1 } from '../../runtime/core/encoding/cose.ts';
import { leafDataOf } from '../../runtime/core/log/block.ts';
import { formatCheckpoint } from '../../runtime/core/log/checkpoint.ts';
import { cosign, cosignatureTime } from '../../runtime/core/log/cosignature.ts';
import { decodeExport, encodeExport, showBlock } from '../../runtime/core/log/export.ts';
import { createExportVerifier } from '../../runtime/core/log/export-verifier.ts';
import { leafHash, nodeHash } from '../../runtime/core/log/hash.ts';
import { planMultiproof } from '../../runtime/core/log/multiproof.ts';
import { formatNote, parseNote, signNote } from '../../runtime/core/log/note.ts';
import { formatPolicy, type Policy } from '../../runtime/core/log/policy.ts';
import { readProofSync, readRoot } from '../../runtime/core/log/proof.ts';
import {
  blockOf,
  LOG,
  ORIGIN,
  POLICY,
  SAMPLE_KEYS,
  SAMPLE_SIGNER,
  WITNESSES,
} from '../../test/core/log/exports.ts';
import { alternate, type Bench } from './harness.ts';

const LIMIT = 1.3;
const SIZE = 10_000_000;
const INDEX = 7_654_321;
const BLOCK_ENTRIES = 1000;
const POSITION = 517;
const COSIGNATURES = 2;
const TURN = 200;
const RUNS = 15;

/** The bundle of one sample, in a block of 1,000 and a log of ten million; subtrees not on the way are made up. */
async function oneSample(
  policy: Policy,
): Promise<{ readonly bytes: Uint8Array; readonly note: string; readonly entry: Uint8Array }> {
  const block = blockOf(3, BLOCK_ENTRIES, () => false);
  const levels = [leafHash(leafDataOf(block.opening))];
  const reader = (level: number): Uint8Array => {
    while (levels.length <= level) levels.push(nodeHash(levels.at(-1)!, levels.at(-1)!));
    return levels[level]!;
  };
  const root = await readRoot(SIZE, reader);
  const text = formatCheckpoint({ origin: ORIGIN, size: SIZE, root, extensions: [] });
  const cosigned = WITNESSES.slice(0, COSIGNATURES).map((witness) => cosign(witness, text, 1_700_000_000));
  const note = formatNote({ text, signatures: [...signNote(text, [LOG]).signatures, ...cosigned] });
  const bytes = encodeExport({
    document: undefined,
    signatures: undefined,
    policy: formatPolicy(policy),
    statements: [],
    checkpoint: note,
    proof: readProofSync(planMultiproof([INDEX], SIZE), reader),
    blocks: [showBlock(INDEX, block.opening, block.entries, [POSITION])],
    openings: [],
  });
  return { bytes, note, entry: block.entries[POSITION]! };
}

/** Checks nothing but the signatures: the sample's, the log's and the witnesses'. */
function signaturesAlone(note: string, entry: Uint8Array): () => void {
  const { text, signatures } = parseNote(note);
  const message = parseSign1(entry);
  const encode = (value: string) => new TextEncoder().encode(value);
  const checks = [
    {
      verify: createVerifier(SAMPLE_SIGNER.publicKey),
      bytes: encodeCbor(['Signature1', message.protectedHeader, new Uint8Array(0), message.payload]),
      signature: message.signature,
    },
    { verify: createVerifier(LOG.vkey.key), bytes: encode(text), signature: signatures[0]!.signature },
    ...WITNESSES.slice(0, COSIGNATURES).map((witness, index) => {
      const line = signatures[1 + index]!;
      return {
        verify: createVerifier(witness.vkey.key),
        bytes: encode(`cosignature/v1\ntime ${cosignatureTime(line)}\n${text}`),
        signature: line.signature.subarray(8),
      };
    }),
  ];
  return () => {
    for (const { verify, bytes, signature } of checks) {
      if (!verify(bytes, signature)) throw new Error('a signature that was just made does not verify');
    }
  };
}

function microseconds(work: () => void): number {
  const started = performance.now();
  for (let turn = 0; turn < TURN; turn++) work();
  return ((performance.now() - started) * 1000) / TURN;
}

/** Reading and verifying the bundle of one sample, four signatures and both proofs, against the signatures alone. */
export const proofVerify: Bench = {
  name: 'proof-verify',
  unit: 'us',
  against: `the time of its four signatures (limit ${LIMIT})`,
  async run() {
    const members = POLICY.witnesses.slice(0, 3).map(({ name }) => name);
    const policy: Policy = {
      ...POLICY,
      groups: [{ name: 'q', threshold: COSIGNATURES, members }],
      quorum: 'q',
    };
    const { bytes, note, entry } = await oneSample(policy);
    const verify = createExportVerifier({ policy, sampleKeys: SAMPLE_KEYS });
    const whole = () => {
      if (verify(decodeExport(bytes)).entries.length !== 1) throw new Error('the bundle shows no sample');
    };
    const alone = signaturesAlone(note, entry);
    const { a, b } = await alternate(
      () => microseconds(whole),
      () => microseconds(alone),
      { runs: RUNS },
    );
    return {
      value: a.min,
      // The least of each: whatever else the machine does only adds.
      ratio: a.min / b.min,
      sides: { 'whole bundle': a, 'signatures alone': b },
      note: `${bytes.length} bytes, a block of ${BLOCK_ENTRIES} entries, a log of ${SIZE} leaves`,
    };
  },
};
