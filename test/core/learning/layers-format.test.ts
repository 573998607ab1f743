import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import {
  fromLayersModel,
  type LayersModel,
  toLayersModel,
} from '../../../runtime/core/learning/layers-format.ts';
import { type Activation, inputCount, outputsOf } from '../../../runtime/core/learning/model.ts';
import { MODELS, makeJob } from './jobs.ts';
import { startWasm } from './wasm.ts';

const PACKAGE = '@tensorflow/tfjs-layers';
const layers = await load();

async function load(): Promise<typeof import('@tensorflow/tfjs-layers') | string> {
  try {
    return await import(PACKAGE);
  } catch (error) {
    return `${PACKAGE} cannot be loaded: ${error instanceof Error ? error.message.split('\n', 1)[0] : error}`;
  }
}

before(startWasm);

/** Every kind of model with every activation, and some windows. */
function cases() {
  return Object.entries(MODELS).flatMap(([name, model]) =>
    (['relu', 'tanh', 'elu'] as Activation[]).map((activation) => ({
      name: `${name}, ${activation}`,
      job: makeJob('none', activation, { model }),
    })),
  );
}

/** As it is after a file. */
function written({ modelJson, weights }: LayersModel): LayersModel {
  return { modelJson: JSON.parse(JSON.stringify(modelJson)), weights };
}

describe('the layers format', () => {
  it('gives back what was written, as float32', () => {
    for (const { name, job } of cases()) {
      const { spec, parameters } = fromLayersModel(written(toLayersModel(job.model, job.parameters)));
      assert.deepEqual(spec, job.model, name);
      assert.deepEqual(parameters, job.parameters.map(Math.fround), name);
    }
  });

  it('is opened by TensorFlow.js, which predicts the same', {
    skip: typeof layers === 'string' && layers,
  }, async () => {
    if (typeof layers === 'string') return;
    for (const { name, job } of cases()) {
      const { modelJson, weights } = written(toLayersModel(job.model, job.parameters));
      const { modelTopology, weightsManifest } = modelJson as tf.io.ModelJSON;
      const weightSpecs = weightsManifest.flatMap((group) => group.weights);
      const model = await layers.loadLayersModel(
        tf.io.fromMemory({ modelTopology, weightSpecs, weightData: weights.buffer as ArrayBuffer }),
      );
      const count = 20;
      const width = inputCount(job.model);
      const shape = [count, ...model.inputs[0]!.shape.slice(1)] as number[];
      const given = model.predict(tf.tensor(job.features.subarray(0, count * width), shape)) as tf.Tensor;
      const values = given.dataSync();
      for (let window = 0; window < count; window += 1) {
        const inputs = job.features.subarray(window * width, (window + 1) * width);
        const expected = outputsOf(job.model, job.parameters, inputs);
        expected.forEach((value, index) => {
          const other = values[window * expected.length + index]!;
          assert.ok(Math.abs(other - value) < 1e-5, `${name}: ${other}, not ${value}`);
        });
      }
    }
  });

  it('is read as TensorFlow.js writes it', { skip: typeof layers === 'string' && layers }, async () => {
    if (typeof layers === 'string') return;
    const model = layers.sequential();
    model.add(
      layers.layers.conv1d({ inputShape: [9, 2], filters: 3, kernelSize: 4, strides: 2, activation: 'elu' }),
    );
    model.add(layers.layers.flatten());
    model.add(layers.layers.dense({ units: 4, activation: 'elu', biasInitializer: 'randomNormal' }));
    model.add(layers.layers.dense({ units: 1 }));
    const saved: tf.io.ModelArtifacts[] = [];
    await model.save({
      async save(artifacts) {
        saved.push(artifacts);
        return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
      },
    });
    const { modelTopology, weightSpecs, weightData } = saved[0]!;
    const modelJson = { modelTopology, weightsManifest: [{ paths: ['x.bin'], weights: weightSpecs }] };
    const weights = new Uint8Array(weightData as ArrayBuffer);
    const { spec, parameters } = fromLayersModel(written({ modelJson, weights }));
    assert.deepEqual(spec, {
      kind: 'convolution',
      rows: 9,
      channels: 2,
      filters: [{ count: 3, width: 4, stride: 2 }],
      hidden: [4],
      activation: 'elu',
    });
    const inputs = Float32Array.from({ length: 18 }, (_, index) => Math.sin(index));
    const given = (model.predict(tf.tensor(inputs, [1, 9, 2])) as tf.Tensor).dataSync()[0]!;
    assert.ok(Math.abs(outputsOf(spec, parameters, inputs)[0]! - given) < 1e-5);
  });

  it('refuses what is none of these models', () => {
    const good = toLayersModel(MODELS.dense!, makeJob('none').parameters);
    const text = JSON.stringify(good.modelJson);
    const change = (from: string, to: string): LayersModel => {
      assert.ok(text.includes(from), from);
      return { ...good, modelJson: JSON.parse(text.replace(from, to)) };
    };
    const bad: LayersModel[] = [
      { ...good, weights: good.weights.slice(1) },
      { ...good, weights: good.weights.map(() => 255) },
      { ...good, modelJson: [] },
      { ...good, modelJson: {} },
      change('"Sequential"', '"Functional"'),
      change('"Dense"', '"LSTM"'),
      change('"units":5', '"units":6'),
      change('"units":5', '"units":-5'),
      change('"units":5', '"units":"5"'),
      change('"units":1', '"units":2'),
      change('"activation":"tanh"', '"activation":"elu"'),
      change('"activation":"linear"', '"activation":"sigmoid"'),
      change('"use_bias":true', '"use_bias":false'),
      change('"dtype":"float32"},{"name":"dense_1/bias"', '"dtype":"int32"},{"name":"dense_1/bias"'),
      change('[null,6]', '[null,7]'),
    ];
    for (const model of bad) assert.throws(() => fromLayersModel(model), RangeError);
  });
});
