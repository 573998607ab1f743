import type { Verifier } from '#ed25519';
import { toHex } from '../encoding/base64.ts';
import { equalBytes } from '../encoding/cbor.ts';
import { keyIdOf, type Sign1, verifySign1 } from '../encoding/cose.ts';
import { type BlockOpening, blockSignature, decodeOpening, leafDataOf, readEntry } from './block.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { ExportBundle, ExportedBlock } from './export.ts';
import { leafHash } from './hash.ts';
import { rootFromMultiproof } from './multiproof.ts';
import {
  createPolicyJudge,
  formatPolicy,
  type Policy,
  type PolicyContext,
  type Witnessed,
} from './policy.ts';
import { quote } from './text.ts';
import { missingCosignatures } from './tlog-proof.ts';

/** A bundle that does not hold: the message says what is broken, and where. */
export interface BundleError extends Error {
  readonly name: 'BundleError';
  readonly part: 'checkpoint' | 'log proof' | 'block' | 'entry';
  /** Log index of the block, where one is to blame. */
  readonly block?: number;
  /** Of the entry in that block, where one is to blame. */
  readonly position?: number;
}

/** Under what entries stand, so that a key can be judged by the time of its witnesses. */
export interface Sealed {
  /** Of the log: a gateway's sample key speaks in that gateway's log alone. */
  readonly origin: string;
  readonly cosigned: readonly Witnessed[];
  /** The signed checkpoint itself, for whoever weighs its cosignatures anew. */
  readonly note: string;
}

/** The verifier of a sample key (by its COSE key identifier, 8 bytes), or undefined if it does not count here. */
export type SampleKeys = (keyId: Uint8Array, sealed: Sealed) => Verifier | undefined;

/** An entry that its gateway signed, and that witnesses saw the log hold. */
export interface VerifiedEntry {
  /** Log index of its block. */
  readonly block: number;
  readonly position: number;
  /** The entry as it stands in the block. */
  readonly bytes: Uint8Array;
  /** What was signed: of the kind that its first number says, not decoded further. */
  readonly payload: Uint8Array;
  readonly signedBy: 'entry' | 'block';
  readonly keyId: Uint8Array;
}

export interface VerifiedExport {
  readonly checkpoint: Checkpoint;
  readonly cosigned: readonly Witnessed[];
  /** Whether the bundle carries the very policy that it was judged by. */
  readonly samePolicy: boolean;
  /** How many entries each block has, shown or not. */
  readonly blocks: readonly { readonly index: number; readonly count: number }[];
  /** In the order of the log. */
  readonly entries: readonly VerifiedEntry[];
}

export interface ExportVerifierOptions {
  /** Which logs and witnesses to believe; whoever verifies has it from elsewhere, or from an agreement it trusts. */
  readonly policy: Policy;
  readonly sampleKeys: SampleKeys;
  readonly context?: PolicyContext;
}

/**
 * A verifier of bundles under one policy, to be made once and used often. It gives what a bundle proves, or
 * throws a BundleError: nothing of a bundle that is broken in one place is believed.
 */
export function createExportVerifier({
  policy,
  sampleKeys,
  context = {},
}: ExportVerifierOptions): (bundle: ExportBundle) => VerifiedExport {
  const judge = createPolicyJudge(policy, context);
  const policyText = formatPolicy(policy);
  return (bundle) => {
    const verdict = judge(bundle.checkpoint);
    if (verdict.kind === 'refused') throw broken(`checkpoint: ${verdict.reason}`, { part: 'checkpoint' });
    const { checkpoint, cosigned } = verdict;
    if (verdict.kind === 'unsatisfied') {
      throw broken(`checkpoint: ${missingCosignatures(cosigned, verdict.unverifiable)}`, {
        part: 'checkpoint',
      });
    }
    verifyLogProof(bundle, checkpoint);
    const keys = createKeyRing(sampleKeys, { origin: checkpoint.origin, cosigned, note: bundle.checkpoint });
    const blocks: { index: number; count: number }[] = [];
    const entries: VerifiedEntry[] = [];
    for (const block of bundle.blocks) {
      const opening = readBlock(block);
      blocks.push({ index: block.index, count: opening.count });
      verifyEntries(block, opening, keys, entries);
    }
    return { checkpoint, cosigned, samePolicy: bundle.policy === policyText, blocks, entries };
  };
}

/** Sample keys that all count, whatever the log and the time: for whoever has judged them already. */
export function sampleKeysOf(keys: readonly { publicKey: Uint8Array; verifier: Verifier }[]): SampleKeys {
  const known = new Map(keys.map(({ publicKey, verifier }) => [toHex(keyIdOf(publicKey)), verifier]));
  return (keyId) => known.get(toHex(keyId));
}

function verifyLogProof({ blocks, proof }: ExportBundle, { size, root }: Checkpoint): void {
  const leaves = blocks.map(({ opening }) => leafHash(leafDataOf(opening)));
  const indexes = blocks.map(({ index }) => index);
  const rebuilt = rootFromMultiproof(indexes, leaves, size, proof);
  if ('fault' in rebuilt) throw broken(`log proof: ${rebuilt.fault}`, { part: 'log proof' });
  if (!equalBytes(rebuilt.root, root)) {
    throw broken("log proof: blocks and proof do not lead to the checkpoint's root", { part: 'log proof' });
  }
}

function readBlock(block: ExportedBlock): BlockOpening {
  const blame = { part: 'block', block: block.index } as const;
  const opening = inside(blame, `block ${block.index}`, () => decodeOpening(block.opening));
  const rebuilt = rootFromMultiproof(
    block.positions,
    block.entries.map(leafHash),
    opening.count,
    block.hashes,
  );
  if ('fault' in rebuilt) throw broken(`block ${block.index}: ${rebuilt.fault}`, blame);
  if (!equalBytes(rebuilt.root, opening.root)) {
    throw broken(`block ${block.index}: entries and proof do not lead to the block's root`, blame);
  }
  return opening;
}

function verifyEntries(
  { index, positions, entries }: ExportedBlock,
  opening: BlockOpening,
  keys: KeyRing,
  into: VerifiedEntry[],
): void {
  // The block's signature is checked when the first entry needs it, then not again.
  let keyId: Uint8Array | undefined;
  positions.forEach((position, at) => {
    const bytes = entries[at]!;
    const what = `block ${index}, entry ${position}`;
    const blame = { part: 'entry', block: index, position } as const;
    const entry = inside(blame, what, () => readEntry(bytes));
    const { payload } = entry;
    if (entry.form === 'signed') {
      keys.verify(entry.message, what, blame);
      into.push({ block: index, position, bytes, payload, signedBy: 'entry', keyId: entry.message.keyId });
      return;
    }
    if (keyId === undefined) {
      const blameBlock = { part: 'block', block: index } as const;
      const message = inside(blameBlock, `block ${index}`, () => blockSignature(opening));
      keys.verify(message, `block ${index}`, blameBlock);
      keyId = message.keyId;
    }
    into.push({ block: index, position, bytes, payload, signedBy: 'block', keyId });
  });
}

interface KeyRing {
  /** Throws, blaming `blame`, unless a key that counts signed `message`. */
  verify(message: Sign1, what: string, blame: Blame): void;
}

function createKeyRing(sampleKeys: SampleKeys, sealed: Sealed): KeyRing {
  // A key is judged once a bundle; only keys that count are kept, so this does not grow with what is in it.
  const known = new Map<string, Verifier>();
  return {
    verify(message, what, blame) {
      const name = toHex(message.keyId);
      const verifier = known.get(name) ?? sampleKeys(message.keyId, sealed);
      if (verifier === undefined) {
        throw broken(`${what}: no sample key ${name} counts in the log ${quote(sealed.origin)}`, blame);
      }
      known.set(name, verifier);
      if (!verifySign1(message, verifier)) throw broken(`${what}: invalid signature of key ${name}`, blame);
    },
  };
}

type Blame = Pick<BundleError, 'part' | 'block' | 'position'>;

/** Runs `read`; what it throws is blamed on a place of the bundle. */
function inside<T>(blame: Blame, what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw broken(`${what}: ${(error as Error).message}`, blame);
  }
}

function broken(message: string, blame: Blame): BundleError {
  return Object.assign(new Error(`bundle: ${message}`), { name: 'BundleError' as const, ...blame });
}
