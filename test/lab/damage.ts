/** Looking into a gateway's journal, and changing what is there as somebody would who has the disk. */
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toHex } from '../../runtime/core/encoding/base64.ts';
import { kindOf } from '../../runtime/core/encoding/kind.ts';
import { readEntry } from '../../runtime/core/log/block.ts';
import { parseNote } from '../../runtime/core/log/note.ts';
import { type BlockRecord, decodeBlockRecord } from '../../runtime/state/journal/block-record.ts';
import { keys, unordered } from '../../runtime/state/journal/keys.ts';
import type { Store } from '../../runtime/state/journal/store.ts';

/** A block as it lies in the store. */
export interface StoredBlock {
  readonly key: string;
  readonly block: number;
  readonly record: BlockRecord;
}

export interface Found extends StoredBlock {
  readonly position: number;
}

/** Every block of the store, in order. */
export async function blocksOf(store: Store): Promise<readonly StoredBlock[]> {
  const blocks: StoredBlock[] = [];
  for await (const [key, bytes] of store.entries(keys.blocks)) {
    blocks.push({ key, block: unordered(key.slice(-14)), record: decodeBlockRecord(bytes) });
  }
  return blocks.sort((a, b) => a.block - b.block);
}

/** The first entry of the kind in block `from` or later. */
export async function entryOf(store: Store, kind: number, from = 0): Promise<Found> {
  for (const stored of await blocksOf(store)) {
    const { entries } = stored.record;
    const position = entries.findIndex((entry) => kindOf(readEntry(entry).payload) === kind);
    if (stored.block >= from && position >= 0) return { ...stored, position };
  }
  throw new Error(`no entry of kind ${kind}`);
}

export function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[at]! ^= 1;
  return copy;
}

export async function put(store: Store, key: string, value: Uint8Array): Promise<void> {
  await store.write([{ type: 'put', key, value }]);
}

export async function must(store: Store, key: string): Promise<Uint8Array> {
  const value = await store.get(key);
  assert.ok(value, `${key} is absent`);
  return value;
}

/** The newest checkpoint that both others have cosigned. */
export async function newestCosigned(
  store: Store,
): Promise<{ readonly key: string; readonly size: number; readonly note: string }> {
  const base = keys.section('checkpoint', '');
  for await (const [key, value] of store.entries({ from: base, to: `${base}\uffff`, reverse: true })) {
    const note = new TextDecoder().decode(value);
    // The log's own line, its own witness's and two more.
    if (parseNote(note).signatures.length === 4)
      return { key, size: unordered(key.slice(base.length)), note };
  }
  throw new Error('no checkpoint has all cosignatures');
}

export function withText(note: string, change: (text: string) => string): Uint8Array {
  return new TextEncoder().encode(change(note));
}

/** One character of base64 changed in line `line` of the note, at a place that no padding touches. */
export function withLineChanged(note: string, line: RegExp): Uint8Array {
  return withText(note, (text) => {
    const match = line.exec(text);
    assert.ok(match);
    const at = match.index + match[0].length - 20;
    return `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`;
  });
}

/** Bytes that a table holds as they are: where the same ones stood before, it refers to those instead. */
const WINDOW = 10;

/** Changes a byte of `wanted`, or of a part of it, in the files of the journal that end in `ending`: the first in order of the keys, the newest of one key. */
export async function flipRaw(directory: string, ending: string, wanted: Uint8Array): Promise<void> {
  const names = (await readdir(join(directory, 'journal'))).filter((one) => one.endsWith(ending));
  for (const name of names.sort().reverse()) {
    const path = join(directory, 'journal', name);
    const bytes = await readFile(path);
    for (let from = 0; from + WINDOW <= wanted.length; from++) {
      const at = bytes.indexOf(wanted.subarray(from, from + WINDOW));
      if (at < 0) continue;
      await writeFile(path, flipped(bytes, at + 1));
      return;
    }
  }
  throw new Error(`${toHex(wanted.subarray(0, 8))}... is in no file ${ending}`);
}
