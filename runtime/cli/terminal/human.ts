/** Digits stand in groups with a space between, as in ISO 80000-1; a plain one, which every terminal shows. */
const GROUP = ' ';

/**
 * A line for people, whatever somebody else has put into it: control characters, which a terminal would obey, and
 * those that turn the direction of writing stand as their code.
 */
export function plain(line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
  return line.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** A whole number, its digits in groups of three: `12 345 678`. */
export function count(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const digits = Math.abs(Math.round(value)).toString();
  const sign = Math.round(value) < 0 ? '-' : '';
  return sign + digits.replace(/\B(?=(\d{3})+$)/g, GROUP);
}

/** How often a second: `0.25/s`, `12.3/s`, `4 560/s`. */
export function rate(perSecond: number): string {
  if (!Number.isFinite(perSecond)) return '-';
  return `${perSecond >= 100 ? count(perSecond) : significant(perSecond)}/s`;
}

/** Bytes in decimal units, three digits: `512 B`, `1.5 GB`. */
export function bytes(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let amount = value;
  let unit = 0;
  // 999.5 of a unit would be rounded to 1000
  while (Math.abs(amount) >= 999.5 && unit < units.length - 1) {
    amount /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? count(amount) : significant(amount)} ${units[unit]}`;
}

/** A length of time in its two biggest units: `350 ms`, `12 s`, `5 min 03 s`, `2 h 05 min`, `3 d 4 h`. */
export function span(ms: number): string {
  if (!Number.isFinite(ms)) return '-';
  if (ms < 0) return `-${span(-ms)}`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const two = (value: number): string => String(value).padStart(2, '0');
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  const hours = Math.floor(minutes / 60);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long ago something was: `just now`, `12 s ago`. */
export function ago(ms: number): string {
  return ms < 1000 ? 'just now' : `${span(ms)} ago`;
}

/** A number in so many digits, without an exponent where a reader does not need one. */
export function significant(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return '-';
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(digits - 1).replace('e+', 'e');
  const rounded = Number(value.toPrecision(digits));
  const whole = Math.floor(Math.log10(Math.abs(rounded))) + 1;
  return whole >= digits ? count(rounded) : rounded.toFixed(Math.max(0, digits - whole));
}
