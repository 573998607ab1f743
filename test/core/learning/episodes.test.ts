import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Episode, type LabelSpec, labelledWindows } from '../../../runtime/core/learning/episodes.ts';
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
  return { machine: `m${phase}`, rows, end };
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

  it('gives no label to a censored or a running episode', () => {
    const failed = [episode(9, 'failure', 1), episode(7, 'failure', 2)];
    const all = [episode(20, 'censored'), failed[0]!, episode(30, 'running'), failed[1]!];
    assert.deepEqual(labelledWindows(all, sheet, spec), labelledWindows(failed, sheet, spec));
    const none = labelledWindows([episode(20, 'censored'), episode(30, 'running')], sheet, spec);
    assert.equal(none.count, 0);
    assert.equal(none.episodes, 0);
    assert.equal(none.features.length, 0);
  });

  it('says which episode a window is of, without gaps', () => {
    const input = [
      episode(4, 'failure'),
      episode(1, 'failure'),
      episode(9, 'censored'),
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
