import { emptyRoot, HASH_LENGTH, nodeHash } from './hash.ts';
import { assertSize, countOnes, half, isOdd, MAX_SIZE } from './size.ts';

/**
 * The Merkle tree hash over leaf hashes of 32 bytes (RFC 6962, section 2.1).
 *
 * Level by level, an odd last node going up as it is: the same tree as the RFC's recursive definition.
 */
export function treeRoot(leafHashes: readonly Uint8Array[]): Uint8Array {
  let level = leafHashes;
  while (level.length > 1) {
    const above: Uint8Array[] = [];
    for (let i = 0; i + 1 < level.length; i += 2) above.push(nodeHash(level[i]!, level[i + 1]!));
    if (isOdd(level.length)) above.push(level[level.length - 1]!);
    level = above;
  }
  return level[0] ?? emptyRoot;
}

/** What has to be kept to go on appending to a tree: its size and the roots of its complete subtrees. */
export interface FrontierState {
  readonly size: number;
  /** One hash for each set bit of `size`, the greatest subtree (the leftmost) first. */
  readonly hashes: readonly Uint8Array[];
}

/** Told of every complete subtree as it is completed: the leaf itself, then what it completes above. */
export type SubtreeSink = (level: number, index: number, hash: Uint8Array) => void;

/** The right edge of an append-only tree: at most 53 hashes, whatever the tree's size. */
export interface Frontier extends FrontierState {
  /** Adds a leaf hash of 32 bytes: on average one node hash. */
  append(leafHash: Uint8Array, onSubtree?: SubtreeSink): void;
  /** The root of the tree as it is now: at most 52 node hashes. */
  root(): Uint8Array;
}

/**
 * The frontier of an empty tree, or of the tree that `state` was taken from. It keeps a copy, so a state
 * taken before a write that failed can be gone back to. A RangeError if size and hashes do not belong together.
 */
export function createFrontier(state: FrontierState = { size: 0, hashes: [] }): Frontier {
  assertFrontier(state);
  const hashes = [...state.hashes];
  let size = state.size;
  return {
    get size() {
      return size;
    },
    get hashes() {
      return [...hashes];
    },
    append(leafHash, onSubtree) {
      if (size === MAX_SIZE) throw new RangeError(`the tree is full: it has ${MAX_SIZE} leaves`);
      assertHash(leafHash);
      let hash = leafHash;
      let index = size;
      let level = 0;
      onSubtree?.(level, index, hash);
      // Each set bit at the low end of the index is a complete subtree that this leaf doubles.
      for (; isOdd(index); index = half(index)) {
        hash = nodeHash(hashes.pop()!, hash);
        level++;
        onSubtree?.(level, half(index), hash);
      }
      hashes.push(hash);
      size++;
    },
    root: () => foldRight(hashes),
  };
}

/**
 * The hash over complete subtrees that stand side by side, the greatest first: the tree's root, since
 * RFC 6962 splits at the greatest power of two. Of none, the empty root.
 */
export function foldRight(hashes: readonly Uint8Array[]): Uint8Array {
  if (hashes.length === 0) return emptyRoot;
  return hashes.reduceRight((right, left) => nodeHash(left, right));
}

function assertFrontier(state: FrontierState): void {
  assertSize(state.size, 'the size of a frontier');
  const needed = countOnes(state.size);
  if (state.hashes.length !== needed) {
    throw new RangeError(
      `a frontier of size ${state.size} has ${needed} hashes, not ${state.hashes.length}: it was not kept whole`,
    );
  }
  for (const hash of state.hashes) assertHash(hash);
}

function assertHash(hash: Uint8Array): void {
  if (hash.length !== HASH_LENGTH) throw new RangeError(`a hash has 32 bytes, not ${hash.length}`);
}
