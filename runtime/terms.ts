/** What the agreement's terms mean for learning: sheet, windows, model. */
import type { LabelSpec } from './core/learning/episodes.ts';
import { type DataSheet, featureCount } from './core/learning/features.ts';
import type { ModelSpec } from './core/learning/model.ts';
import type { CertifiedModel } from './services/federation/memory.ts';
import type { AgreementTerms } from './state/agreement/schema.ts';

/** The data sheet within an agreement's terms. */
export function sheetOf(terms: AgreementTerms): DataSheet {
  return { channels: terms.channel, conditions: terms.condition };
}

/** How windows are cut and labelled. */
export function windowsOf({ learning }: AgreementTerms): LabelSpec {
  const { window, minimum, slopeScale, cap, inputs } = learning;
  return { window, minimum, slopeScale, cap, ...(inputs ? { inputs } : {}) };
}

/** The model that the agreement names. */
export function modelOf(terms: AgreementTerms): ModelSpec {
  const { hidden, activation } = terms.learning;
  return { inputs: featureCount(sheetOf(terms), windowsOf(terms)), hidden, activation };
}

/** The mean of the last models' parameters: steadier under noise than the last one alone. */
export function averageModels(recent: readonly CertifiedModel[], last: number): Float64Array {
  const models = recent.slice(-last);
  return models[0]!.parameters.map(
    (_, index) => models.reduce((sum, model) => sum + model.parameters[index]!, 0) / models.length,
  );
}
