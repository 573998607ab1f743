import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { historiesOf, latestRows, type Timed } from '../../../runtime/core/learning/resample.ts';

const WINDOW = 100;
const run = (times: readonly number[], steps: readonly number[] = []): Timed => ({
  rows: times.map((_, index) => [index]),
  times,
  steps,
});
const values = (rows: readonly (readonly number[])[]) => rows.map((row) => row[0]);

/** Runs with holes, steps of the clock and bursts. */
const anyRun = fc
  .array(
    fc.record({
      passed: fc.oneof(fc.integer({ min: 0, max: 25 }), fc.integer({ min: -500, max: 500 })),
      stepped: fc.integer({ min: 0, max: 20 }).map((chance) => chance === 0),
    }),
    { minLength: 1, maxLength: 60 },
  )
  .map((samples) => {
    let time = 100_000;
    const times = samples.map(({ passed }) => {
      time += passed;
      return time;
    });
    return run(
      times,
      samples.flatMap(({ stepped }, index) => (stepped ? [index] : [])),
    );
  });
const anySpec = fc.record(
  { period: fc.integer({ min: 1, max: 40 }), maxGap: fc.integer({ min: 1, max: 200 }) },
  { requiredKeys: [] },
);

describe('historiesOf', () => {
  it('takes rows as they come where neither period nor gap is agreed, whatever the times', () => {
    const [only, ...more] = historiesOf(run([5, 3, 9000, 1], [2]), { window: WINDOW });
    assert.deepEqual(values(only!.rows), [0, 1, 2, 3]);
    assert.deepEqual(only!.left, [3, 2, 1, 0]);
    assert.equal(only!.exact, true);
    assert.deepEqual(more, []);
    assert.deepEqual(historiesOf({ rows: [] }, { window: WINDOW, period: 10 }), []);
  });

  it('means what came since the instant before, and holds where nothing came', () => {
    // Instants 10, 20, ...: 10 has the samples at 4 and 9; 20 those at 10 and 19; 30 and 40 nothing; 50 that at 40.
    const [only] = historiesOf(run([4, 9, 10, 19, 40, 52]), { period: 10, window: WINDOW });
    assert.deepEqual(values(only!.rows), [0.5, 2.5, 2.5, 2.5, 4]);
    assert.deepEqual(only!.left, [4, 3, 2, 1, 0]);
  });

  it('gives an instant no row before it has come', () => {
    assert.deepEqual(historiesOf(run([4, 9]), { period: 10, window: WINDOW }), []);
    assert.deepEqual(values(historiesOf(run([4, 9, 10]), { period: 10, window: WINDOW })[0]!.rows), [0.5]);
  });

  it('lets no history span a hole, and counts the time in it where the clock tells', () => {
    const histories = historiesOf(run([1, 11, 21, 31, 131, 141, 151]), {
      period: 10,
      maxGap: 50,
      window: WINDOW,
    });
    assert.deepEqual(
      histories.map(({ rows, left, exact }) => [values(rows), left, exact]),
      [
        [[0, 1, 2], [14, 13, 12], true],
        [[4, 5], [1, 0], true],
      ],
    );
  });

  it('says at least where the clock was set or ran backwards', () => {
    for (const odd of [run([1, 11, 21, 30, 900, 910, 920], [4]), run([501, 511, 521, 530, 101, 111, 121])]) {
      const histories = historiesOf(odd, { period: 10, window: 1000 });
      assert.deepEqual(
        histories.map(({ rows, left, exact }) => [values(rows), left, exact]),
        [
          [[0, 1, 2], [4, 3, 2], false],
          [[4, 5], [1, 0], true],
        ],
      );
    }
  });

  it('says at least before a hole in rows that are counted and not timed', () => {
    const histories = historiesOf(run([1, 2, 3, 99, 100]), { maxGap: 50, window: WINDOW });
    assert.deepEqual(
      histories.map(({ rows, left, exact }) => [values(rows), left, exact]),
      [
        [[0, 1, 2], [4, 3, 2], false],
        [[3, 4], [1, 0], true],
      ],
    );
  });

  it('fills no hole that is longer than a window, so that a clock set far ahead fills no memory', () => {
    const histories = historiesOf(run([10, 20, 30, 1e13, 1e13 + 10, 1e13 + 20]), { period: 10, window: 5 });
    assert.deepEqual(
      histories.map(({ rows }) => rows.length),
      [2, 2],
    );
  });

  it('refuses a run without times, times that are none, and a period that is none', () => {
    const spec = { period: 10, window: WINDOW };
    assert.throws(() => historiesOf({ rows: [[1], [2]] }, spec), /0 times for 2 rows/);
    assert.throws(() => historiesOf(run([1, Number.NaN]), spec), /no finite time/);
    for (const period of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => historiesOf(run([1, 2]), { period, window: WINDOW }), RangeError);
    }
  });

  it('never has a row that a later sample changes', () => {
    fc.assert(
      fc.property(anyRun, anySpec, fc.nat(), (whole, spec, at) => {
        const known = 1 + (at % whole.rows.length);
        const part: Timed = {
          rows: whole.rows.slice(0, known),
          times: whole.times!.slice(0, known),
          steps: whole.steps!.filter((step) => step < known),
        };
        const before = historiesOf(part, { ...spec, window: 20 }).map(({ rows }) => rows);
        const after = historiesOf(whole, { ...spec, window: 20 }).map(({ rows }) => rows);
        before.forEach((rows, index) => {
          assert.deepEqual(after[index]!.slice(0, rows.length), rows);
        });
      }),
      { numRuns: 500 },
    );
  });

  it('counts down, and never over what is left by the clock', () => {
    fc.assert(
      fc.property(anyRun, anySpec, (whole, spec) => {
        const left = historiesOf(whole, { ...spec, window: 20 }).flatMap((history) => [...history.left]);
        assert.ok(left.every((value) => Number.isInteger(value) && value >= 0));
        assert.ok(left.every((value, index) => index === 0 || value <= left[index - 1]!));
      }),
      { numRuns: 500 },
    );
  });
});

describe('latestRows', () => {
  it('is the end of the history that the last sample lies in', () => {
    fc.assert(
      fc.property(anyRun, anySpec, fc.integer({ min: 1, max: 30 }), (whole, part, count) => {
        const spec = { ...part, window: 20 };
        const rows = latestRows(whole, spec, count);
        assert.ok(rows.length <= count);
        const last = historiesOf(whole, spec).at(-1);
        // A history that has begun and has no row yet is left out there.
        if (rows.length > 0) assert.deepEqual(rows, last!.rows.slice(-count));
        else if (last) assert.ok(spec.period !== undefined);
      }),
      { numRuns: 1000 },
    );
  });

  it('has nothing of what was before a hole', () => {
    const broken = run([10, 20, 30, 40, 990, 1001]);
    assert.deepEqual(values(latestRows(broken, { maxGap: 100, window: WINDOW }, 4)), [4, 5]);
    assert.deepEqual(values(latestRows(broken, { period: 10, maxGap: 100, window: WINDOW }, 4)), [4]);
    assert.deepEqual(latestRows(run([10, 20, 30, 991]), { period: 10, maxGap: 100, window: WINDOW }, 4), []);
  });
});
