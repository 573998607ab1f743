/** Where each consumer reads on, durably. */

import { keys } from './keys.ts';
import type { Store, Write } from './store.ts';

/** Where an entry lies. Positions are compared by block, then by entry. */
export interface Position {
  readonly block: number;
  readonly entry: number;
}

export interface Cursors {
  /** Where `name` reads on, but not before the block `first`. */
  read(name: string, first: number): Promise<Position>;
  /** Moves it at once; the answer makes it durable. */
  move(name: string, position: Position): Write;
  /** Blocks before this one have been read by all. */
  drained(): number;
}

export function createCursors(store: Store): Cursors {
  const known = new Map<string, Position>();
  return {
    async read(name, first) {
      const stored = known.get(name) ?? decodeCursor(await store.get(keys.cursor(name)));
      const position = stored.block < first ? { block: first, entry: 0 } : stored;
      known.set(name, position);
      return position;
    },
    move(name, position) {
      known.set(name, position);
      return { type: 'put', key: keys.cursor(name), value: encodeCursor(position) };
    },
    drained: () => Math.min(Number.MAX_SAFE_INTEGER, ...[...known.values()].map(({ block }) => block)),
  };
}

function encodeCursor(position: Position): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(position.block));
  view.setBigUint64(8, BigInt(position.entry));
  return bytes;
}

function decodeCursor(bytes: Uint8Array | undefined): Position {
  if (!bytes) return { block: 0, entry: 0 };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return { block: Number(view.getBigUint64(0)), entry: Number(view.getBigUint64(8)) };
}
