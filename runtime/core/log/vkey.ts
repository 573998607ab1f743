import { sha256 } from '#sha256';
import { toBase64, tryBase64 } from '../encoding/base64.ts';
import { encodeUtf8, isWellFormed, quote } from './text.ts';

/** The signature types of C2SP signed-note that this project knows by name. */
export const ED25519_NOTE = 0x01;
export const ED25519_COSIGNATURE = 0x04;
export const ML_DSA_44_COSIGNATURE = 0x06;

const KEY_LENGTHS: ReadonlyMap<number, number> = new Map([
  [ED25519_NOTE, 32],
  [ED25519_COSIGNATURE, 32],
  [ML_DSA_44_COSIGNATURE, 1312],
]);

/** A verifier key: whose it is, what kind of signature it checks, and the public key. */
export interface Vkey {
  readonly name: string;
  /** uint32: tells keys of one name apart; short, so never proof of anything. */
  readonly keyId: number;
  /** 0 to 255. */
  readonly type: number;
  readonly key: Uint8Array;
}

/** Whether a name may stand in a signature line: not empty, no Unicode space, no plus, no control character. */
export function isKeyName(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a name may not have
  return name !== '' && isWellFormed(name) && !/[\p{White_Space}+\u0000-\u001f]/u.test(name);
}

/** SHA-256(name || 0x0A || type || key)[:4], big-endian (C2SP signed-note, "Signatures"). */
export function keyIdOf(name: string, type: number, key: Uint8Array): number {
  const text = encodeUtf8(`${name}\n`);
  const input = new Uint8Array(text.length + 1 + key.length);
  input.set(text);
  input[text.length] = type;
  input.set(key, text.length + 1);
  const digest = sha256(input);
  return new DataView(digest.buffer, digest.byteOffset).getUint32(0);
}

/** The verifier key of a public key, with its id. Throws if the name or the key's length is not allowed. */
export function createVkey(name: string, type: number, key: Uint8Array): Vkey {
  if (!isKeyName(name)) throw new Error(`${quote(name)} cannot name a key: no spaces, no plus, not empty`);
  const length = KEY_LENGTHS.get(type);
  if (key.length === 0 || (length !== undefined && key.length !== length)) {
    throw new Error(`a key of signature type ${type} has ${length ?? 'some'} bytes, not ${key.length}`);
  }
  return { name, keyId: keyIdOf(name, type, key), type, key };
}

/** `name+id+base64(type || key)` (C2SP signed-note, "Verifier keys"). */
export function formatVkey(vkey: Vkey): string {
  return `${vkey.name}+${formatKeyId(vkey.keyId)}+${toBase64(Uint8Array.of(vkey.type, ...vkey.key))}`;
}

/** Reads a verifier key. Throws unless it is in its one canonical form and its id is that of name and key. */
export function parseVkey(text: string): Vkey {
  const [name, id, base64, ...more] = text.split('+');
  // The base64 part may hold plus signs itself; a name may not.
  const material = base64 === undefined ? undefined : tryBase64([base64, ...more].join('+'));
  if (name === undefined || material === undefined || material.length < 2) {
    throw new Error(`malformed verifier key ${quote(text)}: it must be name+id+base64(type and key)`);
  }
  const vkey = createVkey(name, material[0]!, material.slice(1));
  if (formatKeyId(vkey.keyId) !== id) {
    throw new Error(`malformed verifier key ${quote(text)}: its id must be ${formatKeyId(vkey.keyId)}`);
  }
  return vkey;
}

/** A key id as eight lower-case hexadecimal digits. */
export function formatKeyId(keyId: number): string {
  return keyId.toString(16).padStart(8, '0');
}
