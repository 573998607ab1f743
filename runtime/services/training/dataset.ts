/**
 * What there is to learn from: episodes of every machine, built from the journal's verified samples and from
 * its maintenance entries alone. A sample whose signature does not verify never gets in.
 */
import type { Verifier } from '#ed25519';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { verifySign1 } from '../../core/encoding/cose.ts';
import { decodeEntry } from '../../core/encoding/entry.ts';
import { KIND, kindOf } from '../../core/encoding/kind.ts';
import { decodeSample, type Sample } from '../../core/encoding/sample.ts';
import type { Episode } from '../../core/learning/episodes.ts';
import { blockRoot, decodeOpening, readEntry, verifyBlock } from '../../core/log/block.ts';
import type { BlockRecord } from '../../state/journal/block-record.ts';
import type { Journal } from '../../state/journal/journal.ts';
import type { MaintenanceBook } from '../../state/maintenance/book.ts';
import type { MaintenanceFields } from '../../state/maintenance/entry.ts';

export interface DatasetOptions {
  readonly journal: Journal;
  readonly book: Pick<MaintenanceBook, 'open'>;
  readonly verify: Verifier;
  /** The stream that is learned from; others are read past. */
  readonly stream: string;
  /** Values a row must have. */
  readonly channels: number;
  /** Called when machines have new rows or a new state. */
  readonly onChange: (machines: ReadonlySet<string>) => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** Rows kept of a run that goes on: at least so many, at most twice as many. */
  readonly runRows?: number;
}

export interface Dataset {
  start(): void;
  stop(): Promise<void>;
  /** Finished episodes, oldest first, and each machine's running one. */
  episodes(): readonly Episode[];
  /** The rows of a machine that is running now. */
  running(machine: string): readonly (readonly number[])[] | undefined;
  machines(): readonly string[];
  /** Blocks of the journal that have not been read yet. */
  lag(): number;
  counts(): { readonly verified: number; readonly rejected: number; readonly failures: number };
  /** Rises with every finished episode. */
  revision(): number;
}

interface Run {
  rows: (readonly number[])[];
  /** Sequence number of each row. */
  sequences: number[];
  /** After a failure the machine stands still until somebody has repaired it; its rows may belong to the next run. */
  standing: boolean;
}

/** Rows kept in all, a bound on memory; the oldest finished episodes go first. */
const MAX_ROWS = 1_000_000;
/** Far more than the cap and a window, beyond which nothing is learned of a run. */
const RUN_ROWS = 20_000;
/** Signatures checked before others get the event loop: about 10 ms on a Pi. */
const SLICE = 32;

export function createDataset(options: DatasetOptions): Dataset {
  const { journal, book, verify, log, runRows = RUN_ROWS } = options;
  const runs = new Map<string, Run>();
  const finished: Episode[] = [];
  let finishedRows = 0;
  let block = journal.state().first;
  let verified = 0;
  let rejected = 0;
  let failures = 0;
  let revision = 0;
  let stopped = true;
  let pumping: Promise<void> | undefined;
  let unlisten = () => {};
  let changed = new Set<string>();

  function runOf(machine: string): Run {
    const run = runs.get(machine) ?? { rows: [], sequences: [], standing: false };
    runs.set(machine, run);
    return run;
  }

  function addSample(sample: Sample): void {
    if (sample.stream !== options.stream) return;
    if (sample.values.length !== options.channels || !sample.values.every(Number.isFinite)) {
      rejected += 1;
      return;
    }
    const run = runOf(sample.machine);
    run.rows.push(sample.values);
    run.sequences.push(sample.sequence);
    if (run.rows.length >= 2 * runRows) {
      run.rows = run.rows.slice(-runRows);
      run.sequences = run.sequences.slice(-runRows);
    }
    if (!run.standing) changed.add(sample.machine);
  }

  function addMaintenance(fields: MaintenanceFields): void {
    if (fields.type === 'fault') return;
    const run = runOf(fields.machine);
    // Another stream counts its samples for itself; then the order of arrival has to do.
    const at = fields.at?.stream === options.stream ? fields.at : undefined;
    changed.add(fields.machine);
    if (fields.type === 'failure') {
      if (run.standing) return;
      // What came after the failed sample belongs to no episode.
      const end = at
        ? run.sequences.findLastIndex((sequence) => sequence <= at.sequence) + 1
        : run.rows.length;
      finish({ machine: fields.machine, rows: run.rows.slice(0, end), end: 'failure' });
      failures += 1;
      runs.set(fields.machine, {
        rows: run.rows.slice(end),
        sequences: run.sequences.slice(end),
        standing: true,
      });
      return;
    }
    const from = at ? run.sequences.findIndex((sequence) => sequence >= at.sequence) : -1;
    const fresh = from < 0 ? run.rows.length : from;
    if (!run.standing && fresh > 0) {
      finish({ machine: fields.machine, rows: run.rows.slice(0, fresh), end: 'censored' });
    }
    runs.set(fields.machine, {
      rows: run.rows.slice(fresh),
      sequences: run.sequences.slice(fresh),
      standing: false,
    });
  }

  function finish(episode: Episode): void {
    if (episode.rows.length === 0) return;
    finished.push(episode);
    finishedRows += episode.rows.length;
    revision += 1;
    while (finishedRows > MAX_ROWS) finishedRows -= finished.shift()!.rows.length;
  }

  /** @param blockSigned tells whether the block's own signature is good, and is asked only where it matters. */
  async function addEntry(bytes: Uint8Array, blockSigned: () => boolean): Promise<void> {
    const read = readEntry(bytes);
    const good = read.form === 'signed' ? verifySign1(read.message, verify) : blockSigned();
    if (!good) throw new Error('its signature is not this gateway’s');
    verified += 1;
    const kind = kindOf(read.payload);
    if (kind === KIND.sample) addSample(decodeSample(read.payload));
    else if (read.form === 'salted') throw new Error('only a sample may be signed with its block');
    else if (kind === KIND.maintenance) addMaintenance(await book.open(decodeEntry(read.payload).body));
  }

  /** A block's signature is checked against its entries once, when the first needs it. */
  function blockCheck({ opening, entries }: BlockRecord): () => boolean {
    let good: boolean | undefined;
    return () => {
      if (good === undefined) {
        const opened = decodeOpening(opening);
        good =
          opened.count === entries.length &&
          equalBytes(opened.root, blockRoot(entries)) &&
          verifyBlock(opened, verify);
      }
      return good;
    };
  }

  /** A block that cannot be read is passed over, as `kosmos verify` will tell; it must not hold up all that follow. */
  async function readBlock(index: number): Promise<BlockRecord | undefined> {
    try {
      return await journal.record(index);
    } catch (error) {
      const { name, message } = error as Error;
      if (name !== 'DamagedRecord' && name !== 'DecodeError') throw error;
      rejected += 1;
      log('error', `block ${index} is not learned from: ${message}`);
      return undefined;
    }
  }

  async function pump(): Promise<void> {
    for (; !stopped && block < journal.state().blocks; block++) {
      const record = await readBlock(block);
      if (!record) {
        // On to the next that is there: retention may have dropped millions.
        block = ((await journal.nextHeld(block + 1)) ?? journal.state().blocks) - 1;
        continue;
      }
      const blockSigned = blockCheck(record);
      for (const [index, bytes] of record.entries.entries()) {
        if (stopped) return;
        try {
          await addEntry(bytes, blockSigned);
        } catch (error) {
          rejected += 1;
          log('error', `entry ${index} of block ${block} is not learned from: ${(error as Error).message}`);
        }
        if (index % SLICE === SLICE - 1) await new Promise((resolve) => setImmediate(resolve));
      }
      if (changed.size > 0) {
        const machines = changed;
        changed = new Set();
        options.onChange(machines);
      }
    }
  }

  function wake(): void {
    if (pumping || stopped) return;
    pumping = pump()
      .catch((error: Error) => log('error', `reading the journal for training failed: ${error.message}`))
      .finally(() => {
        pumping = undefined;
        if (!stopped && block < journal.state().blocks) setTimeout(wake, 1000).unref();
      });
  }

  return {
    start() {
      stopped = false;
      unlisten = journal.onCommit(wake);
      wake();
    },
    async stop() {
      stopped = true;
      unlisten();
      await pumping;
    },
    episodes: () => [
      ...finished,
      ...[...runs].map(([machine, run]): Episode => ({ machine, rows: run.rows, end: 'running' })),
    ],
    running: (machine) => {
      const run = runs.get(machine);
      return run && !run.standing ? run.rows : undefined;
    },
    machines: () => [...runs.keys()],
    lag: () => journal.state().blocks - block,
    counts: () => ({ verified, rejected, failures }),
    revision: () => revision,
  };
}
