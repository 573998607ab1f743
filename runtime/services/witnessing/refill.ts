/**
 * Records of a log that damage has taken, taken back from copies of it. Only leaves are fetched: hashes follow from
 * them. Nothing is put back that does not stand under a checkpoint that the log has signed and a witness cosigned, or
 * that does not fit the hashes that are still there.
 */
import { equalBytes } from '../../core/encoding/cbor.ts';
import { HASH_LENGTH, leafHash } from '../../core/log/hash.ts';
import { type HashReader, inclusionProof, readerOf } from '../../core/log/proof.ts';
import { joinHashes, TILE_WIDTH, tileHash, tileWidth } from '../../core/log/tiles.ts';
import { foldRight } from '../../core/log/tree.ts';
import { inclusionFault } from '../../core/log/verify.ts';
import type { Refillable } from '../../state/journal/refill.ts';
import type { Hole } from '../../state/journal/tree-log.ts';
import { compareTrees, type Fetch, fetchedHashes, fetchLeaves, type Head } from './tree-source.ts';

/** A copy of the log, and the checkpoint that its leaves are believed by. */
export interface Source {
  readonly gateway: string;
  readonly head: Head;
  readonly fetch: Fetch;
}

export interface Refilled {
  /** Records that were put back. */
  readonly records: number;
  /** Where something is absent still. */
  readonly open: readonly Hole[];
  /** What went wrong with sources that were tried, the last of each. */
  readonly failures: readonly { readonly gateway: string; readonly reason: string }[];
}

/** A source that has failed so often is not asked again. */
const MAX_FAILURES = 3;
/** The log grows while it is filled, and what was the newest bundle may be a full one by the second time. */
const PASSES = 3;

interface Tried extends Source {
  readonly hashes: HashReader;
  failures: number;
}

/** One bundle at a time. @throws Error when this gateway's own store takes nothing, or `signal` is aborted. */
export async function refill(
  log: Refillable,
  sources: readonly Source[],
  signal: AbortSignal,
): Promise<Refilled> {
  const failures = new Map<string, string>();
  const tried: Tried[] = [];
  for (const source of sources) {
    const fault = await contradiction(log, source);
    if (fault !== undefined) failures.set(source.gateway, fault);
    else tried.push({ ...source, hashes: fetchedHashes(source.head.size, source.fetch), failures: 0 });
  }

  async function fromSources({ index, width }: Hole): Promise<readonly Uint8Array[]> {
    let best: readonly Uint8Array[] = [];
    for (const source of tried) {
      signal.throwIfAborted();
      const there = tileWidth('entries', index, source.head.size);
      if (Math.min(there, width) <= best.length || source.failures >= MAX_FAILURES) continue;
      try {
        // The whole of what it has there: the proof is over all of it.
        const leaves = await fetchLeaves(source.fetch, index, there);
        const fault =
          (await bundleFault(leaves, index, source.head, source.hashes)) ??
          (await misfit(log, 0, index, leaves.slice(0, width).map(leafHash)));
        if (fault !== undefined) throw new Error(`bundle ${index}: ${fault}`);
        best = leaves.slice(0, width);
      } catch (error) {
        source.failures += 1;
        failures.set(source.gateway, (error as Error).message);
      }
    }
    return best;
  }

  async function leavesFor(hole: Hole): Promise<readonly (Uint8Array | undefined)[]> {
    const parts = await log.parts(hole.index, hole.width);
    const found = await fromSources(hole);
    return parts.map((part, at) => part ?? found[at]);
  }

  async function hashesFor(level: number, index: number): Promise<readonly (Uint8Array | undefined)[]> {
    if (level === 0) return (await log.parts(index, TILE_WIDTH)).map((leaf) => leaf && leafHash(leaf));
    const hashes: (Uint8Array | undefined)[] = [];
    for (let child = index * TILE_WIDTH; child < (index + 1) * TILE_WIDTH; child++) {
      const tile = await log.tile(level - 1, child, TILE_WIDTH).catch(() => undefined);
      hashes.push(tile && tileHash(tile));
    }
    return hashes;
  }

  async function fill(hole: Hole): Promise<number> {
    const { level, index, width } = hole;
    if (level === 'entries') return log.fill(hole, await leavesFor(hole));
    const hashes = await hashesFor(level, index);
    if (!isWhole(hashes) || hashes.length < width) return 0;
    const fault = await misfit(log, level, index, hashes);
    if (fault === undefined) return log.fill(hole, hashes);
    failures.set('this gateway', `tile ${level}/${index}: ${fault}`);
    return 0;
  }

  let records = 0;
  let open = await log.holes();
  for (let pass = 0; pass < PASSES && open.length > 0; pass++) {
    let put = 0;
    for (const hole of open) {
      signal.throwIfAborted();
      put += await fill(hole);
    }
    records += put;
    open = await log.holes();
    if (put === 0) break;
  }
  return { records, open, failures: [...failures].map(([gateway, reason]) => ({ gateway, reason })) };
}

function isWhole(parts: readonly (Uint8Array | undefined)[]): parts is readonly Uint8Array[] {
  return parts.every((part) => part !== undefined);
}

/**
 * Whether the head is of another tree than the log: what can be told by the right edge, which damage has spared. It
 * covers all but the leaves behind the last of its subtrees that the head reaches.
 */
async function contradiction(log: Refillable, { head, fetch }: Source): Promise<string | undefined> {
  const { size, hashes } = log.frontier();
  const covered = { size: 0, hashes: [] as Uint8Array[] };
  for (const hash of hashes) {
    const width = 2 ** Math.floor(Math.log2(size - covered.size));
    if (covered.size + width > head.size) break;
    covered.size += width;
    covered.hashes.push(hash);
  }
  if (covered.size === 0) return undefined;
  const comparison = await compareTrees({ size: covered.size, root: foldRight(covered.hashes) }, head, fetch);
  if (comparison.kind === 'unknown') return comparison.reason;
  return comparison.kind === 'contradiction' ? 'its checkpoint is of another tree' : undefined;
}

/** Whether these hashes are not those that this log has had there: by the tile itself, or by the one above. */
async function misfit(
  log: Refillable,
  level: number,
  index: number,
  hashes: readonly Uint8Array[],
): Promise<string | undefined> {
  const other = 'it is not what this log has had there';
  const present = await log.tile(level, index, hashes.length).catch(() => undefined);
  if (present) return equalBytes(present, joinHashes(hashes)) ? undefined : other;
  if (hashes.length < TILE_WIDTH) return undefined;
  const [above, at] = [Math.floor(index / TILE_WIDTH), index % TILE_WIDTH];
  const row = await log.tile(level + 1, above, at + 1).catch(() => undefined);
  if (!row || equalBytes(row.subarray(at * HASH_LENGTH), tileHash(joinHashes(hashes)))) return undefined;
  return other;
}

/** Whether all of these leaves stand in the head's tree: one proof, whose lower lines they make themselves. */
async function bundleFault(
  leaves: readonly Uint8Array[],
  index: number,
  head: Head,
  remote: HashReader,
): Promise<string | undefined> {
  const first = index * TILE_WIDTH;
  const hashes = leaves.map(leafHash);
  const local = readerOf(hashes);
  const proof = await inclusionProof(first, head.size, (level, position) => {
    const width = 2 ** level;
    const begin = position * width - first;
    if (begin >= 0 && begin + width <= hashes.length) return local(level, begin / width);
    return remote(level, position);
  });
  return inclusionFault(hashes[0]!, first, head.size, proof, head.root);
}
