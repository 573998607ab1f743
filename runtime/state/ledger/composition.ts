/**
 * What charges come to. Every instant has a sum of its own: all charges whose interval covers it, whatever round,
 * model or agreement they were made for. Between two ends of intervals nothing changes, so a few pieces stand for
 * all instants; what is spent on an interval is the most that is spent on any of its pieces.
 */
import { epsilonOf as closeEpsilon, type Mechanism } from '../../core/privacy/accountant.ts';
import { epsilonOf as quickEpsilon } from '../../core/privacy/rdp.ts';
import { ALL_TIME, type Charge, type Interval, type ProtectedUnit } from './charge.ts';

/** Charges that differ in round and agreement only: their steps are added up, so that many rounds stay cheap. */
interface Group extends Interval {
  readonly unit: ProtectedUnit;
  readonly mechanism: Mechanism;
}

/** A stretch of time in which every instant has the same charges. */
export interface Piece extends Interval {
  /** What ran over it, equal mechanisms taken together, in a fixed order. */
  readonly mechanisms: readonly Mechanism[];
  /** Epsilon for a unit has a bound only where nothing was charged for a smaller one. */
  readonly units: ReadonlySet<ProtectedUnit>;
}

/**
 * `close` is the tightest bound known and takes a tenth of a second, in which nothing else happens; `quick` lies
 * above it by a tenth or so and takes a millisecond.
 */
export type Accountant = 'close' | 'quick';

/** What is asked about: an interval, all time when absent; what would be charged besides, where given. */
export interface Question {
  readonly interval?: Interval | undefined;
  readonly further?: Charge | undefined;
  readonly accountant?: Accountant;
}

export interface Composition {
  /** Counts charges from now on. */
  add(charges: readonly Charge[]): void;
  /** The most epsilon at `delta` on any instant of the interval. */
  spent(unit: ProtectedUnit, delta: number, question?: Question): number;
  /** The pieces within `interval`, in order, without gaps. */
  pieces(interval?: Interval): readonly Piece[];
}

/** Results kept: a status is asked for every second. */
const MOST_KEPT = 4096;

export function createComposition(): Composition {
  const groups = new Map<string, Group>();
  const known = new Map<string, number>();

  function epsilonFor(
    { mechanisms, units }: Piece,
    unit: ProtectedUnit,
    delta: number,
    accountant: Accountant,
  ): number {
    // A window lies within one episode, so what protects episodes protects windows; not the other way round.
    if (unit === 'episode' && units.has('window')) return Number.POSITIVE_INFINITY;
    const key = `${accountant} ${delta}: ${mechanisms.map(nameOf).join(' ')}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    const epsilon = (accountant === 'close' ? closeEpsilon : quickEpsilon)(mechanisms, delta);
    if (known.size >= MOST_KEPT) known.clear();
    known.set(key, epsilon);
    return epsilon;
  }

  return {
    add(charges) {
      for (const charge of charges) addTo(groups, charge);
    },
    spent(unit, delta, { interval = ALL_TIME, further, accountant = 'close' } = {}) {
      const all = further ? addTo(new Map(groups), further) : groups;
      return mostCharged(piecesOf(all, interval)).reduce(
        (most, piece) => Math.max(most, epsilonFor(piece, unit, delta, accountant)),
        0,
      );
    },
    pieces: (interval = ALL_TIME) => piecesOf(groups, interval),
  };
}

function addTo(groups: Map<string, Group>, { unit, mechanism, from, to }: Charge): Map<string, Group> {
  const key = `${unit}/${mechanism.samplingRate}/${mechanism.noiseMultiplier}/${from}/${to}`;
  const steps = (groups.get(key)?.mechanism.steps ?? 0) + mechanism.steps;
  return groups.set(key, { unit, from, to, mechanism: { ...mechanism, steps } });
}

function piecesOf(groups: ReadonlyMap<string, Group>, { from, to }: Interval): Piece[] {
  const within = [...groups.values()].filter((group) => group.from < to && group.to > from);
  const inside = within.flatMap((group) => [group.from, group.to]).filter((end) => end > from && end < to);
  const ends = [...new Set([from, ...inside, to])].sort((a, b) => a - b);
  return ends.slice(0, -1).map((start, index) => {
    const covering = within.filter((group) => group.from <= start && group.to > start);
    return {
      from: start,
      to: ends[index + 1]!,
      mechanisms: together(covering.map(({ mechanism }) => mechanism)),
      units: new Set(covering.map(({ unit }) => unit)),
    };
  });
}

/** Equal mechanisms taken together; in one order, since sums of floats depend on it. */
export function together(mechanisms: readonly Mechanism[]): Mechanism[] {
  const bySetting = new Map<string, Mechanism>();
  for (const mechanism of mechanisms) {
    const key = settingOf(mechanism);
    const steps = (bySetting.get(key)?.steps ?? 0) + mechanism.steps;
    bySetting.set(key, { ...mechanism, steps });
  }
  return [...bySetting.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, mechanism]) => mechanism);
}

/** Pieces that no other one has all charges of, and more: only they can be where most is spent. */
function mostCharged(pieces: readonly Piece[]): readonly Piece[] {
  const tables = pieces.map((piece) => ({ piece, steps: stepsOf(piece) }));
  return tables
    .filter(
      (one, index) =>
        !tables.some(
          (other, at) => at !== index && isWithin(one, other) && (!isWithin(other, one) || at < index),
        ),
    )
    .map(({ piece }) => piece);
}

interface Table {
  readonly piece: Piece;
  readonly steps: ReadonlyMap<string, number>;
}

function stepsOf({ mechanisms }: Piece): ReadonlyMap<string, number> {
  return new Map(mechanisms.map((mechanism) => [settingOf(mechanism), mechanism.steps]));
}

function isWithin(one: Table, other: Table): boolean {
  return (
    [...one.steps].every(([setting, steps]) => (other.steps.get(setting) ?? 0) >= steps) &&
    [...one.piece.units].every((unit) => other.piece.units.has(unit))
  );
}

function settingOf({ samplingRate, noiseMultiplier }: Mechanism): string {
  return `${samplingRate}/${noiseMultiplier}`;
}

function nameOf(mechanism: Mechanism): string {
  return `${settingOf(mechanism)}/${mechanism.steps}`;
}
