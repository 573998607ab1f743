import { equalBytes } from '../encoding/cbor.ts';
import { emptyRoot, HASH_LENGTH, nodeHash } from './hash.ts';
import { half, isOdd, isSize, isSubtree } from './size.ts';

/*
 * Each check comes twice: `verify...` says yes or no, `...Fault` says what is wrong, or undefined if nothing
 * is. Nothing here shares code with the builder: a mistake would have to be made twice to be believed.
 */

type Proof = readonly Uint8Array[];

/** Whether `proof` shows the leaf at `index` of the tree of `size` leaves with this root (RFC 9162, 2.1.3.2). */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: Proof,
  root: Uint8Array,
): boolean {
  return inclusionFault(leaf, index, size, proof, root) === undefined;
}

/** What is wrong with an inclusion proof, or undefined. */
export function inclusionFault(
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: Proof,
  root: Uint8Array,
): string | undefined {
  if (!isSize(size) || !isSize(index)) return `index ${index} or size ${size} is out of range`;
  if (index >= size) return `there is no leaf ${index} in a tree of ${size}`;
  if (leaf.length !== HASH_LENGTH) return `the leaf hash has ${leaf.length} bytes, not 32`;
  const malformed = malformedLine(proof);
  if (malformed !== undefined) return malformed;
  let fn = index;
  let sn = size - 1;
  let r = leaf;
  for (const p of proof) {
    if (sn === 0) return 'the proof is too long';
    if (isOdd(fn) || fn === sn) {
      r = nodeHash(p, r);
      while (!isOdd(fn) && fn !== 0) {
        fn = half(fn);
        sn = half(sn);
      }
    } else {
      r = nodeHash(r, p);
    }
    fn = half(fn);
    sn = half(sn);
  }
  if (sn !== 0) return 'the proof is too short';
  return equalBytes(r, root) ? undefined : 'the proof leads to another root';
}

/** As verifyInclusion, in the subtree [start, end) (draft-ietf-plants-merkle-tree-certs, section 4.3). */
export function verifySubtreeInclusion(
  leaf: Uint8Array,
  index: number,
  start: number,
  end: number,
  proof: Proof,
  root: Uint8Array,
): boolean {
  return (
    isSubtree(start, end) &&
    index >= start &&
    index < end &&
    verifyInclusion(leaf, index - start, end - start, proof, root)
  );
}

/**
 * Whether `proof` shows that the tree of `size1` leaves begins that of `size2` (RFC 9162, 2.1.4.2).
 * From the empty tree there is nothing to prove, so a `size1` of 0 is always refused: compare with `emptyRoot`.
 */
export function verifyConsistency(
  size1: number,
  size2: number,
  proof: Proof,
  root1: Uint8Array,
  root2: Uint8Array,
): boolean {
  return consistencyFault(size1, size2, proof, root1, root2) === undefined;
}

/** What is wrong with a consistency proof, or undefined. */
export function consistencyFault(
  size1: number,
  size2: number,
  proof: Proof,
  root1: Uint8Array,
  root2: Uint8Array,
): string | undefined {
  if (size1 === 0) return 'a consistency proof from the empty tree shows nothing';
  return subtreeConsistencyFault(0, size1, size2, proof, root1, root2);
}

/** Whether `proof` shows that [start, end) is a subtree of the tree of `size` leaves. */
export function verifySubtreeConsistency(
  start: number,
  end: number,
  size: number,
  proof: Proof,
  subtreeRoot: Uint8Array,
  root: Uint8Array,
): boolean {
  if (start === end) {
    // The empty subtree is in every tree; only its root can be wrong.
    return (
      isSize(start) && isSize(size) && end <= size && proof.length === 0 && equalBytes(subtreeRoot, emptyRoot)
    );
  }
  return subtreeConsistencyFault(start, end, size, proof, subtreeRoot, root) === undefined;
}

/** What is wrong with a subtree consistency proof (draft-ietf-plants-merkle-tree-certs, section 4.4). */
function subtreeConsistencyFault(
  start: number,
  end: number,
  size: number,
  proof: Proof,
  subtreeRoot: Uint8Array,
  root: Uint8Array,
): string | undefined {
  if (!isSubtree(start, end)) return `[${start}, ${end}) is not a subtree`;
  if (!isSize(size) || end > size) return `a tree of ${size} does not begin with ${end} leaves`;
  if (start === 0 && end === size) {
    if (proof.length > 0) return 'the sizes are equal, but the proof is not empty';
    return equalBytes(subtreeRoot, root) ? undefined : 'the sizes are equal, but the roots are not';
  }
  const rebuilt = rebuildRoots(start, end, size, proof, subtreeRoot);
  if ('fault' in rebuilt) return rebuilt.fault;
  if (!equalBytes(rebuilt.root, root)) return 'the proof leads to another new root';
  return equalBytes(rebuilt.subtreeRoot, subtreeRoot) ? undefined : 'the proof leads to another old root';
}

/** Two roots that the same nodes lead to. */
export interface RebuiltRoots {
  /** The root of [start, end). */
  readonly subtreeRoot: Uint8Array;
  /** The root of the whole tree. */
  readonly root: Uint8Array;
}

/**
 * The roots of [0, size1) and of the tree of `size2` leaves, 0 < size1 < size2, from the lines of planPrefix
 * alone. Since SHA-256 has no known collisions, lines that lead to a given root of the whole tree lead to
 * the root of the only prefix that it can have: another root for that size is a fork.
 */
export function rebuildPrefix(
  size1: number,
  size2: number,
  lines: Proof,
): RebuiltRoots | { readonly fault: string } {
  if (!isSize(size1) || !isSize(size2) || size1 === 0 || size1 >= size2) {
    return { fault: `no tree of ${size2} leaves grows from one of ${size1}` };
  }
  return rebuildRoots(0, size1, size2, lines, undefined);
}

/**
 * Walks up from the last complete subtree of [start, end). `known` is the root to begin with where that
 * subtree is the whole of [start, end); without it, the first line always is that subtree's root.
 */
function rebuildRoots(
  start: number,
  end: number,
  size: number,
  proof: Proof,
  known: Uint8Array | undefined,
): RebuiltRoots | { readonly fault: string } {
  const malformed = malformedLine(proof);
  if (malformed !== undefined) return { fault: malformed };
  let fn = start;
  let sn = end - 1;
  let tn = size - 1;
  while (fn !== sn && (sn === tn || isOdd(sn))) {
    fn = half(fn);
    sn = half(sn);
    tn = half(tn);
  }
  const seeded = fn === sn && known !== undefined;
  const seed = seeded ? known : proof[0];
  if (seed === undefined) return { fault: 'the proof is empty' };
  if (seed.length !== HASH_LENGTH) return { fault: `the old root has ${seed.length} bytes, not 32` };
  let fr = seed;
  let sr = seed;
  for (const c of seeded ? proof : proof.slice(1)) {
    if (tn === 0) return { fault: 'the proof is too long' };
    if (isOdd(sn) || sn === tn) {
      if (fn < sn) fr = nodeHash(c, fr);
      sr = nodeHash(c, sr);
      while (!isOdd(sn) && sn !== 0) {
        fn = half(fn);
        sn = half(sn);
        tn = half(tn);
      }
    } else {
      sr = nodeHash(sr, c);
    }
    fn = half(fn);
    sn = half(sn);
    tn = half(tn);
  }
  if (tn !== 0) return { fault: 'the proof is too short' };
  return { subtreeRoot: fr, root: sr };
}

function malformedLine(proof: Proof): string | undefined {
  const at = proof.findIndex((line) => line.length !== HASH_LENGTH);
  return at === -1 ? undefined : `line ${at + 1} of the proof has ${proof[at]?.length} bytes, not 32`;
}
