/** Reading the fields of a decoded fixed-arity array; each reader refuses what is not of its kind. */
import { type CborValue, decodeError } from './cbor.ts';

/** The fields of an array of exactly `arity`; `what` names the message in the error. */
export function fieldsOf(value: CborValue | undefined, arity: number, what: string): readonly CborValue[] {
  if (!Array.isArray(value)) throw decodeError(`${what}: not an array`);
  if (value.length !== arity) throw decodeError(`${what}: ${value.length} fields instead of ${arity}`);
  return value as readonly CborValue[];
}

/** A list of any length up to `limit`. */
export function list(value: CborValue | undefined, limit: number, what: string): readonly CborValue[] {
  if (!Array.isArray(value)) throw decodeError(`${what}: not an array`);
  if (value.length > limit) throw decodeError(`${what}: ${value.length} items, at most ${limit} are allowed`);
  return value as readonly CborValue[];
}

/** A safe integer that is not negative. */
export function safeInteger(value: CborValue | undefined, what: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw decodeError(`${what} is not a whole number between 0 and 2^53-1`);
  }
  return value;
}

export function text(value: CborValue | undefined, what: string): string {
  if (typeof value !== 'string') throw decodeError(`${what} is not text`);
  return value;
}

/** A byte string, of exactly `length` bytes where given. */
export function byteString(value: CborValue | undefined, what: string, length?: number): Uint8Array {
  if (!(value instanceof Uint8Array)) throw decodeError(`${what} is not a byte string`);
  if (length !== undefined && value.length !== length) {
    throw decodeError(`${what} has ${value.length} bytes instead of ${length}`);
  }
  return value;
}

export function float(value: CborValue | undefined, what: string): number {
  if (typeof value === 'object' && value !== null && 'float' in value) return value.float;
  throw decodeError(`${what} is not a float`);
}
