/** Where each kind of record lies in the LevelDB. Numbers are written so that byte order is number order. */

const DIGITS = 14;

/** The largest safe integer has 14 hexadecimal digits. */
export function ordered(value: number): string {
  return value.toString(16).padStart(DIGITS, '0');
}

export function unordered(text: string): number {
  return Number.parseInt(text, 16);
}

export const keys = {
  block: (index: number) => `block/${ordered(index)}`,
  blocks: { from: 'block/', to: 'block0' },
  /** The newest leaf hashes, until their tile is full. */
  leaf: (index: number) => `leaf/${ordered(index)}`,
  tile: (level: number, index: number) => `tile/${ordered(level)}/${ordered(index)}`,
  state: 'state',
  cursor: (name: string) => `cursor/${name}`,
  section: (name: string, key: string) => `section/${name}/${key}`,
} as const;
