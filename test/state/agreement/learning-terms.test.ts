import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readAgreement } from '../../../runtime/state/agreement/agreement.ts';
import { lossOf, modelOf, windowsOf } from '../../../runtime/terms.ts';
import { agreementOf, documentOf, TERMS } from './document.ts';

/** The terms with keys added to tables, or changed. */
function termsWith(changes: Readonly<Record<string, readonly string[]>>): string {
  return Object.entries(changes).reduce((text, [table, lines]) => {
    const keys = lines.map((line) => line.split(' = ')[0]);
    const at = text.indexOf(`[${table}]\n`);
    if (at < 0) return `${text}\n[${table}]\n${lines.join('\n')}\n`;
    const end = text.indexOf('\n\n', at);
    const kept = text
      .slice(at, end < 0 ? undefined : end)
      .split('\n')
      .filter((line) => !keys.includes(line.split(' = ')[0]));
    return text.slice(0, at) + [...kept, ...lines].join('\n') + (end < 0 ? '' : text.slice(end));
  }, TERMS);
}

const readTerms = (changes: Readonly<Record<string, readonly string[]>>) =>
  readAgreement(
    documentOf(() => undefined, termsWith(changes)),
    'agreement.toml',
  );

test('an agreement that says nothing of it learns remaining life from means and slopes, as ever', () => {
  const { learning, training, privacy, prediction } = agreementOf().terms;
  assert.deepEqual(
    [learning.label, learning.features, learning.model, learning.stride, learning.conditionInputs],
    ['remaining-life', ['means', 'slopes'], 'dense', 1, false],
  );
  assert.deepEqual(
    [learning.period, learning.maxGap, learning.horizon, learning.bands],
    Array(4).fill(undefined),
  );
  assert.deepEqual([training.sampler, training.clipping], ['poisson', { kind: 'flat' }]);
  assert.equal(privacy?.period, undefined);
  assert.deepEqual(prediction, { coverage: 0.9 });
  assert.deepEqual(modelOf(agreementOf().terms), {
    kind: 'dense',
    inputs: 2,
    hidden: [32],
    activation: 'relu',
  });
});

test('all that can be agreed on of learning is read', () => {
  const read = readTerms({
    learning: [
      ...['minimum = 30', 'stride = 5', 'period = "10s"', 'max_gap = "1m"', 'features = ["raw"]'],
      ...['label = "failure-within"', 'horizon = 50', 'model = "convolution"'],
      'filters = [{ count = 8, width = 5, stride = 2 }, { count = 4, width = 3, stride = 1 }]',
    ],
    training: [
      'sampler = "passes"',
      'clipping = { kind = "adaptive", quantile = 0.5, learning_rate = 0.2, count_noise = 10.0 }',
    ],
    privacy: ['period = "90d"'],
    prediction: ['coverage = 0.95', 'alarm = { horizon = 20, persistence = 3, hysteresis = 5.0 }'],
  });
  assert.ok(read.ok, JSON.stringify(read));
  const { terms } = read.value;
  assert.equal(terms.learning.period, 10_000);
  assert.equal(terms.learning.maxGap, 60_000);
  assert.deepEqual(windowsOf(terms), {
    ...{ window: 30, minimum: 30, stride: 5, period: 10_000, maxGap: 60_000, features: ['raw'] },
    ...{ conditionInputs: false, slopeScale: 10, label: 'failure-within', horizon: 50, cap: 125 },
  });
  assert.deepEqual(modelOf(terms), {
    ...{ kind: 'convolution', rows: 30, channels: 1, hidden: [32], activation: 'relu' },
    filters: [
      { count: 8, width: 5, stride: 2 },
      { count: 4, width: 3, stride: 1 },
    ],
  });
  assert.equal(lossOf(terms), 'logistic');
  assert.deepEqual(terms.training.clipping, {
    ...{ kind: 'adaptive', quantile: 0.5, learningRate: 0.2, countNoise: 10 },
  });
  assert.equal(terms.training.sampler, 'passes');
  assert.equal(terms.privacy?.period, 90 * 86_400_000);
  assert.deepEqual(terms.prediction, {
    coverage: 0.95,
    alarm: { horizon: 20, persistence: 3, hysteresis: 5 },
  });
});

test('a plant that has never seen a failure agrees on an autoencoder', () => {
  const read = readTerms({
    learning: [
      'label = "none"',
      'model = "autoencoder"',
      'minimum = 30',
      'features = ["rms", "bands"]',
      'bands = 8',
    ],
  });
  assert.ok(read.ok, JSON.stringify(read));
  assert.deepEqual(modelOf(read.value.terms), {
    kind: 'autoencoder',
    inputs: 9,
    hidden: [32],
    activation: 'relu',
  });
  assert.equal(lossOf(read.value.terms), 'reconstruction');
});

for (const [what, learning, why] of [
  ['a window shorter than the least', ['minimum = 31'], /least window/],
  ['a horizon that means nothing', ['horizon = 5'], /horizon.*no meaning/],
  ['a failure without a horizon', ['label = "failure-within"'], /horizon.*needed/],
  ['no label for a dense model', ['label = "none"'], /go together/],
  ['an autoencoder of remaining life', ['model = "autoencoder"'], /go together/],
  [
    'a convolution without filters',
    ['model = "convolution"', 'features = ["raw"]', 'minimum = 30'],
    /filters/,
  ],
  [
    'a convolution over means',
    ['model = "convolution"', 'filters = [{ count = 1, width = 2, stride = 1 }]'],
    /only "raw"/,
  ],
  ['bands that nobody counts', ['features = ["bands"]', 'minimum = 30'], /bands/],
  ['more bands than lines', ['features = ["bands"]', 'bands = 16', 'minimum = 30'], /15 lines/],
  ['bands of parts of a window', ['features = ["bands"]', 'bands = 4'], /whole windows/],
  ['a feature twice', ['features = ["means", "means"]'], /twice/],
  ['an unknown feature', ['features = ["median"]'], /features/],
  ['a gap shorter than the period', ['period = "10s"', 'max_gap = "5s"'], /shorter than the period/],
  ['conditions that there are not', ['condition_inputs = true'], /without operating conditions/],
  ['no input', ['inputs = []'], /no channel/],
  ['an input twice', ['inputs = ["load", "load"]'], /twice/],
  [
    'a model of too many inputs',
    ['window = 10000', 'minimum = 10000', 'features = ["raw"]', 'stride = 0'],
    /stride/,
  ],
] as const) {
  test(`an agreement on ${what} is refused`, () => {
    const read = readTerms({ learning });
    assert.ok(!read.ok);
    assert.match(read.faults.map(({ path, message }) => `${path} ${message}`).join('\n'), why);
  });
}

test('a channel that tells the answer is no input, by whatever it is named', () => {
  for (const name of ['RUL', 'remaining_useful_life', 'time-to-failure']) {
    const leaking = TERMS.replace('name = "load"', `name = "${name}"`);
    const read = readAgreement(
      documentOf(() => undefined, leaking),
      'agreement.toml',
    );
    assert.ok(!read.ok);
    assert.match(JSON.stringify(read.faults), /tells what is to be foretold/);
  }
});
