/**
 * Opening to an auditor what the log commits to, and charging it for what it gives away.
 *
 * The seed gives away which units each step drew, so that nothing is left of the amplification by sampling: the run
 * is charged once more at a sampling rate of 1, beside what it was charged already. From then on the claim for this
 * run is about what a unit holds, its place in the order kept, and no longer about whether it is there: the draws
 * number the units.
 *
 * The set gives away which runs of which machines there are. No noise covers that, so no finite budget allows it.
 */
import type { Charge } from '../../state/ledger/charge.ts';
import type { Opening, Part, UpdateEvidence } from '../../state/ledger/evidence.ts';
import type { Budget, Ledger } from '../../state/ledger/ledger.ts';
import type { EvidenceBook, UpdateRecord } from './evidence.ts';

export interface AuditorOptions {
  readonly agreement: Uint8Array;
  /** The agreement's; undefined where it asks for no privacy. */
  readonly budget: Budget | undefined;
  readonly ledger: Pick<Ledger, 'charge'>;
  readonly evidence: EvidenceBook;
}

export interface Opened {
  readonly update: UpdateEvidence;
  readonly opening: Opening;
  /** The signed entry of the update, as it stands in the log; absent when a crash came before it was kept. */
  readonly entry: Uint8Array | undefined;
  /** What this opening was charged; undefined when it cost nothing, or was charged before. */
  readonly charge: Charge | undefined;
  readonly givesAway: string;
}

const GIVES_AWAY = {
  seed: 'which units each step drew; the run counts as one without sampling, and its claim is about what a unit holds, not about whether it is there',
  set: 'which runs of which machines were eligible, when they ended and how long they were',
} as const;

/**
 * Opens a part of the last update of a round; charged and deposited before it is given out, once.
 * @throws Error when there is no such update or the part cannot be opened; BudgetSpent when the budget does not allow it.
 */
export async function openPart(options: AuditorOptions, round: number, part: Part): Promise<Opened> {
  const { evidence, budget } = options;
  // An entry that a crash has kept back comes before what is opened of it.
  await evidence.settle();
  const record = await evidence.update(options.agreement, round);
  if (!record) throw new Error(`no update of round ${round} was made here under this agreement`);
  if (part === 'set' && budget) {
    throw new Error(
      `the set gives away ${GIVES_AWAY.set}: no noise covers that, and the budget of ${budget.epsilon} (${budget.unit}) does not allow it; the seed can be opened`,
    );
  }
  const opening = await evidence.opening(record, part);
  let charge: Charge | undefined;
  if (!evidence.isReleased(record.evidence, part)) {
    // Charged again where it was charged, and others could not be told: better twice than refunded by a backup.
    charge = await pay(options, record, part);
    await evidence.release(record.evidence, part);
  }
  return {
    update: record.evidence,
    opening,
    entry: await evidence.entryOf(record.evidence),
    charge,
    givesAway: GIVES_AWAY[part],
  };
}

async function pay(
  { evidence, budget, ledger }: AuditorOptions,
  { evidence: update, charge: paid }: UpdateRecord,
  part: Part,
): Promise<Charge | undefined> {
  const charge = budget && paid ? costOfSeed(paid) : undefined;
  const prepared = evidence.prepareOpening(update, part, charge);
  if (charge) await ledger.charge(charge, budget!, prepared);
  else await evidence.store(prepared);
  await evidence.settle();
  return charge;
}

/** What opening the sampler's seed costs beside what the run has cost; nothing where every unit was in every step. */
export function costOfSeed(charge: Charge): Charge | undefined {
  const { mechanism } = charge;
  return mechanism.samplingRate === 1
    ? undefined
    : { ...charge, mechanism: { ...mechanism, samplingRate: 1 } };
}
