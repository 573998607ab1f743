/** A room's own records in the gateway's one LevelDB. */
import { keys } from './keys.ts';
import type { Store, Write } from './store.ts';

export interface Section {
  /** @throws DamagedRecord when the checksum does not match. */
  get(key: string): Promise<Uint8Array | undefined>;
  /** In order of the keys, those that begin with `prefix`, and behind `after`; `reverse` from the last. */
  entries(options?: {
    readonly prefix?: string;
    readonly after?: string;
    readonly reverse?: boolean;
    readonly limit?: number;
  }): AsyncIterable<readonly [string, Uint8Array]>;
  /** A change to hand to the journal, together with others. */
  put(key: string, value: Uint8Array): Write;
  del(key: string): Write;
}

export function createSection(store: Store, name: string): Section {
  const base = keys.section(name, '');
  return {
    get: (key) => store.get(base + key),
    async *entries({ prefix = '', after, reverse = false, limit = -1 } = {}) {
      const all = base + prefix;
      // No key comes between another one and itself with the least character behind it.
      const from = after === undefined ? all : `${base}${after}\u0000`;
      for await (const [key, value] of store.entries({ from, to: `${all}\uffff`, reverse, limit })) {
        yield [key.slice(base.length), value] as const;
      }
    },
    put: (key, value) => ({ type: 'put', key: base + key, value }),
    del: (key) => ({ type: 'del', key: base + key }),
  };
}
