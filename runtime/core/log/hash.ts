import { createSha256, sha256 } from '#sha256';

/** The length of every hash in a tree, in bytes. */
export const HASH_LENGTH = 32;

const LEAF_PREFIX = Uint8Array.of(0);

/** Hashing is the log's inner loop; one buffer for all calls is safe, since hashing is synchronous. */
const leafInput = new Uint8Array(1 + 4096);
const nodeInput = new Uint8Array(1 + 2 * HASH_LENGTH);
nodeInput[0] = 1;

/** The root of the tree without leaves: the SHA-256 of nothing (RFC 6962, section 2.1). Do not write to it. */
export const emptyRoot: Uint8Array = sha256(new Uint8Array(0));

/** The 32-byte hash of a leaf that holds `data`: SHA-256(0x00 || data) (RFC 6962, section 2.1). */
export function leafHash(data: Uint8Array): Uint8Array {
  // Copied behind the prefix, since one call is faster than two updates.
  if (data.length < leafInput.length) {
    leafInput.set(data, 1);
    return sha256(leafInput.subarray(0, 1 + data.length));
  }
  return createSha256().update(LEAF_PREFIX).update(data).digest();
}

/**
 * The 32-byte hash of the node above two: SHA-256(0x01 || left || right) (RFC 6962, section 2.1).
 * A RangeError if either is not 32 bytes: two wrong lengths that add up would hash like another pair.
 */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  if (left.length !== HASH_LENGTH || right.length !== HASH_LENGTH) {
    throw new RangeError(`a node has two children of 32 bytes, not of ${left.length} and ${right.length}`);
  }
  nodeInput.set(left, 1);
  nodeInput.set(right, 1 + HASH_LENGTH);
  return sha256(nodeInput);
}
