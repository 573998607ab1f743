import { toBase64 } from '../encoding/base64.ts';
import { equalBytes } from '../encoding/cbor.ts';
import { type Checkpoint, parseCheckpoint } from './checkpoint.ts';
import { COSIGNATURE_SCHEMES, type CosignatureScheme, createCheckpointVerifier } from './cosignature.ts';
import { emptyRoot } from './hash.ts';
import { formatNote, judgeNote, MAX_NOTE_BYTES, type Note, parseNote } from './note.ts';
import { type ProofPlan, planPrefix } from './proof.ts';
import { parseHash, quote, readText } from './text.ts';
import { rebuildPrefix } from './verify.ts';
import { ED25519_NOTE, formatVkey, parseVkey, type Vkey } from './vkey.ts';

/*
 * Evidence of equivocation: a file that convicts a key, read by anybody, offline.
 *
 *     kosmos/equivocation/v1
 *     key <verifier key>
 *     <hashes in base64, one a line: none for equal sizes>
 *
 *     <signed checkpoint of the smaller tree>
 *
 *     <signed checkpoint of the larger tree>
 *
 * A checkpoint's text has no empty lines, so empty lines alone tell the five parts apart. Of equal sizes the
 * smaller root comes first: one pair of checkpoints makes one file.
 */

const HEADER = 'kosmos/equivocation/v1';

/** More than planEvidence ever asks for: one hash a level, and the smaller tree's last subtree. */
const MAX_LINES = 64;

/** The longest evidence that is read, in bytes. */
export const MAX_EVIDENCE_BYTES = 2 * MAX_NOTE_BYTES + 16_384;

/** Two checkpoints, both signed by one key, that cannot both be true. */
export interface Evidence {
  /** The key that is accused: a log's (its name is the origin), or a cosigner's that cosigned both. */
  readonly vkey: Vkey;
  readonly smaller: Note;
  readonly larger: Note;
  /** What planEvidence asks for, read from the larger tree; empty for equal sizes. */
  readonly lines: readonly Uint8Array[];
}

/** What evidence comes to. */
export type EvidenceVerdict =
  | {
      readonly kind: 'proven';
      readonly origin: string;
      readonly sizes: readonly [number, number];
      /** One sentence for a person. */
      readonly finding: string;
    }
  | { readonly kind: 'unproven'; readonly reason: string };

/** Which hashes of the larger tree evidence needs: a few for each level, so it is small at any size. */
export function planEvidence(sizeA: number, sizeB: number): ProofPlan {
  if (sizeA === sizeB) return [];
  return planPrefix(Math.min(sizeA, sizeB), Math.max(sizeA, sizeB));
}

/** Evidence from two signed checkpoints in either order. Throws unless it convicts. */
export function createEvidence(
  vkey: Vkey,
  messages: readonly [Uint8Array | string, Uint8Array | string],
  lines: readonly Uint8Array[],
): Evidence {
  const [a, b] = [parseNote(messages[0]), parseNote(messages[1])];
  const [smaller, larger] = inOrder(parseCheckpoint(a.text), parseCheckpoint(b.text)) ? [a, b] : [b, a];
  const evidence: Evidence = { vkey, smaller, larger, lines };
  const verdict = judgeEvidence(evidence);
  if (verdict.kind === 'unproven') throw new Error(`this is no evidence: ${verdict.reason}`);
  return evidence;
}

/** Writes evidence as text. */
export function formatEvidence({ vkey, smaller, larger, lines }: Evidence): string {
  const head = [HEADER, `key ${formatVkey(vkey)}`, ...lines.map(toBase64)];
  return `${head.join('\n')}\n\n${formatNote(smaller)}\n${formatNote(larger)}`;
}

/** Reads evidence. Throws unless it is in its one canonical form; what it is worth, judgeEvidence says. */
export function parseEvidence(file: Uint8Array | string): Evidence {
  const text = readText(file, MAX_EVIDENCE_BYTES, 'evidence');
  const [head, textA, linesA, textB, linesB, ...more] = text.split('\n\n');
  if (
    head === undefined ||
    textA === undefined ||
    textB === undefined ||
    linesB === undefined ||
    more.length > 0
  ) {
    throw malformed('it must be a head and two signed checkpoints, with empty lines between');
  }
  const [header, keyLine, ...hashes] = head.split('\n');
  if (header !== HEADER) throw malformed(`it begins with ${quote(header ?? '')}, not with ${HEADER}`);
  if (keyLine === undefined || !keyLine.startsWith('key '))
    throw malformed('the second line must name the key');
  if (hashes.length > MAX_LINES) throw malformed(`more than ${MAX_LINES} hashes`);
  const lines = hashes.map((line) => {
    const hash = parseHash(line);
    if (hash === undefined) throw malformed(`${quote(line)} is not a hash`);
    return hash;
  });
  const smaller = parseNote(`${textA}\n\n${linesA}\n`);
  const larger = parseNote(`${textB}\n\n${linesB}`);
  if (!inOrder(parseCheckpoint(smaller.text), parseCheckpoint(larger.text))) {
    throw malformed('the smaller tree must come first, of equal sizes the smaller root');
  }
  const evidence = { vkey: parseVkey(keyLine.slice('key '.length)), smaller, larger, lines };
  if (formatEvidence(evidence) !== text) throw malformed('it is not in its canonical form');
  return evidence;
}

/**
 * Judges evidence from its own contents. `proven` means that whoever holds the key of `vkey` signed two views
 * that no append-only log can have; whose key that is, the agreement says, and the caller must look there.
 */
export function judgeEvidence(
  evidence: Evidence,
  schemes: readonly CosignatureScheme[] = COSIGNATURE_SCHEMES,
): EvidenceVerdict {
  const { vkey, smaller, larger, lines } = evidence;
  const verifier = createCheckpointVerifier(vkey, schemes);
  for (const [note, which] of [[smaller, 'smaller'] as const, [larger, 'larger'] as const]) {
    if (judgeNote(note, [verifier]).kind !== 'verified') {
      return unproven(`${quote(vkey.name)} has not signed the checkpoint of the ${which} tree`);
    }
  }
  const a = parseCheckpoint(smaller.text);
  const b = parseCheckpoint(larger.text);
  if (a.origin !== b.origin) return unproven('the checkpoints are of two logs');
  // A plain note key answers for its own log only; a cosigner answers for every log that it vouched for.
  if (vkey.type === ED25519_NOTE && vkey.name !== a.origin) {
    return unproven(`the key of ${quote(vkey.name)} does not speak for the log ${quote(a.origin)}`);
  }
  const finding = contradiction(a, b, lines);
  if ('reason' in finding) return unproven(finding.reason);
  return { kind: 'proven', origin: a.origin, sizes: [a.size, b.size], finding: finding.finding };
}

function contradiction(
  a: Checkpoint,
  b: Checkpoint,
  lines: readonly Uint8Array[],
): { readonly finding: string } | { readonly reason: string } {
  if (a.size > b.size) return { reason: 'the larger tree comes first' };
  if ((a.size === b.size || a.size === 0) && lines.length > 0)
    return { reason: 'it has hashes that prove nothing' };
  if (a.size === b.size) {
    if (equalBytes(a.root, b.root)) return { reason: 'both checkpoints have the same size and root' };
    return { finding: `two roots for the ${a.size} leaves of ${quote(a.origin)}` };
  }
  if (a.size === 0) {
    if (equalBytes(a.root, emptyRoot)) return { reason: 'every tree is consistent with the empty one' };
    return { finding: `a root for the empty tree of ${quote(a.origin)} that no empty tree has` };
  }
  const rebuilt = rebuildPrefix(a.size, b.size, lines);
  if ('fault' in rebuilt) return { reason: rebuilt.fault };
  if (!equalBytes(rebuilt.root, b.root))
    return { reason: 'the hashes do not lead to the root of the larger tree' };
  if (equalBytes(rebuilt.subtreeRoot, a.root))
    return { reason: 'the larger tree does begin with the smaller one' };
  return { finding: `the ${b.size} leaves of ${quote(a.origin)} do not begin with the ${a.size} it showed` };
}

function inOrder(a: Checkpoint, b: Checkpoint): boolean {
  if (a.size !== b.size) return a.size < b.size;
  const at = a.root.findIndex((byte, index) => byte !== b.root[index]);
  return at === -1 || a.root[at]! < b.root[at]!;
}

function unproven(reason: string): EvidenceVerdict {
  return { kind: 'unproven', reason };
}

function malformed(why: string): Error {
  return new Error(`malformed evidence: ${why}`);
}
