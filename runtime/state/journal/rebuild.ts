/** Makes a journal's records agree again after damage, and says what is gone. */
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeCounter, encodeCounter } from './counter.ts';
import { type DamageReport, decodeDamage, encodeDamage } from './damage-report.ts';
import { behind, keys, unordered } from './keys.ts';
import { markMirrors } from './mirror-log.ts';
import { COUNTERS, checkBlocks } from './rebuild-blocks.ts';
import { createLeafHashes, rebuildLog } from './rebuild-log.ts';
import { isRecordWhole } from './scan.ts';
import { addLost, decodeState, encodeState, type JournalState, stateOf } from './state.ts';
import { type Store, type Write, withoutChecksum } from './store.ts';
import type { RawRecord } from './table-file.ts';

export interface Damage {
  readonly time: number;
  readonly aside: string;
  readonly found: readonly string[];
  /** What could be read of damaged blocks of tables; checksums hold. */
  readonly salvaged: readonly RawRecord[];
  /** Sections of which records may be gone, beside those that damaged records belong to; undefined means all. */
  readonly suspects: (section: string) => boolean;
}

/** Sections whose records bind this gateway towards others. */
const BINDING = ['witness', 'checkpoint', 'ledger', 'federation'];
const GATEWAY = 'gateway';
const INCARNATION = 'incarnation';

/** @returns what was found and what is gone; it is stored too, until the log has told of it. */
export async function rebuild(store: Store, damage: Damage): Promise<DamageReport> {
  await putBack(store, damage.salvaged);
  const before = await readState(store);
  const log = await rebuildLog(store, before?.frontier);
  const { size } = log.frontier;
  const current = before !== undefined && before.blocks === log.evidence;
  const blocks = await checkBlocks(store, size, createLeafHashes(store, size), before, current);
  await removeBlocks(store, damage.aside, blocks.refused);
  if (size < log.evidence) await removeLogFrom(store, size);
  const incarnation = 1 + Math.max(await readIncarnation(store), blocks.incarnation);
  const earlier = await readEarlier(store);
  const published = await publishedSize(store);
  const trouble = [
    log.trouble,
    log.missing.length > 0
      ? `${log.missing.length} records of the log's own are gone (${log.missing[0]} is the first); a mirror may have them`
      : undefined,
    published > size
      ? `a checkpoint of ${published} blocks was published, and only ${size} are left: no other is published until the rest is back`
      : undefined,
  ].filter((one) => one !== undefined);
  const lost = size < log.evidence ? addLost(blocks.lost, [size, log.evidence]) : blocks.lost;
  const known = before?.lost ?? [];
  const report: DamageReport = {
    time: damage.time,
    aside: damage.aside,
    found: [
      ...(earlier?.found ?? []),
      ...damage.found,
      ...blocks.refused.map(({ key, why }) => `the record ${key} is refused: ${why}`),
    ],
    blocks: [...(earlier?.blocks ?? []), ...lost.filter((range) => !known.some((old) => same(old, range)))],
    numbers: [...(earlier?.numbers ?? []), ...blocks.numbers],
    // Also those of which nothing is left: that is what damage may have done.
    sections: [
      ...new Set([
        ...(earlier?.sections ?? []),
        ...[...(await sectionNames(store)), ...BINDING].filter(damage.suspects),
      ]),
    ].sort(),
    incarnation,
    log: trouble.length > 0 ? trouble.join('; ') : undefined,
  };
  const state = stateOf({
    held: blocks.held,
    entries: Math.max(before?.entries ?? 0, blocks.entries),
    droppedUnread: before?.droppedUnread ?? 0,
    frontier: log.frontier,
    lost: blocks.lost,
  });
  await store.write([
    { type: 'put', key: keys.state, value: encodeState(state) },
    { type: 'put', key: keys.damage, value: encodeDamage(report) },
    { type: 'put', key: keys.holes, value: new TextEncoder().encode(log.missing.join('\n')) },
    { type: 'put', key: keys.section(GATEWAY, INCARNATION), value: encodeCounter(incarnation) },
    ...[...blocks.counters].map(
      ([name, next]): Write => ({
        type: 'put',
        key: keys.section(COUNTERS, name),
        value: encodeCounter(next),
      }),
    ),
    ...(await markMirrors(store)),
    ...(await cursorsWithin(store, size)),
  ]);
  return report;
}

function same(a: readonly [number, number], b: readonly [number, number]): boolean {
  return a[0] === b[0] && a[1] === b[1];
}

/** What is absent is put back as it was last, as far as is known. */
async function putBack(store: Store, salvaged: readonly RawRecord[]): Promise<void> {
  const seen = new Set<string>();
  for (const { key, value } of [...salvaged].sort((a, b) => (a.order > b.order ? -1 : 1))) {
    const name = key.toString('latin1');
    if (seen.has(name)) continue;
    if (value && !isRecordWhole({ key, value })) continue;
    seen.add(name);
    if (!value || (await store.get(key.toString()))) continue;
    const plain = withoutChecksum(key.toString(), value);
    await store.write([{ type: 'put', key: key.toString(), value: plain }]);
  }
}

async function readState(store: Store): Promise<JournalState | undefined> {
  const bytes = await store.get(keys.state);
  return bytes && decodeState(bytes);
}

async function readIncarnation(store: Store): Promise<number> {
  const bytes = await store.get(keys.section(GATEWAY, INCARNATION));
  return bytes ? decodeCounter(bytes) : 0;
}

async function readEarlier(store: Store): Promise<DamageReport | undefined> {
  const bytes = await store.get(keys.damage);
  return bytes && decodeDamage(bytes);
}

async function publishedSize(store: Store): Promise<number> {
  const base = keys.section('checkpoint', '');
  const key = await store.firstKey({ from: base, to: behind(base), reverse: true });
  return key === undefined ? 0 : unordered(key.slice(base.length));
}

async function removeBlocks(
  store: Store,
  aside: string,
  refused: readonly { readonly key: string; readonly value: Uint8Array }[],
): Promise<void> {
  for (const { key, value } of refused) {
    const [name, bytes] = [Buffer.from(key), Buffer.from(value)].map((part) => part.toString('base64'));
    await appendFile(join(aside, 'blocks.base64'), `${name} ${bytes}\n`, { flush: true });
    await store.write([{ type: 'del', key }]);
  }
}

/** What the log held behind its new end. */
async function removeLogFrom(store: Store, size: number): Promise<void> {
  const gone: Write[] = [];
  const ranges = [
    { from: keys.log.leaf(size), to: keys.log.leaf(Number.MAX_SAFE_INTEGER) },
    { from: keys.log.bundle(Math.floor(size / 256)), to: keys.log.bundle(Number.MAX_SAFE_INTEGER) },
  ];
  for (let level = 0, count = Math.floor(size / 256); level < 8; level++, count = Math.floor(count / 256))
    ranges.push({ from: keys.log.tile(level, count), to: keys.log.tile(level, Number.MAX_SAFE_INTEGER) });
  for (const range of ranges) for await (const [key] of store.lengths(range)) gone.push({ type: 'del', key });
  await store.write(gone);
}

/** A consumer that has read what is gone waits at the new end. */
async function cursorsWithin(store: Store, size: number): Promise<readonly Write[]> {
  const writes: Write[] = [];
  for await (const [key, value] of store.entries({ from: 'cursor/', to: behind('cursor/') })) {
    const moved = Uint8Array.from(value);
    const view = new DataView(moved.buffer);
    if (Number(view.getBigUint64(0)) <= size) continue;
    view.setBigUint64(0, BigInt(size));
    view.setBigUint64(8, 0n);
    writes.push({ type: 'put', key, value: moved });
  }
  return writes;
}

async function sectionNames(store: Store): Promise<readonly string[]> {
  const names: string[] = [];
  const end = behind('section/');
  for (let from = 'section/'; ; ) {
    const key = await store.firstKey({ from, to: end });
    if (key === undefined) return names;
    const name = key.split('/')[1]!;
    names.push(name);
    from = behind(keys.section(name, ''));
  }
}
