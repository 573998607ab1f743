/** Checks one entry after the other: signature, form, that numbers follow on, that maintenance entries are chained. */
import type { Verifier } from '#ed25519';
import { toHex } from '../../core/encoding/base64.ts';
import { decodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { parseSign1, verifySign1 } from '../../core/encoding/cose.ts';
import { decodeEntry } from '../../core/encoding/entry.ts';
import { fieldsOf, safeInteger } from '../../core/encoding/fields.ts';
import { KIND, kindOf } from '../../core/encoding/kind.ts';
import { decodeSample } from '../../core/encoding/sample.ts';
import { keys } from '../../state/journal/keys.ts';
import type { Store } from '../../state/journal/store.ts';
import { maintenanceHash, openMaintenance } from '../../state/maintenance/entry.ts';

export interface SequenceCheck {
  /** @throws Error when the number is not the next one of its count. */
  next(name: string, incarnation: number, sequence: number): void;
  /** The hash of the maintenance entry before, for the chain. */
  maintenance(hash: Uint8Array, previous: Uint8Array | undefined): void;
  /** @throws Error when a stored counter is not behind the last number that was given. */
  compareCounters(store: Store): Promise<void>;
}

/** @param truncated whether earlier blocks were dropped, so that counts may begin anywhere. */
export function createSequenceCheck(truncated: boolean): SequenceCheck {
  const last = new Map<string, { readonly incarnation: number; readonly sequence: number }>();
  let lastMaintenance: Uint8Array | undefined;
  let sawMaintenance = !truncated;
  return {
    next(name, incarnation, sequence) {
      const before = last.get(name);
      const expected = before && before.incarnation === incarnation ? before.sequence + 1 : undefined;
      const label = name.replace(/^stream\//, '');
      if (before && incarnation < before.incarnation)
        throw new Error(`${label}: incarnation ${incarnation} after ${before.incarnation}`);
      if (expected !== undefined && sequence !== expected)
        throw new Error(`${label}: number ${sequence} where ${expected} must be`);
      if (!before && !truncated && sequence !== 0)
        throw new Error(`${label}: begins with number ${sequence}, not 0`);
      last.set(name, { incarnation, sequence });
    },
    maintenance(hash, previous) {
      const same =
        previous === undefined
          ? lastMaintenance === undefined
          : lastMaintenance && equalBytes(previous, lastMaintenance);
      if (sawMaintenance && !same) throw new Error('the maintenance entry does not name the one before it');
      sawMaintenance = true;
      lastMaintenance = hash;
    },
    async compareCounters(store) {
      for (const [name, { sequence }] of last) {
        const bytes = await store.get(keys.section('sequence', name));
        const counter = bytes && safeInteger(fieldsOf(decodeCbor(bytes), 1, 'counter')[0], 'counter');
        if (counter !== sequence + 1)
          throw new Error(`the counter of ${name} is at ${counter}, the last number given is ${sequence}`);
      }
    },
  };
}

/** @throws Error that says what is wrong with the entry. */
export async function checkEntry(
  bytes: Uint8Array,
  key: { readonly keyId: Uint8Array; readonly verify: Verifier },
  sequences: SequenceCheck,
  store: Store,
): Promise<'sample' | 'entry'> {
  const message = parseSign1(bytes);
  if (!equalBytes(message.keyId, key.keyId))
    throw new Error(`it is signed by another key (${toHex(message.keyId)})`);
  if (!verifySign1(message, key.verify)) throw new Error('its signature does not verify');
  if (kindOf(message.payload) === KIND.sample) {
    const { machine, stream, incarnation, sequence } = decodeSample(message.payload);
    sequences.next(`stream/${machine}/${stream}`, incarnation, sequence);
    return 'sample';
  }
  const entry = decodeEntry(message.payload);
  sequences.next('notebook', entry.incarnation, entry.sequence);
  if (entry.kind === 'maintenance') {
    const hash = maintenanceHash(entry.body);
    const opening = await store.get(keys.section('maintenance', `opening/${toHex(hash)}`));
    if (!opening) throw new Error('the journal has no opening for this maintenance entry');
    sequences.maintenance(hash, openMaintenance(entry.body, opening).previous);
  }
  return 'entry';
}
