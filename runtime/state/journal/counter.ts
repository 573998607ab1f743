/** A counter's record, `[next number]`. */
import { decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { fieldsOf, safeInteger } from '../../core/encoding/fields.ts';

export function encodeCounter(next: number): Uint8Array {
  return encodeCbor([next]);
}

/** @throws DecodeError when `bytes` are no counter. */
export function decodeCounter(bytes: Uint8Array): number {
  return safeInteger(fieldsOf(decodeCbor(bytes), 1, 'counter')[0], 'counter');
}
