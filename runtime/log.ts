/** Log lines for people and for journald, on stderr. */

export type Level = 'info' | 'warn' | 'error';
export type Log = (level: Level, message: string) => void;

/** sd-daemon(3) priorities, which journald reads from the start of a line. */
const PRIORITY: Readonly<Record<Level, number>> = { info: 6, warn: 4, error: 3 };
/** A line that repeats is written again after this at the earliest, with how often it came meanwhile. */
const REPEAT_MS = 10_000;
const MAX_REMEMBERED = 256;

/** A log whose lines name the room they come from. Under journald (JOURNAL_STREAM) they carry a priority instead of a time. */
export function createLog(
  write: (line: string) => void,
  journald = process.env.JOURNAL_STREAM !== undefined,
) {
  const repeated = new Map<string, { at: number; count: number }>();

  function line(level: Level, room: string, message: string): void {
    const text = message.replaceAll('\n', ' ');
    write(
      journald
        ? `<${PRIORITY[level]}>${room}: ${text}\n`
        : `${new Date().toISOString()} ${level.padEnd(5)} ${room}: ${text}\n`,
    );
  }

  return (room: string): Log =>
    (level, message) => {
      const key = `${level} ${room} ${message}`;
      const now = performance.now();
      const before = repeated.get(key);
      if (before && now - before.at < REPEAT_MS) {
        before.count += 1;
        return;
      }
      if (repeated.size >= MAX_REMEMBERED) repeated.clear();
      repeated.set(key, { at: now, count: 0 });
      line(
        level,
        room,
        before && before.count > 0 ? `${message} (${before.count} times more since)` : message,
      );
    };
}
