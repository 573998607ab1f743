import type { AlarmTerms } from '../core/learning/alarm.ts';
import { type Judgement, judge, type Said, sayOf, shownAs } from './predict/judge.ts';
import { readRows } from './predict/rows.ts';
import { describeSource, openSource, type Source, saveSource } from './predict/source.ts';
import { daemonOptions } from './status.ts';
import { defineCommand } from './terminal/command.ts';
import { printJson } from './terminal/io.ts';
import { table } from './terminal/layout.ts';
import { problem } from './terminal/problem.ts';

export const predict = defineCommand({
  name: 'predict',
  summary: 'predict for machines whose rows are in a file, and judge a model by the truth',
  about:
    'FILE is CSV, its first line the names of the channels, with a column "machine" where it holds several and a ' +
    'column "time" where the agreement resamples; or a text file of NASA’s C-MAPSS set. The model is that of a gateway, ' +
    'running or not, or a TensorFlow.js layers model.',
  arguments: [{ name: 'FILE', about: 'rows of one or more machines, the oldest first', optional: true }],
  options: {
    ...daemonOptions,
    model: { kind: 'text', value: 'PATH', about: 'a model that was saved: its folder or its model.json' },
    agreement: {
      kind: 'text',
      value: 'FILE',
      about: 'the agreement that says how the model’s inputs are made',
    },
    truth: {
      kind: 'text',
      value: 'NAME',
      about:
        'CSV: the column with the rows that are left (or 1 for what is to be foretold, else 0). C-MAPSS: the RUL file',
    },
    'ends-in-failure': { kind: 'flag', about: 'the last row of each machine is the one at which it failed' },
    every: { kind: 'flag', about: 'a prediction for every row, not only for the last of each machine' },
    alarm: {
      kind: 'text',
      value: 'H[,P[,Y]]',
      about:
        'judge this alarm instead of the agreement’s: horizon H rows, P predictions in a row, ended above H + Y',
    },
    save: { kind: 'text', value: 'DIR', about: 'write the model in TensorFlow.js layers format' },
  },
  examples: [
    'predict rows.csv --directory /var/lib/kosmos',
    'predict test_FD001.txt --truth RUL_FD001.txt --model saved/ --json',
    'predict --directory /var/lib/kosmos --save saved/',
  ],
  async run({ options, positionals, json }, io) {
    const [file] = positionals;
    if (file === undefined && options.save === undefined) {
      throw problem('for which rows?', {
        todo: 'name a FILE, or save the model with --save DIR',
        exitCode: 2,
      });
    }
    if (options.truth !== undefined && options['ends-in-failure']) {
      throw problem('--truth and --ends-in-failure both say what is true: give one', { exitCode: 2 });
    }
    const given = options.alarm === undefined ? undefined : parseAlarm(options.alarm);
    const opened = await openSource(options);
    const source = given ? { ...opened, alarm: given } : opened;
    const saved = options.save === undefined ? [] : await saveSource(source, options.save);
    if (file === undefined) {
      if (json) printJson(io, { saved });
      else io.stdout.write(`saved: ${saved.join(', ')}\n`);
      return 0;
    }
    const machines = await readRows(file, { ...source, truth: options.truth });
    const said = machines.map((machine) => sayOf(source, machine, options['ends-in-failure']));
    const judgement = judge(said, source, source.alarm, source.calibrated);
    const short = machines.filter((_, index) => said[index]!.length === 0).map(({ machine }) => machine);
    const shown = said.flatMap((own) => (options.every ? own : own.slice(-1)));
    if (json) {
      for (const one of shown) printJson(io, lineOf(one, source));
      printJson(io, { model: source.version ?? null, tooShort: short, judgement: judgement ?? null, saved });
      return 0;
    }
    const lines = [describeSource(source), ...rowsOf(shown, source)];
    if (short.length > 0) lines.push(`too few rows to predict: ${short.join(', ')}`);
    if (judgement) lines.push(...describeJudgement(judgement));
    if (saved.length > 0) lines.push(`saved: ${saved.join(', ')}`);
    io.stdout.write(`${lines.join('\n')}\n`);
    return 0;
  },
});

function parseAlarm(text: string): AlarmTerms {
  const words = text.split(',').map((word) => (/^\d+(\.\d+)?$/.test(word) ? Number(word) : Number.NaN));
  const [horizon = Number.NaN, persistence = 1, hysteresis = 0] = words;
  const right = words.length <= 3 && !words.some(Number.isNaN) && horizon > 0;
  if (!right || !Number.isSafeInteger(persistence) || persistence < 1) {
    throw problem(`--alarm ${text}: it is a horizon in rows, predictions in a row, and rows above it`, {
      todo: 'for example --alarm 30,3,10',
      exitCode: 2,
    });
  }
  return { horizon, persistence, hysteresis };
}

function lineOf(said: Said, source: Source) {
  const { machine, row, truth } = said;
  return {
    machine,
    row,
    ...shownAs(said, source, source.calibrated),
    ...(truth === undefined ? {} : { truth }),
  };
}

function rowsOf(shown: readonly Said[], source: Source): string[] {
  const { cap } = source.windows;
  const known = shown.some(({ truth }) => truth !== undefined);
  const rows = shown.map((said) => {
    const { remaining, interval, probability, anomaly } = {
      remaining: undefined,
      interval: undefined,
      probability: undefined,
      anomaly: undefined,
      ...shownAs(said, source, source.calibrated),
    };
    const value =
      remaining !== undefined
        ? `${remaining.toFixed(1)}${remaining >= cap ? ' or more' : ''}`
        : (probability?.toFixed(3) ?? anomaly?.toPrecision(4) ?? '');
    const range = interval
      ? `${interval.low.toFixed(0)} to ${interval.high === null ? 'open' : interval.high.toFixed(0)}${interval.guaranteed ? '' : ', not guaranteed'}`
      : '';
    return [said.machine, String(said.row), value, range, ...(known ? [String(said.truth ?? '')] : [])];
  });
  const what = { 'remaining-life': 'rows left', 'failure-within': 'probability', none: 'anomaly' } as const;
  return table(
    [
      { title: 'machine' },
      { title: 'row', align: 'right' },
      { title: what[source.windows.label ?? 'remaining-life'], align: 'right' },
      { title: source.calibrated ? 'interval' : '' },
      ...(known ? [{ title: 'truth', align: 'right' as const }] : []),
    ],
    rows,
  );
}

function describeJudgement(given: Judgement): string[] {
  const lines: string[] = [];
  const { machines, predictions, rmse, score, rmseCapped, covered, logLoss, auc, alarms } = given;
  if (rmse !== undefined) {
    lines.push(
      `last prediction of ${machines} machines: RMSE ${rmse.toFixed(2)}, PHM08 score ${score!.toFixed(1)}`,
    );
    lines.push(`all ${predictions} predictions against the capped truth: RMSE ${rmseCapped!.toFixed(2)}`);
  }
  if (covered !== undefined)
    lines.push(`the interval holds the truth of ${(100 * covered).toFixed(0)} % of the machines`);
  if (logLoss !== undefined) lines.push(`${predictions} predictions: log-loss ${logLoss.toFixed(4)}`);
  if (auc !== undefined) lines.push(`area under the ROC curve ${auc.toFixed(3)}`);
  if (alarms) {
    const { due, detected, missed, tooEarly, falseAlarms, leadTimes } = alarms;
    const lead = leadTimes.length === 0 ? '' : `, lead time ${leadTimes[0]} to ${leadTimes.at(-1)} rows`;
    lines.push(
      `alarms: ${detected} of ${due} in time${lead}; ${missed} missed, ${tooEarly} too early, ${falseAlarms} false`,
    );
  }
  return lines;
}
