import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  filtersMeet,
  gatewayTopics,
  sampleStreamOf,
  topicLevel,
} from '../../../runtime/services/telemetry/topics.ts';

const name = fc.oneof(
  fc.string({ minLength: 1, unit: 'binary', maxLength: 30 }),
  fc.stringMatching(/^[+#/%$\0a-f0-9]{1,9}$/),
);

test('topics are the ones of the design', () => {
  const topics = gatewayTopics('forge', 'north-1');
  assert.equal(topics.state, 'kosmos/forge/north-1/state');
  assert.equal(topics.prediction('press'), 'kosmos/forge/north-1/prediction/press');
  assert.equal(topics.sample('press', 'spindle'), 'kosmos/forge/north-1/sample/press/spindle');
});

test('a name stays within its level, whatever stands in it, and no two share one', () => {
  fc.assert(
    fc.property(name, name, (a, b) => {
      assert.doesNotMatch(topicLevel(a), /[+#/\p{Cc}\p{Cs}]/u);
      assert.equal(topicLevel(a) === topicLevel(b), a === b);
    }),
    { numRuns: 2_000 },
  );
  assert.equal(topicLevel('a/b+c#d\0%'), 'a%2Fb%2Bc%23d%00%25');
  assert.equal(topicLevel('Presse Süd'), 'Presse Süd');
  assert.notEqual(topicLevel('\ud800'), topicLevel('\ud801'));
});

test('an empty or endless name is refused', () => {
  for (const bad of ['', 'x'.repeat(1_025), '/'.repeat(400)])
    assert.throws(() => topicLevel(bad), RangeError);
  assert.throws(() => gatewayTopics('', 'a'), RangeError);
});

test('the stream of a sample is recognised', () => {
  assert.equal(sampleStreamOf('kosmos/a/b/sample/m/s'), 'kosmos/a/b/sample/+/+');
  for (const other of [
    'kosmos/a/b/state',
    'kosmos/a/b/sample/m',
    'kosmos/a/b/sample/m/s/t',
    'kosmos/a/b/prediction/m/s',
    'x/a/b/sample/m/s',
  ]) {
    assert.equal(sampleStreamOf(other), undefined);
  }
});

test('filters meet exactly when some topic matches both', () => {
  const level = fc.constantFrom('a', 'b');
  const filter = fc.tuple(
    fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 3 }),
    fc.boolean(),
  );
  const all = (depth: number): string[][] =>
    depth === 0
      ? [[]]
      : all(depth - 1).flatMap((rest) => [
          [...rest, 'a'],
          [...rest, 'b'],
        ]);
  const topics = [1, 2, 3, 4].flatMap(all);
  const matches = (levels: readonly string[], open: boolean, topic: readonly string[]): boolean =>
    (open ? topic.length >= levels.length : topic.length === levels.length) &&
    levels.every((one, i) => one === '+' || one === topic[i]);
  fc.assert(
    fc.property(filter, filter, ([a, openA], [b, openB]) => {
      const expected = topics.some((topic) => matches(a, openA, topic) && matches(b, openB, topic));
      const write = (levels: string[], open: boolean): string =>
        [...levels, ...(open ? ['#'] : [])].join('/');
      assert.equal(filtersMeet(write(a, openA), write(b, openB)), expected);
    }),
    { numRuns: 1_000 },
  );
});
