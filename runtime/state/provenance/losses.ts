/** Numbers that were given and whose samples never became durable: the log says which, so that nobody has to guess. */
import type { CborValue } from '../../core/encoding/cbor.ts';
import { type LostNumbers, numbersToCbor } from '../journal/damage-report.ts';

export interface Losses {
  /** The numbers from `from` up to and not including `to` are lost. */
  add(machine: string, stream: string, from: number, to: number): void;
  /** Numbers lost since the start. */
  count(): number;
}

/** Bounds what is kept until it can be told; beyond it the ranges of a stream are joined. */
const MAX_RANGES = 1024;

/**
 * The body of a `loss` entry: `[cause, [[from, to], ...] of blocks, [[machine, stream, incarnation, from, to], ...]]`.
 * @param blocks lost blocks, none when only numbers are; `to` is not included.
 * @param numbers lost numbers; machine and stream are both empty for the notebook's.
 */
export function lossBody(
  cause: string,
  blocks: readonly (readonly [number, number])[],
  numbers: readonly LostNumbers[],
): CborValue {
  return [cause, blocks.map((range): CborValue => [...range]), numbers.map(numbersToCbor)];
}

/**
 * @param hand hands in an entry whose numbers are asked for when its commit begins, so that it tells of everything
 *   that is missing from that commit; it resolves when the entry is durable.
 */
export function createLosses(
  incarnation: number,
  hand: (take: () => readonly LostNumbers[]) => Promise<void>,
): Losses {
  let ranges: LostNumbers[] = [];
  let handed = false;
  let count = 0;

  function take(): readonly LostNumbers[] {
    const taken = ranges;
    ranges = [];
    handed = false;
    return taken;
  }

  return {
    add(machine, stream, from, to) {
      count += to - from;
      const last = ranges.findLastIndex((range) => range.machine === machine && range.stream === stream);
      const before = ranges[last];
      if (before && (from <= before.to || ranges.length >= MAX_RANGES)) {
        ranges[last] = { ...before, from: Math.min(before.from, from), to: Math.max(before.to, to) };
      } else ranges.push({ machine, stream, incarnation, from, to });
      if (handed) return;
      handed = true;
      hand(take).catch(() => {
        // The journal is closed; what it did not take is not counted as given either.
        handed = false;
      });
    },
    count: () => count,
  };
}
