/**
 * Charges that other gateways have laid down here: signed entries of their notebooks, so that a ledger restored
 * from a backup can be told what it has forgotten. Bounded for each gateway, and durable before it is acknowledged.
 */
import type { Verifier } from '#ed25519';
import { encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { parseSign1, verifySign1 } from '../../core/encoding/cose.ts';
import { decodeEntry } from '../../core/encoding/entry.ts';
import type { Journal } from '../journal/journal.ts';
import { ordered } from '../journal/keys.ts';
import { type Charge, decodeCharge } from './ledger.ts';

/** A charge as it was entered. */
export interface Deposit {
  readonly incarnation: number;
  /** In the notebook of the gateway that was charged. */
  readonly sequence: number;
  readonly charge: Charge;
  /** The signed entry. */
  readonly bytes: Uint8Array;
}

/** The longest entry that is taken, in bytes. */
export const MAX_DEPOSIT_BYTES = 2048;
const MAX_DEPOSITS = 10_000;
const PAGE_BYTES = 262_144;

/**
 * The charge in a signed entry.
 * @param verifierOf the verifier of a key of its owner's, by key identifier. @throws Error when it is not signed by one, or is no charge.
 */
export function openDeposit(
  bytes: Uint8Array,
  verifierOf: (keyId: Uint8Array) => Verifier | undefined,
): Deposit {
  if (bytes.length > MAX_DEPOSIT_BYTES) throw new Error(`deposit: ${bytes.length} bytes are too many`);
  const message = parseSign1(bytes);
  const verify = verifierOf(message.keyId);
  if (!verify || !verifySign1(message, verify)) throw new Error('deposit: not signed by its owner');
  const entry = decodeEntry(message.payload);
  if (entry.kind !== 'charge') throw new Error(`deposit: a ${entry.kind} entry is no charge`);
  const { incarnation, sequence } = entry;
  return { incarnation, sequence, charge: decodeCharge(encodeCbor(entry.body)), bytes };
}

export interface DepositBook {
  /**
   * Stores a charge of `gateway`; resolves when it is durable, also when it was there before.
   * @throws Error when its number is not above all before it (its owner goes on from an older copy), or it is one too many.
   */
  add(gateway: string, deposit: Deposit): Promise<void>;
  /** The entries behind `after`, as many as fit into a message; `next` is undefined at the end. */
  page(
    gateway: string,
    after: string,
  ): Promise<{ readonly entries: readonly Uint8Array[]; readonly next: string | undefined }>;
}

export function createDepositBook(journal: Pick<Journal, 'section' | 'write'>): DepositBook {
  const section = journal.section('deposit');
  const counts = new Map<string, number>();
  let turn: Promise<unknown> = Promise.resolve();

  async function countOf(gateway: string): Promise<number> {
    let count = counts.get(gateway);
    if (count === undefined) {
      count = 0;
      for await (const _ of section.entries({ prefix: `${gateway}/` })) count += 1;
    }
    counts.set(gateway, count);
    return count;
  }

  async function add(gateway: string, { incarnation, sequence, bytes }: Deposit): Promise<void> {
    const key = `${gateway}/${ordered(incarnation)}${ordered(sequence)}`;
    const there = await section.get(key);
    if (there && equalBytes(there, bytes)) return;
    for await (const [last] of section.entries({ prefix: `${gateway}/`, reverse: true, limit: 1 })) {
      if (key <= last)
        throw new Error('deposit: a later charge is here already; does its owner go on from an older copy?');
    }
    const count = await countOf(gateway);
    if (count >= MAX_DEPOSITS) throw new Error(`deposit: ${MAX_DEPOSITS} charges are here already`);
    await journal.write([section.put(key, bytes)]);
    counts.set(gateway, count + 1);
  }

  return {
    add(gateway, deposit) {
      const mine = turn.then(() => add(gateway, deposit));
      turn = mine.catch(() => undefined);
      return mine;
    },
    async page(gateway, after) {
      const entries: Uint8Array[] = [];
      let bytes = 0;
      let last: string | undefined;
      for await (const [key, value] of section.entries({
        prefix: `${gateway}/`,
        after: `${gateway}/${after}`,
      })) {
        const number = key.slice(gateway.length + 1);
        if (bytes + value.length > PAGE_BYTES) return { entries, next: last };
        entries.push(value);
        bytes += value.length;
        last = number;
      }
      return { entries, next: undefined };
    },
  };
}
