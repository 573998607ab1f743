/** What was spent, on what, and what is left: plain data, for people and for JSON. */
import { toHex } from '../../core/encoding/base64.ts';
import { epsilonOf, type Mechanism } from '../../core/privacy/accountant.ts';
import { meaning } from '../../core/privacy/units.ts';
import type { Charge, ProtectedUnit } from './charge.ts';
import { ALL_TIME } from './charge.ts';
import { type Composition, createComposition, type Piece, together } from './composition.ts';
import type { Budget } from './ledger.ts';

/** Charges that differ in their rounds only. */
export interface ChargeRow {
  /** Hexadecimal. */
  readonly agreement: string;
  readonly rounds: { readonly first: number; readonly last: number; readonly count: number };
  readonly unit: ProtectedUnit;
  readonly mechanism: Mechanism;
  readonly from: number;
  /** Null: for all time. */
  readonly to: number | null;
}

/** A stretch of time whose data have had the same charges. */
export interface BlockRow {
  readonly from: number;
  readonly to: number | null;
  /** Epsilon; null: no bound, since something was charged for a smaller unit. */
  readonly spent: number | null;
  readonly left: number;
  /** Rounds of the agreement that the rest allows. */
  readonly rounds: number;
  readonly charges: number;
}

export interface BudgetReport {
  readonly unit: ProtectedUnit;
  readonly epsilon: number;
  readonly delta: number;
  /** Milliseconds that a block of data lasts; null: one for all data. */
  readonly period: number | null;
  /** What one round costs. */
  readonly round: Mechanism;
  /** The most that is spent on any data; null as above. */
  readonly spent: number | null;
  /** What it is worth for larger units than its own. */
  readonly meaning: readonly Meaning[];
  readonly charges: readonly ChargeRow[];
  readonly blocks: readonly BlockRow[];
}

/** An upper bound for a larger unit than the budget's: what was spent where most was means this for it. */
export interface Meaning {
  readonly unit: 'sample' | 'episode';
  /** Windows that it stands in, or has, at most. */
  readonly windows: number;
  /** At the budget's delta; null: there is no bound worth the name. */
  readonly epsilon: number | null;
}

/** How far things reach into windows. */
export interface Sizes {
  readonly windowsASample: number;
  /** Of a run that is looked at; a longer one is protected less. */
  readonly windowsAnEpisode: number;
}

/** Rounds beyond this are not counted one by one. */
const MOST_ROUNDS = 1_000_000;

export function budgetReport(
  charges: readonly Charge[],
  budget: Budget,
  period: number | undefined,
  round: Mechanism,
  sizes?: Sizes,
): BudgetReport {
  const composition = createComposition();
  composition.add(charges);
  const pieces = composition.pieces();
  const blocks = pieces.map((piece) => blockRow(piece, charges, composition, budget, round));
  const spentOn = (index: number) => blocks[index]!.spent ?? Number.POSITIVE_INFINITY;
  const most = pieces.reduce((best, _, index) => (spentOn(index) > spentOn(best) ? index : best), 0);
  const { unit, epsilon, delta } = budget;
  return {
    unit,
    epsilon,
    delta,
    period: period ?? null,
    round,
    spent: finite(composition.spent(unit, delta)),
    meaning: unit === 'window' && sizes ? meaningOf(pieces[most]!, delta, sizes) : [],
    charges: chargeRows(charges),
    blocks,
  };
}

function meaningOf({ mechanisms }: Piece, delta: number, sizes: Sizes): Meaning[] {
  const { sample, episode } = meaning({ unit: 'window', delta, mechanisms, ...sizes });
  return [
    { unit: 'sample', windows: sizes.windowsASample, epsilon: sample ?? null },
    { unit: 'episode', windows: sizes.windowsAnEpisode, epsilon: episode ?? null },
  ];
}

function blockRow(
  piece: Piece,
  charges: readonly Charge[],
  composition: Composition,
  { unit, epsilon, delta }: Budget,
  round: Mechanism,
): BlockRow {
  const { from, to } = piece;
  const spent = composition.spent(unit, delta, { interval: piece });
  return {
    from,
    to: endOf(to),
    spent: finite(spent),
    left: Math.max(0, epsilon - spent),
    rounds: Number.isFinite(spent) ? roundsLeft(piece.mechanisms, round, epsilon, delta) : 0,
    charges: charges.filter((charge) => charge.from <= from && charge.to >= to).length,
  };
}

/** How often `round` may run after `before` until more than `epsilon` is spent: at most a million times. */
export function roundsLeft(
  before: readonly Mechanism[],
  round: Mechanism,
  epsilon: number,
  delta: number,
): number {
  const fits = (rounds: number) => {
    const all = together([...before, { ...round, steps: round.steps * rounds }]);
    return epsilonOf(all, delta) <= epsilon;
  };
  if (!fits(1)) return 0;
  let low = 1;
  while (low < MOST_ROUNDS && fits(low * 2)) low *= 2;
  let high = low * 2;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return Math.min(low, MOST_ROUNDS);
}

function chargeRows(charges: readonly Charge[]): ChargeRow[] {
  const rows = new Map<string, ChargeRow>();
  for (const { agreement, round, unit, mechanism, from, to } of charges) {
    const { samplingRate, noiseMultiplier, steps } = mechanism;
    const key = [toHex(agreement), unit, samplingRate, noiseMultiplier, steps, from, to].join(' ');
    const { rounds } = rows.get(key) ?? { rounds: { first: round, last: round, count: 0 } };
    rows.set(key, {
      agreement: toHex(agreement),
      rounds: {
        first: Math.min(rounds.first, round),
        last: Math.max(rounds.last, round),
        count: rounds.count + 1,
      },
      unit,
      mechanism,
      from,
      to: endOf(to),
    });
  }
  return [...rows.values()];
}

function endOf(to: number): number | null {
  return to === ALL_TIME.to ? null : to;
}

function finite(epsilon: number): number | null {
  return Number.isFinite(epsilon) ? epsilon : null;
}
