/**
 * The privacy budget. The ledger stores mechanisms, not epsilons, and composes all that ever ran over this
 * gateway's data; a charge is durable, and in the log, before anything derived may leave, and is never refunded.
 */
import { toHex } from '../../core/encoding/base64.ts';
import { type CborValue, decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, float, safeInteger, text } from '../../core/encoding/fields.ts';
import { epsilonOf, type Mechanism } from '../../core/privacy/rdp.ts';
import type { Journal } from '../journal/journal.ts';
import { ordered } from '../journal/keys.ts';
import type { Recorder } from '../provenance/recorder.ts';

/** What a claim protects: one window, or one machine's run from repair to failure. */
export type ProtectedUnit = 'window' | 'episode';

export interface Charge {
  readonly agreement: Uint8Array;
  readonly round: number;
  readonly unit: ProtectedUnit;
  readonly mechanism: Mechanism;
}

export interface Budget {
  readonly epsilon: number;
  readonly delta: number;
  readonly unit: ProtectedUnit;
}

/** The budget does not allow what was asked for; nothing was charged. */
export interface BudgetSpent extends Error {
  readonly name: 'BudgetSpent';
}

export interface Ledger {
  /**
   * Charges durably and tells the epsilon then spent.
   * @throws BudgetSpent when that would be more than the budget; DamagedRecord or a failed write leave it uncharged
   *   only where nothing was stored.
   */
  charge(charge: Charge, budget: Budget): Promise<number>;
  /** Whether the budget would allow the charge. */
  allows(charge: Charge, budget: Budget): boolean;
  /** Epsilon spent so far at `delta`, for the unit. */
  spent(unit: ProtectedUnit, delta: number): number;
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
  journal: Journal,
  recorder: Recorder,
  deposit?: (entry: Uint8Array) => Promise<void>,
): Promise<Ledger> {
  const section = journal.section('ledger');
  const charges: Charge[] = [];
  for await (const [key, value] of section.entries({ prefix: CHARGE })) {
    if (key !== chargeKey(charges.length))
      throw new Error(`the ledger has no ${chargeKey(charges.length)}, but ${key}`);
    charges.push(decodeCharge(value));
  }
  let stored = charges.length;
  let turn: Promise<unknown> = Promise.resolve();

  const allows = (charge: Charge, budget: Budget): boolean =>
    charge.unit === budget.unit &&
    epsilonFor([...charges, charge], budget.unit, budget.delta) <= budget.epsilon;

  const spent = (unit: ProtectedUnit, delta: number): number => epsilonFor(charges, unit, delta);

  async function append(charge: Charge, budget: Budget): Promise<number> {
    if (!allows(charge, budget)) throw budgetSpent(charge, budget, spent(budget.unit, budget.delta));
    const encoded = encodeCharge(charge);
    // Counted before it is stored: a charge whose storing failed half-way must not be had for nothing.
    charges.push(charge);
    const entry = await recorder.entry('charge', encoded, [
      section.put(chargeKey(stored), encodeCbor(encoded)),
    ]);
    stored += 1;
    await deposit?.(entry);
    return spent(budget.unit, budget.delta);
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
    charges.push(...absent);
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
    charge: (charge, budget) => inTurn(() => append(charge, budget)),
    adopt: (given) => inTurn(() => adopt(given)),
    allows,
    spent,
    charges: () => [...charges],
  };
}

const CHARGE = 'charge/';

function chargeKey(index: number): string {
  return CHARGE + ordered(index);
}

/**
 * What `charges` come to as a claim for `unit`. A window lies within one episode, so what protects episodes
 * protects windows as well; the other way round there is no bound.
 */
function epsilonFor(charges: readonly Charge[], unit: ProtectedUnit, delta: number): number {
  const unbounded = unit === 'episode' && charges.some((charge) => charge.unit === 'window');
  return unbounded ? Number.POSITIVE_INFINITY : epsilonOf(composed(charges), delta);
}

/** Charges of the same mechanism taken together, so that composing many rounds stays cheap. */
function composed(charges: readonly Charge[]): Mechanism[] {
  const bySetting = new Map<string, Mechanism>();
  for (const { mechanism } of charges) {
    const key = `${mechanism.samplingRate}/${mechanism.noiseMultiplier}`;
    const steps = (bySetting.get(key)?.steps ?? 0) + mechanism.steps;
    bySetting.set(key, { ...mechanism, steps });
  }
  return [...bySetting.values()];
}

function budgetSpent(charge: Charge, budget: Budget, spent: number): BudgetSpent {
  const message =
    charge.unit === budget.unit
      ? `the privacy budget does not allow round ${charge.round}: ${spent.toFixed(3)} of ${budget.epsilon} (${budget.unit}) is spent and the round would go over it`
      : `the round protects a ${charge.unit}, the agreement's budget a ${budget.unit}`;
  return Object.assign(new Error(message), { name: 'BudgetSpent' as const });
}

function encodeCharge(charge: Charge): CborValue {
  const { samplingRate, noiseMultiplier, steps } = charge.mechanism;
  return [
    charge.agreement,
    charge.round,
    charge.unit,
    { float: samplingRate },
    { float: noiseMultiplier },
    steps,
  ];
}

/** @throws Error for bytes that are no charge. */
export function decodeCharge(bytes: Uint8Array): Charge {
  const fields = fieldsOf(decodeCbor(bytes), 6, 'charge');
  const unit = text(fields[2], 'charge: unit');
  if (unit !== 'window' && unit !== 'episode') throw new Error(`charge: unit ${unit} is unknown`);
  return {
    agreement: byteString(fields[0], 'charge: agreement', 32),
    round: safeInteger(fields[1], 'charge: round'),
    unit,
    mechanism: {
      samplingRate: float(fields[3], 'charge: sampling rate'),
      noiseMultiplier: float(fields[4], 'charge: noise multiplier'),
      steps: safeInteger(fields[5], 'charge: steps'),
    },
  };
}
