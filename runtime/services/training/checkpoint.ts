/**
 * The state of the training run in hand, kept so that a crash does not cost its steps. A checkpoint never leaves
 * the gateway: it holds sums that are not released. There is one at a time. What is kept is
 * `[length of the name, 2 bytes, big-endian] [name, UTF-8] [what the training process made of its state]`.
 */
import { deserialize, serialize } from 'node:v8';
import { createSha256 } from '#sha256';
import { toHex } from '../../core/encoding/base64.ts';
import type { TrainingJob } from '../../core/learning/job.ts';
import type { Section } from '../../state/journal/section.ts';
import type { Write } from '../../state/journal/store.ts';

/** What checkpoints need of the journal. */
export interface CheckpointJournal {
  section(name: string): Pick<Section, 'get' | 'put' | 'del'>;
  write(writes: readonly Write[]): Promise<void>;
}

export interface Checkpoints {
  /** What was saved under `name`. Anything else that is there, or damaged, is dropped with a warning. */
  load(name: string): Promise<Uint8Array | undefined>;
  /** Replaces what is there. Handed to the journal before this returns, so that a later `forget` wins. */
  save(name: string, bytes: Uint8Array): void;
  /** The change that drops it, for the very batch that charges for the run: then no run is released twice. */
  forgetting(): readonly Write[];
  /** The same by itself. */
  forget(): Promise<void>;
}

const SECTION = 'training-checkpoint';
const KEY = 'current';
const LONGEST_NAME = 1024;
/** Beyond this a run is not kept: the journal holds what it has not written yet in memory. */
export const LARGEST_CHECKPOINT = 16 * 2 ** 20;

export function createCheckpoints(
  journal: CheckpointJournal,
  log: (level: 'info' | 'warn', message: string) => void,
): Checkpoints {
  const section = journal.section(SECTION);
  let complained = false;
  /** Saves that the journal has taken and not written yet. */
  let waiting = 0;

  function complain(why: string): void {
    if (!complained) log('warn', `this training run cannot go on after a crash: ${why}`);
    complained = true;
  }

  async function drop(why: string): Promise<undefined> {
    log('warn', `a training checkpoint is ignored: ${why}`);
    await journal.write([section.del(KEY)]);
  }

  return {
    async load(name) {
      complained = false;
      let stored: Uint8Array | undefined;
      try {
        stored = await section.get(KEY);
      } catch (error) {
        return drop(error instanceof Error ? error.message : String(error));
      }
      if (stored === undefined) return undefined;
      const end = 2 + (stored.length < 2 ? LONGEST_NAME : (stored[0]! << 8) | stored[1]!);
      if (stored.length < end) return drop('it is cut off');
      if (new TextDecoder().decode(stored.subarray(2, end)) !== name) return drop('it is of another run');
      return Uint8Array.from(stored.subarray(end));
    },
    save(name, bytes) {
      const label = new TextEncoder().encode(name);
      if (label.length > LONGEST_NAME) return complain(`its name has more than ${LONGEST_NAME} bytes`);
      if (bytes.length > LARGEST_CHECKPOINT) {
        return complain(`its state of ${bytes.length} bytes is over the limit of ${LARGEST_CHECKPOINT}`);
      }
      // A disk that takes nothing is not to be handed more and more.
      if (waiting > 0) return;
      waiting += 1;
      const value = new Uint8Array(2 + label.length + bytes.length);
      value.set([label.length >> 8, label.length & 255]);
      value.set(label, 2);
      value.set(bytes, 2 + label.length);
      journal
        .write([section.put(KEY, value)])
        .catch((error: Error) => complain(error.message))
        .finally(() => {
          waiting -= 1;
        });
    },
    forgetting: () => [section.del(KEY)],
    forget: () => journal.write([section.del(KEY)]),
  };
}

const VERSION = 1;

/** What the training process hands out of its state: with the job's digest, so that no other job goes on from it. */
export function packState(digest: string, state: unknown): Uint8Array {
  return serialize({ version: VERSION, digest, state });
}

/** The state in `bytes`. @throws Error saying why it is of no use for the job of this digest. */
export function unpackState(digest: string, bytes: Uint8Array): unknown {
  let read: unknown;
  try {
    read = deserialize(bytes);
  } catch {
    throw new Error('it is damaged');
  }
  if (typeof read !== 'object' || read === null || !('state' in read) || !('digest' in read))
    throw new Error('it is damaged');
  if (!('version' in read) || read.version !== VERSION) throw new Error('it is of another version');
  if (read.digest !== digest) throw new Error('it is of a job with other data or settings');
  return read.state;
}

/** SHA-256, hexadecimal, over everything that a job is made of. */
export function jobDigest(job: TrainingJob): string {
  const hash = createSha256();
  const text = (value: string) => hash.update(new TextEncoder().encode(`${value}\0`));
  for (const [name, value] of Object.entries(job).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (ArrayBuffer.isView(value)) {
      text(`${name} ${value.byteLength}`);
      hash.update(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    } else {
      text(`${name} ${JSON.stringify(value)}`);
    }
  }
  return toHex(hash.digest());
}
