/** Escape sequences that colour text and take no room. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what is looked for
const CODES = /(\u001b\[[\d;]*m)/g;

export type Align = 'left' | 'right';

/** How many columns a text takes in a terminal; colours take none. */
export function visibleWidth(text: string): number {
  return [...text.replace(CODES, '')].length;
}

/** The text cut to `width` columns, the last one an ellipsis; colours that were on are switched off. */
export function clip(text: string, width: number): string {
  if (visibleWidth(text) <= width) return text;
  if (width <= 0) return '';
  let shown = '';
  let columns = 0;
  // Split at the codes and keep them: they stand at the odd places.
  for (const [index, part] of text.split(CODES).entries()) {
    if (index % 2 === 1) {
      shown += part;
      continue;
    }
    for (const character of part) {
      if (columns === width - 1) return `${shown}…${text.includes('\u001b[') ? '\u001b[0m' : ''}`;
      shown += character;
      columns += 1;
    }
  }
  return shown;
}

/** The text filled with spaces to `width` columns. */
export function pad(text: string, width: number, align: Align = 'left'): string {
  const space = ' '.repeat(Math.max(0, width - visibleWidth(text)));
  return align === 'left' ? text + space : space + text;
}

export interface Column {
  readonly title: string;
  readonly align?: Align;
}

/** Lines of a table: titles, then rows, two spaces between columns, nothing at the ends of lines. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  options: { readonly indent?: string } = {},
): string[] {
  const { indent = '' } = options;
  const titled = columns.some(({ title }) => title !== '');
  const all = titled ? [columns.map(({ title }) => title), ...rows] : rows;
  const widths = columns.map((_, index) => Math.max(0, ...all.map((row) => visibleWidth(row[index] ?? ''))));
  return all.map((row) => {
    const cells = columns.map(({ align }, index) => pad(row[index] ?? '', widths[index] ?? 0, align));
    return (indent + cells.join('  ')).trimEnd();
  });
}

const LEVELS = '▁▂▃▄▅▆▇█';

/**
 * The last `width` values as a line of little bars between `low` and `high` (the least and greatest of them,
 * if not given). What is not a finite number is a blank.
 */
export function sparkline(
  values: readonly number[],
  options: { readonly width?: number; readonly low?: number; readonly high?: number } = {},
): string {
  const shown = options.width === undefined ? values : values.slice(-options.width);
  const finite = shown.filter(Number.isFinite);
  const low =
    options.low ?? finite.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const high =
    options.high ?? finite.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  const top = LEVELS.length - 1;
  return shown
    .map((value) => {
      if (!Number.isFinite(value)) return ' ';
      const level = high > low ? Math.round(((value - low) / (high - low)) * top) : 0;
      return LEVELS[Math.max(0, Math.min(top, level))] ?? ' ';
    })
    .join('');
}

/** `████░░░░`: a fraction from 0 to 1 in `width` columns. */
export function bar(fraction: number, width: number): string {
  const part = Number.isFinite(fraction) ? Math.max(0, Math.min(1, fraction)) : 0;
  const full = Math.round(part * width);
  return '█'.repeat(full) + '░'.repeat(width - full);
}
