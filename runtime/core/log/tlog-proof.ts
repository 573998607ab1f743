import { toBase64, tryBase64 } from '../encoding/base64.ts';
import { type Checkpoint, parseCheckpoint } from './checkpoint.ts';
import { HASH_LENGTH, leafHash } from './hash.ts';
import { formatNote, MAX_NOTE_BYTES, type Note, parseNote } from './note.ts';
import { createPolicyJudge, type Policy, type PolicyContext, type Witnessed } from './policy.ts';
import { assertSize, parseSize } from './size.ts';
import { parseHash, quote, readText } from './text.ts';
import { inclusionFault } from './verify.ts';

/*
 * Transparency log proofs (C2SP tlog-proof): that an entry is in a log and that witnesses saw it there, read
 * by anybody who knows the log and the witnesses, offline.
 *
 *     c2sp.org/tlog-proof@v1
 *     extra <base64>                          (not there if there is no extra data)
 *     index <decimal>
 *     <inclusion proof in base64, one hash a line, from the leaf's sibling up>
 *
 *     <signed checkpoint>
 */

const HEADER = 'c2sp.org/tlog-proof@v1';

/** More than a tree of 2^53-1 leaves has levels. */
const MAX_PROOF_HASHES = 63;

/** The longest extra data that is read, in bytes. */
export const MAX_EXTRA_BYTES = 65_536;

/** The longest proof that is read, in bytes. */
export const MAX_TLOG_PROOF_BYTES = MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES + 4096;

/** A proof as it was read: nothing about it is verified. */
export interface TlogProof {
  /** What the application put beside the proof, at least one byte. Nobody has signed it, ever. */
  readonly extra?: Uint8Array;
  readonly index: number;
  /** RFC 6962, section 2.1.1. */
  readonly hashes: readonly Uint8Array[];
  readonly checkpoint: Note;
}

/** Writes a proof. Throws if it would not be read back. */
export function formatTlogProof(proof: TlogProof): string {
  const { extra, index, hashes, checkpoint } = proof;
  assertSize(index, 'the index of the entry');
  parseCheckpoint(checkpoint.text);
  if (hashes.length > MAX_PROOF_HASHES) throw new RangeError(`${hashes.length} hashes are too many`);
  const bad = hashes.find((hash) => hash.length !== HASH_LENGTH);
  if (bad !== undefined) throw new RangeError(`a hash of a proof has 32 bytes, not ${bad.length}`);
  if (extra !== undefined && (extra.length === 0 || extra.length > MAX_EXTRA_BYTES)) {
    throw new RangeError(`extra data have 1 to ${MAX_EXTRA_BYTES} bytes, not ${extra.length}`);
  }
  const lines = [
    HEADER,
    ...(extra === undefined ? [] : [`extra ${toBase64(extra)}`]),
    `index ${index}`,
    ...hashes.map(toBase64),
  ];
  return `${lines.join('\n')}\n\n${formatNote(checkpoint)}`;
}

/** Reads a proof. Throws unless it is in its one canonical form; what it is worth, verifyTlogProof says. */
export function parseTlogProof(file: Uint8Array | string): TlogProof {
  const text = readText(file, MAX_TLOG_PROOF_BYTES, 'tlog-proof');
  const split = text.indexOf('\n\n');
  if (split === -1) throw malformed('no empty line before the checkpoint');
  const [header, ...lines] = text.slice(0, split).split('\n');
  if (header !== HEADER) throw malformed(`it begins with ${quote(header ?? '')}, not with ${HEADER}`);
  const extra = lines[0]?.startsWith('extra ') ? parseExtra(lines.shift()!) : undefined;
  const indexLine = lines.shift() ?? '';
  const index = indexLine.startsWith('index ') ? parseSize(indexLine.slice('index '.length)) : undefined;
  if (index === undefined) throw malformed(`${quote(indexLine)} is not an index line`);
  if (lines.length > MAX_PROOF_HASHES) throw malformed(`more than ${MAX_PROOF_HASHES} hashes`);
  const hashes = lines.map((line) => {
    const hash = parseHash(line);
    if (hash === undefined) throw malformed(`${quote(line)} is not a hash`);
    return hash;
  });
  const checkpoint = parseNote(text.slice(split + 2));
  const proof: TlogProof = { ...(extra !== undefined && { extra }), index, hashes, checkpoint };
  if (formatTlogProof(proof) !== text) throw malformed('it is not in its canonical form');
  return proof;
}

function parseExtra(line: string): Uint8Array {
  const extra = tryBase64(line.slice('extra '.length));
  if (extra === undefined || extra.length === 0 || extra.length > MAX_EXTRA_BYTES) {
    throw malformed(`${quote(line)} is no line of extra data: 1 to ${MAX_EXTRA_BYTES} bytes in base64`);
  }
  return extra;
}

/** What a proof is worth for an entry under a policy. Only `proven` makes the entry logged and witnessed. */
export type TlogProofVerdict =
  | {
      readonly kind: 'proven';
      readonly checkpoint: Checkpoint;
      readonly cosigned: readonly Witnessed[];
      readonly index: number;
      /** Not authenticated: whoever handed the proof on can have changed it. */
      readonly extra?: Uint8Array;
    }
  | { readonly kind: 'refused'; readonly reason: string };

/** Judges a proof for one entry, given as the bytes that the log holds. Never throws for what is in `file`. */
export function verifyTlogProof(
  file: Uint8Array | string,
  entry: Uint8Array,
  policy: Policy,
  context: PolicyContext = {},
): TlogProofVerdict {
  return createTlogProofVerifier(policy, context)(file, entry);
}

/** As verifyTlogProof, for many proofs under one policy: keys are read once. Throws if no log is accepted. */
export function createTlogProofVerifier(
  policy: Policy,
  context: PolicyContext = {},
): (file: Uint8Array | string, entry: Uint8Array) => TlogProofVerdict {
  const judge = createPolicyJudge(policy, context);
  return (file, entry) => {
    let proof: TlogProof;
    try {
      proof = parseTlogProof(file);
    } catch (error) {
      return refused((error as Error).message);
    }
    const { extra, index, hashes } = proof;
    const verdict = judge(formatNote(proof.checkpoint));
    if (verdict.kind === 'refused') return refused(verdict.reason);
    if (verdict.kind === 'unsatisfied')
      return refused(missingCosignatures(verdict.cosigned, verdict.unverifiable));
    const { checkpoint, cosigned } = verdict;
    const fault = inclusionFault(leafHash(entry), index, checkpoint.size, hashes, checkpoint.root);
    if (fault !== undefined) return refused(`bad inclusion proof: ${fault}`);
    return { kind: 'proven', checkpoint, cosigned, index, ...(extra !== undefined && { extra }) };
  };
}

/** Says who cosigned where it is not enough, and whose signature nobody here can check. */
export function missingCosignatures(cosigned: readonly Witnessed[], unverifiable: readonly string[]): string {
  const by = cosigned.length === 0 ? 'nobody' : cosigned.map(({ witness }) => quote(witness)).join(', ');
  const besides =
    unverifiable.length === 0
      ? ''
      : `; the signatures of ${unverifiable.map(quote).join(', ')} cannot be verified here`;
  return `the policy's quorum is not reached: cosigned by ${by}${besides}`;
}

function refused(reason: string): TlogProofVerdict {
  return { kind: 'refused', reason };
}

function malformed(why: string): Error {
  return new Error(`malformed tlog-proof: ${why}`);
}
