/**
 * What a privacy claim means for other things than those it was accounted for. Protected is always the presence:
 * what is released is about as likely as it would be if all that stands on the window, sample or episode had not
 * been there.
 */
import { epsilonOf, groupEpsilonOf, type Mechanism } from './accountant.ts';

/** What noise and sampling treat as one record. */
export type Unit = 'window' | 'sample' | 'episode';

/** A claim, and how far one thing reaches into others. */
export interface Claim {
  readonly unit: Unit;
  readonly delta: number;
  readonly mechanisms: readonly Mechanism[];
  /** In how many windows one sample is at most. */
  readonly windowsASample: number;
  /** How many windows one episode gives at most; for unit 'sample' see `samplesAnEpisode`. */
  readonly windowsAnEpisode: number;
  /** How many samples one episode has at most, for claims of unit 'sample'; without it nothing is said. */
  readonly samplesAnEpisode?: number;
}

/** Epsilon at the claim's delta for each unit; undefined where there is no meaningful bound. */
export type Meaning = Readonly<Record<Unit, number | undefined>>;

/** Beyond this epsilon there is no meaningful bound: exp(50) is no protection by any reading. */
export const MEANINGFUL = 50;

/**
 * What `claim` means for a window, a sample and an episode.
 *
 * A thing that stands in k records is protected as their group: the steps' loss with and without k records, each
 * drawn for itself, composed (Ganesh 2024, see mixture.ts). That is far tighter than multiplying epsilon by k, and
 * as true. What is inside a record, or inside what a group covers, is protected as that is.
 *
 * @throws RangeError when a figure is out of range.
 */
export function meaning({ unit, delta, mechanisms, ...sizes }: Claim): Meaning {
  const group = (records: number | undefined): number | undefined => {
    if (records === undefined) return undefined;
    const epsilon = groupEpsilonOf(mechanisms, delta, records, MEANINGFUL);
    return epsilon <= MEANINGFUL ? epsilon : undefined;
  };
  const itself = epsilonOf(mechanisms, delta);
  if (unit === 'episode') return { window: itself, sample: itself, episode: itself };
  if (unit === 'sample') return { window: itself, sample: itself, episode: group(sizes.samplesAnEpisode) };
  return { window: itself, sample: group(sizes.windowsASample), episode: group(sizes.windowsAnEpisode) };
}

/**
 * What (epsilon, delta) for one record implies for `group` of them when nothing else is known of how it was
 * reached: (k epsilon, k exp((k - 1) epsilon) delta), the sum of the geometric series bounded by its largest term
 * (Vadhan 2017, "The Complexity of Differential Privacy", lemma 2.2). A delta of 1 says that nothing is protected.
 */
export function groupBound(
  epsilon: number,
  delta: number,
  group: number,
): { readonly epsilon: number; readonly delta: number } {
  return { epsilon: group * epsilon, delta: Math.min(1, group * Math.exp((group - 1) * epsilon) * delta) };
}
