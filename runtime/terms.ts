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

/** How windows are cut, described and labelled. */
export function windowsOf({ learning }: AgreementTerms): LabelSpec {
  const { window, minimum, stride, features, conditionInputs, slopeScale, label, cap } = learning;
  const { inputs, bands, horizon, period, maxGap } = learning;
  return {
    ...{ window, minimum, stride, features, conditionInputs, slopeScale, label, cap },
    ...(inputs ? { inputs } : {}),
    ...(bands === undefined ? {} : { bands }),
    ...(horizon === undefined ? {} : { horizon }),
    ...(period === undefined ? {} : { period }),
    ...(maxGap === undefined ? {} : { maxGap }),
  };
}

/** The model that the agreement names. */
export function modelOf(terms: AgreementTerms): ModelSpec {
  const { model, filters, hidden, activation, window } = terms.learning;
  const sheet = sheetOf(terms);
  const windows = windowsOf(terms);
  const inputs = featureCount(sheet, windows);
  if (model === 'autoencoder') return { kind: 'autoencoder', inputs, hidden, activation };
  if (model === 'dense') return { kind: 'dense', inputs, hidden, activation };
  const channels = inputs / window;
  return { kind: 'convolution', rows: window, channels, filters: filters ?? [], hidden, activation };
}

/** What the model's output is held against in training. */
export function lossOf({ learning }: AgreementTerms): 'squared' | 'logistic' | 'reconstruction' {
  const losses = {
    'remaining-life': 'squared',
    'failure-within': 'logistic',
    none: 'reconstruction',
  } as const;
  return losses[learning.label];
}

/** The mean of the last models' parameters: steadier under noise than the last one alone. */
export function averageModels(recent: readonly CertifiedModel[], last: number): Float64Array {
  const models = recent.slice(-last);
  return models[0]!.parameters.map(
    (_, index) => models.reduce((sum, model) => sum + model.parameters[index]!, 0) / models.length,
  );
}
