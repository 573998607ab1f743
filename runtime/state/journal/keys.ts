/** Where each kind of record lies in the LevelDB. Numbers are written so that byte order is number order. */
import { RETENTION_LETTERS, type Retention } from './retention.ts';

const DIGITS = 14;

/** The largest safe integer has 14 hexadecimal digits. */
export function ordered(value: number): string {
  return value.toString(16).padStart(DIGITS, '0');
}

export function unordered(text: string): number {
  return Number.parseInt(text, 16);
}

/** The first key behind all that begin with `prefix`, which ends in a slash. */
export function behind(prefix: string): string {
  return `${prefix.slice(0, -1)}0`;
}

/** The records of one Merkle log: the gateway's own, or one that it mirrors. */
export interface LogKeys {
  /** The data of the newest leaves, until their bundle is full. */
  leaf(index: number): string;
  /** The data of 256 leaves. */
  bundle(index: number): string;
  tile(level: number, index: number): string;
  /** What all of them begin with. */
  readonly prefix: string;
}

export function logKeys(prefix: string): LogKeys {
  return {
    prefix,
    leaf: (index) => `${prefix}leaf/${ordered(index)}`,
    bundle: (index) => `${prefix}bundle/${ordered(index)}`,
    tile: (level, index) => `${prefix}tile/${ordered(level)}/${ordered(index)}`,
  };
}

export const keys = {
  /** Blocks that are dropped by one rule lie together, so that dropping reads none of the others. */
  block: (retention: Retention, index: number) => `block/${RETENTION_LETTERS[retention]}/${ordered(index)}`,
  blocks: { from: 'block/', to: behind('block/') },
  log: logKeys('log/'),
  state: 'state',
  cursor: (name: string) => `cursor/${name}`,
  /** What a repair found, until the log tells of it. */
  damage: 'damage',
  /** Records of the log that are known to be gone. */
  holes: 'holes',
  section: (name: string, key: string) => `section/${name}/${key}`,
} as const;
