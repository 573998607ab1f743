import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type Episode, type LabelSpec, labelledWindows } from '../../../runtime/core/learning/episodes.ts';
import type { DataSheet } from '../../../runtime/core/learning/features.ts';
import { targetOf } from '../../../runtime/core/learning/labels.ts';

const DATA = new URL('../../../../shared/data/maintenance/', import.meta.url);
const skip = existsSync(DATA) ? false : 'the maintenance records are not in ../shared/data';

const HOUR = 3_600_000;
const NAMES = ['error1', 'error2', 'error3', 'error4', 'error5'] as const;
const sheet: DataSheet = {
  channels: NAMES.map((name) => ({ name, unit: '/', low: 0, high: 1, leastWidth: 1 })),
};
/** Rows of a day each. */
const spec: LabelSpec = { window: 7, minimum: 2, slopeScale: 1, cap: 30, features: ['means'] };

interface Line {
  readonly time: number;
  readonly machine: string;
  readonly what: string;
}

function read(file: string): readonly Line[] {
  const [, ...lines] = readFileSync(new URL(file, DATA), 'utf8').trim().split('\n');
  return lines.map((line) => {
    const [date, machine, what] = line.replaceAll('"', '').trim().split(',') as [string, string, string];
    return { time: Date.parse(`${date.replace(' ', 'T')}Z`), machine, what };
  });
}

const BEGIN = Date.UTC(2015, 0, 1, 6);
/** Later than the last replacement. */
const END = Date.UTC(2016, 0, 2);

/**
 * The lives of one component in one machine during the year of the records: from a replacement or failure to the
 * next. It failed if a failure stands at the end, else it was replaced before it broke. 18 failures, all of the
 * first night, have no replacement beside them.
 */
function livesOf(component: string): readonly Episode[] {
  const failures = read('PdM_failures.csv').filter(({ what }) => what === component);
  const broken = new Set(failures.map(({ machine, time }) => `${machine} ${time}`));
  const errors = read('PdM_errors.csv');
  const replaced = read('PdM_maint.csv').filter(({ what, time }) => what === component && time > BEGIN);
  const machines = Array.from({ length: 100 }, (_, index) => `${index + 1}`);
  return machines.flatMap((machine) => {
    const own = errors.filter((error) => error.machine === machine);
    const ends = [...replaced, ...failures].filter((line) => line.machine === machine);
    const days = [...new Set(ends.map(({ time }) => time))].sort((a, b) => a - b);
    const borders = [BEGIN, ...days, END];
    return borders.slice(1).map((stop, index): Episode => {
      const times: number[] = [];
      for (let time = borders[index]! + 24 * HOUR; time <= stop; time += 24 * HOUR) times.push(time);
      const rows = times.map((time) =>
        NAMES.map((name) =>
          own.some((error) => error.what === name && error.time > time - 24 * HOUR && error.time <= time)
            ? 1
            : 0,
        ),
      );
      const broke = broken.has(`${machine} ${stop}`);
      const how = stop === END ? 'running' : broke ? 'failure' : 'censored';
      return { machine, rows, times, end: how, ended: times.at(-1) ?? Number.NaN };
    });
  });
}

test('a row is labelled with what is known of it, and with no more', () => {
  const life = { cap: 5 } as const;
  const within = { cap: 5, label: 'failure-within', horizon: 3 } as const;
  const none = { cap: 5, label: 'none' } as const;
  const known = (value: number) => ({ value, atLeast: false });
  const least = (value: number) => ({ value, atLeast: true });
  assert.deepEqual(targetOf(2, true, 'failure', life), known(0.4));
  assert.deepEqual(targetOf(2, false, 'failure', life), least(0.4), 'a hole lies between');
  assert.deepEqual(targetOf(2, true, 'censored', life), least(0.4));
  assert.deepEqual(targetOf(5, false, 'censored', life), known(1));
  assert.equal(targetOf(2, true, 'running', life), undefined);
  assert.deepEqual(targetOf(2, true, 'failure', within), known(1));
  assert.deepEqual(targetOf(3, true, 'failure', within), known(0));
  assert.equal(targetOf(2, false, 'failure', within), undefined, 'a hole lies between');
  assert.equal(targetOf(2, true, 'censored', within), undefined);
  assert.deepEqual(targetOf(3, true, 'censored', within), known(0));
  assert.equal(targetOf(9, true, 'running', within), undefined);
  assert.equal(targetOf(4, true, 'failure', none), undefined);
  assert.deepEqual(targetOf(5, true, 'failure', none), known(0));
  assert.deepEqual(targetOf(0, true, 'censored', none), known(0));
  assert.deepEqual(targetOf(0, true, 'running', none), known(0));
});

test('components that were replaced before they broke do not count as failed', { skip }, () => {
  const failures = read('PdM_failures.csv');
  assert.equal(failures.length, 761);
  let failed = 0;
  let censored = 0;
  for (const component of ['comp1', 'comp2', 'comp3', 'comp4']) {
    const lives = livesOf(component);
    const count = (end: Episode['end']) => lives.filter((life) => life.end === end).length;
    assert.equal(count('running'), 100, 'every machine ends the year with one in it');
    assert.equal(count('failure'), failures.filter(({ what }) => what === component).length);
    failed += count('failure');
    censored += count('censored');

    const finished = lives.filter(({ end, rows }) => end !== 'running' && rows.length >= spec.minimum);
    const { episodes, failures: learned, labels, atLeast, episodeOf } = labelledWindows(lives, sheet, spec);
    assert.equal(episodes, finished.length);
    assert.equal(learned, finished.filter(({ end }) => end === 'failure').length);
    labels.forEach((label, index) => {
      const { end } = finished[episodeOf[index]!]!;
      assert.equal(atLeast[index], end === 'censored' && label < 1 ? 1 : 0);
    });
    // Each life that ended in a failure has one window at its end, and no other has a label of 0 that is meant.
    const meant = labels.filter((label, index) => label === 0 && atLeast[index] === 0);
    assert.equal(meant.length, learned);

    const within = labelledWindows(lives, sheet, { ...spec, label: 'failure-within', horizon: 5 });
    const positive = within.labels.reduce((sum, label) => sum + label, 0);
    const rowsBefore = finished
      .filter(({ end }) => end === 'failure')
      .reduce((sum, { rows }) => sum + Math.min(5, rows.length - 1), 0);
    assert.equal(positive, rowsBefore);
  }
  assert.equal(failed, 761);
  const replacements = read('PdM_maint.csv').filter(({ time }) => time > BEGIN);
  assert.equal(censored, replacements.length - (761 - 18));
});

test('errors come before failures: the windows show it', { skip }, () => {
  const { features, labels, count } = labelledWindows(livesOf('comp1'), sheet, {
    ...spec,
    window: 2,
    label: 'failure-within',
    horizon: 2,
  });
  const mean = (positive: boolean) => {
    let sum = 0;
    let windows = 0;
    for (let index = 0; index < count; index += 1) {
      if ((labels[index] === 1) !== positive) continue;
      sum += features[index * NAMES.length]!;
      windows += 1;
    }
    return sum / windows;
  };
  // In these records error1 announces a failure of comp1; -1 is a window without it.
  assert.ok(mean(true) > mean(false) + 0.3, `${mean(true)} before a failure, ${mean(false)} elsewhere`);
});
