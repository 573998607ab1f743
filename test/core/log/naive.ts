/**
 * RFC 6962, section 2.1, word for word: recursive, slow, with node:crypto alone, and sharing nothing with
 * what it is compared with.
 */
import { createHash } from 'node:crypto';

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

export function naiveLeaf(data: Uint8Array): Uint8Array {
  return sha256(Uint8Array.of(0), data);
}

function node(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(Uint8Array.of(1), left, right);
}

function split(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

type Leaves = readonly Uint8Array[];

/** MTH(D[n]) over leaf hashes. */
export function naiveRoot(leaves: Leaves): Uint8Array {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return leaves[0]!;
  const k = split(leaves.length);
  return node(naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)));
}

/** PATH(m, D[n]). */
export function naivePath(m: number, leaves: Leaves): Uint8Array[] {
  if (leaves.length === 1) return [];
  const k = split(leaves.length);
  if (m < k) return [...naivePath(m, leaves.slice(0, k)), naiveRoot(leaves.slice(k))];
  return [...naivePath(m - k, leaves.slice(k)), naiveRoot(leaves.slice(0, k))];
}

/** PROOF(m, D[n]). */
export function naiveProof(m: number, leaves: Leaves): Uint8Array[] {
  return naiveSubproof(m, leaves, true);
}

/** SUBPROOF(m, D[n], b). */
export function naiveSubproof(m: number, leaves: Leaves, b: boolean): Uint8Array[] {
  const n = leaves.length;
  if (m === n) return b ? [] : [naiveRoot(leaves)];
  const k = split(n);
  if (m <= k) return [...naiveSubproof(m, leaves.slice(0, k), b), naiveRoot(leaves.slice(k))];
  return [...naiveSubproof(m - k, leaves.slice(k), false), naiveRoot(leaves.slice(0, k))];
}

/** SUBTREE_SUBPROOF(start, end, D[n], b) of draft-ietf-plants-merkle-tree-certs, section 4.4. */
export function naiveSubtreeProof(start: number, end: number, leaves: Leaves, b = true): Uint8Array[] {
  const n = leaves.length;
  if (start === 0 && end === n) return b ? [] : [naiveRoot(leaves)];
  const k = split(n);
  const left = leaves.slice(0, k);
  const right = leaves.slice(k);
  if (end <= k) return [...naiveSubtreeProof(start, end, left, b), naiveRoot(right)];
  if (k <= start) return [...naiveSubtreeProof(start - k, end - k, right, b), naiveRoot(left)];
  return [...naiveSubtreeProof(0, end - k, right, false), naiveRoot(left)];
}

/** `count` distinct leaf hashes. */
export function someLeaves(count: number, label = 'leaf'): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => naiveLeaf(new TextEncoder().encode(`${label} ${i}`)));
}
