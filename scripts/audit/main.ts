/**
 * Audits the trainer: what do trainings with and without a canary prove about epsilon, and is it within the claim?
 * Then the same of trainers that are made to break their word, which has to come out.
 *
 *   nice node --import tsx scripts/audit/main.ts [--trainings 10000] [--per-run 20] [--confidence 0.99]
 *     [--only NAME]... [--honest] [--seed TEXT] [--json]
 *
 * `--trainings` are those with the canary, and as many without; `--per-run 1` starts the trainer for each.
 * `at least` is what is proved with the claim as the threshold, which decides; `chosen` with one that is chosen on
 * half of the trainings. Exit code 1 when an honest trainer is convicted, which the stated confidence makes rare, or
 * a dishonest one is not, which fewer than some 4000 trainings make likely.
 */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { auditBound } from '../../runtime/core/privacy/audit.ts';
import { startBackend } from '../../runtime/services/training/backend.ts';
import { boundAtClaim } from './bound.ts';
import { collectScores } from './canary.ts';
import { claimedEpsilon, type Sabotage, SETTINGS, type Setting, sabotages } from './settings.ts';

const { values } = parseArgs({
  options: {
    trainings: { type: 'string', default: '10000' },
    'per-run': { type: 'string', default: '20' },
    confidence: { type: 'string', default: '0.99' },
    only: { type: 'string', multiple: true },
    honest: { type: 'boolean', default: false },
    seed: { type: 'string', default: randomBytes(8).toString('hex') },
    json: { type: 'boolean', default: false },
  },
});
const { seed, json } = values;
const trainings = wholeNumber('trainings', values.trainings);
const perRun = wholeNumber('per-run', values['per-run']);
const confidence = Number(values.confidence);
const chosen = SETTINGS.filter(({ name }) => values.only?.includes(name) ?? true);
if (chosen.length === 0) throw new RangeError(`known are ${SETTINGS.map(({ name }) => name).join(', ')}`);

const { name: backend } = await startBackend();
console.error(`${trainings} trainings with and ${trainings} without, on ${backend}, seed ${seed}`);
const HEAD = [
  'unit',
  'sampler',
  'clipping',
  'trainer',
  'claimed',
  'at least',
  'chosen',
  'trainings',
  'confidence',
  '',
];
const WIDTHS = [8, 8, 9, 15, 8, 9, 8, 10, 11, 0];
if (!json) console.log(line(HEAD));
let wrong = 0;
for (const setting of chosen) {
  const claimed = claimedEpsilon(setting);
  for (const sabotage of [undefined, ...(values.honest ? [] : sabotages(setting))]) {
    const { bound, chosen } = audit(setting, claimed, sabotage);
    const convicted = bound.epsilon > claimed;
    if (convicted !== (sabotage !== undefined)) wrong += 1;
    if (json) {
      const of = { setting, trainer: sabotage ?? 'honest', claimed, bound, chosen, convicted };
      console.log(JSON.stringify({ ...of, trainings: 2 * trainings, perRun, confidence, seed, backend }));
    } else {
      console.log(told(setting, sabotage, [claimed, bound.epsilon, chosen.epsilon]));
    }
  }
}
process.exitCode = wrong === 0 ? 0 : 1;

function audit(setting: Setting, claimed: number, sabotage: Sabotage | undefined) {
  let shown = 0;
  const scores = collectScores(setting, {
    trainings,
    perRun,
    seed,
    ...(sabotage && { sabotage }),
    progress(done, of) {
      if (done < of && (!process.stderr.isTTY || done - shown < of / 100)) return;
      shown = done;
      const end = process.stderr.isTTY ? '\r' : '\n';
      process.stderr.write(`${setting.name}, ${sabotage ?? 'honest'}: ${done} of ${of}${end}`);
    },
  });
  const { delta } = setting;
  return {
    bound: boundAtClaim(scores, { claimed, delta, confidence }),
    chosen: auditBound(scores, { delta, confidence }),
  };
}

function told(
  { unit, sampler, clipping }: Setting,
  sabotage: Sabotage | undefined,
  figures: readonly [claimed: number, found: number, chosen: number],
): string {
  const [claimed, found] = figures;
  const expected = sabotage ? ['kept: NOT FOUND OUT', 'broken'] : ['kept', 'BROKEN'];
  return line([
    unit,
    sampler,
    clipping.kind,
    sabotage ?? 'honest',
    ...figures.map((figure) => figure.toFixed(3)),
    String(2 * trainings),
    String(confidence),
    expected[found > claimed ? 1 : 0]!,
  ]);
}

function line(cells: readonly string[]): string {
  return cells
    .map((cell, index) => cell.padEnd(WIDTHS[index]!))
    .join(' ')
    .trimEnd();
}

function wholeNumber(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new RangeError(`--${option} ${text}: a whole number, 1 or more, is needed`);
}
