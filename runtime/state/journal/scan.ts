/** Reads every record of a store and takes those away whose checksum does not match, after writing them to a file. */
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Store, withoutChecksum } from './store.ts';

export interface Scanned {
  /** One line for each damaged record. */
  readonly found: readonly string[];
  /** Their keys, where they are text. */
  readonly keys: readonly string[];
}

const decoder = new TextDecoder('utf-8', { fatal: true });
const AT_ONCE = 256;

/** @throws Error when LevelDB cannot read on. */
export async function scanRecords(store: Store, aside: string): Promise<Scanned> {
  const found: string[] = [];
  const keys: string[] = [];
  let batch: { readonly key: Buffer; readonly value: Buffer }[] = [];
  const flush = async () => {
    if (batch.length === 0) return;
    const lines = batch.map(({ key, value }) => `${key.toString('base64')} ${value.toString('base64')}\n`);
    await appendFile(join(aside, 'records.base64'), lines.join(''), { flush: true });
    await store.removeRaw(batch.map(({ key }) => key));
    batch = [];
  };
  for await (const [key, value] of store.raw()) {
    const record = { key: Buffer.from(key), value: Buffer.from(value) };
    if (isRecordWhole(record)) continue;
    batch.push(record);
    found.push(`the record ${JSON.stringify(record.key.toString())} is damaged`);
    keys.push(record.key.toString());
    if (batch.length >= AT_ONCE) await flush();
  }
  await flush();
  return { found, keys };
}

/** Whether the checksum behind the value is that of key and value. */
export function isRecordWhole({ key, value }: { readonly key: Buffer; readonly value: Buffer }): boolean {
  try {
    withoutChecksum(decoder.decode(key), value);
    return true;
  } catch {
    return false;
  }
}
