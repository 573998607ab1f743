/**
 * Turns readings and events into signed entries of the journal: numbers them, signs them, and hands them in
 * together with the counter, so that a number is durable with what it counts and never given twice.
 */
import { type CborValue, decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { createSign1Signer } from '../../core/encoding/cose.ts';
import { type EntryKind, encodeEntry } from '../../core/encoding/entry.ts';
import { fieldsOf, safeInteger } from '../../core/encoding/fields.ts';
import { encodeSample } from '../../core/encoding/sample.ts';
import type { Journal } from '../journal/journal.ts';
import type { Write } from '../journal/store.ts';
import type { Clock } from './clock.ts';
import type { GatewayKeys } from './keys.ts';

/** A reading that is to become a sample. */
export interface ReadingOf {
  readonly machine: string;
  readonly stream: string;
  readonly values: readonly number[];
  /** Where the source has its own clock, milliseconds since 1970. */
  readonly time?: number;
}

export interface Recorder {
  readonly incarnation: number;
  /**
   * Signs a sample and hands it in; its number is known at once, `durable` settles when it is on disk. One that
   * the journal has no room for is refused by `durable`, and its number goes to the next.
   */
  sample(reading: ReadingOf): { readonly sequence: number; readonly durable: Promise<void> };
  /** Resolves when the entry is durable, at once and not at the next interval, with its COSE_Sign1 bytes. */
  entry(kind: EntryKind, body: CborValue, writes?: readonly Write[]): Promise<Uint8Array>;
  /** Samples signed since the start. */
  signed(): number;
}

const NOTEBOOK = 'notebook';

/** A recorder that goes on counting where the journal ends. @throws DecodeError when a counter is damaged. */
export async function openRecorder(journal: Journal, keys: GatewayKeys, clock: Clock): Promise<Recorder> {
  const section = journal.section('sequence');
  const signer = createSign1Signer(keys.sample);
  const counters = new Map<string, number>();
  for await (const [name, value] of section.entries()) counters.set(name, decodeCounter(value));
  const incarnation = await readIncarnation(journal);
  let signed = 0;

  /** The next number; it counts as given when the journal has taken what bears it, or a refusal would leave a hole. */
  function next(name: string): {
    readonly sequence: number;
    readonly write: Write;
    readonly taken: () => void;
  } {
    const sequence = counters.get(name) ?? 0;
    const taken = () => {
      counters.set(name, sequence + 1);
      signed += 1;
    };
    return { sequence, write: section.put(name, encodeCbor([sequence + 1])), taken };
  }

  return {
    incarnation,
    sample({ machine, stream, values, time }) {
      const now = clock.now();
      const { sequence, write, taken } = next(`stream/${machine}/${stream}`);
      const payload = encodeSample({
        machine,
        stream,
        incarnation,
        sequence,
        time: time ?? now.time,
        clock: time === undefined ? now.clock : 'free-running',
        values,
      });
      return { sequence, durable: journal.append([signer.sign(payload)], { writes: [write], taken }) };
    },
    async entry(kind, body, writes = []) {
      const { sequence, write, taken } = next(NOTEBOOK);
      const entry = signer.sign(encodeEntry({ kind, incarnation, sequence, ...clock.now(), body }));
      await journal.append([entry], { writes: [write, ...writes], urgent: true, taken });
      return entry;
    },
    signed: () => signed,
  };
}

function decodeCounter(bytes: Uint8Array): number {
  return safeInteger(fieldsOf(decodeCbor(bytes), 1, 'counter')[0], 'counter');
}

async function readIncarnation(journal: Journal): Promise<number> {
  const stored = await journal.section('gateway').get('incarnation');
  return stored ? decodeCounter(stored) : 0;
}
