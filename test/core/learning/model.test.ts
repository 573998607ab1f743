import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createSha256 } from '#sha256';
import {
  applyUpdate,
  initialParameters,
  layout,
  type ModelSpec,
  modelHash,
  parameterCount,
  predict,
  predictRul,
} from '../../../runtime/core/learning/model.ts';

const spec: ModelSpec = { kind: 'dense', inputs: 42, hidden: [32, 16], activation: 'tanh' };
const seed = new TextEncoder().encode('seed');

describe('parameters', () => {
  it('lie one layer after the other', () => {
    assert.equal(parameterCount(spec), 1921);
    assert.deepEqual(layout({ ...spec, inputs: 3, hidden: [2] }), [
      { rows: 3, columns: 2, weights: 0, biases: 6, positions: 1, step: 0 },
      { rows: 2, columns: 1, weights: 8, biases: 10, positions: 1, step: 0 },
    ]);
  });

  it('start the same for the same seed, and otherwise for another', () => {
    assert.deepEqual(initialParameters(spec, seed), initialParameters(spec, seed.slice()));
    assert.notDeepEqual(initialParameters(spec, seed), initialParameters(spec, Uint8Array.of(1)));
    // A change to how a model starts is a change every member has to make: it has to be seen here.
    const digest = Buffer.from(modelHash(spec, initialParameters(spec, seed))).toString('hex');
    assert.equal(digest, '1c413f733266a3314e197911eeb01c958087fed60e5a4fab728b2d5690f38548');
  });

  it('start uniform within the limits of Glorot and Bengio, with biases 0 and 0.5 at the output', () => {
    const parameters = initialParameters(
      { kind: 'dense', inputs: 500, hidden: [100], activation: 'tanh' },
      seed,
    );
    const weights = parameters.subarray(0, 50_000);
    const limit = Math.sqrt(6 / 600);
    assert.ok(weights.every((weight) => Math.abs(weight) <= limit));
    assert.ok(parameters.subarray(50_000, 50_100).every((bias) => bias === 0));
    assert.equal(parameters.at(-1), 0.5);
    // Mean and variance within five standard errors; the seed is fixed.
    const mean = weights.reduce((sum, weight) => sum + weight, 0) / weights.length / limit;
    const square = weights.reduce((sum, weight) => sum + weight ** 2, 0) / weights.length / limit ** 2;
    assert.ok(Math.abs(mean) < 5 * Math.sqrt(1 / 3 / weights.length));
    assert.ok(Math.abs(square - 1 / 3) < 5 * Math.sqrt(4 / 45 / weights.length));
  });

  it('move by the mean update in float64, and never to a value that is not finite', () => {
    const before = Float64Array.of(0.1, 1, -2);
    assert.deepEqual(applyUpdate(before, Float64Array.of(0.2, 0, 2)), Float64Array.of(0.1 + 0.2, 1, 0));
    assert.deepEqual(before, Float64Array.of(0.1, 1, -2));
    assert.throws(() => applyUpdate(before, Float64Array.of(1)), RangeError);
    assert.throws(() => applyUpdate(before, Float64Array.of(0, Number.NaN, 0)), RangeError);
    assert.throws(() => applyUpdate(Float64Array.of(1.7e308), Float64Array.of(1.7e308)), RangeError);
  });
});

describe('modelHash', () => {
  const small: ModelSpec = { kind: 'dense', inputs: 1, hidden: [], activation: 'relu' };

  it('is over a domain, the shape and little-endian float64', () => {
    const expected = createSha256()
      .update(Buffer.from('kosmos model v2\0dense 1-1 relu\0'))
      .update(Buffer.from('000000000000f03f00000000000000c0', 'hex'))
      .digest();
    assert.deepEqual(modelHash(small, Float64Array.of(1, -2)), expected);
  });

  it('differs for other bits and other shapes', () => {
    const one = modelHash(small, Float64Array.of(1, -2));
    assert.notDeepEqual(modelHash(small, Float64Array.of(1, -2 - Number.EPSILON * 2)), one);
    assert.notDeepEqual(modelHash({ ...small, activation: 'elu' }, Float64Array.of(1, -2)), one);
    assert.throws(() => modelHash(small, Float64Array.of(1)), /1 parameters for a model that has 2/);
  });
});

describe('predict', () => {
  it('is the network written out', () => {
    // (1, 2) -> relu(1*1 + 2*3 + 0.5, 1*-2 + 2*-4 + 0.25) = (7.5, 0) -> 7.5 * 2 + 0 * 7 - 1
    const parameters = Float64Array.of(1, -2, 3, -4, 0.5, 0.25, 2, 7, -1);
    const net: ModelSpec = { kind: 'dense', inputs: 2, hidden: [2], activation: 'relu' };
    assert.equal(predict(net, parameters, Float64Array.of(1, 2)), 14);
    const tanh = Math.tanh(7.5) * 2 + Math.tanh(-9.75) * 7 - 1;
    assert.equal(predict({ ...net, activation: 'tanh' }, parameters, Float64Array.of(1, 2)), tanh);
    const elu = 7.5 * 2 + Math.expm1(-9.75) * 7 - 1;
    assert.equal(predict({ ...net, activation: 'elu' }, parameters, Float64Array.of(1, 2)), elu);
  });

  it('keeps a RUL between 0 and the cap', () => {
    const linear: ModelSpec = { kind: 'dense', inputs: 1, hidden: [], activation: 'relu' };
    const parameters = Float64Array.of(1, 0);
    const at = (value: number): number => predictRul(linear, parameters, Float64Array.of(value), 125);
    assert.deepEqual([-1, 0, 0.5, 1, 3].map(at), [0, 0, 62.5, 125, 125]);
  });

  it('refuses what does not fit', () => {
    const parameters = initialParameters(spec, seed);
    assert.throws(() => predict(spec, parameters, new Float64Array(41)), /41 features/);
    assert.throws(() => predict(spec, parameters.slice(1), new Float64Array(42)), /1920 parameters/);
    assert.throws(() => parameterCount({ ...spec, hidden: [0] }), RangeError);
    assert.throws(() => parameterCount({ ...spec, inputs: 1.5 }), RangeError);
  });
});
