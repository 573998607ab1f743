import { toBase64 } from '../encoding/base64.ts';
import { equalBytes } from '../encoding/cbor.ts';
import { type Checkpoint, parseCheckpoint } from './checkpoint.ts';
import { emptyRoot, HASH_LENGTH } from './hash.ts';
import {
  judgeNote,
  MAX_NOTE_BYTES,
  type Note,
  type NoteVerifier,
  parseSignatureLines,
  splitNote,
} from './note.ts';
import { assertSize, parseSize } from './size.ts';
import { parseHash, quote, readText } from './text.ts';
import { consistencyFault } from './verify.ts';

/** The most lines a consistency proof may have (C2SP tlog-witness). */
export const MAX_PROOF_LINES = 63;

/** The longest body of an add-checkpoint request that is read, in bytes. */
export const MAX_REQUEST_BYTES = MAX_NOTE_BYTES + 4096;

/** The media type of the body of a 409 answer. */
export const SIZE_MEDIA_TYPE = 'text/x.tlog.size';

/** An add-checkpoint request: well-formed, but nothing in it verified. */
export interface AddCheckpoint {
  readonly oldSize: number;
  readonly proof: readonly Uint8Array[];
  readonly note: Note;
  /** What the note says. */
  readonly checkpoint: Checkpoint;
  /** Why the signature lines could not be read; then `note` has none, and the log has signed nothing: 403. */
  readonly signatureFault?: string;
}

/** Writes the body of an add-checkpoint request; `note` is the signed checkpoint, verbatim. */
export function formatAddCheckpoint(oldSize: number, proof: readonly Uint8Array[], note: string): string {
  assertSize(oldSize, 'the old size');
  if (proof.length > MAX_PROOF_LINES) {
    throw new RangeError(`a consistency proof has at most ${MAX_PROOF_LINES} lines, not ${proof.length}`);
  }
  const bad = proof.find((line) => line.length !== HASH_LENGTH);
  if (bad !== undefined) throw new RangeError(`a line of a proof has 32 bytes, not ${bad.length}`);
  return `old ${oldSize}\n${proof.map((line) => `${toBase64(line)}\n`).join('')}\n${note}`;
}

/** Reads the body of an add-checkpoint request. Throws if it is malformed: the answer to that is 400. */
export function parseAddCheckpoint(body: Uint8Array | string): AddCheckpoint {
  const text = readText(body, MAX_REQUEST_BYTES, 'add-checkpoint request');
  const split = text.indexOf('\n\n');
  if (split === -1) throw malformed('no empty line before the checkpoint');
  const [first, ...lines] = text.slice(0, split).split('\n');
  const oldSize = first?.startsWith('old ') ? parseSize(first.slice('old '.length)) : undefined;
  if (oldSize === undefined) throw malformed(`${quote(first ?? '')} is not an old size line`);
  if (lines.length > MAX_PROOF_LINES) throw malformed(`more than ${MAX_PROOF_LINES} lines of proof`);
  const proof = lines.map((line) => {
    const hash = parseHash(line);
    if (hash === undefined) throw malformed(`${quote(line)} is not a line of a proof`);
    return hash;
  });
  const note = splitNote(text.slice(split + 2));
  const checkpoint = parseCheckpoint(note.text);
  try {
    const signatures = parseSignatureLines(note.block);
    return { oldSize, proof, note: { text: note.text, signatures }, checkpoint };
  } catch (error) {
    const signatureFault = (error as Error).message;
    return { oldSize, proof, note: { text: note.text, signatures: [] }, checkpoint, signatureFault };
  }
}

/** The newest tree head of a log that the witness has cosigned: what it stores, durably, before it signs. */
export interface WitnessedHead {
  readonly origin: string;
  readonly size: number;
  /** 32 bytes. */
  readonly root: Uint8Array;
}

/** What a witness has to do with a request. */
export type Judgement =
  /** Store `head` in the place of the stored head that was judged against, durably; then cosign. */
  | { readonly kind: 'accept'; readonly head: WitnessedHead }
  /** Answer 409 with `formatConflict(size)`. */
  | { readonly kind: 'conflict'; readonly size: number }
  | {
      readonly kind: 'refuse';
      readonly status: 400 | 403 | 404 | 422;
      readonly reason: string;
      /** The log did sign this checkpoint: keep it, it may be proof that the log misbehaved. */
      readonly signed: boolean;
    };

/**
 * Decides on a request (C2SP tlog-witness, "add-checkpoint"), in the order in which the text there goes.
 *
 * `stored` is the head of this very origin that the witness has stored, undefined if it never cosigned one.
 * Reading it, judging and storing the new one must be one atomic step for each origin, or a slower request
 * rolls the head back. `verifiersOf` gives the keys trusted for an origin, undefined for an unknown log.
 */
export function judge(
  request: AddCheckpoint,
  stored: WitnessedHead | undefined,
  verifiersOf: (origin: string) => readonly NoteVerifier[] | undefined,
): Judgement {
  const { checkpoint, oldSize, proof } = request;
  const { origin, size, root } = checkpoint;
  if (stored !== undefined && stored.origin !== origin) {
    throw new Error(`the stored head is of ${quote(stored.origin)}, the checkpoint of ${quote(origin)}`);
  }
  const verifiers = verifiersOf(origin);
  if (verifiers === undefined) return refuse(404, `the log ${quote(origin)} is not known here`);
  if (request.signatureFault !== undefined)
    return refuse(403, `invalid signature: ${request.signatureFault}`);
  const verdict = judgeNote(request.note, verifiers);
  if (verdict.kind === 'forged') return refuse(403, `invalid signature for key ${quote(verdict.name)}`);
  if (verdict.kind === 'unsigned')
    return refuse(403, `no trusted key of ${quote(origin)} has signed the checkpoint`);

  if (oldSize > size)
    return { ...refuse(400, `the old size ${oldSize} is above the size ${size}`), signed: true };
  const known = stored?.size ?? 0;
  if (oldSize !== known) return { kind: 'conflict', size: known };
  const fault = growthFault(stored, checkpoint, proof);
  if (fault !== undefined) return { ...refuse(422, fault), signed: true };
  return { kind: 'accept', head: { origin, size, root } };
}

/** What is wrong with going on from the stored head to `next`, or undefined. */
function growthFault(
  stored: WitnessedHead | undefined,
  next: Checkpoint,
  proof: readonly Uint8Array[],
): string | undefined {
  if (next.size === 0 && !equalBytes(next.root, emptyRoot))
    return 'the root of an empty tree must be the empty root';
  if (stored === undefined || stored.size === 0) {
    return proof.length > 0 ? 'the consistency proof from the empty tree must be empty' : undefined;
  }
  const fault = consistencyFault(stored.size, next.size, proof, stored.root, next.root);
  return fault === undefined ? undefined : `bad consistency proof: ${fault}`;
}

/** The body of a 409 answer: the size of the newest checkpoint that the witness cosigned. */
export function formatConflict(size: number): string {
  assertSize(size, 'the size of the stored head');
  return `${size}\n`;
}

/** The size in the body of a 409 answer. Throws if it is malformed. */
export function parseConflict(body: Uint8Array | string): number {
  const text = readText(body, 32, 'answer of a witness');
  const size = text.endsWith('\n') ? parseSize(text.slice(0, -1)) : undefined;
  if (size === undefined) throw new Error(`malformed answer of a witness: ${quote(text)} is not a size`);
  return size;
}

function refuse(status: 400 | 403 | 404 | 422, reason: string): Judgement & { readonly kind: 'refuse' } {
  return { kind: 'refuse', status, reason, signed: false };
}

function malformed(why: string): Error {
  return new Error(`malformed add-checkpoint request: ${why}`);
}
