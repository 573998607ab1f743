/** Reads the log's records and compares its stored hashes with those that follow from the leaves. */
import { equalBytes } from '../../core/encoding/cbor.ts';
import { decodeBundle } from '../../core/log/bundle.ts';
import { TILE_WIDTH, tileHash } from '../../core/log/tiles.ts';
import { keys, type LogKeys } from '../../state/journal/keys.ts';
import type { Store } from '../../state/journal/store.ts';
import { broken } from './broken.ts';

export interface LogCheck {
  /** The data of a leaf. @throws Broken, marked `absent`, when its record is. */
  leaf(index: number): Promise<Uint8Array>;
  /** Takes the hash of the next leaf. @throws Broken when a tile that it fills is stored otherwise. */
  add(hash: Uint8Array, index: number): Promise<void>;
}

/** Whose records they are: the gateway's own log's, unless said otherwise. */
export interface RecordsOf {
  readonly keys: LogKeys;
  /** What messages begin with. */
  readonly what: string;
}

export function createLogCheck(
  store: Store,
  size: number,
  { keys: at, what }: RecordsOf = { keys: keys.log, what: '' },
): LogCheck {
  const rows: Uint8Array[][] = [];
  let bundle: { readonly index: number; readonly leaves: readonly Uint8Array[] } | undefined;

  async function push(level: number, hash: Uint8Array, count: number): Promise<void> {
    rows[level] ??= [];
    const row = rows[level]!;
    row.push(hash);
    if (row.length < TILE_WIDTH) return;
    const index = count / TILE_WIDTH - 1;
    const stored = present(await store.get(at.tile(level, index)), `${what}tile ${level}/${index}`);
    if (!equalBytes(stored, Buffer.concat(row)))
      throw broken(`${what}tile ${level}/${index} is not made of the hashes below it`);
    rows[level] = [];
    await push(level + 1, tileHash(stored), count / TILE_WIDTH);
  }

  return {
    async leaf(index) {
      const number = Math.floor(index / TILE_WIDTH);
      if ((number + 1) * TILE_WIDTH > size)
        return present(await store.get(at.leaf(index)), `${what}leaf ${index}`);
      if (bundle?.index !== number) {
        const bytes = present(await store.get(at.bundle(number)), `${what}bundle ${number} of the log`);
        try {
          bundle = { index: number, leaves: decodeBundle(bytes, TILE_WIDTH) };
        } catch (error) {
          throw broken(`${what}bundle ${number} of the log: ${(error as Error).message}`);
        }
      }
      return bundle.leaves[index % TILE_WIDTH]!;
    },
    add: (hash, index) => push(0, hash, index + 1),
  };
}

function present(value: Uint8Array | undefined, what: string): Uint8Array {
  if (!value) throw Object.assign(broken(`${what} is absent`), { absent: true });
  return value;
}
