import { toBase64 } from '../encoding/base64.ts';
import { HASH_LENGTH } from './hash.ts';
import { type NoteSignature, type NoteVerifier, openNote } from './note.ts';
import { assertSize, parseSize } from './size.ts';
import { isWellFormed, parseHash, quote } from './text.ts';

/** What a checkpoint says (C2SP tlog-checkpoint): the log `origin` has this root at this size. */
export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  /** 32 bytes. */
  readonly root: Uint8Array;
  /** Opaque lines behind the root, without their newlines. C2SP recommends none. */
  readonly extensions: readonly string[];
}

/** The text of a checkpoint, to be signed as a note. Throws if it would not be read back. */
export function formatCheckpoint(checkpoint: Checkpoint): string {
  const { origin, size, root, extensions } = checkpoint;
  assertSize(size, 'the size of a checkpoint');
  if (root.length !== HASH_LENGTH) throw new RangeError(`a root has 32 bytes, not ${root.length}`);
  for (const line of [origin, ...extensions]) {
    if (line === '' || line.includes('\n') || !isWellFormed(line)) {
      throw new Error(
        `${quote(line)} cannot be a line of a checkpoint: it is empty, broken or more than one`,
      );
    }
  }
  return [origin, `${size}`, toBase64(root), ...extensions].map((line) => `${line}\n`).join('');
}

/** Reads the text of a note as a checkpoint. Throws unless it is in its one canonical form. */
export function parseCheckpoint(text: string): Checkpoint {
  if (!text.endsWith('\n')) throw malformed('it does not end in a newline');
  const [origin, sizeLine, rootLine, ...extensions] = text.slice(0, -1).split('\n');
  if (origin === undefined || sizeLine === undefined || rootLine === undefined) {
    throw malformed('it must have an origin, a size and a root');
  }
  if (origin === '' || extensions.includes('')) throw malformed('it has an empty line');
  const size = parseSize(sizeLine);
  if (size === undefined) throw malformed(`${quote(sizeLine)} is not a tree size`);
  const root = parseHash(rootLine);
  if (root === undefined) throw malformed(`${quote(rootLine)} is not a root hash`);
  return { origin, size, root, extensions };
}

/** A checkpoint that its log signed. */
export interface OpenedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** The note's text, whose bytes cosignatures cover. */
  readonly text: string;
  /** Good signatures of known keys, the log's among them. */
  readonly verified: readonly NoteSignature[];
  readonly unverified: readonly NoteSignature[];
}

/**
 * Reads a signed checkpoint of one log. Throws unless its origin is the name of the log's key and that key
 * signed it; a wrong signature under any of `others` refuses it too.
 */
export function openCheckpoint(
  message: Uint8Array | string,
  log: NoteVerifier,
  others: readonly NoteVerifier[] = [],
): OpenedCheckpoint {
  const { note, verified, unverified } = openNote(message, [log, ...others]);
  if (!verified.some(({ name, keyId }) => name === log.name && keyId === log.keyId)) {
    throw new Error(`the log ${quote(log.name)} has not signed the checkpoint`);
  }
  const checkpoint = parseCheckpoint(note.text);
  if (checkpoint.origin !== log.name) {
    throw new Error(`the checkpoint is of ${quote(checkpoint.origin)}, not of ${quote(log.name)}`);
  }
  return { checkpoint, text: note.text, verified, unverified };
}

function malformed(why: string): Error {
  return new Error(`malformed checkpoint: ${why}`);
}
