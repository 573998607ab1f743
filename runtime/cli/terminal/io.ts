import { plain } from './human.ts';

/** Where a command writes; `process.stdout` is one. */
export interface Out {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  /** Set while the terminal is slower than what is written. */
  readonly writableNeedDrain?: boolean | undefined;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** What a command has of the world, so that a test can hand in another one. */
export interface Io {
  readonly stdout: Out;
  readonly stderr: Out;
  readonly env: Environment;
}

/** The process's own. When the reader of a pipe goes away (`kosmos ... | head`), the program ends quietly. */
export function processIo(): Io {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(0);
      throw error;
    });
  }
  return { stdout: process.stdout, stderr: process.stderr, env: process.env };
}

/** One value as one line of JSON. */
export function printJson(io: Io, value: unknown): void {
  // JSON leaves characters as they are that some terminals obey; escaped it is the same JSON.
  io.stdout.write(`${plain(JSON.stringify(value))}\n`);
}
