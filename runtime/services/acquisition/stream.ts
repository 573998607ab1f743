/** One stream: reads its sensor on schedule and hands the readings on; a sensor that fails leaves a named gap. */
import { sleep } from '../../state/pause.ts';
import type { StreamSettings } from './settings.ts';

/** What acquisition needs of a driver. */
export interface SensorLike {
  readonly channels: readonly { readonly name: string; readonly unit: string }[];
  read(): Promise<
    | {
        readonly values: readonly number[];
        readonly time?: number;
        readonly event?: 'failure' | 'repair';
      }
    | 'end'
  >;
  close(): Promise<void>;
}

/** Where readings go. */
export interface StreamSink {
  sample(
    values: readonly number[],
    time?: number,
  ): { readonly sequence: number; readonly durable: Promise<void> };
  event(event: 'failure' | 'repair', sequence: number): Promise<void>;
  /** Samples are missing, and why. */
  gap(reason: string, since: number, missed: number): Promise<void>;
  declare(channels: SensorLike['channels']): Promise<void>;
}

export interface StreamStatus {
  readonly machine: string;
  readonly stream: string;
  readonly samples: number;
  readonly state: 'starting' | 'running' | 'failing' | 'ended';
  readonly trouble: string | undefined;
  /** Milliseconds since 1970 of the last sample. */
  readonly last: number | undefined;
}

export interface StreamRunner {
  run(signal: AbortSignal): Promise<void>;
  status(): StreamStatus;
}

/** Samples that may wait to become durable before reading pauses; only sources without a pace reach it. */
const MAX_IN_FLIGHT = 2048;
const READ_LIMIT_MS = 10_000;
/** How much longer a stop waits for a sensor that is being read. */
const STOP_LIMIT_MS = 1000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;
const NAME_GAP_MS = 20_000;

export function createStreamRunner(
  machine: string,
  settings: StreamSettings,
  open: () => Promise<SensorLike>,
  sink: StreamSink,
  log: (level: 'info' | 'warn', message: string) => void,
): StreamRunner {
  const label = `${machine}/${settings.name}`;
  const inFlight = new Set<Promise<void>>();
  let samples = 0;
  let state: StreamStatus['state'] = 'starting';
  let trouble: string | undefined;
  let troubleSince = 0;
  let missed = 0;
  let named = 0;
  let last: number | undefined;
  let declared = false;

  /** Waits for the next moment of the schedule; moments that have gone by are not made up for. */
  async function untilDue(signal: AbortSignal): Promise<void> {
    const { intervalMs, phaseMs } = settings;
    if (intervalMs === 0) return;
    const now = Date.now();
    const due = Math.floor((now - phaseMs) / intervalMs + 1) * intervalMs + phaseMs;
    await sleep(due - now, signal);
  }

  async function readOnce(sensor: SensorLike, signal: AbortSignal): Promise<'end' | 'more'> {
    const reading = await within(sensor.read(), READ_LIMIT_MS, 'the sensor does not answer', signal);
    if (reading === 'end') return 'end';
    if (trouble !== undefined) {
      log('info', `${label}: reading again after ${missed} missed samples`);
      await sink.gap(trouble, troubleSince, missed);
      trouble = undefined;
      missed = 0;
    }
    state = 'running';
    const { sequence, durable } = sink.sample(reading.values, reading.time);
    const settled = durable.then(
      () => {
        samples += 1;
        last = Date.now();
      },
      (error: Error) => fail(error),
    );
    inFlight.add(settled);
    void settled.finally(() => inFlight.delete(settled));
    if (reading.event) await tellEvent(reading.event, sequence, signal);
    if (inFlight.size >= MAX_IN_FLIGHT) await Promise.race(inFlight);
    return 'more';
  }

  /** A failure is a label that nobody can give again: while the journal takes nothing it is kept and tried again. */
  async function tellEvent(
    event: 'failure' | 'repair',
    sequence: number,
    signal: AbortSignal,
  ): Promise<void> {
    for (;;) {
      try {
        return await sink.event(event, sequence);
      } catch (error) {
        if (signal.aborted) throw error;
        fail(error as Error);
        await sleep(FIRST_RETRY_MS, signal);
      }
    }
  }

  function fail(error: Error): void {
    if (trouble === undefined) {
      troubleSince = Date.now();
      named = 0;
      log('warn', `${label}: ${error.message}`);
    }
    trouble = error.message;
    missed += 1;
    state = 'failing';
    // A gap that lasts is named again and again: who watches the gateway sees that it is alive, its sensor not.
    if (Date.now() - named < NAME_GAP_MS) return;
    named = Date.now();
    sink
      .gap(trouble, troubleSince, missed)
      .catch((failed: Error) => log('warn', `${label}: ${failed.message}`));
  }

  async function session(signal: AbortSignal): Promise<'end' | 'stopped'> {
    const opening = open();
    const sensor = await within(opening, READ_LIMIT_MS, 'the sensor cannot be opened', signal).catch(
      (error) => {
        // Nobody waits for it any more: what comes too late is closed again.
        opening
          .then((late) => late.close())
          .catch((failed: Error) => log('warn', `${label}: ${failed.message}`));
        throw error;
      },
    );
    try {
      if (!declared) await sink.declare(sensor.channels);
      declared = true;
      while (!signal.aborted) {
        await untilDue(signal);
        if (signal.aborted) break;
        if ((await readOnce(sensor, signal)) === 'end') return 'end';
      }
      return 'stopped';
    } finally {
      await within(sensor.close(), STOP_LIMIT_MS, 'the sensor cannot be closed').catch((error: Error) =>
        log('warn', `${label}: ${error.message}`),
      );
    }
  }

  return {
    async run(signal) {
      for (let delay = FIRST_RETRY_MS; !signal.aborted; delay = Math.min(LAST_RETRY_MS, delay * 2)) {
        const before = samples;
        try {
          if ((await session(signal)) === 'end') state = 'ended';
          break;
        } catch (error) {
          if (signal.aborted) break;
          fail(error as Error);
          if (samples > before) delay = FIRST_RETRY_MS;
          await sleep(delay, signal);
        }
      }
      await Promise.all(inFlight);
    },
    status: () => ({ machine, stream: settings.name, samples, state, trouble, last }),
  };
}

/** `work`, or an error after `limitMs`, or soon after `signal` has fired. */
function within<T>(work: Promise<T>, limitMs: number, why: string, signal?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const expire = () => reject(new Error(`${why} within ${limitMs} ms`));
    let timer = setTimeout(expire, limitMs);
    const hurry = () => {
      clearTimeout(timer);
      timer = setTimeout(expire, Math.min(limitMs, STOP_LIMIT_MS));
    };
    if (signal?.aborted) hurry();
    else signal?.addEventListener('abort', hurry, { once: true });
    work.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', hurry);
    });
  });
}
