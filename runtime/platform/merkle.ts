import { MERKLE_WASM } from './merkle.wasm.ts';

/** Hashes whole trees (RFC 6962, section 2.1) in WebAssembly, four messages at a time. */
export interface MerkleKernel {
  /** The most entries of one tree. */
  readonly mostEntries: number;
  /**
   * The root over 1 to `mostEntries` entries.
   * @param hashLong the leaf hash of an entry that is too long to gain anything here.
   */
  root(entries: readonly Uint8Array[], hashLong: (entry: Uint8Array) => Uint8Array): Uint8Array;
}

/** What scripts/kernel/merkle.as exports; all but the two functions are places and sizes in its memory. */
interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  leaves(count: number, index: number): void;
  root(count: number): void;
  readonly DATA: Global;
  readonly DATA_BYTES: Global;
  readonly SPANS: Global;
  readonly SPAN_COUNT: Global;
  readonly LONGEST: Global;
  readonly HASHES: Global;
  readonly HASH_COUNT: Global;
}

interface Global {
  readonly value: number;
}

/** The little that is needed here of what TypeScript declares for browsers only. */
declare const WebAssembly:
  | {
      readonly Module: new (bytes: Uint8Array) => object;
      readonly Instance: new (module: object) => { readonly exports: unknown };
      readonly CompileError: new () => Error;
    }
  | undefined;

const HASH_LENGTH = 32;

/**
 * A kernel with memory of its own, 384 kB; undefined where there is no WebAssembly, it knows no SIMD, or the
 * page's rules forbid compiling.
 */
export function createMerkleKernel(): MerkleKernel | undefined {
  if (typeof WebAssembly === 'undefined') return undefined;
  try {
    const bytes = Uint8Array.from(atob(MERKLE_WASM), (character) => character.charCodeAt(0));
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
    return kernelOf(exports as Exports);
  } catch (error) {
    if (error instanceof WebAssembly.CompileError) return undefined;
    throw error;
  }
}

function kernelOf(wasm: Exports): MerkleKernel {
  const { buffer } = wasm.memory;
  const data = new Uint8Array(buffer, wasm.DATA.value, wasm.DATA_BYTES.value);
  const spans = new Uint32Array(buffer, wasm.SPANS.value, 2 * wasm.SPAN_COUNT.value);
  const hashes = new Uint8Array(buffer, wasm.HASHES.value, HASH_LENGTH * wasm.HASH_COUNT.value);
  const longest = wasm.LONGEST.value;
  const mostEntries = wasm.HASH_COUNT.value;
  return {
    mostEntries,
    root(entries, hashLong) {
      if (entries.length === 0 || entries.length > mostEntries) {
        throw new RangeError(
          `a tree of 1 to ${mostEntries} entries is hashed at once, not of ${entries.length}`,
        );
      }
      /** Entries and bytes in the data that are not hashed yet. */
      let count = 0;
      let used = 0;
      for (let index = 0; index < entries.length; index++) {
        const entry = entries[index]!;
        const long = entry.length > longest;
        if (long || used + entry.length > data.length || 2 * count === spans.length) {
          wasm.leaves(count, index - count);
          count = 0;
          used = 0;
        }
        if (long) {
          hashes.set(hashLong(entry), HASH_LENGTH * index);
          continue;
        }
        data.set(entry, used);
        spans[2 * count] = used;
        spans[2 * count + 1] = entry.length;
        count += 1;
        used += entry.length;
      }
      wasm.leaves(count, entries.length - count);
      wasm.root(entries.length);
      return hashes.slice(0, HASH_LENGTH);
    },
  };
}
