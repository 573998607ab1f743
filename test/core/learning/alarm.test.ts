import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type AlarmRule,
  checkAlarm,
  judgeAlarms,
  limitsFor,
  QUIET,
  ruleFor,
  stepAlarm,
} from '../../../runtime/core/learning/alarm.ts';

/** One letter a level: R raised, E ended, - nothing. */
function events(rule: AlarmRule, levels: readonly number[]): string {
  let state = QUIET;
  return levels
    .map((level) => {
      const step = stepAlarm(rule, state, level);
      state = step.state;
      return step.event === 'raised' ? 'R' : step.event === 'ended' ? 'E' : '-';
    })
    .join('');
}

test('an alarm takes its reasons in a row, is raised once, and ends above the hysteresis only', () => {
  const rule = { raise: 30, clear: 40, persistence: 3 };
  assert.equal(events(rule, [50, 30, 29, 31, 30, 28, 27, 26, 20]), '------R--');
  assert.equal(events(rule, [30, 30, 30, 35, 40, 39, 41, 30, 30, 30]), '--R---E--R');
  assert.equal(events(rule, [10, Number.NaN, 10, 10, 10]), '----R', 'a level that is none begins anew');
  assert.equal(events(rule, [10, 10, 10, Number.NaN, 50]), '--R-E', 'and does not end anything');
  assert.equal(events({ ...rule, persistence: 1 }, [31, 30]), '-R');
});

test('impossible rules are refused', () => {
  assert.throws(() => checkAlarm({ raise: 30, clear: 20, persistence: 1 }), RangeError);
  assert.throws(() => checkAlarm({ raise: Number.NaN, clear: 20, persistence: 1 }), RangeError);
  assert.throws(() => checkAlarm({ raise: 1, clear: 2, persistence: 0 }), RangeError);
});

test('judged by lead time, misses and false alarms', () => {
  const rule = { raise: 30, clear: 35, persistence: 2 };
  const run = (levels: number[], last = 0) => ({
    levels,
    remaining: levels.map((_, index) => last + levels.length - 1 - index),
  });
  const inTime = run([...Array<number>(80).fill(100), ...Array<number>(20).fill(25)]);
  const missed = run(Array<number>(100).fill(90));
  // Raised with 98 rows left, and standing at the end: it was no use to know it then.
  const early = run(Array<number>(100).fill(10));
  // One false alarm, which ended, then one in time.
  const both = run([10, 10, ...Array<number>(88).fill(90), ...Array<number>(10).fill(5)]);
  // Seen only far from its failure: none is due, and one was raised.
  const far = run([10, 10, 50], 500);
  const judged = judgeAlarms([inTime, missed, early, both, far], rule, limitsFor(30));
  assert.deepEqual(judged, {
    runs: 5,
    due: 4,
    detected: 2,
    missed: 1,
    tooEarly: 1,
    falseAlarms: 3,
    leadTimes: [8, 18],
  });
  assert.throws(() => judgeAlarms([{ levels: [1], remaining: [] }], rule, limitsFor(30)), RangeError);
  assert.throws(() => judgeAlarms([], rule, { due: 10, early: 5 }), RangeError);
});

test('a rule for each label', () => {
  const terms = { horizon: 30, persistence: 2, hysteresis: 5 };
  assert.deepEqual(ruleFor('remaining-life', terms, 0.9), { raise: 30, clear: 35, persistence: 2 });
  assert.equal(events(ruleFor('failure-within', terms, 0.9), [0.4, 0.5, 0.55, 0.61]), '-R-E');
  // With nine machines the least p-value there can be is 0.1.
  assert.equal(events(ruleFor('none', terms, 0.9), [0.1, 1 / 10, 0.15, 0.3]), '-R-E');
});
