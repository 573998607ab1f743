import { emptyRoot, HASH_LENGTH, nodeHash } from './hash.ts';
import { type NodeAddress, type ProofPlan, planRoot } from './proof.ts';
import { assertSize, isSize, splitPoint } from './size.ts';

/*
 * One proof for many leaves of one tree: the hashes of all that lies between them, from left to right. Each
 * is the root of the greatest range that RFC 6962, section 2.1, splits off and that holds none of the leaves,
 * so that hashes which proofs of single leaves would repeat come once, and none that the leaves give comes
 * at all. For a single leaf it is the RFC's inclusion proof in the order of the tree, not of the climb.
 *
 * Of no leaves, the proof is the root itself; of all leaves, it is empty.
 */

/**
 * What the proof of the leaves at `indexes` (ascending, each once) in the tree of `size` leaves is made of:
 * for each hash the complete subtrees that fold into it, to be read with readProof.
 * A RangeError if there are no such leaves.
 */
export function planMultiproof(indexes: readonly number[], size: number): ProofPlan {
  assertSize(size, 'the size of the tree');
  const fault = indexesFault(indexes, size);
  if (fault !== undefined) throw new RangeError(fault);
  const plan: (readonly NodeAddress[])[] = [];
  const visit = (begin: number, end: number, from: number, to: number): void => {
    if (from === to) {
      plan.push(coverOf(begin, end));
      return;
    }
    // Ranges that are wanted whole need nothing, however large they are.
    if (to - from === end - begin) return;
    const middle = begin + splitPoint(end - begin);
    const cut = firstFrom(indexes, middle, from, to);
    visit(begin, middle, from, cut);
    visit(middle, end, cut, to);
  };
  if (size > 0) visit(0, size, 0, indexes.length);
  return plan;
}

/** [begin, end), a range that the RFC's split makes, as complete subtrees from left to right. */
function coverOf(begin: number, end: number): readonly NodeAddress[] {
  return planRoot(end - begin).map(({ level, index }) => ({ level, index: index + begin / 2 ** level }));
}

/** The first place from `from` to `to` whose index is not below `bound`. */
function firstFrom(indexes: readonly number[], bound: number, from: number, to: number): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (indexes[middle]! < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The root of the tree of `size` leaves to which the leaf hashes at `indexes` and a proof lead, or what is
 * wrong with them. Whoever calls compares the root with one that it trusts: nothing is proved before.
 *
 * The tree is walked only where leaves are, at most 53 deep: neither work nor memory depends on `size`.
 */
export function rootFromMultiproof(
  indexes: readonly number[],
  leafHashes: readonly Uint8Array[],
  size: number,
  hashes: readonly Uint8Array[],
): { readonly root: Uint8Array } | { readonly fault: string } {
  if (!isSize(size)) return { fault: `the size ${size} of the tree is out of range` };
  const fault =
    indexesFault(indexes, size) ?? hashesFault(leafHashes, 'leaf') ?? hashesFault(hashes, 'proof');
  if (fault !== undefined) return { fault };
  if (indexes.length !== leafHashes.length) {
    return { fault: `${indexes.length} indexes come with ${leafHashes.length} leaf hashes` };
  }
  if (size === 0) return hashes.length === 0 ? { root: emptyRoot } : { fault: 'the proof is too long' };
  let leaf = 0;
  let line = 0;
  /** Undefined when the proof is used up; `begin` is where the range of `width` leaves begins. */
  const climb = (begin: number, width: number): Uint8Array | undefined => {
    const next = indexes[leaf];
    if (next === undefined || next >= begin + width) return hashes[line++];
    if (width === 1) return leafHashes[leaf++];
    const middle = splitPoint(width);
    const left = climb(begin, middle);
    if (left === undefined) return undefined;
    const right = climb(begin + middle, width - middle);
    return right === undefined ? undefined : nodeHash(left, right);
  };
  const root = climb(0, size);
  if (root === undefined) return { fault: 'the proof is too short' };
  return line === hashes.length ? { root } : { fault: 'the proof is too long' };
}

function indexesFault(indexes: readonly number[], size: number): string | undefined {
  let previous = -1;
  for (const index of indexes) {
    if (!isSize(index)) return `the index ${index} is out of range`;
    if (index <= previous) return `the indexes are not ascending: ${index} comes behind ${previous}`;
    previous = index;
  }
  return previous < size ? undefined : `there is no leaf ${previous} in a tree of ${size}`;
}

function hashesFault(hashes: readonly Uint8Array[], what: string): string | undefined {
  const at = hashes.findIndex((hash) => hash.length !== HASH_LENGTH);
  return at === -1 ? undefined : `${what} hash ${at + 1} has ${hashes[at]?.length} bytes, not 32`;
}
