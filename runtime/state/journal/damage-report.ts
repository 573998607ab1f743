/** What was found damaged when the journal was opened, and what is gone because of it. */
import { type CborValue, decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { fieldsOf, list, safeInteger, text } from '../../core/encoding/fields.ts';
import type { BlockRange } from './state.ts';

/** Numbers of a stream, the last not included; machine and stream are empty for the notebook's. */
export interface LostNumbers {
  readonly machine: string;
  readonly stream: string;
  readonly incarnation: number;
  readonly from: number;
  readonly to: number;
}

export interface DamageReport {
  /** Milliseconds since 1970. */
  readonly time: number;
  /** Where the damaged files and records were set aside. */
  readonly aside: string;
  /** What was wrong, file by file and record by record. */
  readonly found: readonly string[];
  /** Blocks that are gone; the last of each range is not included. */
  readonly blocks: readonly BlockRange[];
  /** Numbers of samples and entries that are gone. */
  readonly numbers: readonly LostNumbers[];
  /** Sections of which records may be gone, or older than they were. */
  readonly sections: readonly string[];
  /** Whether the newest of everything may be gone: numbers go on in a new incarnation. */
  readonly incarnation: number | undefined;
  /** What the log has lost of itself, where it could not be made whole again. */
  readonly log: string | undefined;
}

const MOST = 10_000;

export function encodeDamage(report: DamageReport): Uint8Array {
  return encodeCbor([
    report.time,
    report.aside,
    [...report.found.slice(0, MOST)],
    report.blocks.map((range): CborValue => [...range]),
    report.numbers.slice(0, MOST).map(numbersToCbor),
    [...report.sections],
    report.incarnation ?? null,
    report.log ?? null,
  ]);
}

export function decodeDamage(bytes: Uint8Array): DamageReport {
  const what = 'damage report';
  const [time, aside, found, blocks, numbers, sections, incarnation, log] = fieldsOf(
    decodeCbor(bytes),
    8,
    what,
  );
  return {
    time: safeInteger(time, what),
    aside: text(aside, what),
    found: list(found, MOST, what).map((one) => text(one, what)),
    blocks: list(blocks, MOST, what).map((range) => {
      const [from, to] = fieldsOf(range, 2, what);
      return [safeInteger(from, what), safeInteger(to, what)];
    }),
    numbers: list(numbers, MOST, what).map(numbersFromCbor),
    sections: list(sections, MOST, what).map((one) => text(one, what)),
    incarnation: incarnation === null ? undefined : safeInteger(incarnation, what),
    log: log === null ? undefined : text(log, what),
  };
}

/** `[machine, stream, incarnation, from, to]`, as it stands in a `loss` entry. */
export function numbersToCbor({ machine, stream, incarnation, from, to }: LostNumbers): CborValue {
  return [machine, stream, incarnation, from, to];
}

/** @throws DecodeError when `value` is no such row. */
export function numbersFromCbor(value: CborValue): LostNumbers {
  const what = 'lost numbers';
  const [machine, stream, incarnation, from, to] = fieldsOf(value, 5, what);
  return {
    machine: text(machine, what),
    stream: text(stream, what),
    incarnation: safeInteger(incarnation, what),
    from: safeInteger(from, what),
    to: safeInteger(to, what),
  };
}

/** For the program's own log, one line each. */
export function describeDamage(report: DamageReport): readonly string[] {
  const { found, blocks, numbers, sections, incarnation, log, aside } = report;
  const shown = found.slice(0, 10);
  return [
    ...shown,
    ...(found.length > shown.length ? [`and ${found.length - shown.length} more`] : []),
    ...blocks.map(([from, to]) => `blocks ${from} to ${to - 1} are gone`),
    ...numbers.map(
      ({ machine, stream, incarnation: of, from, to }) =>
        `numbers ${from} to ${to - 1} of ${machine ? `${machine}/${stream}` : 'the notebook'} (incarnation ${of}) are gone`,
    ),
    ...(sections.length > 0 ? [`records may be gone or old in: ${sections.join(', ')}`] : []),
    ...(log ? [log] : []),
    ...(incarnation === undefined ? [] : [`numbers go on in incarnation ${incarnation}`]),
    `the damaged files are in ${aside}`,
  ];
}
