/** Checks every block against the log and works out which are lost, and which numbers with them. */
import { equalBytes } from '../../core/encoding/cbor.ts';
import { decodeEntry } from '../../core/encoding/entry.ts';
import { fieldsOf, list } from '../../core/encoding/fields.ts';
import { KIND, kindOf } from '../../core/encoding/kind.ts';
import { decodeSample } from '../../core/encoding/sample.ts';
import { blockRoot, decodeOpening, leafDataOf, readEntry } from '../../core/log/block.ts';
import { leafHash } from '../../core/log/hash.ts';
import { decodeBlockRecord } from './block-record.ts';
import { decodeCounter } from './counter.ts';
import { type LostNumbers, numbersFromCbor } from './damage-report.ts';
import { keys, unordered } from './keys.ts';
import type { LeafHashes } from './rebuild-log.ts';
import { type Held, type HeldByRule, NOTHING_HELD, RETENTIONS, type Retention } from './retention.ts';
import { addLost, type BlockRange, type JournalState } from './state.ts';
import type { Store } from './store.ts';

export interface CheckedBlocks {
  readonly held: HeldByRule;
  readonly entries: number;
  readonly lost: readonly BlockRange[];
  readonly numbers: readonly LostNumbers[];
  /** The next number of each counter that entries show. */
  readonly counters: ReadonlyMap<string, number>;
  /** The newest incarnation that entries show. */
  readonly incarnation: number;
  /** Blocks that are not those of the log, with their keys. */
  readonly refused: readonly { readonly key: string; readonly value: Uint8Array; readonly why: string }[];
}

/** All blocks in order of their numbers. */
async function* inOrder(store: Store): AsyncGenerator<readonly [Retention, number, string, Uint8Array]> {
  const sources = RETENTIONS.map((rule) => {
    const prefix = keys.block(rule, 0).slice(0, -14);
    return { rule, records: store.entries({ from: prefix, to: `${prefix}g` })[Symbol.asyncIterator]() };
  });
  const heads = await Promise.all(
    sources.map(async (source) => ({ ...source, head: await source.records.next() })),
  );
  for (;;) {
    const left = heads.filter(({ head }) => !head.done);
    if (left.length === 0) return;
    const number = (one: (typeof left)[number]) => unordered((one.head.value as [string])[0].slice(-14));
    const chosen = left.reduce((a, b) => (number(a) <= number(b) ? a : b));
    const [key, value] = chosen.head.value as readonly [string, Uint8Array];
    yield [chosen.rule, number(chosen), key, value];
    chosen.head = await chosen.records.next();
  }
}

/** @param before the state as it was stored, if it is still there; `current` whether it is the newest. */
export async function checkBlocks(
  store: Store,
  size: number,
  hashOf: LeafHashes,
  before: JournalState | undefined,
  current: boolean,
): Promise<CheckedBlocks> {
  const held: Record<Retention, Held> = { ...NOTHING_HELD };
  const refused: { key: string; value: Uint8Array; why: string }[] = [];
  const numbers = createNumbers();
  const present: [number, number][] = [];
  let entries = 0;
  for await (const [rule, block, key, value] of inOrder(store)) {
    const why =
      present.at(-1)?.[1] === block + 1 ? 'it is there twice' : await wrongWith(value, block, size, hashOf);
    if (why) {
      refused.push({ key, value, why });
      continue;
    }
    const last = present.at(-1);
    if (last?.[1] === block) last[1] = block + 1;
    else present.push([block, block + 1]);
    const { first, bytes } = held[rule];
    held[rule] = { first: bytes === 0 ? block : first, dropped: 0, bytes: bytes + value.length };
    const record = decodeBlockRecord(value);
    entries += record.entries.length;
    for (const entry of record.entries) numbers.take(entry, rule);
  }
  for (const rule of RETENTIONS) {
    const stored = before?.held[rule].dropped ?? 0;
    const droppable = rule === 'drop-oldest' || rule === 'drop-published';
    // Without a newest state: what is absent before the first that is held was dropped by rule, as far as can be told.
    const dropped =
      current || !droppable ? stored : Math.max(stored, held[rule].bytes > 0 ? held[rule].first : 0);
    held[rule] = { ...held[rule], dropped };
  }
  const bound = Math.max(held['drop-oldest'].dropped, held['drop-published'].dropped);
  let lost: readonly BlockRange[] = before?.lost ?? [];
  let behind = 0;
  for (const [from, to] of [...present, [size, size] as const]) {
    if (from > Math.max(behind, bound)) lost = addLost(lost, [Math.max(behind, bound), from]);
    behind = to;
  }
  return { held, entries, lost, refused, ...(await numbers.finish(store, bound > 0)) };
}

async function wrongWith(
  value: Uint8Array,
  block: number,
  size: number,
  hashOf: LeafHashes,
): Promise<string | undefined> {
  if (block >= size) return 'the log does not reach that far';
  try {
    const { opening: bytes, entries } = decodeBlockRecord(value);
    const hash = await hashOf(block);
    if (hash && !equalBytes(hash, leafHash(leafDataOf(bytes)))) return 'it is not the one that the log holds';
    const opening = decodeOpening(bytes);
    const fits = opening.count === entries.length && equalBytes(opening.root, blockRoot(entries));
    return fits ? undefined : 'its entries are not those that the log holds';
  } catch (error) {
    return (error as Error).message;
  }
}

/** Follows the numbers of each stream and of the notebook. */
function createNumbers() {
  const last = new Map<string, LostNumbers>();
  const gaps: LostNumbers[] = [];
  const told: LostNumbers[] = [];
  /** Of streams that are dropped by rule: nobody can tell what was before the first number. */
  const begun = new Map<string, LostNumbers>();
  let incarnation = 0;

  function next(machine: string, stream: string, of: number, sequence: number, rule: Retention): void {
    incarnation = Math.max(incarnation, of);
    const name = counterName(machine, stream);
    const before = last.get(name);
    const from = before?.incarnation === of ? before.to : 0;
    const gap = { machine, stream, incarnation: of, from, to: sequence };
    const mayBegin = rule === 'drop-oldest' || rule === 'drop-published';
    if (sequence > from && (before?.incarnation === of || (of === 0 && !mayBegin))) gaps.push(gap);
    else if (sequence > from && of === 0) begun.set(name, gap);
    last.set(name, { ...gap, from: sequence, to: sequence + 1 });
  }

  return {
    take(bytes: Uint8Array, rule: Retention): void {
      try {
        const { payload } = readEntry(bytes);
        if (kindOf(payload) === KIND.sample) {
          const sample = decodeSample(payload);
          next(sample.machine, sample.stream, sample.incarnation, sample.sequence, rule);
          return;
        }
        const entry = decodeEntry(payload);
        next('', '', entry.incarnation, entry.sequence, rule);
        if (entry.kind === 'loss')
          told.push(...list(fieldsOf(entry.body, 3, 'loss')[2], 100_000, 'loss').map(numbersFromCbor));
      } catch {
        // The block is the one that the log holds: what it holds that is no entry was none when it was written.
      }
    },
    async finish(store: Store, dropped: boolean) {
      if (!dropped) gaps.push(...begun.values());
      const counters = new Map<string, number>();
      const base = keys.section(COUNTERS, '');
      for (const [name, { to }] of last) counters.set(name, to);
      for await (const [key, value] of store.entries({ from: base, to: `${base}\uffff` })) {
        const name = key.slice(base.length);
        const counter = decodeCounter(value);
        const seen = last.get(name);
        const [, machine = '', stream = ''] = name.split('/');
        if (seen && counter > seen.to) gaps.push({ ...seen, from: seen.to, to: counter });
        if (!seen && counter > 0 && !dropped)
          gaps.push({ machine, stream, incarnation: 0, from: 0, to: counter });
        counters.set(name, Math.max(counter, seen?.to ?? 0));
      }
      return { numbers: gaps.flatMap((gap) => without(gap, told)), counters, incarnation };
    },
  };
}

/** Where the recorder keeps its counters. */
export const COUNTERS = 'sequence';

function counterName(machine: string, stream: string): string {
  return machine === '' && stream === '' ? 'notebook' : `stream/${machine}/${stream}`;
}

/** What of `gap` no entry of the log has told of yet. */
function without(gap: LostNumbers, told: readonly LostNumbers[]): readonly LostNumbers[] {
  return told.reduce<readonly LostNumbers[]>(
    (left, { machine, stream, incarnation, from, to }) =>
      left.flatMap((one) => {
        const same = one.machine === machine && one.stream === stream && one.incarnation === incarnation;
        if (!same || to <= one.from || from >= one.to) return [one];
        return [
          { ...one, to: from },
          { ...one, from: to },
        ].filter((part) => part.to > part.from);
      }),
    [gap],
  );
}
