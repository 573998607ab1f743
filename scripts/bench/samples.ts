import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSigner } from '#ed25519';
import { createSign1Signer } from '../../runtime/core/encoding/cose.ts';
import { openJournal } from '../../runtime/state/journal/journal.ts';
import { journalSettings } from '../../runtime/state/journal/settings.ts';
import { createClock } from '../../runtime/state/provenance/clock.ts';
import type { GatewayKeys } from '../../runtime/state/provenance/keys.ts';
import { openRecorder, type StreamRecorder } from '../../runtime/state/provenance/recorder.ts';
import { alternate, type Bench, perSecond, summarise } from './harness.ts';

const KEY = createSigner(new Uint8Array(32).map((_, index) => 255 - index));
/** Of the size of what is signed for a sample of three values. */
const MESSAGE = new Uint8Array(120).map((_, index) => index);
const RUNS = 5;
/** Readings that a sensor's FIFO gives at once. */
const FIFO = 32;
/** Hand-ins that wait for the disk at a time. */
const IN_FLIGHT = 512;

function gatewayKeys(): GatewayKeys {
  return { identity: KEY, sample: KEY, log: KEY, witness: KEY, tls: KEY };
}

interface Opened {
  readonly stream: StreamRecorder;
  readonly close: () => Promise<void>;
}

async function openStream(signing: 'sample' | 'block', commitInterval: string): Promise<Opened> {
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-bench-'));
  const settings = journalSettings.parse({ commitInterval, maxPendingBytes: '64MB' });
  const journal = await openJournal(join(directory, 'journal'), settings, createSign1Signer(KEY));
  const recorder = await openRecorder(journal, gatewayKeys(), createClock());
  return {
    stream: recorder.stream('press-1', 'vibration', { signing, whenFull: 'drop-oldest' }),
    async close() {
      await journal.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function readingsFrom(first: number, count: number) {
  return Array.from({ length: count }, (_, index) => ({
    values: [Math.sin(first + index), (first + index) / 7, 9.81],
    time: 1_700_000_000_000 + first + index,
  }));
}

/** Samples a second, from reading to durable and in the log, hand-ins of `size` readings. */
async function samplesPerSecond(signing: 'sample' | 'block', size: number, total: number): Promise<number> {
  const { stream, close } = await openStream(signing, '1ms');
  const waiting: Promise<void>[] = [];
  const started = performance.now();
  for (let done = 0; done < total; done += size) {
    waiting.push(stream.batch(readingsFrom(done, size)).durable);
    if (waiting.length >= IN_FLIGHT) await Promise.all(waiting.splice(0, IN_FLIGHT / 2));
  }
  await Promise.all(waiting);
  const rate = (total * 1000) / (performance.now() - started);
  await close();
  return rate;
}

const signingRate = () => perSecond(() => KEY.sign(MESSAGE), { leastMs: 300, batch: 100 });

function samplesBench(name: string, signing: 'sample' | 'block', limit: number, total: number): Bench {
  return {
    name,
    unit: 'samples/s',
    against: `the rate of bare Ed25519 signing (limit ${limit})`,
    async run() {
      const { a, b } = await alternate(() => samplesPerSecond(signing, FIFO, total), signingRate, {
        runs: RUNS,
      });
      return {
        value: a.median,
        ratio: a.median / b.median,
        sides: { samples: a, 'bare signatures': b },
        note: `${signing === 'sample' ? 'each signed' : 'signed by the block'}, hashed, durable and in the log, handed in ${FIFO} at a time`,
      };
    },
  };
}

/** Individually signed, hashed, durable and logged samples against nothing but signing. */
export const sampleSigned = samplesBench('sample-signed', 'sample', 0.7, 64 * 1024);

/** As sampleSigned, for a stream that is signed with its blocks. */
export const sampleBlock = samplesBench('sample-block', 'block', 10, 512 * 1024);

const COMMITS = 600;
const PER_COMMIT = 1000;
const AMPLIFICATION_LIMIT = 3;

/** Bytes that this process has caused to be written to a disk (proc(5), /proc/pid/io). */
async function bytesWritten(): Promise<number> {
  const text = await readFile('/proc/self/io', 'utf8').catch(() => {
    throw new Error('bytes written are read from /proc, which only Linux has');
  });
  return Number(/^write_bytes: (\d+)$/m.exec(text)?.[1]);
}

/** What reaches the disk for a byte of sample, compactions included: ten minutes of 1,000 samples/s, as fast as it goes. */
export const writeAmplification: Bench = {
  name: 'write-amplification',
  unit: 'bytes/byte',
  against: `limit ${AMPLIFICATION_LIMIT}`,
  async run() {
    const { stream, close } = await openStream('sample', '1ms');
    const before = await bytesWritten();
    let sampleBytes = 0;
    for (let commit = 0; commit < COMMITS; commit++) {
      const readings = readingsFrom(commit * PER_COMMIT, PER_COMMIT);
      await stream.batch(readings).durable;
      sampleBytes += PER_COMMIT * SAMPLE_BYTES;
    }
    await close();
    const value = ((await bytesWritten()) - before) / sampleBytes;
    return {
      value,
      ratio: value / AMPLIFICATION_LIMIT,
      note: `${COMMITS} commits of ${PER_COMMIT} individually signed samples of ${SAMPLE_BYTES} bytes`,
    };
  },
};

/** Of a COSE_Sign1 over a sample as readingsFrom gives them, before its number grows. */
const SAMPLE_BYTES = 152;

const LATENCY_COMMITS = 200;
const INTERVAL_MS = 20;

/** How much later than one fsync an acknowledgement comes, against the commit interval that it may take. */
export const acknowledgement: Bench = {
  name: 'acknowledgement',
  unit: 'ms over one fsync',
  against: `limit: the commit interval, ${INTERVAL_MS} ms`,
  async run() {
    const alone = await latencies('1ms', 0);
    const grouped = await latencies(`${INTERVAL_MS}ms`, 7);
    const value = grouped.median - alone.median;
    return { value, ratio: value / INTERVAL_MS, sides: { 'at 1 ms interval': alone, grouped } };
  },
};

async function latencies(interval: string, pauseMs: number) {
  const { stream, close } = await openStream('sample', interval);
  const figures: number[] = [];
  for (let count = 0; count < LATENCY_COMMITS; count++) {
    const started = performance.now();
    await stream.sample({ values: [1, 2, 3] }).durable;
    figures.push(performance.now() - started);
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs * Math.random()));
  }
  await close();
  return summarise(figures);
}
