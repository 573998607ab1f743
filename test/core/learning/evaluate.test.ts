import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Episode, LabelSpec } from '../../../runtime/core/learning/episodes.ts';
import {
  areaUnderCurve,
  compareModels,
  evaluateLastWindows,
  type Figures,
  figuresOf,
  judgeMachine,
  logLoss,
  phm08Score,
  probabilityOf,
  quantile,
  rmse,
} from '../../../runtime/core/learning/evaluate.ts';

describe('rmse and phm08Score', () => {
  it('are what the definitions give', () => {
    assert.equal(rmse([3, 5], [0, 1]), Math.sqrt(12.5));
    // Ten late costs e - 1, thirteen early as much, and a right one nothing.
    const cost = Math.E - 1;
    assert.ok(Math.abs(phm08Score([60, 37, 8], [50, 50, 8]) - 2 * cost) < 1e-12);
    assert.ok(phm08Score([60], [50]) > phm08Score([40], [50]));
  });

  it('refuse nothing and unequal many', () => {
    for (const score of [rmse, phm08Score]) {
      assert.throws(() => score([], []), RangeError);
      assert.throws(() => score([1], [1, 2]), RangeError);
    }
  });
});

describe('evaluateLastWindows', () => {
  it('predicts from the last window and compares with the uncapped truth', () => {
    const sheet = { channels: [{ name: 'a', unit: '/', low: -1, high: 1, leastWidth: 0 }] };
    const spec = { window: 3, minimum: 2, slopeScale: 1, cap: 100 };
    const model = { kind: 'dense', inputs: 2, hidden: [], activation: 'tanh' } as const;
    const identity = Float64Array.of(1, 0, 0);
    const units = [
      { rows: [[0.9], [0.5], [0.5], [0.5]], rul: 53 },
      { rows: [[1], [1]], rul: 140 },
    ];
    const { rmse: error, score, engines } = evaluateLastWindows(model, identity, units, sheet, spec);
    assert.equal(engines, 2);
    assert.ok(Math.abs(error - Math.sqrt((9 + 1600) / 2)) < 1e-9);
    assert.ok(Math.abs(score - (Math.expm1(3 / 13) + Math.expm1(40 / 13))) < 1e-9);
  });
});

describe('scores of probabilities and rankings', () => {
  it('log-loss is -log of the probability, finite for what is certain', () => {
    for (const x of [-3, -0.5, 0, 2]) {
      assert.ok(Math.abs(logLoss(x, true) + Math.log(probabilityOf(x))) < 1e-12);
      assert.ok(Math.abs(logLoss(x, false) + Math.log(1 - probabilityOf(x))) < 1e-12);
    }
    assert.equal(logLoss(2000, false), 2000);
    assert.equal(probabilityOf(-2000), 0);
  });

  it('the area under the curve counts pairs, ties half', () => {
    const naive = (a: number[], b: number[]) =>
      a.flatMap((x) => b.map((y): number => (x > y ? 1 : x === y ? 0.5 : 0))).reduce((x, y) => x + y) /
      (a.length * b.length);
    const a = [3, 1, 4, 1, 5, 9, 2, 6];
    const b = [2, 7, 1, 8, 2, 8];
    assert.ok(Math.abs(areaUnderCurve(a, b) - naive(a, b)) < 1e-12);
    assert.equal(areaUnderCurve([2, 3], [0, 1]), 1);
    assert.ok(Number.isNaN(areaUnderCurve([], [1])));
  });

  it('quantiles lie between the values in proportion', () => {
    assert.deepEqual(
      [0, 0.25, 0.5, 1].map((p) => quantile([0, 10, 20, 40, 80], p)),
      [0, 10, 20, 80],
    );
    assert.ok(Number.isNaN(quantile([], 0.5)));
  });
});

const SHEET = { channels: [{ name: 'a', unit: '/', low: -1, high: 1, leastWidth: 0 }] };
const SPEC: LabelSpec = { window: 2, minimum: 2, slopeScale: 1, cap: 4 };
const DENSE = { kind: 'dense', inputs: 2, hidden: [], activation: 'tanh' } as const;
/** Says `value`, whatever it sees. */
const always = (value: number) => Float64Array.of(0, 0, value);
const run = (machine: string, rows: number, end: Episode['end'] = 'failure'): Episode => ({
  machine,
  rows: Array.from({ length: rows }, (_, index) => [index / 100]),
  end,
  ended: rows,
});
const judged = (machines: readonly Episode[][], parameters: Float64Array, spec = SPEC) =>
  machines.map((episodes) => judgeMachine(DENSE, parameters, episodes, SHEET, spec));

describe('figures of a model on held-back machines', () => {
  it('weigh each machine the same, however long it ran', () => {
    // Five rows have the labels 3, 2, 1, 0; a thousand and one nearly always the cap.
    const figures = figuresOf(judged([[run('a', 5)], [run('b', 1001)]], always(1)), SPEC);
    const short = (1 + 4 + 9 + 16) / 4;
    const long = (1 + 4 + 9 + 16) / 1000;
    assert.ok(Math.abs(figures.error - Math.sqrt((short + long) / 2)) < 1e-9);
    assert.deepEqual([figures.machines, figures.windows], [2, 1004]);
    const cost = (values: number[]) => values.reduce((sum, late) => sum + Math.expm1(late / 10), 0);
    const score = cost([1, 2, 3, 4]);
    assert.ok(Math.abs(figures.more.score! - (score / 4 + score / 1000) / 2) < 1e-9);
  });

  it('know the best constant answer, and a constant is no better than it', () => {
    const machines = [[run('a', 9)], [run('b', 20)]];
    for (const value of [0, 0.3, 0.5, 0.8, 1]) {
      const { error, trivial } = figuresOf(judged(machines, always(value)), SPEC);
      assert.ok(error >= trivial - 1e-12, `${error} ${trivial}`);
    }
    const spec: LabelSpec = { ...SPEC, label: 'failure-within', horizon: 3 };
    for (const value of [-2, 0, 1]) {
      const { error, trivial, more } = figuresOf(judged(machines, always(value), spec), spec);
      assert.ok(error >= trivial - 1e-12);
      assert.equal(more.auc, 0.5);
    }
  });

  it('are of runs that failed alone: what was repaired or goes on has no truth', () => {
    const [one] = judged([[run('a', 9, 'censored'), run('a', 5), run('a', 7, 'running')]], always(0));
    assert.equal(one!.outputs.length, 4);
    assert.throws(() => figuresOf(judged([[run('a', 9, 'running')]], always(0)), SPEC), RangeError);
    assert.throws(() => judged([[run('a', 3), run('b', 3)]], always(0)), RangeError);
  });

  it('judge alarms with the lead time that they would have given', () => {
    const alarm = { horizon: 3, persistence: 2, hysteresis: 1 };
    const silent = figuresOf(judged([[run('a', 20)]], always(1)), SPEC, alarm);
    assert.deepEqual([silent.more.alarmsDue, silent.more.missed, silent.more.detected], [1, 1, 0]);
    const loud = figuresOf(judged([[run('a', 20)]], always(0)), SPEC, alarm);
    assert.deepEqual([loud.more.tooEarly, loud.more.falseAlarms], [1, 1]);
  });

  it('for the healthy state: reconstruction errors, and whether the end stands out', () => {
    const spec: LabelSpec = { ...SPEC, label: 'none' };
    const model = { kind: 'autoencoder', inputs: 2, hidden: [1], activation: 'tanh' } as const;
    // All weights 0: it reconstructs the middle, and is as good as that.
    const one = judgeMachine(model, new Float64Array(7), [run('a', 30)], SHEET, spec);
    assert.equal(one.outputs.length, 25, 'four rows and the last are not healthy');
    assert.equal(one.unhealthy.length, 4);
    const figures = figuresOf([one], spec);
    assert.ok(Math.abs(figures.error - figures.trivial) < 1e-9);
    assert.equal(figures.more.auc, 1, 'the values rise towards the failure');
    assert.ok(figures.more.median! < figures.more.p99!);
  });
});

describe('whether a model is adopted', () => {
  const figures = (error: number, trivial = 40): Figures => ({
    machines: 4,
    windows: 800,
    error,
    trivial,
    more: {},
  });

  it('by the best before it on the same runs, with a tolerance, and by the constant answer', () => {
    assert.deepEqual(
      [
        compareModels(figures(20), undefined),
        compareModels(figures(20), figures(21)),
        compareModels(figures(20.9), figures(20)),
        compareModels(figures(21.1), figures(20)),
        compareModels(figures(40), undefined),
        compareModels(figures(Number.NaN), undefined),
        compareModels(figures(3, Number.NaN), undefined, 'failure-within'),
      ].map((verdict) => [verdict.adopt, verdict.adopt && verdict.best]),
      [
        [true, true],
        [true, true],
        [true, false],
        [false, false],
        [false, false],
        [false, false],
        [true, true],
      ],
    );
  });
});
