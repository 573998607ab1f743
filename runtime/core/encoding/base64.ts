/** The standard alphabet (RFC 4648, section 4). */
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const HEX = '0123456789abcdef';
const NOT_A_DIGIT = 255;
const PADDING = 61;

const BASE64_VALUES = valuesOf(ALPHABET);
const HEX_VALUES = valuesOf(HEX);

/** Standard base64 with padding (RFC 4648, section 4). */
export function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const group = ((bytes[i] ?? 0) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    text += ALPHABET.charAt(group >> 18) + ALPHABET.charAt((group >> 12) & 63);
    text += left > 1 ? ALPHABET.charAt((group >> 6) & 63) : '=';
    text += left > 2 ? ALPHABET.charAt(group & 63) : '=';
  }
  return text;
}

/**
 * The bytes of standard, padded base64, or undefined unless `text` is the one canonical form: no white
 * space, no missing padding, no set bits behind the last byte (RFC 4648, section 3.5).
 */
export function tryBase64(text: string): Uint8Array | undefined {
  const length = text.length;
  if (length % 4 !== 0) return undefined;
  if (length === 0) return new Uint8Array(0);
  const padding =
    text.charCodeAt(length - 1) !== PADDING ? 0 : text.charCodeAt(length - 2) !== PADDING ? 1 : 2;
  const bytes = new Uint8Array((length / 4) * 3 - padding);
  const digits = length - padding;
  let bits = 0;
  let held = 0;
  let written = 0;
  for (let i = 0; i < digits; i++) {
    const value = BASE64_VALUES[text.charCodeAt(i)] ?? NOT_A_DIGIT;
    if (value === NOT_A_DIGIT) return undefined;
    held = (held << 6) | value;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[written++] = held >> bits;
    held &= (1 << bits) - 1;
  }
  return held === 0 ? bytes : undefined;
}

/** As tryBase64, but throws where that gives undefined. */
export function fromBase64(text: string): Uint8Array {
  const bytes = tryBase64(text);
  if (bytes === undefined) throw new Error(`${excerpt(text)} is not canonical base64 (RFC 4648, padded)`);
  return bytes;
}

/** Lower-case hexadecimal, two digits a byte. */
export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += HEX.charAt(byte >> 4) + HEX.charAt(byte & 15);
  return text;
}

/** The bytes of lower-case hexadecimal, or undefined for anything else (upper case included). */
export function tryHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    const high = HEX_VALUES[text.charCodeAt(2 * i)] ?? NOT_A_DIGIT;
    const low = HEX_VALUES[text.charCodeAt(2 * i + 1)] ?? NOT_A_DIGIT;
    if (high === NOT_A_DIGIT || low === NOT_A_DIGIT) return undefined;
    bytes[i] = (high << 4) | low;
  }
  return bytes;
}

/** As tryHex, but throws where that gives undefined. */
export function fromHex(text: string): Uint8Array {
  const bytes = tryHex(text);
  if (bytes === undefined) throw new Error(`${excerpt(text)} is not lower-case hexadecimal`);
  return bytes;
}

function excerpt(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 37)}...` : text);
}

function valuesOf(alphabet: string): Uint8Array {
  const values = new Uint8Array(128).fill(NOT_A_DIGIT);
  for (let i = 0; i < alphabet.length; i++) values[alphabet.charCodeAt(i)] = i;
  return values;
}
