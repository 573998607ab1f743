/** The root over many entries at once: in WebAssembly where that is to be had, else hash by hash. */
import { createMerkleKernel, type MerkleKernel } from '#merkle';
import { equalBytes } from '../encoding/cbor.ts';
import { leafHash } from './hash.ts';
import { treeRoot } from './tree.ts';

/** Undefined until the first root is asked for, null where there is none. */
let kernel: MerkleKernel | null | undefined;

/** The Merkle tree hash over `entries` (RFC 6962, section 2.1): `treeRoot(entries.map(leafHash))`, but faster. */
export function merkleRoot(entries: readonly Uint8Array[]): Uint8Array {
  if (kernel === undefined) kernel = startKernel();
  if (kernel === null || entries.length === 0) return plainRoot(entries);
  const { mostEntries } = kernel;
  if (entries.length <= mostEntries) return kernel.root(entries, leafHash);
  // mostEntries is a power of two: each part is a complete subtree, but for the last.
  const roots: Uint8Array[] = [];
  for (let start = 0; start < entries.length; start += mostEntries) {
    roots.push(kernel.root(entries.slice(start, start + mostEntries), leafHash));
  }
  return treeRoot(roots);
}

function plainRoot(entries: readonly Uint8Array[]): Uint8Array {
  return treeRoot(entries.map(leafHash));
}

/** A wrong root in the log could never be taken back, so the kernel is tried on this machine before it counts. */
function startKernel(): MerkleKernel | null {
  const started = createMerkleKernel();
  if (!started) return null;
  const trial = Array.from({ length: 7 }, (_, index) => new Uint8Array(40 * index).fill(index));
  return equalBytes(started.root(trial, leafHash), plainRoot(trial)) ? started : null;
}
