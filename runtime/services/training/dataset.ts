/**
 * What there is to learn from: episodes of every machine, built from the journal's verified samples and from
 * its maintenance entries alone. A sample whose signature does not verify never gets in.
 */
import type { Verifier } from '#ed25519';
import { type CborValue, equalBytes } from '../../core/encoding/cbor.ts';
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
import { type ChannelOf, declarationFault, readDeclaration } from './declaration.ts';
import { addRow, createRun, cut, isAfter, lastPlace, type Place, type Run, trim } from './run.ts';

export interface DatasetOptions {
  readonly journal: Journal;
  readonly book: Pick<MaintenanceBook, 'open'>;
  readonly verify: Verifier;
  /** The stream that is learned from; others are read past. */
  readonly stream: string;
  /**
   * What a row holds, in the agreement's order. A stream that declares other channels or units is refused; with a
   * number alone, rows have to be so long.
   */
  readonly channels: number | readonly ChannelOf[];
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
  /** The same with times, as an episode that goes on. */
  run(machine: string): Episode | undefined;
  machines(): readonly string[];
  /** Blocks of the journal that have not been read yet. */
  lag(): number;
  counts(): Counts;
  /** Why machines are not learned from whose streams are not what the agreement says. */
  refusals(): readonly string[];
  /** Rises with every finished episode, and whenever a run that goes on has doubled its rows. */
  revision(): number;
}

export interface Counts {
  /** Entries whose signature was good. */
  readonly verified: number;
  /** Those that were not, or not readable, and samples that no row could be made of. */
  readonly rejected: number;
  readonly failures: number;
  /** Of the rejected: samples with a value that is not finite. */
  readonly notFinite: number;
  /** Of the rejected: samples that had been there before, or come after a newer one. */
  readonly repeated: number;
}

/** Rows kept in all, a bound on memory; the oldest finished episodes go first. */
const MAX_ROWS = 1_000_000;
/** Far more than the cap and a window, beyond which nothing is learned of a run. */
const RUN_ROWS = 20_000;
/** Signatures checked before others get the event loop: about 10 ms on a Pi. */
const SLICE = 32;

export function createDataset(options: DatasetOptions): Dataset {
  const { journal, book, verify, log, channels, runRows = RUN_ROWS } = options;
  const width = typeof channels === 'number' ? channels : channels.length;
  const runs = new Map<string, Run>();
  const finished: Episode[] = [];
  let finishedRows = 0;
  let block = journal.state().first;
  let verified = 0;
  let rejected = 0;
  let failures = 0;
  let notFinite = 0;
  let repeated = 0;
  /** The newest sample of each machine. */
  const newest = new Map<string, Place>();
  const refused = new Map<string, string>();
  let revision = 0;
  let stopped = true;
  let pumping: Promise<void> | undefined;
  let unlisten = () => {};
  let changed = new Set<string>();

  function runOf(machine: string): Run {
    const run = runs.get(machine) ?? createRun();
    runs.set(machine, run);
    return run;
  }

  function runningOf(machine: string): Run | undefined {
    const run = runs.get(machine);
    return run && !run.standing && !refused.has(machine) ? run : undefined;
  }

  function addSample(sample: Sample): void {
    if (sample.stream !== options.stream) return;
    if (refused.has(sample.machine) || sample.values.length !== width) {
      rejected += 1;
      return;
    }
    if (!sample.values.every(Number.isFinite)) {
      rejected += 1;
      notFinite += 1;
      return;
    }
    const last = newest.get(sample.machine);
    if (last && !isAfter(sample, last)) {
      rejected += 1;
      repeated += 1;
      return;
    }
    newest.set(sample.machine, sample);
    const run = runOf(sample.machine);
    addRow(run, sample);
    if (isPowerOfTwo(run.seen)) revision += 1;
    if (run.rows.length >= 2 * runRows) trim(run, runRows);
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
      const [ended, rest] = cut(run, at ? lastPlace(run, at) + 1 : run.rows.length);
      finish(episodeOf(fields.machine, ended, 'failure'));
      failures += 1;
      rest.standing = true;
      runs.set(fields.machine, rest);
      return;
    }
    const from = at ? run.places.findIndex((place) => !isAfter(at, place)) : -1;
    const [ended, fresh] = cut(run, from < 0 ? run.rows.length : from);
    if (!run.standing) finish(episodeOf(fields.machine, ended, 'censored'));
    runs.set(fields.machine, fresh);
  }

  /** A stream that is not what the agreement says is not learned from until it declares itself anew. */
  function addDeclaration(body: CborValue): void {
    const declared = readDeclaration(body);
    if (declared.stream !== options.stream || typeof channels === 'number') return;
    const fault = declarationFault(declared, channels);
    if (fault === undefined) {
      refused.delete(declared.machine);
      return;
    }
    refused.set(declared.machine, fault);
    changed.add(declared.machine);
    log('error', fault);
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
    else if (kind === KIND.stream) addDeclaration(decodeEntry(read.payload).body);
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
    episodes: () => [...finished, ...[...runs].map(([machine, run]) => episodeOf(machine, run, 'running'))],
    running: (machine) => runningOf(machine)?.rows,
    run: (machine) => {
      const run = runningOf(machine);
      return run && episodeOf(machine, run, 'running');
    },
    machines: () => [...runs.keys()],
    lag: () => journal.state().blocks - block,
    counts: () => ({ verified, rejected, failures, notFinite, repeated }),
    refusals: () => [...refused.values()],
    revision: () => revision,
  };
}

function episodeOf(machine: string, run: Run, end: Episode['end']): Episode {
  const { rows, times, steps } = run;
  return { machine, rows, times, steps, end, ended: times.at(-1) ?? Number.NaN };
}

function isPowerOfTwo(count: number): boolean {
  return Number.isInteger(Math.log2(count));
}
