import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type DataSheet,
  featureCount,
  leastRows,
  normalise,
  type WindowSpec,
  windowFeatures,
} from '../../../runtime/core/learning/features.ts';

const sheet: DataSheet = {
  channels: [
    { name: 'load', unit: 'N', low: 0, high: 100, leastWidth: 10 },
    { name: 'steady', unit: 'V', low: 24, high: 24, leastWidth: 4 },
  ],
};
const spec: WindowSpec = { window: 5, minimum: 3, slopeScale: 1 };

describe('normalise', () => {
  it('maps the range to [-1, 1] and clips what lies outside', () => {
    const channel = sheet.channels[0]!;
    assert.deepEqual(
      [0, 25, 50, 100, 1e9, -1e9].map((value) => normalise(value, channel)),
      [-1, -0.5, 0, 1, 1, -1],
    );
  });

  it('widens a range that is too narrow about its middle', () => {
    const channel = sheet.channels[1]!;
    assert.deepEqual(
      [22, 24, 25, 27].map((value) => normalise(value, channel)),
      [-1, 0, 0.5, 1],
    );
  });

  it('refuses what is not finite', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      assert.throws(() => normalise(value, sheet.channels[0]!), RangeError);
    }
  });
});

describe('windowFeatures', () => {
  it('gives means, then slopes over a whole window', () => {
    const rows = [0, 1, 2, 3, 4].map((row) => [50 + 10 * row, 25 - 0.5 * row]);
    const features = windowFeatures(rows, sheet, spec);
    // Normalised, load rises by 0.2 a row from 0 and the voltage falls by 0.25 a row from 0.5.
    close(features, [0.4, 0, 0.8, -1]);
  });

  it('is the least squares line of textbooks', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 5, maxLength: 5 }), (loads) => {
        const values = loads.map((load) => load / 50 - 1);
        const mean = values.reduce((sum, value) => sum + value, 0) / 5;
        const covariance = values.reduce((sum, value, row) => sum + (row - 2) * (value - mean), 0);
        const features = windowFeatures(
          loads.map((load) => [load, 24]),
          sheet,
          spec,
        );
        close(features, [mean, 0, (covariance / 10) * 4, 0]);
      }),
    );
  });

  it('looks at the last rows only', () => {
    const rows = Array.from({ length: 12 }, (_, row) => [7 * row, 24 + Math.sin(row)]);
    assert.deepEqual(windowFeatures(rows, sheet, spec), windowFeatures(rows.slice(-5), sheet, spec));
  });

  it('shrinks the slopes of short windows, never the means', () => {
    const rows = [0, 1, 2].map((row) => [50 + 10 * row, 24]);
    const features = windowFeatures(rows, sheet, spec);
    // Spread of 3 rows: 2; of 5: 10. So the slope of 0.2 a row counts a fifth.
    close(features, [0.2, 0, 0.8 / 5, 0]);
    assert.throws(() => windowFeatures(rows.slice(0, 2), sheet, spec), /at least 3/);
  });

  it('takes the inputs asked for, in their order', () => {
    const chosen = { ...spec, inputs: ['steady'], slopeScale: 2 };
    assert.equal(featureCount(sheet, spec), 4);
    assert.equal(featureCount(sheet, chosen), 2);
    const rows = [0, 1, 2, 3, 4].map((row) => [Number.MAX_VALUE, 24 + 0.5 * row]);
    close(windowFeatures(rows, sheet, chosen), [0.5, 2]);
    assert.throws(() => featureCount(sheet, { ...spec, inputs: ['nothing'] }), /no channel nothing/);
  });

  it('uses the ranges of the condition a row was read at', () => {
    const range = { low: 0, high: 100, leastWidth: 1 };
    const conditions = [
      {
        name: 'idle',
        when: [{ channel: 'load', near: 0, within: 5 }],
        ranges: [range, { ...range, high: 50 }],
      },
    ];
    const rows = [0, 1, 2, 3, 4].map((row) => [row, 50]);
    assert.equal(windowFeatures(rows, { ...sheet, conditions }, spec)[1], 1);
    assert.equal(windowFeatures([...rows.slice(1), [6, 24]], { ...sheet, conditions }, spec)[1], 0.8);
  });

  it('refuses a hole in an input and a row of another length', () => {
    const rows = [0, 1, 2, 3].map((row) => [row, 24]);
    assert.throws(() => windowFeatures([...rows, [Number.NaN, 24]], sheet, spec), /load is NaN/);
    assert.throws(() => windowFeatures([...rows, [1]], sheet, spec), /a row of 1 values/);
  });

  it('puts features together in the order asked for, channel by channel within each', () => {
    const rows = [0, 1, 2, 3, 4].map((row) => [50 + 10 * row, 25 - 0.5 * row]);
    const of = (features: WindowSpec['features'], bands?: number) =>
      windowFeatures(rows, sheet, { ...spec, ...(features && { features }), ...(bands && { bands }) });
    const single = ['peak-to-peak', 'means', 'crest', 'slopes', 'kurtosis', 'rms'] as const;
    const together = single.flatMap((feature) => [...of([feature])]);
    close(of([...single]), together);
    close(of(['peak-to-peak']), [-0.2, 0]);
    close(of(['raw']), [0, 0.5, 0.2, 0.25, 0.4, 0, 0.6, -0.25, 0.8, -0.5]);
    const bands = of(['means', 'bands'], 2);
    assert.equal(bands.length, 6);
    close(bands.slice(2, 4), [
      ...windowFeatures(rows, sheet, { ...spec, inputs: ['load'], features: ['bands'], bands: 2 }),
    ]);
    for (const features of [[...single, 'raw'], ['bands'], ['raw', 'bands']] as const) {
      const chosen = { ...spec, features, bands: 2 };
      assert.equal(featureCount(sheet, chosen), windowFeatures(rows, sheet, chosen).length);
    }
  });

  it('has no raw rows and no bands of less than a whole window', () => {
    const rows = [0, 1, 2, 3].map((row) => [row, 24]);
    const raw = { ...spec, features: ['raw'] } as const;
    assert.equal(leastRows(raw), 5);
    assert.equal(leastRows(spec), 3);
    assert.throws(() => windowFeatures(rows, sheet, raw), /at least 5/);
  });

  it('shows the condition of each row, where that is asked for', () => {
    const range = { low: 0, high: 100, leastWidth: 1 };
    const when = (near: number) => [{ channel: 'load', near, within: 5 }];
    const conditions = [
      { name: 'idle', when: when(0), ranges: [range, range] },
      { name: 'full', when: when(100), ranges: [range, range] },
    ];
    const rows = [0, 100, 50, 0, 1].map((load) => [load, 24]);
    const shown = { ...spec, inputs: ['steady'], features: ['means'], conditionInputs: true } as const;
    close(windowFeatures(rows, { ...sheet, conditions }, shown), [(4 * -0.52) / 5, 3 / 5, 1 / 5]);
    assert.equal(featureCount({ ...sheet, conditions }, shown), 3);
    assert.equal(featureCount(sheet, shown), 1);
  });

  it('refuses features without their measure', () => {
    const rows = [0, 1, 2, 3, 4].map((row) => [row, 24]);
    for (const bands of [undefined, 0, 3, 1.5]) {
      const bad = { ...spec, features: ['bands'] as const, ...(bands === undefined ? {} : { bands }) };
      assert.throws(() => windowFeatures(rows, sheet, bad), /bands/);
    }
    assert.throws(() => windowFeatures(rows, sheet, { ...spec, features: [] }), /without features/);
  });

  it('refuses a window that is none', () => {
    const rows = [0, 1, 2, 3, 4].map((row) => [row, 24]);
    for (const bad of [{ window: 1 }, { window: 4.5 }, { minimum: 1 }, { minimum: 6 }, { slopeScale: 0 }]) {
      assert.throws(() => windowFeatures(rows, sheet, { ...spec, ...bad }), RangeError, JSON.stringify(bad));
    }
  });

  it('stays within [-1, 1] for means and O(1) for slopes, whatever is read', () => {
    const wild = fc.double({ noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(fc.array(fc.tuple(wild, wild), { minLength: 3, maxLength: 9 }), (rows) => {
        for (const value of windowFeatures(rows, sheet, spec)) assert.ok(Math.abs(value) <= 2.5);
      }),
    );
  });
});

function close(actual: Float64Array, expected: readonly number[]): void {
  assert.equal(actual.length, expected.length);
  for (const [index, value] of expected.entries()) {
    assert.ok(Math.abs(actual[index]! - value) < 1e-12, `${[...actual]} is not ${expected}`);
  }
}
