import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeCbor } from '../../runtime/core/encoding/cbor.ts';
import { leafDataOf } from '../../runtime/core/log/block.ts';
import { keys } from '../../runtime/state/journal/keys.ts';
import { openStore, type Store, type Write } from '../../runtime/state/journal/store.ts';
import { openTreeLog, type TreeLog } from '../../runtime/state/journal/tree-log.ts';
import type { Bench } from './harness.ts';
import { summarise } from './harness.ts';

/** Tessera's POSIX driver on NVMe, entries a second, by its own README. */
const TESSERA = 10_000;
const LEAVES = 10_000_000;
/** Leaves of one durable batch. */
const BATCH = 1000;
/** Leaves over which a rate is taken. */
const STRETCH = 500_000;
const OPEN_LIMIT_MS = 2000;
const GROWTH_LIMIT = 0.9;

interface Figures {
  readonly first: number;
  readonly last: number;
  readonly openMs: number;
  readonly grownBytes: number;
}

let measured: Promise<Figures> | undefined;

/** All three figures are of one log: it is made once. */
function figures(): Promise<Figures> {
  measured ??= measure();
  return measured;
}

async function measure(): Promise<Figures> {
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-bench-'));
  try {
    const store = await openStore(directory, 'create');
    const log = await openTreeLog(store, keys.log, { size: 0, hashes: [] });
    const rates: number[] = [];
    let warm = 0;
    while (log.size() < LEAVES) {
      rates.push(await stretch(store, log, STRETCH));
      if (rates.length === 2) warm = process.memoryUsage.rss();
      if (process.stderr.isTTY) process.stderr.write(`\rlog: ${log.size()} of ${LEAVES} leaves`);
    }
    const grownBytes = process.memoryUsage.rss() - warm;
    const frontier = log.frontier();
    await store.close();
    const started = performance.now();
    const again = await openStore(directory, 'existing');
    await openTreeLog(again, keys.log, frontier);
    const openMs = performance.now() - started;
    await again.close();
    const side = (part: readonly number[]) => summarise(part).median;
    return { first: side(rates.slice(0, 4)), last: side(rates.slice(-4)), openMs, grownBytes };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Leaves a second, each batch durable before the next. */
async function stretch(store: Store, log: TreeLog, count: number): Promise<number> {
  const started = performance.now();
  for (let done = 0; done < count; done += BATCH) {
    const writes: Write[] = [];
    for (let leaf = 0; leaf < BATCH; leaf++) writes.push(...log.append(leafDataOf(encodeCbor(log.size()))));
    await store.write(writes);
    log.settle();
  }
  return (count * 1000) / (performance.now() - started);
}

/** Leaves appended a second, durable, to an empty log. */
export const logAppend: Bench = {
  name: 'log-append',
  unit: 'blocks/s',
  against: `Tessera's POSIX figure of ${TESSERA}/s`,
  slow: true,
  async run() {
    const { first } = await figures();
    return { value: first, ratio: first / TESSERA, note: `durable in batches of ${BATCH}` };
  },
};

/** The same at ten million leaves. */
export const logGrowth: Bench = {
  name: 'log-growth',
  unit: 'blocks/s',
  against: `the rate at 0 leaves (limit ${GROWTH_LIMIT})`,
  slow: true,
  async run() {
    const { first, last, grownBytes } = await figures();
    return {
      value: last,
      ratio: last / first,
      note: `at ${LEAVES} leaves; memory grew by ${(grownBytes / 1e6).toFixed(0)} MB since the first million`,
    };
  },
};

/** Opening a log of ten million leaves: the store, and the log's right edge. */
export const logOpen: Bench = {
  name: 'log-open',
  unit: 'ms',
  against: `limit ${OPEN_LIMIT_MS} ms`,
  slow: true,
  async run() {
    const { openMs } = await figures();
    return { value: openMs, ratio: openMs / OPEN_LIMIT_MS, note: `${LEAVES} leaves` };
  },
};
