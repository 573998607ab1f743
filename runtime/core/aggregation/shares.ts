import { randomBytes } from '#random';
import type { FieldVector } from './field.ts';
import { Field64 } from './field64.ts';
import { createWireWriter } from './wire.ts';
import { expandIntoVec, XofTurboShake128 } from './xof.ts';

/** What one report is for. Every seed is bound to it, so that no share can serve in another place. */
export interface ReportContext {
  /** The 32-byte hash of the agreement. */
  readonly agreement: Uint8Array;
  readonly round: number;
  readonly attempt: number;
  /** The gateway whose vector is shared. */
  readonly contributor: string;
}

/** What one share is for. */
export interface ShareContext extends ReportContext {
  /** The gateway that keeps this share. */
  readonly holder: string;
}

/** One share of a Field64 vector: the vector itself as wire bytes, or the seed it is expanded from. */
export type Share =
  | { readonly kind: 'explicit'; readonly bytes: Uint8Array }
  | { readonly kind: 'seed'; readonly seed: Uint8Array };

/** A CSPRNG: `length` bytes that nobody can foresee. */
export type RandomSource = (length: number) => Uint8Array;

const HASH_SIZE = 32;
const MAX_HOLDERS = 255;
const SEPARATION = new TextEncoder().encode('kosmos aggregation share v1');

/**
 * Splits `vector` (>= 1 element) into one additive share a holder: all but one together are uniformly random. The
 * first holder's is explicit, the others' are 32-byte seeds. Throws a RangeError unless there are 2 to 255
 * different holders, the contributor not among them: who holds a share of its own vector helps nobody.
 * A caller that must be able to make the same shares again hands in its own `random`.
 */
export function share(
  vector: FieldVector,
  holders: readonly string[],
  context: ReportContext,
  random: RandomSource = randomBytes,
): Share[] {
  checkHolders(holders, context.contributor);
  const length = Field64.lengthOf(vector);
  const rest = Uint32Array.from(vector);
  const seeds = holders.slice(1).map((holder): Share => {
    const one: Share = { kind: 'seed', seed: random(XofTurboShake128.seedSize) };
    Field64.subtractFrom(rest, expand(one, length, { ...context, holder }));
    return one;
  });
  return [{ kind: 'explicit', bytes: Field64.encodeVec(rest) }, ...seeds];
}

/** Throws a RangeError unless `holders` may keep the shares of `contributor`: see `share`. */
export function checkHolders(holders: readonly string[], contributor: string): void {
  if (holders.length < 2 || holders.length > MAX_HOLDERS) {
    throw new RangeError(`${holders.length} holders: a vector is shared among 2 to ${MAX_HOLDERS}`);
  }
  if (new Set(holders).size !== holders.length) throw new RangeError('a holder is named twice');
  if (holders.includes(contributor))
    throw new RangeError(`${contributor} may not hold a share of its own vector`);
}

/**
 * The vector of `length` elements that a share stands for. Throws a RangeError for an explicit share of
 * another length or with an element not below the modulus, and for a seed that is not of 32 bytes.
 */
export function expand(one: Share, length: number, context: ShareContext): FieldVector {
  if (one.kind === 'explicit') {
    if (one.bytes.length !== length * Field64.encodedSize) {
      throw new RangeError(`an explicit share of ${one.bytes.length} bytes cannot hold ${length} elements`);
    }
    return Field64.decodeVec(one.bytes);
  }
  if (one.seed.length !== XofTurboShake128.seedSize) {
    throw new RangeError(
      `a share's seed has ${one.seed.length} bytes instead of ${XofTurboShake128.seedSize}`,
    );
  }
  return expandIntoVec(XofTurboShake128, Field64, one.seed, SEPARATION, binderOf(context), length);
}

/** The element-wise sum of one or more Field64 vectors of the same length; throws a RangeError otherwise. */
export function sum(vectors: Iterable<FieldVector>): FieldVector {
  let total: FieldVector | undefined;
  for (const vector of vectors) {
    if (total === undefined) total = Uint32Array.from(vector);
    else Field64.addInto(total, vector);
  }
  if (total === undefined) throw new RangeError('the sum of no vectors has no length');
  return total;
}

/** Agreement, round, attempt, contributor, holder; each of fixed length or with its length before it. */
function binderOf({ agreement, round, attempt, contributor, holder }: ShareContext): Uint8Array {
  if (agreement.length !== HASH_SIZE) throw new RangeError(`an agreement's hash has ${HASH_SIZE} bytes`);
  const binder = createWireWriter().fixed(agreement).uint64(round).uint32(attempt);
  return binder.text(contributor).text(holder).finish();
}
