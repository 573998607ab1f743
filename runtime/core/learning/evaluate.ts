import type { LabelSpec } from './episodes.ts';
import { type DataSheet, windowFeatures } from './features.ts';
import { type ModelSpec, predictRul } from './model.ts';

/** A machine seen up to some moment, and the rows (cycles) it then had left: the truth, not capped. */
export interface EvaluationUnit {
  readonly rows: readonly (readonly number[])[];
  readonly rul: number;
}

/** Errors in rows (cycles), over one prediction a machine. */
export interface Evaluation {
  readonly rmse: number;
  /** The PHM08 score, a sum over the machines. */
  readonly score: number;
  readonly engines: number;
}

/** Root of the mean squared difference. @throws RangeError when the lengths differ or are 0. */
export function rmse(predicted: readonly number[], actual: readonly number[]): number {
  checkPairs(predicted, actual);
  const sum = predicted.reduce((total, value, index) => total + (value - actual[index]!) ** 2, 0);
  return Math.sqrt(sum / predicted.length);
}

/**
 * The score of the PHM08 challenge (Saxena et al. 2008, "Damage propagation modeling for aircraft engine
 * run-to-failure simulation", equation 11): late predictions (d >= 0) cost exp(d / 10) - 1, early ones
 * exp(-d / 13) - 1.
 */
export function phm08Score(predicted: readonly number[], actual: readonly number[]): number {
  checkPairs(predicted, actual);
  return predicted.reduce((total, value, index) => {
    const late = value - actual[index]!;
    return total + Math.expm1(late < 0 ? -late / 13 : late / 10);
  }, 0);
}

/** Predicts every unit's RUL from its last window and compares it with the truth as it is. */
export function evaluateLastWindows(
  model: ModelSpec,
  parameters: Float64Array,
  units: readonly EvaluationUnit[],
  sheet: DataSheet,
  spec: LabelSpec,
): Evaluation {
  const predicted = units.map(({ rows }) =>
    predictRul(model, parameters, windowFeatures(rows, sheet, spec), spec.cap),
  );
  const actual = units.map(({ rul }) => rul);
  return { rmse: rmse(predicted, actual), score: phm08Score(predicted, actual), engines: units.length };
}

function checkPairs(predicted: readonly number[], actual: readonly number[]): void {
  if (predicted.length !== actual.length || predicted.length === 0) {
    throw new RangeError(
      `${predicted.length} predictions for ${actual.length} machines: need as many, one at least`,
    );
  }
}
