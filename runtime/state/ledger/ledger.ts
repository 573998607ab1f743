/**
 * The privacy budget. The ledger stores mechanisms, not epsilons, for each block of data (charge.ts), and composes
 * all that ever ran over it (composition.ts); a charge is durable, and in the log, before anything derived may
 * leave, and is never refunded.
 */
import { toHex } from '../../core/encoding/base64.ts';
import { encodeCbor } from '../../core/encoding/cbor.ts';
import type { Journal } from '../journal/journal.ts';
import { ordered } from '../journal/keys.ts';
import type { Write } from '../journal/store.ts';
import type { Recorder } from '../provenance/recorder.ts';
import {
  ALL_TIME,
  type Charge,
  checkCharge,
  decodeCharge,
  encodeCharge,
  type Interval,
  type ProtectedUnit,
} from './charge.ts';
import { type Accountant, createComposition, type Piece } from './composition.ts';

export { ALL_TIME, type Charge, decodeCharge, type Interval, type ProtectedUnit } from './charge.ts';

export interface Budget {
  readonly epsilon: number;
  readonly delta: number;
  readonly unit: ProtectedUnit;
}

/** The budget does not allow what was asked for; nothing was charged. */
export interface BudgetSpent extends Error {
  readonly name: 'BudgetSpent';
}

/** What is written in one batch with a charge. */
export interface Along {
  readonly writes: readonly Write[];
  durable?(): void;
}

export interface Ledger {
  /**
   * Charges durably. What goes `along` is durable with
   * the charge or not at all, and is told when it is, also where the charge cannot be deposited afterwards.
   * @throws BudgetSpent when that would be more than the budget; DamagedRecord or a failed write leave it uncharged
   *   only where nothing was stored.
   */
  charge(charge: Charge, budget: Budget, along?: Along): Promise<void>;
  /** Whether the budget would allow the charge, at every instant of its interval. */
  allows(charge: Charge, budget: Budget): boolean;
  /** The most epsilon spent so far at `delta`, for the unit, on any instant of the interval; of all time when absent. */
  spent(unit: ProtectedUnit, delta: number, interval?: Interval): number;
  /** The same by a quick accountant, so somewhat more: for a daemon that must not stand still. */
  bound(unit: ProtectedUnit, delta: number, interval?: Interval): number;
  /** Stretches of time with the same charges, in order; all time when no interval is given. */
  pieces(interval?: Interval): readonly Piece[];
  charges(): readonly Charge[];
  /**
   * Takes over charges that others have kept for this gateway, durably; of equal ones the ledger has afterwards as
   * many as were given, unless it had more. @returns how many it did not have.
   */
  adopt(charges: readonly Charge[]): Promise<number>;
}

/**
 * @param deposit lays the signed entry down with others: a charge that they do not hold pays for nothing.
 * @throws Error when a charge is absent or cannot be read: a ledger with a hole permits nothing.
 */
export async function openLedger(
  journal: Pick<Journal, 'section' | 'write'>,
  recorder: Pick<Recorder, 'entry'>,
  deposit?: (entry: Uint8Array) => Promise<void>,
): Promise<Ledger> {
  const section = journal.section('ledger');
  const charges = await readCharges(section.entries({ prefix: CHARGE }));
  const composition = createComposition();
  composition.add(charges);
  let stored = charges.length;
  let turn: Promise<unknown> = Promise.resolve();

  function allows(charge: Charge, { unit, epsilon, delta }: Budget): boolean {
    const spentBy = (accountant: Accountant) =>
      composition.spent(unit, delta, { interval: charge, further: charge, accountant });
    // The slow accountant has a word only where the quick one, which is never below it, says no.
    return charge.unit === unit && (spentBy('quick') <= epsilon || spentBy('close') <= epsilon);
  }

  function count(more: readonly Charge[]): void {
    charges.push(...more);
    composition.add(more);
  }

  async function append(charge: Charge, budget: Budget, along: Along): Promise<void> {
    checkCharge(charge);
    if (!allows(charge, budget))
      throw budgetSpent(charge, budget, composition.spent(budget.unit, budget.delta, { interval: charge }));
    const encoded = encodeCharge(charge);
    // Counted before it is stored: a charge whose storing failed half-way must not be had for nothing.
    count([charge]);
    const entry = await recorder.entry('charge', encoded, [
      section.put(chargeKey(stored), encodeCbor(encoded)),
      ...along.writes,
    ]);
    stored += 1;
    along.durable?.();
    await deposit?.(entry);
  }

  async function adopt(given: readonly Charge[]): Promise<number> {
    const had = new Map<string, number>();
    const nameOf = (charge: Charge) => toHex(encodeCbor(encodeCharge(charge)));
    for (const charge of charges) had.set(nameOf(charge), (had.get(nameOf(charge)) ?? 0) + 1);
    const absent = given.filter((charge) => {
      const left = had.get(nameOf(charge)) ?? 0;
      had.set(nameOf(charge), left - 1);
      return left <= 0;
    });
    count(absent);
    await journal.write(
      absent.map((charge, index) => section.put(chargeKey(stored + index), encodeCbor(encodeCharge(charge)))),
    );
    stored += absent.length;
    return absent.length;
  }

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = turn.then(work);
    turn = mine.catch(() => undefined);
    return mine;
  }

  return {
    charge: (charge, budget, along = { writes: [] }) => inTurn(() => append(charge, budget, along)),
    adopt: (given) => inTurn(() => adopt(given)),
    allows,
    spent: (unit, delta, interval) => composition.spent(unit, delta, { interval }),
    bound: (unit, delta, interval) => composition.spent(unit, delta, { interval, accountant: 'quick' }),
    pieces: (interval = ALL_TIME) => composition.pieces(interval),
    charges: () => [...charges],
  };
}

const CHARGE = 'charge/';

function chargeKey(index: number): string {
  return CHARGE + ordered(index);
}

/**
 * The charges among a ledger's records, in order.
 * @throws Error when one is absent or cannot be read.
 */
export async function readCharges(records: AsyncIterable<readonly [string, Uint8Array]>): Promise<Charge[]> {
  const charges: Charge[] = [];
  for await (const [key, value] of records) {
    if (key !== chargeKey(charges.length))
      throw new Error(`the ledger has no ${chargeKey(charges.length)}, but ${key}`);
    charges.push(decodeCharge(value));
  }
  return charges;
}

function budgetSpent(charge: Charge, budget: Budget, spent: number): BudgetSpent {
  const message =
    charge.unit === budget.unit
      ? `the privacy budget does not allow round ${charge.round}: ${spent.toFixed(3)} of ${budget.epsilon} (${budget.unit}) is spent and the round would go over it`
      : `the round protects a ${charge.unit}, the agreement's budget a ${budget.unit}`;
  return Object.assign(new Error(message), { name: 'BudgetSpent' as const });
}
