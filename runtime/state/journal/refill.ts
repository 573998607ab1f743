/** A log of which damage has taken records, and that takes them back: a gateway's own, or one that it mirrors. */
import type { FrontierState } from '../../core/log/tree.ts';
import type { Store, Write } from './store.ts';
import type { Hole, TreeLog } from './tree-log.ts';

export interface Refillable {
  /** The right edge of what is durable: it is kept with every block, so damage to leaves spares it. */
  frontier(): FrontierState;
  /** As TreeLog's. */
  tile(level: number, index: number, width: number): Promise<Uint8Array>;
  /** As TreeLog's. */
  parts(index: number, width: number): Promise<readonly (Uint8Array | undefined)[]>;
  /** What is absent. Only a log that is marked is looked through; where nothing is absent any more, the mark goes. */
  holes(): Promise<readonly Hole[]>;
  /** Resolves with the number of records that were put back, durably. What is given has been verified. */
  fill(hole: Hole, data: readonly (Uint8Array | undefined)[]): Promise<number>;
}

export interface RefillableOptions {
  readonly store: Store;
  readonly log: () => TreeLog;
  readonly frontier: () => FrontierState;
  /** Its record names what a mend found absent; none or an empty one: nothing. */
  readonly mark: string;
  /** Makes records durable. */
  readonly write: (writes: readonly Write[]) => Promise<void>;
}

export function createRefillable({ store, log, frontier, mark, write }: RefillableOptions): Refillable {
  return {
    frontier,
    tile: (level, index, width) => log().tile(level, index, width),
    parts: (index, width) => log().parts(index, width),
    async holes() {
      const marked = await store.get(mark);
      if (!marked || marked.length === 0) return [];
      const holes = await log().holes();
      if (holes.length === 0) await write([{ type: 'put', key: mark, value: new Uint8Array(0) }]);
      return holes;
    },
    async fill(hole, data) {
      const { writes, settle } = log().fill(hole, data);
      if (writes.length === 0) return 0;
      await write(writes);
      settle();
      return writes.filter(({ type }) => type === 'put').length;
    },
  };
}
