/**
 * Keeps the journal's files within their bound. LevelDB frees nothing when a record is dropped, only when the
 * files that held it are compacted; so what has been dropped is compacted away once it has become much.
 */
import { keys } from './keys.ts';
import { type HeldByRule, RETENTIONS } from './retention.ts';
import { type Store, shapeFor } from './store.ts';

export interface DiskKeeper {
  /** Resolves when `bytes` may be written: at once, or after a compaction where files have come near the bound. */
  room(bytes: number): Promise<void>;
  /** Tells of a commit: bytes written, bytes of blocks dropped with it, and what is held now. */
  note(written: number, dropped: number, held: HeldByRule): void;
  /** Bytes by which less is to be held than was reckoned with, since the files take more than their records. */
  excess(): number;
  /** Bytes of all files, when last looked at. */
  bytes(): number;
  /** Resolves when no compaction runs. */
  idle(): Promise<void>;
}

/** Dropped bytes that are worth a compaction. */
const COMPACT_AFTER = 16_000_000;
const LOOK_AFTER = 8_000_000;
/** Of what may be held without going over the bound; the rest is for the log and for what waits to be compacted. */
const HELD_SHARE = 0.7;
const LEAST_HELD_SHARE = 0.3;
/** LevelDB rewrites its first level, 10 MB, as a whole. */
const FIRST_LEVEL = 12_000_000;
/** Tables that it rewrites at once in other levels. */
const TABLES_AT_ONCE = 25;
/** A written byte is in a write-ahead file, and for a moment in a table too. */
const COPIES = 2;

/** Bytes of blocks that may be held so that the files stay within `maxDiskBytes`. */
export function heldShare(maxDiskBytes: number): number {
  const rest = maxDiskBytes - workingSpace(maxDiskBytes);
  return Math.floor(Math.max(maxDiskBytes * LEAST_HELD_SHARE, rest * HELD_SHARE));
}

/** What LevelDB takes while it compacts: old and new tables are there together. */
function workingSpace(maxDiskBytes: number): number {
  return FIRST_LEVEL + TABLES_AT_ONCE * shapeFor(maxDiskBytes).maxFileSize;
}

/**
 * @param maxBytes what the files may take in all.
 * @param failed is told when looking or compacting fails; the journal goes on without.
 */
export async function createDiskKeeper(
  store: Store,
  maxBytes: number,
  failed: (error: Error) => void,
): Promise<DiskKeeper> {
  const compactAfter = Math.min(COMPACT_AFTER, maxBytes / 16);
  const lookAfter = Math.min(LOOK_AFTER, maxBytes / 32);
  /** With more than this, a compaction of LevelDB's own could go over the bound. */
  const comfortable = Math.max(maxBytes / 2, maxBytes - workingSpace(maxBytes));
  const compacted = new Map<string, number>();
  let held: HeldByRule | undefined;
  let dropped = 0;
  /** Since the files were last looked at. */
  let written = 0;
  let bytes = await store.size();
  let excess = 0;
  let running: Promise<void> | undefined;

  async function look(): Promise<void> {
    written = 0;
    bytes = await store.size();
    if (dropped >= compactAfter) {
      dropped = 0;
      await compactDropped();
      bytes = await store.size();
    }
    if (bytes > comfortable) {
      await store.compact(keys.blocks);
      bytes = await store.size();
    }
    // What is over now will not go by compacting: fewer blocks have to be held.
    excess = Math.max(0, bytes - comfortable);
  }

  /** Only where something was dropped: what is held there is not rewritten for nothing. */
  async function compactDropped(): Promise<void> {
    for (const rule of RETENTIONS) {
      const to = held?.[rule].dropped ?? 0;
      const from = compacted.get(rule) ?? 0;
      if (to === from) continue;
      compacted.set(rule, to);
      await store.compact({ from: keys.block(rule, from), to: keys.block(rule, to) });
    }
  }

  function start(): Promise<void> {
    running ??= look()
      .catch(failed)
      .finally(() => {
        running = undefined;
      });
    return running;
  }

  return {
    async room(more) {
      if (bytes + COPIES * (written + more) > comfortable) await start();
    },
    note(wrote, gone, now) {
      written += wrote;
      dropped += gone;
      held = now;
      if (written >= lookAfter || dropped >= compactAfter) void start();
    },
    excess: () => excess,
    bytes: () => bytes,
    async idle() {
      await running;
    },
  };
}
