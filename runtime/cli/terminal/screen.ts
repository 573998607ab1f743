import type { Out } from './io.ts';
import { clip } from './layout.ts';

/** One picture: its lines in a terminal, and the one line that stands for it elsewhere. */
export interface Frame {
  readonly lines: readonly string[];
  readonly summary: string;
}

export interface Screen {
  /** Whether frames are drawn over each other. */
  readonly live: boolean;
  /** Draws the frame in the place of the one before; elsewhere prints its summary now and then. */
  draw(frame: Frame): void;
  /** Prints a line that stays, above the frame. */
  print(line: string): void;
  /** Leaves the last frame where it is and gives the cursor back. */
  close(): void;
}

export interface ScreenOptions {
  /** Between two plain lines, where there is no terminal. */
  readonly plainEveryMs?: number;
  /** Milliseconds on any clock that does not jump. */
  readonly now?: () => number;
}

const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';
/** Terminals that know it show what stands between as one picture; others ignore it. */
const BEGIN_PICTURE = '\u001b[?2026h';
const END_PICTURE = '\u001b[?2026l';
const CLEAR_LINE_END = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';

/** A block of lines that is redrawn in place on a terminal, and a line now and then anywhere else. */
export function createScreen(stream: Out, options: ScreenOptions = {}): Screen {
  return stream.isTTY === true ? liveScreen(stream) : plainScreen(stream, options);
}

function plainScreen(stream: Out, options: ScreenOptions): Screen {
  const { plainEveryMs = 10_000, now = () => performance.now() } = options;
  let printedAt = Number.NEGATIVE_INFINITY;
  let printed = '';
  let latest = '';
  const show = (line: string): void => {
    if (line === '' || line === printed) return;
    stream.write(`${line}\n`);
    printed = line;
    printedAt = now();
  };
  return {
    live: false,
    draw({ summary }) {
      latest = summary;
      if (now() - printedAt >= plainEveryMs) show(summary);
    },
    print: (line) => void stream.write(`${line}\n`),
    close: () => show(latest),
  };
}

function liveScreen(stream: Out): Screen {
  let height = 0;
  let latest: readonly string[] = [];
  let started = false;
  let closed = false;
  const showCursor = (): void => void stream.write(SHOW_CURSOR);

  const picture = (above: string): string => {
    // The cursor stands below the block: one row fewer than the terminal has, or it would scroll away.
    const rows = Math.max(1, (stream.rows ?? 24) - 1);
    const columns = Math.max(1, stream.columns ?? 80);
    const lines = latest.slice(0, rows).map((line) => clip(line, columns));
    const up = Math.min(height, rows);
    const back = up > 0 ? `\r\u001b[${up}A` : '\r';
    height = lines.length;
    const block = lines.map((line) => `${line}${CLEAR_LINE_END}\n`).join('');
    return `${BEGIN_PICTURE}${back}${above}${block}${CLEAR_BELOW}${END_PICTURE}`;
  };
  const start = (): string => {
    if (started) return '';
    started = true;
    // Whatever ends the program, the terminal gets its cursor back.
    process.once('exit', showCursor);
    return HIDE_CURSOR;
  };

  return {
    live: true,
    draw({ lines }) {
      latest = lines;
      // A terminal that cannot follow skips pictures; nothing is queued for it.
      if (closed || stream.writableNeedDrain === true) return;
      stream.write(start() + picture(''));
    },
    print(line) {
      if (closed || !started) stream.write(`${line}\n`);
      else stream.write(picture(`${line}${CLEAR_LINE_END}\n`));
    },
    close() {
      if (closed) return;
      closed = true;
      if (!started) return;
      stream.write(picture('') + SHOW_CURSOR);
      process.off('exit', showCursor);
    },
  };
}
