/** Checks one entry after the other: signature, form, that numbers follow on, that maintenance entries are chained. */
import type { Verifier } from '#ed25519';
import { toHex } from '../../core/encoding/base64.ts';
import { type CborValue, equalBytes } from '../../core/encoding/cbor.ts';
import { type Sign1, verifySign1 } from '../../core/encoding/cose.ts';
import { decodeEntry, type Entry } from '../../core/encoding/entry.ts';
import { fieldsOf, list, safeInteger } from '../../core/encoding/fields.ts';
import { KIND, kindOf } from '../../core/encoding/kind.ts';
import { decodeSample } from '../../core/encoding/sample.ts';
import { type BlockOpening, blockSignature, readEntry } from '../../core/log/block.ts';
import { decodeCounter } from '../../state/journal/counter.ts';
import { decodeDamage, type LostNumbers, numbersFromCbor } from '../../state/journal/damage-report.ts';
import { keys } from '../../state/journal/keys.ts';
import type { BlockRange } from '../../state/journal/state.ts';
import type { Store } from '../../state/journal/store.ts';
import { maintenanceHash, openMaintenance } from '../../state/maintenance/entry.ts';

/** The verifier of a key that has signed a gateway's entries and blocks, by its identifier. */
export type SigningKeys = (keyId: Uint8Array) => Verifier | undefined;

export interface SequenceCheck {
  /** @throws Error when the number was given before, or the count goes back. */
  next(name: string, incarnation: number, sequence: number): void;
  /** A loss is on record: these numbers need not be there. */
  lost(body: CborValue): void;
  /** Blocks that losses on record name. */
  lostBlocks(): readonly BlockRange[];
  /** The hash of the maintenance entry before, for the chain. */
  maintenance(hash: Uint8Array, previous: Uint8Array | undefined): void;
  /** @throws Error when numbers are missing that no loss accounts for, or a stored counter is not behind the last number given. */
  finish(store: Store): Promise<void>;
}

interface Numbers {
  readonly name: string;
  readonly incarnation: number;
  readonly from: number;
  readonly to: number;
}

/** @param truncated whether blocks were dropped or lost, so that counts may begin anywhere. */
export function createSequenceCheck(truncated: boolean): SequenceCheck {
  const last = new Map<string, { readonly incarnation: number; readonly sequence: number }>();
  const missing: Numbers[] = [];
  const losses: Numbers[] = [];
  const blocks: BlockRange[] = [];
  let lastMaintenance: Uint8Array | undefined;
  let sawMaintenance = !truncated;

  function addLoss({ machine, stream, ...numbers }: LostNumbers): void {
    const isNote = machine === '' && stream === '';
    losses.push({ name: isNote ? 'notebook' : `stream/${machine}/${stream}`, ...numbers });
  }

  return {
    next(name, incarnation, sequence) {
      const before = last.get(name);
      const label = name.replace(/^stream\//, '');
      if (before && incarnation < before.incarnation)
        throw new Error(`${label}: incarnation ${incarnation} after ${before.incarnation}`);
      const same = before?.incarnation === incarnation;
      const expected = same ? before.sequence + 1 : 0;
      if (same && sequence < expected)
        throw new Error(`${label}: number ${sequence} where ${expected} must be`);
      const begins = !before && truncated;
      if (sequence > expected && (same || !begins) && (same || incarnation === 0))
        missing.push({ name, incarnation, from: expected, to: sequence });
      // Where entries of the notebook are gone, the chain of maintenance entries has a gap too.
      if (name === 'notebook' && before && (!same || sequence > expected)) sawMaintenance = false;
      last.set(name, { incarnation, sequence });
    },
    lost(body) {
      const [, ranges, rows] = fieldsOf(body, 3, 'loss');
      for (const range of list(ranges, 100_000, 'loss: blocks')) {
        const [from, to] = fieldsOf(range, 2, 'loss: blocks');
        blocks.push([safeInteger(from, 'loss'), safeInteger(to, 'loss')]);
      }
      for (const row of list(rows, 100_000, 'loss: numbers')) addLoss(numbersFromCbor(row));
    },
    lostBlocks: () => blocks,
    maintenance(hash, previous) {
      const same =
        previous === undefined
          ? lastMaintenance === undefined
          : lastMaintenance && equalBytes(previous, lastMaintenance);
      if (sawMaintenance && !same) throw new Error('the maintenance entry does not name the one before it');
      sawMaintenance = true;
      lastMaintenance = hash;
    },
    async finish(store) {
      for (const [name, { incarnation, sequence }] of last) {
        const bytes = await store.get(keys.section('sequence', name));
        const counter = bytes && decodeCounter(bytes);
        if (counter === undefined || counter <= sequence)
          throw new Error(`the counter of ${name} is at ${counter}, the last number given is ${sequence}`);
        if (counter > sequence + 1) missing.push({ name, incarnation, from: sequence + 1, to: counter });
      }
      const pending = await store.get(keys.damage);
      if (pending) for (const row of decodeDamage(pending).numbers) addLoss(row);
      for (const { name, incarnation, from, to } of missing) {
        const label = name.replace(/^stream\//, '');
        if (!isCovered({ name, incarnation, from, to }, losses))
          throw new Error(`${label}: number ${to} where ${from} must be, and no loss is on record`);
      }
    },
  };
}

/** Whether losses, several together, account for all of the missing numbers. */
function isCovered({ name, incarnation, from, to }: Numbers, losses: readonly Numbers[]): boolean {
  let at = from;
  const own = losses.filter((loss) => loss.name === name && loss.incarnation === incarnation);
  for (const loss of own.sort((a, b) => a.from - b.from)) if (loss.from <= at) at = Math.max(at, loss.to);
  return at >= to;
}

/** @throws Error when the block is not signed by the key. */
export function checkBlockSignature(opening: BlockOpening, keysOf: SigningKeys): void {
  checkSignature(blockSignature(opening), keysOf);
}

function checkSignature(message: Sign1, keysOf: SigningKeys): void {
  const verify = keysOf(message.keyId);
  if (!verify) throw new Error(`it is signed by another key (${toHex(message.keyId)})`);
  if (!verifySign1(message, verify)) throw new Error('its signature does not verify');
}

/**
 * The entry, when it is no sample.
 * @param blockSigned whether the block's signature, checked already, vouches for entries without one.
 * @throws Error that says what is wrong with the entry.
 */
export async function checkEntry(
  bytes: Uint8Array,
  blockSigned: boolean,
  keysOf: SigningKeys,
  sequences: SequenceCheck,
  store: Store,
): Promise<{ readonly signed: boolean; readonly entry?: Entry }> {
  const read = readEntry(bytes);
  const signed = read.form === 'signed';
  if (signed) checkSignature(read.message, keysOf);
  else if (!blockSigned) throw new Error('neither it nor its block is signed');
  if (kindOf(read.payload) === KIND.sample) {
    const { machine, stream, incarnation, sequence } = decodeSample(read.payload);
    sequences.next(`stream/${machine}/${stream}`, incarnation, sequence);
    return { signed };
  }
  if (!signed) throw new Error('only a sample may be signed with its block');
  const entry = decodeEntry(read.payload);
  sequences.next('notebook', entry.incarnation, entry.sequence);
  if (entry.kind === 'loss') sequences.lost(entry.body);
  if (entry.kind === 'maintenance') {
    const hash = maintenanceHash(entry.body);
    const opening = await store.get(keys.section('maintenance', `opening/${toHex(hash)}`));
    if (!opening) throw new Error('the journal has no opening for this maintenance entry');
    sequences.maintenance(hash, openMaintenance(entry.body, opening).previous);
  }
  return { signed, entry };
}
