import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { OutgoingSample, SampleSource } from '../../../runtime/services/telemetry/samples.ts';
import { type TelemetrySettings, telemetrySettings } from '../../../runtime/services/telemetry/settings.ts';

/** Why tests with Debian's mosquitto are skipped, or false. */
export const withoutMosquitto: string | false =
  spawnSync('mosquitto', ['-h']).error === undefined &&
  spawnSync('mosquitto_sub', ['--help']).error === undefined
    ? false
    : 'mosquitto and mosquitto_sub are not installed (Debian: apt-get install mosquitto mosquitto-clients)';

/** Settings as the program gets them, short times by default. */
export function settingsOf(raw: Record<string, unknown>): TelemetrySettings {
  return telemetrySettings.parse({ reconnectLimit: '200ms', connectTimeout: '5s', ...raw });
}

/** Waits until `condition` holds; throws with `what` after 20 seconds. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 4_000; tries++) {
    if (condition()) return;
    await delay(5);
  }
  throw new Error(`waited in vain: ${what}`);
}

/** A port of loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** A journal in memory, its cursor included; `reopen` is what a restart of the gateway sees. */
export interface MemoryJournal extends SampleSource {
  append(count: number): void;
  readonly cursor: () => number;
  reopen(): MemoryJournal;
}

/** The sample at `index`: two machines take turns, and the payload is the index as text. */
export function sampleAt(index: number): OutgoingSample {
  const bytes = new TextEncoder().encode(String(index));
  return { machine: index % 2 === 0 ? 'press' : 'lathe', stream: 'spindle', bytes, position: index };
}

/** A journal that holds `length` samples, its cursor before number `cursor`. */
export function memoryJournal(length: number, cursor = 0): MemoryJournal {
  let read = cursor;
  let appended: () => void = () => {};
  return {
    async next(limit, signal) {
      while (read >= length) {
        signal.throwIfAborted();
        await new Promise<void>((resolve) => {
          appended = resolve;
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
      }
      const from = read;
      read = Math.min(length, read + limit);
      return Array.from({ length: read - from }, (_, i) => sampleAt(from + i));
    },
    async commit(position) {
      if (typeof position !== 'number' || position + 1 <= cursor)
        throw new Error(`commit of ${String(position)} at ${cursor}`);
      await delay(1);
      cursor = position + 1;
    },
    append(count) {
      length += count;
      appended();
    },
    cursor: () => cursor,
    reopen: () => memoryJournal(length, cursor),
  };
}

/** The same journal, able to go back to its cursor. */
export function rewindable(length: number): MemoryJournal & { readonly rewinds: () => number } {
  let inner = memoryJournal(length);
  let rewinds = 0;
  return {
    next: (limit, signal) => inner.next(limit, signal),
    commit: (position) => inner.commit(position),
    append: (count) => inner.append(count),
    cursor: () => inner.cursor(),
    reopen: () => inner.reopen(),
    rewinds: () => rewinds,
    async rewind() {
      rewinds++;
      inner = inner.reopen();
    },
  };
}

/** A mosquitto of one's own on a loopback port. */
export interface Mosquitto {
  readonly port: number;
  readonly directory: string;
  start(): Promise<void>;
  /** Ends it with SIGTERM, which makes it write its sessions down; or with another signal. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  remove(): Promise<void>;
}

/** Writes a configuration with persistence, adding `lines`; does not start it yet. */
export async function createMosquitto(
  lines: (directory: string) => readonly string[] = () => ['allow_anonymous true'],
): Promise<Mosquitto> {
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-mosquitto-'));
  const port = await freePort();
  const user = process.getuid?.() === 0 ? ['user root'] : [];
  const config = [
    'persistence true',
    `persistence_location ${directory}/`,
    'max_queued_messages 0',
    ...user,
    `listener ${port} 127.0.0.1`,
    ...lines(directory),
  ];
  await writeFile(join(directory, 'mosquitto.conf'), `${config.join('\n')}\n`);
  let child: ChildProcess | undefined;
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    const last = child;
    child = undefined;
    if (last === undefined || last.exitCode !== null) return;
    const ended = new Promise((resolve) => last.once('exit', resolve));
    last.kill(signal);
    await ended;
  };
  return {
    port,
    directory,
    async start() {
      child = spawn('mosquitto', ['-c', join(directory, 'mosquitto.conf')], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let output = '';
      child.stderr?.on('data', (chunk) => {
        output += String(chunk);
      });
      const started = child;
      await until(
        'mosquitto runs',
        () => /mosquitto version .* running/.test(output) || started.exitCode !== null,
      );
      if (started.exitCode !== null) throw new Error(`mosquitto ended: ${output}`);
    },
    stop,
    async remove() {
      await stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A running mosquitto_sub; each line is "topic payload". */
export interface Subscriber {
  readonly lines: readonly string[];
  stop(): Promise<void>;
}

/** Starts mosquitto_sub with `args` and waits until its subscription is there. */
export async function mosquittoSub(port: number, args: readonly string[]): Promise<Subscriber> {
  // Without stdbuf the line that tells of the subscription stays in a buffer.
  const command = [
    '-oL',
    'mosquitto_sub',
    '-h',
    '127.0.0.1',
    '-p',
    String(port),
    '-d',
    '-F',
    '>%t %p',
    ...args,
  ];
  const child = spawn('stdbuf', command, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  let rest = '';
  let subscribed = false;
  child.stdout.on('data', (chunk) => {
    const parts = (rest + String(chunk)).split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts) {
      if (line.startsWith('Subscribed')) subscribed = true;
      // What -d adds begins otherwise.
      if (line.startsWith('>')) lines.push(line.slice(1));
    }
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
  };
  try {
    await until('mosquitto_sub has subscribed', () => subscribed || child.exitCode !== null);
  } catch (error) {
    await stop();
    throw error;
  }
  return { lines, stop };
}
