import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DraftTerms, draftAgreement } from '../../runtime/cli/setup/draft.ts';
import { draftTerms } from '../../runtime/cli/setup/terms.ts';
import type { LabelSpec } from '../../runtime/core/learning/episodes.ts';
import { cmapssPreset, type LearningPreset } from '../../runtime/core/learning/presets.ts';
import { type Agreement, readAgreement } from '../../runtime/state/agreement/agreement.ts';
import { cardOf, NAMES } from '../state/agreement/document.ts';

const CHANNELS = (cmapssPreset.windows.inputs ?? []).map((name) => ({
  ...{ name, unit: '/', low: 0, high: 1, leastWidth: 1 },
}));

function drafted(terms: DraftTerms): Agreement['terms'] {
  const members = NAMES.map((name, index) => {
    const { key, gateway, address, identity, endorsement } = cardOf(name, index);
    return { name, key, gateways: [{ member: name, name: gateway, address, identity, endorsement }] };
  });
  const read = readAgreement(draftAgreement(terms, { channels: CHANNELS }, members), 'agreement.toml');
  assert.ok(read.ok, JSON.stringify(read));
  return read.value.terms;
}

function termsOf(preset: LearningPreset): DraftTerms {
  return draftTerms({
    ...{ consortium: 'trio', stream: 'main', preset, unit: 'window', epsilon: 8, delta: 1e-5 },
    ...{
      fleet: { episodes: 20, windowsALife: 100 },
      rounds: 2,
      checkpointIntervalMs: 1000,
      intervalMs: 1000,
    },
  });
}

test('a draft of a preset is read as the preset says', () => {
  const { learning, training, prediction } = drafted(termsOf(cmapssPreset));
  const { window, minimum, slopeScale, cap, inputs } = cmapssPreset.windows;
  assert.deepEqual(
    [learning.window, learning.minimum, learning.slopeScale, learning.cap],
    [window, minimum, slopeScale, cap],
  );
  assert.deepEqual(learning.inputs, inputs);
  assert.deepEqual(
    [learning.label, learning.features, training.sampler],
    ['remaining-life', ['means', 'slopes'], 'poisson'],
  );
  assert.deepEqual(prediction, { coverage: 0.9 });
});

test('all that can be agreed on of learning survives being written and read', () => {
  const terms = termsOf(cmapssPreset);
  const learning = {
    ...{
      ...terms.learning,
      minimum: cmapssPreset.windows.window,
      stride: 3,
      period: 90_000,
      maxGap: 86_400_000,
      features: ['raw'],
    },
    ...{ label: 'failure-within', horizon: 20, conditionInputs: false, model: 'convolution' },
    filters: [
      { count: 8, width: 5, stride: 2 },
      { count: 4, width: 3, stride: 1 },
    ],
  } satisfies DraftTerms['learning'] as DraftTerms['learning'];
  const clipping = { kind: 'adaptive', quantile: 0.5, learningRate: 0.2, countNoise: 10 } as const;
  const prediction = { coverage: 0.8, alarm: { horizon: 20, persistence: 3, hysteresis: 5 } };
  const read = drafted({
    ...terms,
    learning,
    training: { ...terms.training, sampler: 'passes', clipping },
    privacy: { ...terms.privacy!, period: 90 * 86_400_000 },
    prediction,
  });
  assert.deepEqual(read.learning, learning);
  assert.deepEqual([read.training.sampler, read.training.clipping], ['passes', clipping]);
  assert.equal(read.privacy?.period, 90 * 86_400_000);
  assert.deepEqual(read.prediction, prediction);
});

test('what a preset says of features and labels reaches the draft', () => {
  const windows: LabelSpec = {
    ...cmapssPreset.windows,
    minimum: cmapssPreset.windows.window,
    features: ['rms', 'bands'],
    bands: 4,
    label: 'none',
    stride: 10,
    maxGap: 60_000,
  };
  const terms = termsOf({ ...cmapssPreset, windows });
  const { learning } = drafted({ ...terms, learning: { ...terms.learning, model: 'autoencoder' } });
  assert.deepEqual(
    [learning.features, learning.bands, learning.label, learning.stride, learning.maxGap],
    [['rms', 'bands'], 4, 'none', 10, 60_000],
  );
});
