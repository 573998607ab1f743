/**
 * What goes when the journal is over its bound. Each block is of one rule; the oldest go first, those that every
 * consumer has read before those that some have not.
 */
import type { Store, Write } from './store.ts';

/** What may happen to a stream's samples when the journal is full. */
export const WHEN_FULL = ['drop-published', 'drop-oldest', 'stop'] as const;
export type WhenFull = (typeof WHEN_FULL)[number];

/** `keep` is for what is no sample: it is small, and never dropped. */
export type Retention = WhenFull | 'keep';
export const RETENTIONS: readonly Retention[] = ['drop-published', 'drop-oldest', 'stop', 'keep'];

export const RETENTION_LETTERS: Readonly<Record<Retention, string>> = {
  'drop-published': 'p',
  'drop-oldest': 'o',
  stop: 's',
  keep: 'k',
};

/** How much is held by one rule. */
export interface Held {
  /** No block of this rule before this one is held. */
  readonly first: number;
  /** None of this rule from here on has been dropped: where one is absent, it is lost. */
  readonly dropped: number;
  /** Bytes of the held blocks. */
  readonly bytes: number;
}

export type HeldByRule = Readonly<Record<Retention, Held>>;

export const NOTHING_HELD: HeldByRule = Object.freeze({
  'drop-published': { first: 0, dropped: 0, bytes: 0 },
  'drop-oldest': { first: 0, dropped: 0, bytes: 0 },
  stop: { first: 0, dropped: 0, bytes: 0 },
  keep: { first: 0, dropped: 0, bytes: 0 },
});

export function bytesOf(held: HeldByRule): number {
  return RETENTIONS.reduce((sum, rule) => sum + held[rule].bytes, 0);
}

export interface Dropped {
  readonly writes: readonly Write[];
  readonly held: HeldByRule;
  /** Blocks dropped that some consumer had not read. */
  readonly unread: number;
  /** Bytes of the blocks dropped. */
  readonly bytes: number;
  /** Nothing more may be dropped. */
  readonly exhausted: boolean;
}

/** One commit drops no more blocks than this, unless that would let the journal grow. */
const MAX_DROPPED = 4096;

/**
 * Chooses blocks to drop until `excess` bytes are gone or nothing may go.
 * @param least bytes that are dropped in one go even if they are many blocks.
 * @param until blocks from here on are not in the store yet.
 * @param drained blocks before this one have been read by every consumer.
 */
export async function chooseDropped(
  store: Store,
  keys: { readonly block: (rule: Retention, index: number) => string },
  held: HeldByRule,
  options: {
    readonly excess: number;
    readonly least: number;
    readonly until: number;
    readonly drained: number;
  },
): Promise<Dropped> {
  const writes: Write[] = [];
  const next: Record<Retention, Held> = { ...held };
  let bytes = 0;
  let unread = 0;
  const oldest = (rule: Retention, to: number) =>
    store.lengths({
      from: keys.block(rule, next[rule].first),
      to: keys.block(rule, Math.max(to, next[rule].first)),
    });

  /** A smaller bound than before is reached in several goes. */
  const wanting = () => bytes < options.excess && (writes.length < MAX_DROPPED || bytes < options.least);

  async function drop(rules: readonly Retention[], to: number): Promise<void> {
    const sources = rules.map((rule) => ({ rule, blocks: oldest(rule, to)[Symbol.asyncIterator]() }));
    const heads = await Promise.all(
      sources.map(async (source) => ({ ...source, head: await source.blocks.next() })),
    );
    while (wanting()) {
      const candidates = heads.filter(({ head }) => !head.done);
      if (candidates.length === 0) break;
      // Behind the rule's letter the keys of all rules are numbers of one width.
      const chosen = candidates.reduce((a, b) => (tail(a.head.value[0]) <= tail(b.head.value[0]) ? a : b));
      const [key, length] = chosen.head.value as readonly [string, number];
      writes.push({ type: 'del', key });
      const number = Number.parseInt(tail(key), 16);
      next[chosen.rule] = {
        first: number + 1,
        dropped: number + 1,
        bytes: next[chosen.rule].bytes - length,
      };
      bytes += length;
      if (number >= options.drained) unread += 1;
      chosen.head = await chosen.blocks.next();
    }
    for (const { blocks } of heads) await blocks.return?.();
  }

  await drop(['drop-published', 'drop-oldest'], Math.min(options.drained, options.until));
  if (wanting()) await drop(['drop-oldest'], options.until);
  return { writes, held: next, unread, bytes, exhausted: wanting() };
}

function tail(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1);
}
