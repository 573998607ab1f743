/** The gateway's maintenance book: entries chained one to the next, in the log and with their openings in the journal. */
import { toHex } from '../../core/encoding/base64.ts';
import type { CborValue } from '../../core/encoding/cbor.ts';
import type { Journal } from '../journal/journal.ts';
import type { Write } from '../journal/store.ts';
import type { Recorder } from '../provenance/recorder.ts';
import { type MaintenanceFields, maintenanceHash, openMaintenance, sealMaintenance } from './entry.ts';

export interface MaintenanceBook {
  /** Resolves with the entry's digest when it is durable, and `writes` with it. */
  record(fields: Omit<MaintenanceFields, 'previous'>, writes?: readonly Write[]): Promise<Uint8Array>;
  /** The fields behind an entry's body. @throws Error when the journal has no opening for it, or a wrong one. */
  open(body: CborValue): Promise<MaintenanceFields>;
  /** Entries ever made. */
  count(): number;
}

const LAST = 'last';
const OPENING = 'opening/';

export async function openMaintenanceBook(journal: Journal, recorder: Recorder): Promise<MaintenanceBook> {
  const section = journal.section('maintenance');
  const stored = await section.get(LAST);
  let previous: Uint8Array | undefined = stored && stored.length >= 32 ? stored.slice(0, 32) : undefined;
  let count = stored ? Number(new DataView(stored.buffer, stored.byteOffset).getBigUint64(32)) : 0;
  let turn: Promise<unknown> = Promise.resolve();

  async function append(
    fields: Omit<MaintenanceFields, 'previous'>,
    writes: readonly Write[],
  ): Promise<Uint8Array> {
    const tuple = sealMaintenance({ ...fields, previous });
    const last = new Uint8Array(40);
    last.set(tuple.hash);
    new DataView(last.buffer).setBigUint64(32, BigInt(count + 1));
    await recorder.entry('maintenance', tuple.body, [
      section.put(OPENING + toHex(tuple.hash), tuple.opening),
      section.put(LAST, last),
      ...writes,
    ]);
    previous = tuple.hash;
    count += 1;
    return tuple.hash;
  }

  return {
    record(fields, writes = []) {
      // One after the other, since each names the one before.
      const mine = turn.then(() => append(fields, writes));
      turn = mine.catch(() => undefined);
      return mine;
    },
    async open(body) {
      const key = OPENING + toHex(maintenanceHash(body));
      const opening = await section.get(key);
      if (!opening)
        throw new Error(`the journal has no opening for maintenance entry ${key.slice(OPENING.length, 24)}`);
      return openMaintenance(body, opening);
    },
    count: () => count,
  };
}
