/** What checks of a directory's records share: reading a room's records, and naming the one that is broken. */
import { keys } from '../../state/journal/keys.ts';
import type { Store } from '../../state/journal/store.ts';
import { broken } from './broken.ts';

/** The records of a room, by their keys within it. */
export async function* sectionOf(store: Store, name: string): AsyncIterable<readonly [string, Uint8Array]> {
  const base = keys.section(name, '');
  for await (const [key, value] of store.entries({ from: base, to: `${base}\uffff` })) {
    yield [key.slice(base.length), value] as const;
  }
}

/** What `work` gives. @throws Broken that begins with `what`. */
export function inRecord<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw broken(`${what}: ${(error as Error).message}`);
  }
}
