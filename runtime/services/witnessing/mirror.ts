/**
 * A copy of another gateway's log: leaf data and the tiles over it. It reaches up to a checkpoint that this
 * gateway has itself cosigned, and nothing is stored before it has been found under that checkpoint's root.
 */
import { equalBytes } from '../../core/encoding/cbor.ts';
import { encodeBundle } from '../../core/log/bundle.ts';
import { parseCheckpoint } from '../../core/log/checkpoint.ts';
import { parseNote } from '../../core/log/note.ts';
import { formatTilePath, parseTilePath, TILE_WIDTH } from '../../core/log/tiles.ts';
import { createFrontier } from '../../core/log/tree.ts';
import type { MirrorLog } from '../../state/journal/mirror-log.ts';
import type { Refillable } from '../../state/journal/refill.ts';
import { type Fetch, type Head, MAX_LEAF_BYTES, verifiedLeaves } from './tree-source.ts';
import type { Answer } from './witnessing.ts';

/** A head with the note that says so. */
export interface SignedHead extends Head {
  readonly note: string;
}

export interface MirrorOptions {
  /** The gateway whose log it is. */
  readonly gateway: string;
  readonly origin: string;
  readonly log: MirrorLog;
  /** The newest checkpoint of the log that this gateway has cosigned. */
  readonly target: () => Promise<SignedHead | undefined>;
  /** Asks the owner; every request has a time limit. */
  readonly fetch: Fetch;
  /** The most that the copy may take, in bytes. */
  readonly maxBytes: number;
  /** Bundles of leaves a batch. */
  readonly batch?: number;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number;
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface MirrorStatus {
  readonly gateway: string;
  readonly origin: string;
  /** Leaves under the mirrored checkpoint. */
  readonly size: number;
  /** Leaves under the newest checkpoint cosigned here that are not mirrored yet. */
  readonly lag: number;
  /** An upper bound of what it takes on disk. */
  readonly bytes: number;
  /** `withholding`: the owner has not given, time and again, what it has signed. */
  readonly state: 'current' | 'behind' | 'withholding' | 'full';
  readonly failures: number;
  readonly trouble?: string;
}

export interface Mirror {
  readonly origin: string;
  /** Fetches what is missing, unless the last failure is too recent; resolves when there is no more to be had. */
  pull(): Promise<void>;
  status(): MirrorStatus;
  /** What lies at a path of C2SP tlog-tiles, without a leading slash, up to the mirrored checkpoint. */
  answer(path: string): Promise<Answer>;
  /** The same for this gateway itself. */
  readonly fetch: Fetch;
  /** The mirrored checkpoint. */
  head(): Head | undefined;
  /** Where the copy takes back records that damage has taken. */
  readonly refillable: Refillable;
}

const BATCH = 16;
const HASH_BYTES = 32;
/** An upper bound: a leaf in its bundle, and its hash; levels above and records' keys are less than what is spare. */
const BYTES_A_LEAF = HASH_BYTES + 2 + MAX_LEAF_BYTES;

/** So many failures in a row, and the owner is withholding. */
const WITHHOLDING_AFTER = 5;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 300_000;

export function createMirror(options: MirrorOptions): Mirror {
  const { gateway, origin, log, maxBytes, batch = BATCH, now = () => performance.now() } = options;
  let mirrored = headIn(log);
  let wanted = mirrored;
  let failures = 0;
  let retryAt = Number.NEGATIVE_INFINITY;
  let trouble: string | undefined;
  let isFull = false;
  let running: Promise<void> | undefined;

  async function pullAll(): Promise<void> {
    const target = await options.target();
    if (!target || target.size <= mirrored) return;
    wanted = target.size;
    try {
      await append(target);
      if (failures >= WITHHOLDING_AFTER)
        options.report('info', `${gateway} gives its log to be mirrored again`);
      failures = 0;
      if (!isFull) trouble = undefined;
    } catch (error) {
      fail((error as Error).message, 'own' in (error as Error));
    }
  }

  async function append(target: SignedHead): Promise<void> {
    const note = new TextEncoder().encode(target.note);
    if (log.frontier().size === target.size) {
      if (!equalBytes(createFrontier(log.frontier()).root(), target.root))
        throw new Error('the mirrored leaves lead to another root');
      await store([], note);
    }
    const batches = verifiedLeaves({ from: log.frontier(), target, fetch: options.fetch, batch });
    for (;;) {
      isFull = nextSize(target) * BYTES_A_LEAF > maxBytes;
      if (isFull) {
        trouble = `its log takes more than the ${maxBytes} bytes that a mirror may take; raise the bound`;
        return;
      }
      const { value, done } = await batches.next();
      if (done) break;
      await store(value.leaves, value.frontier.size === target.size ? note : undefined);
    }
    mirrored = target.size;
  }

  /** Where the next batch ends. */
  function nextSize(target: Head): number {
    const first = Math.floor(log.frontier().size / TILE_WIDTH);
    return Math.min(target.size, (first + batch) * TILE_WIDTH);
  }

  /** What this gateway's own disk does not take is nothing that the owner withholds. */
  async function store(leaves: readonly Uint8Array[], note: Uint8Array | undefined): Promise<void> {
    try {
      await log.append(leaves, note);
    } catch (error) {
      throw Object.assign(new Error(`it cannot be stored: ${(error as Error).message}`), { own: true });
    }
  }

  function fail(why: string, own: boolean): void {
    if (!own) failures += 1;
    retryAt = now() + Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.max(0, failures - 1));
    if (trouble !== why) options.report('warn', `the log of ${gateway} cannot be mirrored: ${why}`);
    trouble = why;
    if (!own && failures === WITHHOLDING_AFTER)
      options.report('warn', `${gateway} withholds leaves of its log that it has signed`);
  }

  function state(): MirrorStatus['state'] {
    if (isFull) return 'full';
    if (failures >= WITHHOLDING_AFTER) return 'withholding';
    return mirrored < wanted ? 'behind' : 'current';
  }

  async function read(path: string): Promise<Uint8Array> {
    const tile = parseTilePath(path);
    if (!tile) throw new Error('no such tile');
    const level = tile.level === 'entries' ? 0 : tile.level;
    if (tile.index * TILE_WIDTH + tile.width > Math.floor(mirrored / TILE_WIDTH ** level))
      throw new Error(`the mirror ends at leaf ${mirrored}`);
    if (tile.level !== 'entries') return log.tile(level, tile.index, tile.width);
    return encodeBundle(await log.leaves(tile.index, tile.width));
  }

  return {
    origin,
    pull() {
      if (now() < retryAt) return Promise.resolve();
      running ??= pullAll().finally(() => {
        running = undefined;
      });
      return running;
    },
    status: () => ({
      gateway,
      origin,
      size: mirrored,
      lag: wanted - mirrored,
      bytes: log.frontier().size * BYTES_A_LEAF,
      state: state(),
      failures,
      ...(trouble === undefined ? {} : { trouble }),
    }),
    async answer(path) {
      if (path === 'checkpoint') {
        const note = mirrored > 0 ? log.note() : undefined;
        if (!note) return answerText(404, 'nothing is mirrored yet\n');
        return { status: 200, body: note, contentType: 'text/plain; charset=utf-8' };
      }
      try {
        return { status: 200, body: await read(path), contentType: 'application/octet-stream' };
      } catch (error) {
        const tile = parseTilePath(path);
        return answerText(404, `${tile ? formatTilePath(tile) : 'tile'}: ${(error as Error).message}\n`);
      }
    },
    fetch: read,
    head() {
      const note = mirrored > 0 ? log.note() : undefined;
      return note && parseCheckpoint(parseNote(note).text);
    },
    refillable: log.refillable,
  };
}

/** The size of the mirrored checkpoint: leaves behind it may have been stored before an interruption. */
function headIn(log: MirrorLog): number {
  const note = log.note();
  if (!note) return 0;
  const [, size] = new TextDecoder().decode(note).split('\n');
  return Number(size);
}

export function answerText(status: number, content: string): Answer {
  return { status, body: new TextEncoder().encode(content), contentType: 'text/plain; charset=utf-8' };
}
