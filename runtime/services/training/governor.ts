/**
 * Says when training has to wait because the device has better things to do, or is not well. Each cause has a
 * limit at which it begins and a milder one at which it ends, and all have to have ended for a while.
 */

export interface GovernorLimits {
  /** Degrees Celsius. */
  readonly maxTemperature: number;
  /** Bytes on disk. */
  readonly minFree: number;
  readonly maxLatenessMs: number;
}

/** What is looked at; undefined: nobody knows, which pauses nothing. */
export interface GovernorReaders {
  /** Degrees Celsius, of the hottest sensor. */
  readonly temperature: () => Promise<number | undefined>;
  /** What the power supply or the firmware complains of at present, in words. */
  readonly throttling: () => Promise<readonly string[] | undefined>;
  readonly freeBytes: () => Promise<number | undefined>;
  /** What is wrong with keeping samples. */
  readonly trouble: () => string | undefined;
  /** How late samples have been since the last look, ms. */
  readonly latenessMs: () => number | undefined;
}

export interface GovernorOptions {
  readonly limits: GovernorLimits;
  readonly readers: GovernorReaders;
  readonly log: (level: 'info' | 'warn', message: string) => void;
  /** The time, ms since 1970. */
  readonly now?: () => number;
  readonly everyMs?: number;
  /** How long all has to be well before training goes on. */
  readonly calmMs?: number;
}

export interface Pause {
  /** For people. */
  readonly why: string;
  /** Milliseconds since 1970. */
  readonly since: number;
}

export interface Governor {
  start(): void;
  /** Nothing is paused any more. */
  stop(): void;
  /** Reads everything now. */
  look(): Promise<Pause | undefined>;
  paused(): Pause | undefined;
  /** Calls `listener` when a pause begins or ends; the answer takes it off again. */
  onChange(listener: (pause: Pause | undefined) => void): () => void;
}

const EVERY_MS = 2000;
const CALM_MS = 10_000;
/** Looks in a row: a burst of work of the daemon's own is nothing to wait for. */
const LATE_LOOKS = 3;
/** Degrees below the limit at which it is cool again. */
const COOLER = 5;
/** Of the limit. */
const MORE_FREE = 1.2;
const LESS_LATE = 0.5;

type Readings = {
  readonly [name in keyof GovernorReaders]: Awaited<ReturnType<GovernorReaders[name]>>;
};

/** One thing that may be wrong. `begins` and `goesOn` give it in words, or undefined. */
interface Cause {
  readonly begins: (readings: Readings) => string | undefined;
  /** Once it has begun; the milder limit. */
  readonly goesOn: (readings: Readings) => string | undefined;
}

export function createGovernor(options: GovernorOptions): Governor {
  const { readers, log, now = Date.now, everyMs = EVERY_MS, calmMs = CALM_MS } = options;
  const causes = causesFor(options.limits);
  const active = new Set<Cause>();
  const listeners = new Set<(pause: Pause | undefined) => void>();
  const unreadable = new Set<string>();
  let pause: Pause | undefined;
  let calmSince: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<void> | undefined;
  let stopped = false;

  async function reading<T>(name: keyof GovernorReaders, read: () => T): Promise<Awaited<T> | undefined> {
    try {
      return await read();
    } catch (error) {
      if (!unreadable.has(name)) log('warn', `${name} cannot be read: ${(error as Error).message}`);
      unreadable.add(name);
      return undefined;
    }
  }

  async function readAll(): Promise<Readings> {
    const [temperature, throttling, freeBytes] = await Promise.all([
      reading('temperature', readers.temperature),
      reading('throttling', readers.throttling),
      reading('freeBytes', readers.freeBytes),
    ]);
    const trouble = await reading('trouble', readers.trouble);
    const latenessMs = await reading('latenessMs', readers.latenessMs);
    return { temperature, throttling, freeBytes, trouble, latenessMs };
  }

  async function lookOnce(): Promise<void> {
    const readings = await readAll();
    if (stopped) return;
    const faults: string[] = [];
    for (const cause of causes) {
      const fault = active.has(cause) ? cause.goesOn(readings) : cause.begins(readings);
      if (fault === undefined) active.delete(cause);
      else {
        active.add(cause);
        faults.push(fault);
      }
    }
    if (faults.length > 0) {
      calmSince = undefined;
      begin(faults.join(', '));
    } else if (pause !== undefined) {
      calmSince ??= now();
      if (now() - calmSince >= calmMs) end();
    }
  }

  function begin(why: string): void {
    const since = pause?.since ?? now();
    if (pause === undefined) log('warn', `training pauses: ${why}`);
    const begun = pause === undefined;
    pause = { why, since };
    if (begun) tell();
  }

  function end(): void {
    if (pause === undefined) return;
    log(
      'info',
      `training may go on after ${Math.round((now() - pause.since) / 1000)} s: ${pause.why} is over`,
    );
    pause = undefined;
    calmSince = undefined;
    tell();
  }

  function tell(): void {
    for (const listener of listeners) listener(pause);
  }

  function look(): Promise<void> {
    looking ??= lookOnce().finally(() => {
      looking = undefined;
    });
    return looking;
  }

  return {
    start() {
      stopped = false;
      timer ??= setInterval(() => void look(), everyMs).unref();
      void look();
    },
    stop() {
      stopped = true;
      clearInterval(timer);
      timer = undefined;
      active.clear();
      if (pause !== undefined) {
        pause = undefined;
        tell();
      }
    },
    async look() {
      await look();
      return pause;
    },
    paused: () => pause,
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

function causesFor({ maxTemperature, minFree, maxLatenessMs }: GovernorLimits): readonly Cause[] {
  let lateLooks = 0;
  const hot =
    (limit: number) =>
    ({ temperature }: Readings) =>
      temperature !== undefined && temperature >= limit
        ? `${temperature.toFixed(1)} °C, ${maxTemperature} °C is the most`
        : undefined;
  const power = ({ throttling }: Readings) => (throttling?.length ? throttling.join(', ') : undefined);
  const full =
    (limit: number) =>
    ({ freeBytes }: Readings) =>
      freeBytes !== undefined && freeBytes < limit
        ? `${mebibytes(freeBytes)} MiB left on disk, ${mebibytes(minFree)} MiB is the least`
        : undefined;
  const trouble = ({ trouble }: Readings) => (trouble === undefined ? undefined : `the journal: ${trouble}`);
  const late =
    (limit: number) =>
    ({ latenessMs }: Readings) =>
      latenessMs !== undefined && latenessMs > limit
        ? `samples come ${Math.round(latenessMs)} ms late, ${maxLatenessMs} ms is the most`
        : undefined;
  const latest = late(maxLatenessMs);
  return [
    { begins: hot(maxTemperature), goesOn: hot(maxTemperature - COOLER) },
    { begins: power, goesOn: power },
    { begins: full(minFree), goesOn: full(minFree * MORE_FREE) },
    { begins: trouble, goesOn: trouble },
    {
      begins(readings) {
        const fault = latest(readings);
        lateLooks = fault === undefined ? 0 : lateLooks + 1;
        return lateLooks >= LATE_LOOKS ? fault : undefined;
      },
      goesOn: late(maxLatenessMs * LESS_LATE),
    },
  ];
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}
