import { HASH_LENGTH, nodeHash } from './hash.ts';
import { assertSize, exponentOf, half, isSubtree, powerWithin, splitPoint } from './size.ts';
import { type FrontierState, foldRight } from './tree.ts';

/** A complete subtree of 2^level leaves, the index-th of its level counted from the left. */
export interface NodeAddress {
  readonly level: number;
  readonly index: number;
}

/**
 * What a proof is made of, without a hash yet: for each of its lines the complete subtrees, from left to
 * right, that fold into it. Each stored hash is needed once.
 */
export type ProofPlan = readonly (readonly NodeAddress[])[];

/** Gives the 32-byte root of a complete subtree that the tree has; throws if it cannot. */
export type SyncHashReader = (level: number, index: number) => Uint8Array;

/** As SyncHashReader, for storage that answers later. The reader sets its own time limit. */
export type HashReader = (level: number, index: number) => Uint8Array | Promise<Uint8Array>;

/** PATH(index, D[size]) of RFC 6962, section 2.1.1: from the leaf's sibling up to the root's child. */
export function planInclusion(index: number, size: number): ProofPlan {
  assertSize(size, 'the size of the tree');
  assertSize(index, 'the index of the leaf');
  if (index >= size) throw new RangeError(`there is no leaf ${index} in a tree of ${size}`);
  const plan: NodeAddress[][] = [];
  let begin = 0;
  let end = size;
  while (end - begin > 1) {
    const middle = begin + splitPoint(end - begin);
    if (index < middle) {
      plan.push(cover(middle, end));
      end = middle;
    } else {
      plan.push(cover(begin, middle));
      begin = middle;
    }
  }
  return plan.reverse();
}

/**
 * PROOF(oldSize, D[newSize]) of RFC 6962, section 2.1.2. From an empty tree the plan is empty, as
 * tlog-witness wants it: every tree is consistent with the empty one.
 */
export function planConsistency(oldSize: number, newSize: number): ProofPlan {
  assertSize(oldSize, 'the old size');
  if (oldSize === 0) return [];
  return planSubtreeConsistency(0, oldSize, newSize);
}

/** SUBTREE_PROOF(start, end, D[size]) of draft-ietf-plants-merkle-tree-certs, section 4.4. */
export function planSubtreeConsistency(start: number, end: number, size: number): ProofPlan {
  return planRange(start, end, size, true);
}

/**
 * As planConsistency, but the nodes of the old tree are always among the lines: both roots can be computed
 * from the lines alone, and no line is taken on trust from a root. That is what evidence needs.
 */
export function planPrefix(oldSize: number, newSize: number): ProofPlan {
  assertSize(oldSize, 'the old size');
  if (oldSize === 0) return [];
  return planRange(0, oldSize, newSize, false);
}

/** The complete subtrees that a tree of `size` leaves consists of: what a frontier is restored from. */
export function planRoot(size: number): readonly NodeAddress[] {
  assertSize(size, 'the size of the tree');
  return cover(0, size);
}

/** `rootKnown`: whoever gets the proof has the root of [start, end), so it need not be a line of it. */
function planRange(start: number, end: number, size: number, rootKnown: boolean): ProofPlan {
  assertSize(size, 'the size of the tree');
  if (!isSubtree(start, end)) throw new RangeError(`[${start}, ${end}) is not a subtree`);
  if (end > size) throw new RangeError(`a tree of ${size} has no subtree [${start}, ${end})`);
  const plan: NodeAddress[][] = [];
  let begin = 0;
  let stop = size;
  let known = rootKnown;
  let wanted = start;
  while (begin !== wanted || stop !== end) {
    const middle = begin + splitPoint(stop - begin);
    if (end <= middle) {
      plan.push(cover(middle, stop));
      stop = middle;
    } else {
      plan.push(cover(begin, middle));
      // A subtree that the split cuts begins here; what is left of it has a root that nobody knows yet.
      if (wanted < middle) {
        wanted = middle;
        known = false;
      }
      begin = middle;
    }
  }
  if (!known) plan.push(cover(begin, stop));
  return plan.reverse();
}

/** [begin, end) as complete subtrees, the greatest first; begin is a multiple of the greatest. */
function cover(begin: number, end: number): NodeAddress[] {
  const nodes: NodeAddress[] = [];
  for (let at = begin; at < end; ) {
    const width = powerWithin(end - at);
    nodes.push({ level: exponentOf(width), index: at / width });
    at += width;
  }
  return nodes;
}

/** The proof's lines: `plan` with its hashes read, all at once. */
export async function readProof(plan: ProofPlan, reader: HashReader): Promise<Uint8Array[]> {
  const lines = plan.map((nodes) =>
    Promise.all(nodes.map(async (node) => checked(node, await reader(node.level, node.index)))),
  );
  return (await Promise.all(lines)).map(foldRight);
}

/** As readProof, from storage that answers at once. */
export function readProofSync(plan: ProofPlan, reader: SyncHashReader): Uint8Array[] {
  return plan.map((nodes) => foldRight(nodes.map((node) => checked(node, reader(node.level, node.index)))));
}

/** The root of the tree of `size` leaves. */
export async function readRoot(size: number, reader: HashReader): Promise<Uint8Array> {
  return foldRight((await readFrontier(size, reader)).hashes);
}

/** The right edge of the tree of `size` leaves, to go on appending to it: see createFrontier. */
export async function readFrontier(size: number, reader: HashReader): Promise<FrontierState> {
  const hashes = await Promise.all(
    planRoot(size).map(async (node) => checked(node, await reader(node.level, node.index))),
  );
  return { size, hashes };
}

/** The inclusion proof of leaf `index` in the tree of `size` leaves (RFC 6962, section 2.1.1). */
export function inclusionProof(index: number, size: number, reader: HashReader): Promise<Uint8Array[]> {
  return readProof(planInclusion(index, size), reader);
}

/** As inclusionProof, from storage that answers at once. */
export function inclusionProofSync(index: number, size: number, reader: SyncHashReader): Uint8Array[] {
  return readProofSync(planInclusion(index, size), reader);
}

/** The proof that the tree of `oldSize` leaves begins that of `newSize` (RFC 6962, section 2.1.2). */
export function consistencyProof(
  oldSize: number,
  newSize: number,
  reader: HashReader,
): Promise<Uint8Array[]> {
  return readProof(planConsistency(oldSize, newSize), reader);
}

/** As consistencyProof, from storage that answers at once. */
export function consistencyProofSync(oldSize: number, newSize: number, reader: SyncHashReader): Uint8Array[] {
  return readProofSync(planConsistency(oldSize, newSize), reader);
}

/**
 * A reader over leaf hashes in memory, for the samples of a block. Each level is hashed once, when first
 * needed, so many proofs of one block cost one tree.
 */
export function readerOf(leafHashes: readonly Uint8Array[]): SyncHashReader {
  const levels: (readonly Uint8Array[])[] = [leafHashes];
  return (level, index) => {
    while (levels.length <= level) {
      const below = levels[levels.length - 1]!;
      const above = Array.from({ length: half(below.length) }, (_, i) =>
        nodeHash(below[2 * i]!, below[2 * i + 1]!),
      );
      if (above.length === 0) break;
      levels.push(above);
    }
    const hash = levels[level]?.[index];
    if (hash === undefined)
      throw new RangeError(`${leafHashes.length} leaves have no subtree ${level}/${index}`);
    return hash;
  };
}

/** The inclusion proof of one leaf among leaf hashes in memory. */
export function inclusionProofOf(leafHashes: readonly Uint8Array[], index: number): Uint8Array[] {
  return inclusionProofSync(index, leafHashes.length, readerOf(leafHashes));
}

function checked(node: NodeAddress, hash: Uint8Array): Uint8Array {
  if (hash.length === HASH_LENGTH) return hash;
  throw new Error(`the stored hash of subtree ${node.level}/${node.index} has ${hash.length} bytes, not 32`);
}
