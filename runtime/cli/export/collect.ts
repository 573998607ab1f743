/** Walks the blocks of a journal and picks the entries that are wanted. */
import { setImmediate } from 'node:timers/promises';
import type { CborValue } from '../../core/encoding/cbor.ts';
import { decodeEntry } from '../../core/encoding/entry.ts';
import { KIND, kindOf } from '../../core/encoding/kind.ts';
import { readEntry } from '../../core/log/block.ts';
import {
  type ExportedBlock,
  MAX_EXPORT_BLOCKS,
  MAX_EXPORT_ENTRIES,
  type MaintenanceOpening,
  showBlock,
} from '../../core/log/export.ts';
import type { BlockRecord } from '../../state/journal/block-record.ts';
import { maintenanceHash, openMaintenance } from '../../state/maintenance/entry.ts';
import { problem } from '../terminal/problem.ts';
import { createSampleFilter, isInTime, type Selection, wantsMaintenance, wantsSamples } from './selection.ts';
import type { ExportReader } from './sources.ts';

/** What limits an export and hears of it. */
export interface CollectOptions {
  readonly selection: Selection;
  /** Blocks before this one are looked at. */
  readonly until: number;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
  progress(done: number, of: number, entries: number): void;
}

export interface Collected {
  /** By ascending index. */
  readonly blocks: readonly ExportedBlock[];
  readonly openings: readonly MaintenanceOpening[];
  readonly samples: number;
  readonly declarations: number;
  readonly maintenance: number;
  readonly machines: readonly string[];
  /** Milliseconds since 1970 of the first and the last sample by time. */
  readonly span: readonly [number, number] | undefined;
  /** Blocks that could not be read. */
  readonly damaged: readonly number[];
  /** Machines and streams that were declared, for whoever asked for another. */
  readonly declared: ReadonlySet<string>;
}

/** Entries looked at before others have their turn: sampling must not notice an export. */
const AT_A_TIME = 256;
const MAX_DECLARED = 1024;
const MAX_DAMAGED = 100;
/** Of an entry in a bundle: its head, its position, and a share of the hashes. */
const OVERHEAD = 16;

export async function collect(reader: ExportReader, options: CollectOptions): Promise<Collected> {
  const { selection, until, signal } = options;
  const filter = wantsSamples(selection) ? createSampleFilter(selection) : () => undefined;
  const shown = new Map<number, ExportedBlock>();
  const openings: MaintenanceOpening[] = [];
  const machines = new Set<string>();
  const declared = new Set<string>();
  const damaged: number[] = [];
  /** The newest declaration of each stream that no wanted sample has followed yet. */
  const pending = new Map<string, Place>();
  const declarations: Place[] = [];
  let samples = 0;
  let maintenance = 0;
  let declaredHere = 0;
  let bytes = 0;
  let entries = 0;
  let span: [number, number] | undefined;

  function take(index: number, { opening, entries: all }: BlockRecord, positions: readonly number[]): void {
    const before = shown.get(index);
    const block = showBlock(index, opening, all, positions);
    shown.set(index, block);
    bytes += sizeOf(block) - (before ? sizeOf(before) : 0);
    entries += positions.length - (before?.positions.length ?? 0);
    if (bytes > options.maxBytes || entries > MAX_EXPORT_ENTRIES || shown.size > MAX_EXPORT_BLOCKS) {
      throw problem(`that is more than one bundle holds: ${entries} entries up to block ${index}`, {
        todo: 'narrow it with --from and --to, --machine or --stream, and make more bundles',
      });
    }
  }

  async function wantedMaintenance(time: number, body: CborValue): Promise<boolean> {
    if (!wantsMaintenance(selection) || !isInTime(selection, time)) return false;
    const digest = maintenanceHash(body);
    const opening = await reader.opening(digest);
    if (!opening) return selection.machine === undefined;
    const { machine } = openMaintenance(body, opening);
    if (selection.machine !== undefined && machine !== selection.machine) return false;
    openings.push({ digest, opening });
    machines.add(machine);
    return true;
  }

  async function wantedEntry(payload: Uint8Array, place: Place): Promise<boolean> {
    const kind = kindOf(payload);
    if (kind === KIND.sample) {
      const sample = filter(payload);
      if (!sample) return false;
      samples += 1;
      machines.add(sample.machine);
      span = [Math.min(span?.[0] ?? sample.time, sample.time), Math.max(span?.[1] ?? 0, sample.time)];
      const name = `${sample.machine}/${sample.stream}`;
      const declaration = pending.get(name);
      if (declaration) declarations.push(declaration);
      pending.delete(name);
      return true;
    }
    if (kind === KIND.stream && !selection.alone) {
      const { body } = decodeEntry(payload);
      const name = Array.isArray(body) ? `${String(body[0])}/${String(body[1])}` : '';
      pending.set(name, place);
      if (declared.size < MAX_DECLARED) declared.add(name);
    }
    if (kind !== KIND.maintenance) return false;
    const { time, body } = decodeEntry(payload);
    const isWanted = await wantedMaintenance(time, body);
    if (isWanted) maintenance += 1;
    return isWanted;
  }

  async function look(index: number, record: BlockRecord): Promise<void> {
    const positions: number[] = [];
    for (const [position, entry] of record.entries.entries()) {
      if (position % AT_A_TIME === AT_A_TIME - 1) await setImmediate();
      if (await wantedEntry(readEntry(entry).payload, { index, position })) positions.push(position);
    }
    if (positions.length > 0) take(index, record, positions);
  }

  async function read(index: number): Promise<BlockRecord | undefined> {
    try {
      return await reader.record(index);
    } catch (error) {
      if ((error as Error).name !== 'DamagedRecord') throw error;
      if (damaged.length < MAX_DAMAGED) damaged.push(index);
      return undefined;
    }
  }

  for (let index = 0; index < until; ) {
    signal.throwIfAborted();
    const record = await read(index);
    if (record) await look(index, record);
    if (selection.sample && samples > 0) break;
    index = record ? index + 1 : ((await reader.nextHeld(index + 1)) ?? until);
    options.progress(Math.min(index, until), until, entries);
  }
  for (const { index, position } of declarations) {
    const record = await read(index);
    if (!record) continue;
    const positions = new Set([...(shown.get(index)?.positions ?? []), position]);
    take(
      index,
      record,
      [...positions].sort((a, b) => a - b),
    );
    declaredHere += 1;
  }
  return {
    blocks: [...shown.values()].sort((a, b) => a.index - b.index),
    openings: openings.sort((a, b) => Buffer.compare(a.digest, b.digest)),
    samples,
    declarations: declaredHere,
    maintenance,
    machines: [...machines].sort(),
    span,
    damaged,
    declared,
  };
}

interface Place {
  readonly index: number;
  readonly position: number;
}

function sizeOf({ opening, entries, hashes }: ExportedBlock): number {
  return entries.reduce(
    (sum, entry) => sum + entry.length + OVERHEAD,
    opening.length + 34 * hashes.length + OVERHEAD,
  );
}
