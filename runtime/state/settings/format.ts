import type { Fault } from './read.ts';

/** The faults for people: file, line and column first, as editors and terminals link it, then what is allowed. */
export function formatFaults(faults: readonly Fault[]): string {
  const lines = faults.flatMap((fault) => {
    const where = `${fault.file}:${fault.line}:${fault.column}`;
    const what = fault.path === '' ? fault.message : `${fault.path}: ${fault.message}`;
    return fault.allowed === ''
      ? [`${where}: ${what}`]
      : [`${where}: ${what}`, `    allowed: ${fault.allowed}`];
  });
  return lines.join('\n');
}
