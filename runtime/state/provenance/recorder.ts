/**
 * Turns readings and events into signed entries of the journal: numbers them, signs them, and hands them in
 * together with the counter, so that a number is durable with what it counts and never given twice.
 */
import { randomBytes } from '#random';
import type { CborValue } from '../../core/encoding/cbor.ts';
import { createSign1Signer } from '../../core/encoding/cose.ts';
import { type EntryKind, encodeEntry } from '../../core/encoding/entry.ts';
import { createSampleEncoder } from '../../core/encoding/sample.ts';
import { encodeSalted } from '../../core/log/block.ts';
import { decodeCounter, encodeCounter } from '../journal/counter.ts';
import type { LostNumbers } from '../journal/damage-report.ts';
import type { Journal } from '../journal/journal.ts';
import type { WhenFull } from '../journal/retention.ts';
import type { Write } from '../journal/store.ts';
import type { Clock } from './clock.ts';
import type { GatewayKeys } from './keys.ts';
import { createLosses, lossBody } from './losses.ts';

/** How a stream's samples are signed and kept. */
export interface StreamRules {
  /** Each by itself, or with the block that it is committed in: a tenth of the cost, for high rates. */
  readonly signing: 'sample' | 'block';
  /** What may happen to them when the journal is full. */
  readonly whenFull: WhenFull;
}

/** A reading that is to become a sample. */
export interface Reading {
  readonly values: readonly number[];
  /** Where the source has its own clock, milliseconds since 1970. */
  readonly time?: number;
}

export interface ReadingOf extends Reading {
  readonly machine: string;
  readonly stream: string;
}

/** What became of readings. */
export interface Recorded {
  /** The number of the first. */
  readonly sequence: number;
  /** Settles when they are on disk. */
  readonly durable: Promise<void>;
}

export interface StreamRecorder {
  /**
   * Numbers and hands in a sample; its number is known at once. One that the journal has no room for is refused
   * by `durable`, and its number goes to the next; one that is given up for newer ones later leaves a hole that
   * the log tells of.
   */
  sample(reading: Reading): Recorded;
  /** As `sample`, for many at once: durable together. */
  batch(readings: readonly Reading[]): Recorded;
}

export interface Recorder {
  readonly incarnation: number;
  stream(machine: string, stream: string, rules?: StreamRules): StreamRecorder;
  /** A sample of a stream with the usual rules. */
  sample(reading: ReadingOf): Recorded;
  /** Resolves when the entry is durable, at once and not at the next interval, with its COSE_Sign1 bytes. */
  entry(kind: EntryKind, body: CborValue, writes?: readonly Write[]): Promise<Uint8Array>;
  /** Samples signed since the start. */
  signed(): number;
  /** Samples numbered and then given up for newer ones, since the start; the log tells which. */
  lost(): number;
}

export const USUAL_RULES: StreamRules = { signing: 'sample', whenFull: 'drop-oldest' };

const GIVEN_UP = 'the disk took nothing, and only the newest samples were kept in memory';
const NOTEBOOK = 'notebook';
const SALT_BYTES = 16;
const SALTS_AT_ONCE = 1024;

/** Fresh salts; many are drawn at once, since a draw costs as much as hashing ten samples. */
function createSalts(): () => Uint8Array {
  let pool: Uint8Array = new Uint8Array(0);
  let used = 0;
  return () => {
    if (used === pool.length) {
      pool = randomBytes(SALT_BYTES * SALTS_AT_ONCE);
      used = 0;
    }
    used += SALT_BYTES;
    return pool.subarray(used - SALT_BYTES, used);
  };
}

/** A recorder that goes on counting where the journal ends. @throws DecodeError when a counter is damaged. */
export async function openRecorder(journal: Journal, keys: GatewayKeys, clock: Clock): Promise<Recorder> {
  const section = journal.section('sequence');
  const signer = createSign1Signer(keys.sample);
  const nextSalt = createSalts();
  const counters = new Map<string, number>();
  for await (const [name, value] of section.entries()) counters.set(name, decodeCounter(value));
  const incarnation = await readIncarnation(journal);
  const losses = createLosses(incarnation, recordLoss);
  const streams = new Map<string, StreamRecorder>();
  let signed = 0;

  /** The next numbers; they count as given when the journal has taken what bears them, or a refusal would leave a hole. */
  function next(name: string, count = 1) {
    const sequence = counters.get(name) ?? 0;
    const taken = () => {
      counters.set(name, sequence + count);
      signed += count;
    };
    return { sequence, write: section.put(name, encodeCounter(sequence + count)), taken };
  }

  function openStream(machine: string, stream: string, { signing, whenFull }: StreamRules): StreamRecorder {
    const name = counterOf(machine, stream);
    const encode = createSampleEncoder(machine, stream, incarnation);

    function batch(readings: readonly Reading[]): Recorded {
      const now = clock.now();
      const { sequence, write, taken } = next(name, readings.length);
      const entries = readings.map(({ values, time }, index) => {
        const payload = encode(
          sequence + index,
          time ?? now.time,
          time === undefined ? now.clock : 'free-running',
          values,
        );
        return signing === 'block' ? encodeSalted(nextSalt(), payload) : signer.sign(payload);
      });
      const durable = journal.append(entries, {
        writes: [write],
        rule: whenFull,
        blockSigned: signing === 'block',
        taken,
        gone: () => losses.add(machine, stream, sequence, sequence + readings.length),
      });
      return { sequence, durable };
    }

    return { batch, sample: (reading) => batch([reading]) };
  }

  async function record(kind: EntryKind, body: CborValue, writes: readonly Write[]): Promise<Uint8Array> {
    const { sequence, write, taken } = next(NOTEBOOK);
    const entry = signer.sign(encodeEntry({ kind, incarnation, sequence, ...clock.now(), body }));
    await journal.append([entry], { writes: [write, ...writes], urgent: true, rule: 'keep', taken });
    return entry;
  }

  /** The counters go with it: a number that the log calls lost must not be given again after a crash. */
  async function recordLoss(take: () => readonly LostNumbers[]): Promise<void> {
    const { sequence, write, taken } = next(NOTEBOOK);
    const now = clock.now();
    await journal.append([], {
      writes: [write],
      rule: 'keep',
      taken,
      late() {
        const numbers = take();
        const body = lossBody(GIVEN_UP, [], numbers);
        const names = new Set(numbers.map(({ machine, stream }) => counterOf(machine, stream)));
        return {
          entries: [signer.sign(encodeEntry({ kind: 'loss', incarnation, sequence, ...now, body }))],
          writes: [...names].map((name) => section.put(name, encodeCounter(counters.get(name) ?? 0))),
        };
      },
    });
  }

  return {
    incarnation,
    stream: (machine, stream, rules = USUAL_RULES) => openStream(machine, stream, rules),
    sample({ machine, stream, ...reading }) {
      const key = `${machine}/${stream}`;
      const known = streams.get(key) ?? openStream(machine, stream, USUAL_RULES);
      streams.set(key, known);
      return known.sample(reading);
    },
    entry: (kind, body, writes = []) => record(kind, body, writes),
    signed: () => signed,
    lost: losses.count,
  };
}

function counterOf(machine: string, stream: string): string {
  return `stream/${machine}/${stream}`;
}

async function readIncarnation(journal: Journal): Promise<number> {
  const stored = await journal.section('gateway').get('incarnation');
  return stored ? decodeCounter(stored) : 0;
}
