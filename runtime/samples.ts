/** The journal's samples as telemetry wants them: entries of other kinds are passed over. */
import { KIND, kindOf } from './core/encoding/kind.ts';
import { decodeSample } from './core/encoding/sample.ts';
import { readEntry } from './core/log/block.ts';
import { showBlock } from './core/log/export.ts';
import { encodeShownBlock } from './core/log/shown-block.ts';
import type { SampleSource } from './services/telemetry/samples.ts';
import type { Journal, Position } from './state/journal/journal.ts';
import { createJournalReader, type ReadEntry } from './state/journal/reader.ts';

type Item = Awaited<ReturnType<SampleSource['next']>>[number];

/** Samples of one stream that their block signs, which go out together with what proves it. */
interface Group {
  readonly machine: string;
  readonly stream: string;
  readonly block: number;
  readonly positions: number[];
  readonly first: Position;
  after: Position;
}

/** One item, and the entries that it reaches over. */
interface Placed {
  readonly item: Omit<Item, 'position'>;
  readonly first: Position;
  readonly after: Position;
}

/** The name of the consumer; its cursor holds back what may only be dropped once it is published. */
export const TELEMETRY = 'telemetry';

export function samplesOf(journal: Journal): SampleSource {
  let reader = createJournalReader(journal, TELEMETRY);
  return {
    async next(limit, signal) {
      while (!signal.aborted) {
        const samples = await itemsOf(journal, await reader.next(limit, signal));
        if (samples.length > 0) return samples;
      }
      return [];
    },
    commit: (position) => reader.commit(position as Position),
    async rewind() {
      reader = createJournalReader(journal, TELEMETRY);
    },
  };
}

async function itemsOf(journal: Journal, entries: readonly ReadEntry[]): Promise<Item[]> {
  const found: (Placed | Group)[] = [];
  const groups = new Map<string, Group>();
  for (const { bytes, at, after } of entries) {
    const { form, payload } = readEntry(bytes);
    if (kindOf(payload) !== KIND.sample) continue;
    const { machine, stream } = decodeSample(payload);
    if (form === 'signed') {
      found.push({ item: { machine, stream, bytes }, first: at, after });
      continue;
    }
    const key = `${at.block}/${machine}/${stream}`;
    const group = groups.get(key) ?? { machine, stream, block: at.block, positions: [], first: at, after };
    if (!groups.has(key)) found.push(group);
    groups.set(key, group);
    group.positions.push(at.entry);
    group.after = after;
  }
  const items = await Promise.all(found.map((one) => ('item' in one ? [one] : show(journal, one))));
  return inOrder(items.flat());
}

/** Nothing when retention has dropped the block meanwhile. */
async function show(journal: Journal, group: Group): Promise<Placed[]> {
  const { machine, stream, block, positions, first, after } = group;
  const record = await journal.record(block);
  if (!record) return [];
  const shown = showBlock(block, record.opening, record.entries, positions);
  return [{ item: { machine, stream, bytes: encodeShownBlock(shown) }, first, after }];
}

/**
 * Groups reach over each other. So an item's position is not simply behind its last entry: a cursor that is moved
 * there must leave nothing behind that only a later item holds. What is given again then, is given twice.
 */
function inOrder(placed: Placed[]): Item[] {
  placed.sort((a, b) => compare(a.after, b.after));
  const items: Item[] = [];
  let first: Position | undefined;
  for (const one of placed.toReversed()) {
    const position = first && compare(first, one.after) < 0 ? first : one.after;
    items.push({ ...one.item, position });
    if (!first || compare(one.first, first) < 0) first = one.first;
  }
  return items.reverse();
}

function compare(a: Position, b: Position): number {
  return a.block - b.block || a.entry - b.entry;
}
