import { createVerifier, type Signer } from '#ed25519';
import { toBase64, tryBase64 } from '../encoding/base64.ts';
import { encodeUtf8, quote, readText } from './text.ts';
import { createVkey, ED25519_NOTE, formatKeyId, isKeyName, type Vkey } from './vkey.ts';

/*
 * Signed notes (C2SP signed-note): a text that ends in a newline, an empty line, and signature lines of the
 * form em dash, space, key name, space, base64(key id || signature). What is parsed here formats back to the
 * identical bytes, so a note has one form only.
 */

/** The longest note that is read: room for a hundred post-quantum signatures. */
export const MAX_NOTE_BYTES = 524_288;

/** The most signature lines of a note that is read; C2SP asks for at least 16. */
export const MAX_SIGNATURES = 100;

/** One signature line. */
export interface NoteSignature {
  readonly name: string;
  /** uint32. */
  readonly keyId: number;
  /** What stands behind the key id: at least one byte. */
  readonly signature: Uint8Array;
}

/** A note as it was read: nothing about it is verified. */
export interface Note {
  /** What is signed, its last newline included. */
  readonly text: string;
  /** In the order of the lines, repeated ones included. */
  readonly signatures: readonly NoteSignature[];
}

/** Checks one key's signatures of notes. */
export interface NoteVerifier {
  readonly name: string;
  readonly keyId: number;
  /** Whether `signature` is this key's over the note whose text has the bytes `text`. */
  verify(text: Uint8Array, signature: Uint8Array): boolean;
}

/** Signs notes with one key. */
export interface NoteSigner {
  readonly name: string;
  readonly keyId: number;
  /** The signature of the note whose text has the bytes `text`. */
  sign(text: Uint8Array): Uint8Array;
}

const SIGNATURE_LINE_START = '\u2014 ';

/** Reads a note. Throws unless it is well-formed and within the limits. */
export function parseNote(message: Uint8Array | string): Note {
  const { text, block } = splitNote(message);
  return { text, signatures: parseSignatureLines(block) };
}

/** A note's text and its signature lines, not yet read. Throws if the note is malformed before them. */
export function splitNote(message: Uint8Array | string): { readonly text: string; readonly block: string } {
  const all = readText(message, MAX_NOTE_BYTES, 'note');
  assertNoControls(all);
  const split = all.lastIndexOf('\n\n');
  if (split === -1) throw new Error('malformed note: no empty line before the signatures');
  return { text: all.slice(0, split + 1), block: all.slice(split + 2) };
}

/** Reads signature lines alone, as a witness answers them. Throws if there is none, or one is malformed. */
export function parseSignatureLines(block: string): NoteSignature[] {
  if (!block.endsWith('\n')) throw new Error('malformed note: the signatures do not end in a newline');
  const lines = block.slice(0, -1).split('\n');
  if (lines.length > MAX_SIGNATURES) {
    throw new Error(`malformed note: ${lines.length} signatures, the limit is ${MAX_SIGNATURES}`);
  }
  return lines.map(parseSignatureLine);
}

function parseSignatureLine(line: string): NoteSignature {
  if (!line.startsWith(SIGNATURE_LINE_START))
    throw malformedLine(line, 'it must begin with an em dash and a space');
  const space = line.indexOf(' ', SIGNATURE_LINE_START.length);
  if (space === -1) throw malformedLine(line, 'no space behind the key name');
  const name = line.slice(SIGNATURE_LINE_START.length, space);
  if (!isKeyName(name)) throw malformedLine(line, 'the key name is not allowed');
  const bytes = tryBase64(line.slice(space + 1));
  if (bytes === undefined) throw malformedLine(line, 'the signature is not canonical base64');
  if (bytes.length < 5) throw malformedLine(line, 'the signature is too short');
  return { name, keyId: new DataView(bytes.buffer).getUint32(0), signature: bytes.slice(4) };
}

/** Writes a note. Throws if it would not be read back. */
export function formatNote(note: Note): string {
  if (note.signatures.length === 0) throw new Error('a note without a signature has no written form');
  if (!note.text.endsWith('\n')) throw new Error("a note's text must end in a newline");
  assertNoControls(note.text);
  const message = `${note.text}\n${formatSignatureLines(note.signatures)}`;
  readText(message, MAX_NOTE_BYTES, 'note');
  return message;
}

/** Writes signature lines alone. */
export function formatSignatureLines(signatures: readonly NoteSignature[]): string {
  if (signatures.length > MAX_SIGNATURES) {
    throw new Error(`${signatures.length} signatures are too many: the limit is ${MAX_SIGNATURES}`);
  }
  return signatures.map(formatSignatureLine).join('');
}

function formatSignatureLine({ name, keyId, signature }: NoteSignature): string {
  if (!isKeyName(name)) throw new Error(`${quote(name)} cannot name a key: no spaces, no plus, not empty`);
  if (signature.length === 0) throw new Error(`the signature of ${quote(name)} is empty`);
  const bytes = new Uint8Array(4 + signature.length);
  new DataView(bytes.buffer).setUint32(0, keyId);
  bytes.set(signature, 4);
  return `${SIGNATURE_LINE_START}${name} ${toBase64(bytes)}\n`;
}

/** What checking a note against known keys came to. Only `verified` makes the text believable. */
export type NoteVerdict =
  | {
      readonly kind: 'verified';
      /** Good signatures of known keys, one a key. At least one. */
      readonly verified: readonly NoteSignature[];
      /** Signatures of unknown keys, each line once. */
      readonly unverified: readonly NoteSignature[];
    }
  | { readonly kind: 'unsigned'; readonly unverified: readonly NoteSignature[] }
  /** A known key's name and id stand over a signature that is not its own: the whole note is refused. */
  | { readonly kind: 'forged'; readonly name: string; readonly keyId: number };

/**
 * Checks a note against known keys. Unknown signatures are ignored; of a key that signed twice the first
 * signature counts and the others are dropped unread, as in golang.org/x/mod/sumdb/note.
 * Throws if two of the verifiers have the same name and id.
 */
export function judgeNote(note: Note, verifiers: readonly NoteVerifier[]): NoteVerdict {
  const known = verifiersByKey(verifiers);
  const text = encodeUtf8(note.text);
  const verified = new Map<string, NoteSignature>();
  const unverified = new Map<string, NoteSignature>();
  for (const line of note.signatures) {
    const key = keyOf(line);
    const verifier = known.get(key);
    if (verifier === undefined) {
      unverified.set(formatSignatureLine(line), line);
    } else if (!verified.has(key)) {
      if (!verifier.verify(text, line.signature))
        return { kind: 'forged', name: line.name, keyId: line.keyId };
      verified.set(key, line);
    }
  }
  if (verified.size === 0) return { kind: 'unsigned', unverified: [...unverified.values()] };
  return { kind: 'verified', verified: [...verified.values()], unverified: [...unverified.values()] };
}

/** Whether at least one known key signed the note, and none of them is forged (see judgeNote). */
export function verifyNote(note: Note, verifiers: readonly NoteVerifier[]): boolean {
  return judgeNote(note, verifiers).kind === 'verified';
}

/** A note that at least one known key signed. */
export interface OpenedNote {
  readonly note: Note;
  readonly verified: readonly NoteSignature[];
  readonly unverified: readonly NoteSignature[];
}

/** Reads and checks a note in one step. Throws unless `judgeNote` says `verified`. */
export function openNote(message: Uint8Array | string, verifiers: readonly NoteVerifier[]): OpenedNote {
  const note = parseNote(message);
  const verdict = judgeNote(note, verifiers);
  if (verdict.kind === 'forged') {
    throw new Error(`invalid signature for key ${quote(verdict.name)} ${formatKeyId(verdict.keyId)}`);
  }
  if (verdict.kind === 'unsigned') throw new Error('no known key has signed the note');
  return { note, verified: verdict.verified, unverified: verdict.unverified };
}

/** The note of `text` signed by each of `signers`. */
export function signNote(text: string, signers: readonly NoteSigner[]): Note {
  const bytes = encodeUtf8(text);
  return {
    text,
    signatures: signers.map((signer) => ({
      name: signer.name,
      keyId: signer.keyId,
      signature: signer.sign(bytes),
    })),
  };
}

/** `note` with more signatures behind its own; a new one takes the place of an old one of the same key. */
export function addSignatures(note: Note, added: readonly NoteSignature[]): Note {
  const replaced = new Set(added.map(keyOf));
  return {
    text: note.text,
    signatures: [...note.signatures.filter((old) => !replaced.has(keyOf(old))), ...added],
  };
}

/** A signer of notes (type 0x01) for an Ed25519 key, and the verifier key to hand out. */
export function createNoteSigner(name: string, signer: Signer): NoteSigner & { readonly vkey: Vkey } {
  const vkey = createVkey(name, ED25519_NOTE, signer.publicKey);
  return { name, keyId: vkey.keyId, vkey, sign: (text) => signer.sign(text) };
}

/** The verifier of a verifier key of type 0x01: Ed25519 over the note's text. Throws for another type. */
export function createNoteVerifier(vkey: Vkey): NoteVerifier {
  if (vkey.type !== ED25519_NOTE) {
    throw new Error(
      `the key of ${quote(vkey.name)} is of signature type ${vkey.type}, not of type ${ED25519_NOTE}`,
    );
  }
  return { name: vkey.name, keyId: vkey.keyId, verify: createVerifier(vkey.key) };
}

function verifiersByKey(verifiers: readonly NoteVerifier[]): ReadonlyMap<string, NoteVerifier> {
  const known = new Map<string, NoteVerifier>();
  for (const verifier of verifiers) {
    const key = keyOf(verifier);
    if (known.has(key)) {
      throw new Error(
        `two known keys are both ${quote(verifier.name)} ${formatKeyId(verifier.keyId)}: drop one`,
      );
    }
    known.set(key, verifier);
  }
  return known;
}

/** Name and id together identify a key; a name has no plus, so the pair is unambiguous. */
function keyOf({ name, keyId }: { readonly name: string; readonly keyId: number }): string {
  return `${name}+${formatKeyId(keyId)}`;
}

function assertNoControls(text: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a note may not have
  if (/[\u0000-\u0009\u000b-\u001f]/.test(text))
    throw new Error('malformed note: it has a control character');
}

function malformedLine(line: string, why: string): Error {
  return new Error(`malformed note: signature line ${quote(line)}: ${why}`);
}
