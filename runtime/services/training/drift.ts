/** The drift of every machine that runs, against its own beginning. Kept in memory: nothing of it goes anywhere else. */
import { DRIFT, type Drift, type DriftSpec, driftOf, referenceOf } from '../../core/learning/drift.ts';
import { type DataSheet, inputNames, type WindowSpec } from '../../core/learning/features.ts';

export interface DriftMeter {
  /** The drift of a run's newest rows; undefined while it is too short. Looked at anew after some rows. */
  of(machine: string, began: number, rows: readonly (readonly number[])[]): Drift | undefined;
  forget(machine: string): void;
}

interface Kept {
  readonly began: number;
  readonly reference: readonly Float64Array[];
  readonly rows: number;
  readonly drift: Drift;
}

/** Rows between two looks: a test of sixty rows says nothing new after one. */
const EVERY = 10;

export function createDriftMeter(sheet: DataSheet, windows: WindowSpec, spec: DriftSpec = DRIFT): DriftMeter {
  const names = inputNames(sheet, windows);
  const kept = new Map<string, Kept>();
  return {
    of(machine, began, rows) {
      const last = kept.get(machine);
      const same = last?.began === began && rows.length >= last.rows;
      if (same && rows.length - last.rows < EVERY) return last.drift;
      const reference = same ? last.reference : referenceOf(rows, sheet, windows, spec);
      if (!reference) {
        kept.delete(machine);
        return undefined;
      }
      const drift = driftOf(reference, rows.slice(-spec.recent), sheet, windows, names, spec);
      kept.set(machine, { began, reference, rows: rows.length, drift });
      return drift;
    },
    forget: (machine) => void kept.delete(machine),
  };
}
