/**
 * Takes over what a gateway's own log holds elsewhere and not here: the published leaves go in behind the last one
 * that both have, and blocks that were recorded here since go behind them, each with its opening, so that its leaf
 * stays what it was. Everything is laid aside first, with nothing changed; from the commit on it is finished at
 * every opening until it is done, without anybody else's help.
 */
import { decodeCbor, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, list, safeInteger } from '../../core/encoding/fields.ts';
import { decodeBundle } from '../../core/log/bundle.ts';
import { leafHash } from '../../core/log/hash.ts';
import { readFrontier } from '../../core/log/proof.ts';
import { hashReaderFromTiles, TILE_WIDTH } from '../../core/log/tiles.ts';
import { createFrontier, type FrontierState } from '../../core/log/tree.ts';
import { behind, keys, ordered, unordered } from './keys.ts';
import { type Held, RETENTIONS, type Retention } from './retention.ts';
import { addLost, type BlockRange, decodeState, encodeState, type JournalState, stateOf } from './state.ts';
import type { KeyRange, Store, Write } from './store.ts';
import { openTreeLog } from './tree-log.ts';

/** What is used of the journal. */
export interface AdoptingJournal {
  head(): { readonly size: number } | undefined;
  tile(level: number, index: number, width: number): Promise<Uint8Array>;
  bundle(index: number, width: number): Promise<Uint8Array>;
  state(): JournalState;
  write(writes: readonly Write[]): Promise<void>;
}

export interface Adoption {
  /** The right edge of what is laid aside: where the next leaf belongs. */
  frontier(): FrontierState;
  /** Lays leaves aside, durably; they have been verified. */
  stage(leaves: readonly Uint8Array[]): Promise<void>;
  /**
   * From here on the log is what was laid aside, with this journal's own blocks behind it. `writes` are durable in
   * the same batch. The journal must be closed then; nothing may be appended to it before.
   */
  commit(writes: readonly Write[]): Promise<void>;
}

/** What finishing an adoption has done. */
export interface Adopted {
  /** Blocks of the published log whose entries are not here. */
  readonly lost: BlockRange;
  /** Blocks that were recorded here and are behind them now. */
  readonly moved: number;
}

const PLAN = 'adopt/plan';
const published = (index: number) => `adopt/leaf/${ordered(index)}`;
const own = (index: number) => `adopt/own/${ordered(index)}`;

const LEAVES_A_BATCH = 1024;
const BYTES_A_BATCH = 4 << 20;

/** The right edge of the first `size` leaves of the journal's log. @throws Error where the log has a hole there. */
export function edgeAt(
  journal: Pick<AdoptingJournal, 'head' | 'tile'>,
  size: number,
): Promise<FrontierState> {
  const reader = hashReaderFromTiles(journal.head()?.size ?? 0, (level, index, width) =>
    journal.tile(level, index, width),
  );
  return readFrontier(size, reader);
}

/**
 * Begins to take over the leaves behind the first `fork`, which the journal has in common with what was published.
 * What an earlier attempt laid aside is thrown away.
 */
export async function beginAdoption(journal: AdoptingJournal, fork: number): Promise<Adoption> {
  const edge = createFrontier(await edgeAt(journal, fork));
  const begin = fork - (fork % TILE_WIDTH);
  const before = await leavesOf(journal, begin, fork);
  await journal.write(before.map((leaf, at) => ({ type: 'put', key: published(begin + at), value: leaf })));
  return {
    frontier: () => ({ size: edge.size, hashes: edge.hashes }),
    async stage(leaves) {
      const writes = leaves.map(
        (leaf, at): Write => ({ type: 'put', key: published(edge.size + at), value: leaf }),
      );
      for (let at = 0; at < writes.length; at += LEAVES_A_BATCH)
        await journal.write(writes.slice(at, at + LEAVES_A_BATCH));
      for (const leaf of leaves) edge.append(leafHash(leaf));
    },
    async commit(writes) {
      const size = journal.state().blocks;
      for (let at = fork; at < size; at += LEAVES_A_BATCH) {
        const until = Math.min(size, at + LEAVES_A_BATCH);
        const leaves = await leavesOf(journal, at, until);
        await journal.write(
          leaves.map((leaf, offset) => ({ type: 'put', key: own(at + offset), value: leaf })),
        );
      }
      const plan: Plan = {
        fork,
        target: { size: edge.size, root: edge.root() },
        size,
        step: { kind: 'blocks', rule: 0, below: size },
      };
      await journal.write([...writes, { type: 'put', key: PLAN, value: encodePlan(plan) }]);
    },
  };
}

async function leavesOf(journal: AdoptingJournal, from: number, to: number): Promise<Uint8Array[]> {
  const leaves: Uint8Array[] = [];
  for (let at = from; at < to; ) {
    const bundle = Math.floor(at / TILE_WIDTH);
    const until = Math.min(to, (bundle + 1) * TILE_WIDTH);
    const width = until - bundle * TILE_WIDTH;
    const whole = decodeBundle(await journal.bundle(bundle, width), width);
    leaves.push(...whole.slice(at - bundle * TILE_WIDTH));
    at = until;
  }
  return leaves;
}

/** What is still to be done. */
type Step =
  /** Blocks of this rule, from `below` downwards, and of the rules behind it. */
  | { readonly kind: 'blocks'; readonly rule: number; readonly below: number }
  /** Leaves from the edge on. */
  | { readonly kind: 'log'; readonly edge: FrontierState }
  /** What was laid aside. */
  | { readonly kind: 'sweep' };

interface Plan {
  readonly fork: number;
  readonly target: { readonly size: number; readonly root: Uint8Array };
  /** Blocks before it began. */
  readonly size: number;
  readonly step: Step;
}

/** How much is done in one go. */
export interface AdoptionLimits {
  /** Stops after so many batches, for tests: the next call goes on there. */
  readonly batches: number;
  /** Of blocks in one batch. */
  readonly bytes: number;
}

/**
 * Finishes what was committed, or throws away what was laid aside and never was.
 * @returns undefined when there was nothing to finish.
 */
export async function finishAdoption(
  store: Store,
  { batches, bytes }: AdoptionLimits = { batches: Number.POSITIVE_INFINITY, bytes: BYTES_A_BATCH },
): Promise<Adopted | undefined> {
  const stored = await store.get(PLAN);
  if (!stored) {
    await sweep(store);
    return undefined;
  }
  let plan = decodePlan(stored);
  for (let done = 0; plan.step.kind !== 'sweep' && done < batches; done++)
    plan = await advance(store, plan, bytes);
  if (plan.step.kind !== 'sweep') return undefined;
  await sweep(store);
  await store.write([{ type: 'del', key: PLAN }]);
  return { lost: [plan.fork, plan.target.size], moved: plan.size - plan.fork };
}

async function advance(store: Store, plan: Plan, bytes: number): Promise<Plan> {
  if (plan.step.kind === 'blocks') return moveBlocks(store, plan, plan.step, bytes);
  if (plan.step.kind === 'log') return growLog(store, plan, plan.step.edge);
  return plan;
}

/** How far this journal's own blocks go up. */
const shiftOf = ({ fork, target }: Plan) => target.size - fork;

/** The last first: where a block goes to, none lies any more that has not gone yet. */
async function moveBlocks(
  store: Store,
  plan: Plan,
  step: Step & { kind: 'blocks' },
  limit: number,
): Promise<Plan> {
  const rule = RETENTIONS[step.rule];
  if (rule === undefined || shiftOf(plan) === 0) return beginLog(store, plan);
  const writes: Write[] = [];
  let bytes = 0;
  let below = plan.fork;
  const range = { from: keys.block(rule, plan.fork), to: keys.block(rule, step.below), reverse: true };
  for await (const [key, value] of store.entries(range)) {
    const index = unordered(key.slice(key.lastIndexOf('/') + 1));
    writes.push({ type: 'put', key: keys.block(rule, index + shiftOf(plan)), value }, { type: 'del', key });
    bytes += value.length;
    below = index;
    if (bytes >= limit) break;
  }
  const isLast = bytes < limit;
  const next: Step = isLast
    ? { kind: 'blocks', rule: step.rule + 1, below: plan.size }
    : { kind: 'blocks', rule: step.rule, below };
  return write(store, { ...plan, step: next }, writes);
}

/** Back to the fork: the newest leaves before it are single records again, as a log of that size has them. */
async function beginLog(store: Store, plan: Plan): Promise<Plan> {
  const begin = plan.fork - (plan.fork % TILE_WIDTH);
  const writes: Write[] = [];
  for (let index = begin; index < plan.fork; index++)
    writes.push({ type: 'put', key: keys.log.leaf(index), value: await staged(store, published(index)) });
  return write(store, { ...plan, step: { kind: 'log', edge: await edgeBefore(store, plan.fork) } }, writes);
}

async function edgeBefore(store: Store, size: number): Promise<FrontierState> {
  const state = await readState(store);
  const log = await openTreeLog(store, keys.log, state.frontier);
  const reader = hashReaderFromTiles(state.blocks, (level, index, width) => log.tile(level, index, width));
  return readFrontier(size, reader);
}

async function growLog(store: Store, plan: Plan, edge: FrontierState): Promise<Plan> {
  const log = await openTreeLog(store, keys.log, edge);
  const end = plan.target.size + plan.size - plan.fork;
  const until = Math.min(end, edge.size + LEAVES_A_BATCH);
  const writes: Write[] = [];
  for (let index = edge.size; index < until; index++) {
    const key = index < plan.target.size ? published(index) : own(index - shiftOf(plan));
    writes.push(...log.append(await staged(store, key)));
    if (log.size() === plan.target.size && !equalBytes(log.root(), plan.target.root))
      throw new Error('the leaves laid aside do not lead to the checkpoint that they were taken from');
  }
  const frontier = log.frontier();
  if (until < end) return write(store, { ...plan, step: { kind: 'log', edge: frontier } }, writes);
  writes.push(...(await settled(store, plan, frontier)));
  return write(store, { ...plan, step: { kind: 'sweep' } }, writes);
}

/** What the journal knows of itself, as it is afterwards. */
async function settled(store: Store, plan: Plan, frontier: FrontierState): Promise<readonly Write[]> {
  const before = await readState(store);
  const shift = shiftOf(plan);
  const up = (index: number) => (index >= plan.fork ? index + shift : index);
  const held = Object.fromEntries(
    RETENTIONS.map((rule): readonly [Retention, Held] => {
      const { first, dropped, bytes } = before.held[rule];
      return [rule, { first: up(first), dropped: dropped > plan.fork ? dropped + shift : dropped, bytes }];
    }),
  ) as Record<Retention, Held>;
  const moved = before.lost.flatMap(([from, to]): BlockRange[] =>
    from < plan.fork && to > plan.fork
      ? [
          [from, plan.fork],
          [plan.target.size, to + shift],
        ]
      : [[up(from), from < plan.fork ? to : to + shift]],
  );
  const lost = [...moved, [plan.fork, plan.target.size] as const].reduce<readonly BlockRange[]>(addLost, []);
  const { entries, droppedUnread } = before;
  const state = stateOf({ held, entries, droppedUnread, frontier, lost });
  const writes: Write[] = [{ type: 'put', key: keys.state, value: encodeState(state) }];
  for await (const [key, value] of store.entries({ from: 'cursor/', to: behind('cursor/') })) {
    const position = Uint8Array.from(value);
    const view = new DataView(position.buffer);
    view.setBigUint64(0, BigInt(up(Number(view.getBigUint64(0)))));
    writes.push({ type: 'put', key, value: position });
  }
  return writes;
}

async function write(store: Store, plan: Plan, writes: readonly Write[]): Promise<Plan> {
  await store.write([...writes, { type: 'put', key: PLAN, value: encodePlan(plan) }]);
  return plan;
}

async function staged(store: Store, key: string): Promise<Uint8Array> {
  const leaf = await store.get(key);
  if (!leaf) throw new Error(`the leaf ${key} that was laid aside is gone`);
  return leaf;
}

async function readState(store: Store): Promise<JournalState> {
  const bytes = await store.get(keys.state);
  if (!bytes) throw new Error('the journal has no record of its own state');
  return decodeState(bytes);
}

async function sweep(store: Store): Promise<void> {
  const ranges: readonly KeyRange[] = ['adopt/leaf/', 'adopt/own/'].map((prefix) => ({
    from: prefix,
    to: behind(prefix),
  }));
  for (const range of ranges) {
    for (;;) {
      const gone: Write[] = [];
      for await (const [key] of store.lengths({ ...range, limit: LEAVES_A_BATCH }))
        gone.push({ type: 'del', key });
      if (gone.length === 0) break;
      await store.write(gone);
    }
  }
}

function encodePlan({ fork, target, size, step }: Plan): Uint8Array {
  const rest =
    step.kind === 'blocks'
      ? [0, step.rule, step.below]
      : step.kind === 'log'
        ? [1, step.edge.size, [...step.edge.hashes]]
        : [2, 0, 0];
  return encodeCbor([fork, target.size, target.root, size, rest]);
}

function decodePlan(bytes: Uint8Array): Plan {
  const what = 'plan of an adoption';
  const fields = fieldsOf(decodeCbor(bytes), 5, what);
  const [kind, first, second] = fieldsOf(fields[4], 3, what);
  const step: Step =
    kind === 0
      ? { kind: 'blocks', rule: safeInteger(first, what), below: safeInteger(second, what) }
      : kind === 1
        ? {
            kind: 'log',
            edge: {
              size: safeInteger(first, what),
              hashes: list(second, 64, what).map((hash) => byteString(hash, what, 32)),
            },
          }
        : { kind: 'sweep' };
  return {
    fork: safeInteger(fields[0], what),
    target: { size: safeInteger(fields[1], what), root: byteString(fields[2], what, 32) },
    size: safeInteger(fields[3], what),
    step,
  };
}
