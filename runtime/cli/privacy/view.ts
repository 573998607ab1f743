/** The privacy budget for people: every epsilon stands with the unit that it protects. */
import type { ProtectedUnit } from '../../state/ledger/charge.ts';
import type { BlockRow, BudgetReport, ChargeRow } from '../../state/ledger/report.ts';
import { count } from '../terminal/human.ts';
import { table } from '../terminal/layout.ts';

/** What an epsilon for the unit says, and what it does not. */
export const PROTECTS: Readonly<Record<ProtectedUnit, string>> = {
  episode:
    'a machine’s run from one repair to the next failure, as a whole, and so every sample and window in it',
  window: 'single windows only: a sample lies in many windows, and a failure labels all of its run',
};

export function describeBudget(report: BudgetReport): readonly string[] {
  const { unit, epsilon, delta, spent, charges, blocks, meaning } = report;
  const most = spent === null ? 'without bound' : spent.toFixed(3);
  return [
    `epsilon ${most} of ${epsilon} spent where most was (${unit}-level, delta ${delta})`,
    `it protects ${PROTECTS[unit]}`,
    ...meaning.map(({ unit, windows, epsilon }) => {
      const what =
        unit === 'sample' ? `a sample, which is in ${windows} windows` : `a run of ${windows} windows`;
      return epsilon === null
        ? `for ${what}, it promises nothing: no epsilon worth the name (${unit}-level)`
        : `for ${what}, it is epsilon ${epsilon.toFixed(2)} (${unit}-level, delta ${delta})`;
    }),
    '',
    ...table(
      [
        { title: 'data that ended' },
        { title: `spent (${unit})`, align: 'right' },
        { title: 'left', align: 'right' },
        { title: 'rounds left', align: 'right' },
        { title: 'charges', align: 'right' },
      ],
      blocks.map((row) => blockCells(row, report)),
    ),
    '',
    ...(charges.length === 0
      ? ['nothing has been charged yet']
      : table(
          [
            { title: 'charged' },
            { title: 'unit' },
            { title: 'q', align: 'right' },
            { title: 'sigma', align: 'right' },
            { title: 'steps', align: 'right' },
            { title: 'data that ended' },
            { title: 'agreement' },
          ],
          charges.map(chargeCells),
        )),
  ];
}

function blockCells(row: BlockRow, { epsilon }: BudgetReport): readonly string[] {
  return [
    spanOf(row),
    row.spent === null ? 'no bound' : row.spent.toFixed(3),
    `${row.left.toFixed(3)} of ${epsilon}`,
    count(row.rounds),
    count(row.charges),
  ];
}

function chargeCells({ rounds, unit, mechanism, from, to, agreement }: ChargeRow): readonly string[] {
  const { first, last, count: times } = rounds;
  const which = first === last ? `round ${first}` : `rounds ${first} to ${last}`;
  return [
    times === 1 ? which : `${which}, ${times} times`,
    unit,
    String(mechanism.samplingRate),
    String(Number(mechanism.noiseMultiplier.toPrecision(5))),
    count(mechanism.steps),
    spanOf({ from, to }),
    agreement.slice(0, 16),
  ];
}

function spanOf({ from, to }: { readonly from: number; readonly to: number | null }): string {
  const since = from === 0 ? '' : `from ${day(from)}`;
  const until = to === null ? '' : `before ${day(to)}`;
  return since === '' && until === ''
    ? 'at any time'
    : [since, until].filter((part) => part !== '').join(' ');
}

/** A day, or the minute where an end lies within one. */
function day(time: number): string {
  // Beyond what a date can be, nobody reads one.
  if (time > 8.64e15) return String(time);
  const iso = new Date(time).toISOString();
  return time % 86_400_000 === 0 ? iso.slice(0, 10) : `${iso.slice(0, 16)}Z`;
}
