/** A log that others cannot flood. */
import { createAllowance } from './backoff.ts';

export type Log<L extends string> = (level: L, message: string) => void;

/** `log` for so many lines at once and so many a second afterwards; the next line says how many were left out. */
export function quiet<L extends string>(
  log: Log<L>,
  atOnce = 100,
  perSecond = 1,
  now?: () => number,
): Log<L> {
  const may = createAllowance(atOnce, perSecond, now);
  let left = 0;
  return (level, message) => {
    if (!may()) {
      left += 1;
      return;
    }
    log(level, left > 0 ? `${message} (and ${left} lines more before it)` : message);
    left = 0;
  };
}
