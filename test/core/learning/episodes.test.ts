import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type Episode,
  type LabelSpec,
  labelledWindows,
  latestFeatures,
  requireApart,
} from '../../../runtime/core/learning/episodes.ts';
import { type DataSheet, windowFeatures } from '../../../runtime/core/learning/features.ts';

const sheet: DataSheet = {
  channels: [
    { name: 'a', unit: '/', low: 0, high: 1, leastWidth: 0 },
    { name: 'b', unit: '/', low: 0, high: 1, leastWidth: 0 },
  ],
};
const spec: LabelSpec = { window: 4, minimum: 2, slopeScale: 1, cap: 5 };

function episode(length: number, end: Episode['end'], phase = 0): Episode {
  const rows = Array.from({ length }, (_, row) => [0.5 + Math.sin(row + phase) / 2, row / length]);
  return { machine: `m${phase}`, rows, end, ended: length };
}

describe('labelledWindows', () => {
  it('counts down to 0 at the failure, capped, in units of the cap', () => {
    const { count, labels, episodeOf, episodes } = labelledWindows([episode(9, 'failure')], sheet, spec);
    assert.equal(count, 8);
    assert.deepEqual(
      [...labels],
      [5, 5, 5, 4, 3, 2, 1, 0].map((rul) => Math.fround(rul / 5)),
    );
    assert.deepEqual([...episodeOf], new Array(8).fill(0));
    assert.equal(episodes, 1);
  });

  it('takes the life of a repaired machine for a lower bound, and gives none to a running one', () => {
    const failed = [episode(9, 'failure', 1), episode(7, 'failure', 2)];
    const running = [failed[0]!, episode(30, 'running'), failed[1]!];
    assert.deepEqual(labelledWindows(running, sheet, spec), labelledWindows(failed, sheet, spec));
    const repaired = labelledWindows([episode(9, 'censored')], sheet, spec);
    assert.deepEqual(
      [...repaired.labels],
      [5, 5, 5, 4, 3, 2, 1, 0].map((left) => Math.fround(left / 5)),
    );
    // At the cap and above, a label means so much or more by itself.
    assert.deepEqual([...repaired.atLeast], [0, 0, 0, 1, 1, 1, 1, 1]);
    assert.deepEqual([repaired.episodes, repaired.failures], [1, 0]);
    const both = labelledWindows([episode(9, 'censored'), ...failed], sheet, spec);
    assert.deepEqual([both.episodes, both.failures], [3, 2]);
    assert.ok(both.atLeast.slice(8).every((flag) => flag === 0));
  });

  it('gives nothing of running machines alone', () => {
    const none = labelledWindows([episode(20, 'running'), episode(30, 'running')], sheet, spec);
    assert.deepEqual([none.count, none.episodes, none.failures, none.features.length], [0, 0, 0, 0]);
  });

  it('tells failure within a horizon, and leaves out what nobody knows', () => {
    const within: LabelSpec = { ...spec, label: 'failure-within', horizon: 3 };
    const failed = labelledWindows([episode(9, 'failure')], sheet, within);
    assert.deepEqual([...failed.labels], [0, 0, 0, 0, 0, 1, 1, 1]);
    const repaired = labelledWindows([episode(9, 'censored')], sheet, within);
    assert.deepEqual([...repaired.labels], [0, 0, 0, 0, 0]);
    assert.deepEqual([...repaired.atLeast, ...failed.atLeast], new Array(13).fill(0));
    assert.equal(labelledWindows([episode(3, 'censored')], sheet, within).count, 0);
    assert.equal(labelledWindows([episode(30, 'running')], sheet, within).count, 0);
    const { horizon: _, ...without } = within;
    assert.throws(() => labelledWindows([], sheet, without), /horizon/);
  });

  it('learns the healthy state of every machine, up to the margin before a failure', () => {
    const none: LabelSpec = { ...spec, label: 'none' };
    const counts = (end: Episode['end']) => labelledWindows([episode(9, end)], sheet, none).count;
    assert.deepEqual([counts('failure'), counts('censored'), counts('running')], [3, 8, 8]);
    const margin = labelledWindows([episode(9, 'failure')], sheet, none);
    const whole = labelledWindows([episode(9, 'running')], sheet, none);
    assert.deepEqual(margin.features, whole.features.slice(0, margin.features.length));
    assert.ok(whole.labels.every((label) => label === 0));
  });

  it('goes by strides that end at the last row', () => {
    const strided = labelledWindows([episode(9, 'failure')], sheet, { ...spec, stride: 3 });
    assert.deepEqual(
      [...strided.labels],
      [5, 3, 0].map((left) => Math.fround(left / 5)),
    );
    for (const stride of [1, 2, 3, 4, 7]) {
      const short = labelledWindows([episode(1, 'failure')], sheet, { ...spec, stride });
      assert.equal(short.count, 0, 'one row makes no window');
      assert.equal(labelledWindows([episode(2, 'failure')], sheet, { ...spec, stride }).count, 1);
    }
    for (const stride of [0, 1.5, -1]) {
      assert.throws(() => labelledWindows([episode(9, 'failure')], sheet, { ...spec, stride }), /stride/);
    }
  });

  it('never lets a window see what is younger than its last row', () => {
    const rows = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.constant(0.5)), {
      minLength: 12,
      maxLength: 12,
    });
    const every: LabelSpec = {
      ...spec,
      features: ['means', 'slopes', 'raw', 'rms', 'kurtosis', 'crest', 'peak-to-peak', 'bands'],
      bands: 2,
    };
    fc.assert(
      fc.property(rows, rows, fc.integer({ min: 4, max: 11 }), (one, other, now) => {
        const past = (whole: typeof one): Episode => ({ ...episode(12, 'failure'), rows: whole });
        const before = labelledWindows([past(one)], sheet, every);
        const after = labelledWindows([past([...one.slice(0, now), ...other.slice(now)])], sheet, every);
        const width = before.features.length / before.count;
        // Windows of 4 rows: the first `now - 3` end at row `now` or before.
        const known = (now - 3) * width;
        assert.deepEqual(after.features.slice(0, known), before.features.slice(0, known));
      }),
    );
  });

  it('gives, on a grid, the features that a prediction at that moment has', () => {
    const times = Array.from(
      { length: 60 },
      (_, index) => 1000 + index * 7 + (index % 5) + (index > 40 ? 300 : 0),
    );
    const whole: Episode = { ...episode(60, 'failure'), times };
    const gridded: LabelSpec = { ...spec, period: 20, maxGap: 100, cap: 1000 };
    const { features, count, labels } = labelledWindows([whole], sheet, gridded);
    const made = new Set<string>();
    for (let known = 1; known <= 60; known += 1) {
      const now = latestFeatures(
        { rows: whole.rows.slice(0, known), times: times.slice(0, known) },
        sheet,
        gridded,
      );
      if (now) made.add([...Float32Array.from(now)].join());
    }
    assert.ok(count > 10);
    for (let index = 0; index < count; index += 1) {
      assert.ok(made.has([...features.slice(4 * index, 4 * index + 4)].join()), `window ${index}`);
    }
    const drop = [...labels].map((label, index) => Math.round(1000 * ((labels[index - 1] ?? label) - label)));
    assert.equal(
      Math.max(...drop),
      17,
      'the hole of 300 ms counts, and the row that it takes to have a window again',
    );
  });

  it('learns from a single machine, from constant sensors, and refuses a channel that tells the answer', () => {
    const flat: Episode = { ...episode(9, 'failure'), rows: Array.from({ length: 9 }, () => [0.5, 0.5]) };
    const every: LabelSpec = {
      ...spec,
      features: ['means', 'slopes', 'raw', 'rms', 'kurtosis', 'crest', 'peak-to-peak', 'bands'],
      bands: 2,
    };
    const { features, count, episodes } = labelledWindows([flat], sheet, every);
    assert.deepEqual([count, episodes], [6, 1]);
    assert.ok(features.every(Number.isFinite));
    for (const name of [
      'RUL',
      'remaining-useful-life',
      'remaining life',
      'time_to_failure',
      'ttf',
      'Label',
    ]) {
      const leaking: DataSheet = { channels: [sheet.channels[0]!, { ...sheet.channels[1]!, name }] };
      assert.throws(() => labelledWindows([flat], leaking, spec), /tells what is to be foretold/, name);
      assert.equal(labelledWindows([flat], leaking, { ...spec, inputs: ['a'] }).count, 8);
    }
  });

  it('says so when windows would not fit into memory', () => {
    const wide = { ...spec, window: 10_000, minimum: 10_000, features: ['raw'] } as const;
    const long: Episode = { ...episode(1, 'failure'), rows: new Array<number[]>(40_000).fill([0, 0]) };
    assert.throws(() => labelledWindows([long], sheet, wide), /too many: agree on a stride/);
  });

  it('says which episode a window is of, without gaps', () => {
    const input = [
      episode(4, 'failure'),
      episode(1, 'failure'),
      episode(9, 'running'),
      episode(3, 'failure'),
    ];
    const { episodeOf, episodes, labels } = labelledWindows(input, sheet, spec);
    assert.deepEqual([...episodeOf], [0, 0, 0, 1, 1]);
    assert.equal(episodes, 2);
    assert.deepEqual(
      [...labels],
      [2, 1, 0, 1, 0].map((rul) => Math.fround(rul / 5)),
    );
  });

  it('has the features that a prediction at that moment has', () => {
    const { rows } = episode(9, 'failure');
    const { features, count } = labelledWindows([episode(9, 'failure')], sheet, spec);
    for (let index = 0; index < count; index += 1) {
      const expected = Float32Array.from(windowFeatures(rows.slice(0, index + 2), sheet, spec));
      assert.deepEqual(features.slice(4 * index, 4 * index + 4), expected);
    }
  });

  it('refuses holes and an impossible cap', () => {
    const hole: Episode = {
      machine: 'm',
      end: 'failure',
      ended: 3,
      rows: [
        [0, 0],
        [0, Number.NaN],
        [0, 0],
      ],
    };
    assert.throws(() => labelledWindows([hole], sheet, spec), /b is NaN/);
    assert.throws(() => labelledWindows([], sheet, { ...spec, cap: 0 }), RangeError);
  });
});

describe('requireApart', () => {
  it('names a machine that is judged by what it has taught', () => {
    const of = (...machines: string[]) => machines.map((machine) => ({ machine }));
    requireApart(of('a', 'b'), of('c'));
    requireApart([], []);
    assert.throws(() => requireApart(of('a', 'b'), of('c', 'b')), /machine b/);
  });
});
