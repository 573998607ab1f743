import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Journal, type JournalSettings, openJournal } from '../../../runtime/state/journal/journal.ts';

/** A commit comes soon, and nothing is dropped. */
export const SETTINGS: JournalSettings = {
  commitIntervalMs: 1,
  maxBytes: 2_000_000_000,
  maxDiskBytes: 2_000_000_000,
  maxPendingBytes: 32_000_000,
};

/** What has to be done before a test's directories can go, the last first: node:test runs hooks in their order. */
const closers = new WeakMap<TestContext, (() => Promise<unknown>)[]>();

/** Does `close` when the test has ended and before its directories go. */
export function closing(t: TestContext, close: () => Promise<unknown>): void {
  const list = closers.get(t) ?? [];
  list.push(close);
  if (!closers.has(t)) {
    closers.set(t, list);
    t.after(async () => {
      for (const one of list.reverse()) await one();
    });
  }
}

/** A directory that goes with the test. */
export async function temporary(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-test-'));
  closing(t, () => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** A journal that is closed with the test, in a directory of its own unless one is given. */
export async function opened(
  t: TestContext,
  settings: Partial<JournalSettings> = {},
  directory?: string,
): Promise<Journal> {
  const journal = await openJournal(directory ?? (await temporary(t)), { ...SETTINGS, ...settings });
  closing(t, () => journal.close());
  return journal;
}

/** Bytes that no other number has, and that nothing makes shorter: as signatures are. */
export function entry(number: number, length = 20): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = number + 1;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[index] = state >>> 24;
  }
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

/** Resolves when `true` is what `condition` says. @throws Error that names `what` after `limitMs`. */
export async function until(what: string, condition: () => boolean, limitMs = 30_000): Promise<void> {
  const end = Date.now() + limitMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what}: not within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Whether the promise has settled by the next turn of the event loop. */
export async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending');
  const next = new Promise((resolve) => setImmediate(() => resolve(pending)));
  return (await Promise.race([promise.then(() => undefined), next])) === pending;
}

export async function entriesOf(journal: Journal): Promise<Uint8Array[]> {
  const entries: Uint8Array[] = [];
  const { first, blocks } = journal.state();
  for (let index = first; index < blocks; index++) entries.push(...((await journal.block(index)) ?? []));
  return entries;
}
