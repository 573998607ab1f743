/**
 * Which episodes an update may learn from, and the interval that is charged for it: all instants that still have
 * budget, back from the end of the newest block. Nobody can tell from the interval which of its blocks had episodes.
 *
 * Where the agreement gives each period a budget, a run that has not ended is not learned from: it would be charged
 * in the block that it stands in now, and again in the one that it ends in, while no instant had both charges.
 */
import type { Episode } from '../../core/learning/episodes.ts';
import { mechanismOf } from '../../core/learning/job.ts';
import type { AgreementTerms } from '../../state/agreement/schema.ts';
import { ALL_TIME, blockOf, type Charge, type Interval } from '../../state/ledger/charge.ts';
import { type EpisodeIdentity, rowsDigest } from '../../state/ledger/evidence.ts';
import type { Budget, Ledger } from '../../state/ledger/ledger.ts';

/** What a round asks for. */
export interface Price {
  readonly charge: Omit<Charge, 'from' | 'to'>;
  readonly budget: Budget;
}

/** What a round under an agreement costs; undefined where it asks for no privacy. */
export function priceOf(
  { training, privacy }: Pick<AgreementTerms, 'training' | 'privacy'>,
  agreement: Uint8Array,
  round: number,
): Price | undefined {
  const { unit, sampler, samplingRate, stepsPerRound: steps } = training;
  if (unit === 'none' || !privacy) return undefined;
  const { epsilon, delta, noiseMultiplier } = privacy;
  const mechanism = mechanismOf({ sampler, samplingRate, noiseMultiplier, steps });
  return { charge: { agreement, round, unit, mechanism }, budget: { epsilon, delta, unit } };
}

/**
 * The interval that a round would be charged for; undefined when no instant before the end of the newest block has
 * budget left.
 * @param period milliseconds that a block lasts; undefined: one block for all time.
 */
export function chargeable(
  ledger: Pick<Ledger, 'allows' | 'pieces'>,
  price: Price,
  period: number | undefined,
  episodes: readonly Episode[],
): Interval | undefined {
  const allows = (interval: Interval) => ledger.allows({ ...price.charge, ...interval }, price.budget);
  if (period === undefined) return allows(ALL_TIME) ? ALL_TIME : undefined;
  // Running ones count: what one episode does must not move the end of the interval.
  const newest = episodes.reduce((last, { ended }) => (ended > last ? ended : last), -1);
  if (newest < 0) return undefined;
  const { to } = blockOf(newest, period);
  const starts = ledger.pieces({ from: 0, to }).map(({ from }) => from);
  // The later it begins, the fewer charges count: the first start that is allowed is looked for by halves.
  let [low, high] = [0, starts.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (allows({ from: starts[middle]!, to })) high = middle;
    else low = middle + 1;
  }
  if (low === starts.length) return undefined;
  // Another agreement may have had other periods: only whole blocks of this one.
  const from = Math.ceil(starts[low]! / period) * period;
  return from < to ? { from, to } : undefined;
}

/**
 * Those of `episodes` that belong to the interval, in their order, of machines that train.
 * @param running whether runs that go on are among them.
 */
export function eligible(
  episodes: readonly Episode[],
  { from, to }: Interval,
  running: boolean,
  trains: (machine: string) => boolean,
): readonly Episode[] {
  return episodes.filter(
    ({ machine, rows, end, ended }) =>
      rows.length > 0 && ended >= from && ended < to && (running || end !== 'running') && trains(machine),
  );
}

/** Rows of an episode that has ended never change, and hashing all of them takes seconds on a Pi. */
const digests = new WeakMap<Episode['rows'], Uint8Array>();

/** How evidence names the episodes, as they are when it is asked. Others get the event loop in between. */
export async function identitiesOf(episodes: readonly Episode[]): Promise<EpisodeIdentity[]> {
  // Runs that go on may grow while others are hashed.
  const now = episodes.map(({ machine, rows, end, ended }) => ({
    ...{ machine, end, ended, rows: rows.length },
    digest: end === 'running' ? rowsDigest(rows) : digests.get(rows),
  }));
  const named: EpisodeIdentity[] = [];
  for (const [index, one] of now.entries()) {
    const { rows } = episodes[index]!;
    const digest = one.digest ?? rowsDigest(rows);
    if (!one.digest) {
      digests.set(rows, digest);
      await new Promise((resolve) => setImmediate(resolve));
    }
    named.push({ ...one, digest });
  }
  return named;
}
