import { createVerifier } from '#ed25519';
import { createSign1Signer, type Sign1Signer } from '../../../runtime/core/encoding/cose.ts';
import { encodeSample } from '../../../runtime/core/encoding/sample.ts';
import { encodeOpening, encodeSalted, leafDataOf, openingOf } from '../../../runtime/core/log/block.ts';
import { formatCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { cosign } from '../../../runtime/core/log/cosignature.ts';
import { type ExportBundle, type ExportedBlock, showBlock } from '../../../runtime/core/log/export.ts';
import { sampleKeysOf } from '../../../runtime/core/log/export-verifier.ts';
import { leafHash } from '../../../runtime/core/log/hash.ts';
import { planMultiproof } from '../../../runtime/core/log/multiproof.ts';
import { formatNote, signNote } from '../../../runtime/core/log/note.ts';
import { consortiumPolicy, formatPolicy } from '../../../runtime/core/log/policy.ts';
import { readerOf, readProofSync } from '../../../runtime/core/log/proof.ts';
import { treeRoot } from '../../../runtime/core/log/tree.ts';
import { cosignerOf, logOf, signerOf } from './keys.ts';

/** A gateway's log with blocks of both forms, and the bundles that it could export: made of fixed keys and salts. */
export const ORIGIN = 'example.com/plant/gw1';
export const LOG = logOf(ORIGIN, 1);
export const WITNESSES = [0, 1, 2].map((i) => cosignerOf(`witness.example/w${i}`, 10 + i));
export const SAMPLE_SIGNER = signerOf(20);
export const SAMPLE_KEY = createSign1Signer(SAMPLE_SIGNER);
export const SAMPLE_KEYS = sampleKeysOf([
  { publicKey: SAMPLE_SIGNER.publicKey, verifier: createVerifier(SAMPLE_SIGNER.publicKey) },
]);
export const POLICY = consortiumPolicy(
  [LOG.vkey],
  WITNESSES.map(({ vkey }, i) => ({ name: `member${i}`, witnesses: [vkey] })),
);

export interface Block {
  readonly opening: Uint8Array;
  readonly entries: readonly Uint8Array[];
}

function payloadOf(block: number, position: number): Uint8Array {
  return encodeSample({
    machine: 'press-1',
    stream: position % 2 === 0 ? 'spindle' : 'ram',
    incarnation: 0,
    sequence: 100 * block + position,
    time: 1_700_000_000_000 + 1000 * block + position,
    clock: 'synchronised',
    values: [block + position / 10, -1.5],
  });
}

/** A block of `count` entries; `salted` says which have no signature of their own. */
export function blockOf(
  number: number,
  count: number,
  salted: (position: number) => boolean,
  signer: Sign1Signer = SAMPLE_KEY,
): Block {
  const entries = Array.from({ length: count }, (_, at) => {
    const payload = payloadOf(number, at);
    return salted(at) ? encodeSalted(new Uint8Array(16).fill(number + at), payload) : signer.sign(payload);
  });
  const signs = entries.some((_, at) => salted(at));
  const opening = openingOf(entries, new Uint8Array(32).fill(number), signs ? signer : undefined);
  return { opening: encodeOpening(opening), entries };
}

/** Signed one by one, signed as a block, mixed, and a padding block without entries, in turn. */
export const BLOCKS: readonly Block[] = Array.from({ length: 11 }, (_, number) => {
  const form = number % 4;
  return blockOf(
    number,
    form === 3 ? 0 : 1 + ((number * 5) % 9),
    (at) => form === 1 || (form === 2 && at % 2 === 0),
  );
});

export function checkpointOf(blocks: readonly Block[], witnesses = [0, 1, 2], size = blocks.length): string {
  const root = treeRoot(blocks.slice(0, size).map(({ opening }) => leafHash(leafDataOf(opening))));
  const text = formatCheckpoint({ origin: ORIGIN, size, root, extensions: [] });
  const note = signNote(text, [LOG]);
  const cosigned = witnesses.map((i) => cosign(WITNESSES[i]!, text, 1_700_000_000 + i));
  return formatNote({ text, signatures: [...note.signatures, ...cosigned] });
}

/** The bundle of the entries at `positions[block]`; of a block that is not named, nothing. */
export function bundleOf(
  positions: Readonly<Record<number, readonly number[]>>,
  blocks: readonly Block[] = BLOCKS,
): ExportBundle {
  const indexes = Object.keys(positions).map(Number);
  const shown: ExportedBlock[] = indexes.map((index) => {
    const { opening, entries } = blocks[index]!;
    return showBlock(index, opening, entries, positions[index]!);
  });
  const leaves = blocks.map(({ opening }) => leafHash(leafDataOf(opening)));
  return {
    document: new TextEncoder().encode('members = 3\n'),
    signatures: 'not read here',
    policy: formatPolicy(POLICY),
    statements: [Uint8Array.of(1, 2), Uint8Array.of(3)],
    checkpoint: checkpointOf(blocks),
    proof: readProofSync(planMultiproof(indexes, blocks.length), readerOf(leaves)),
    blocks: shown,
    openings: [{ digest: new Uint8Array(32).fill(7), opening: Uint8Array.of(9) }],
  };
}
