/**
 * When predictions become an alarm. A rule looks at one level a row, low being bad: remaining rows, one minus the
 * probability of a failure, or the p-value of an anomaly score.
 */

export interface AlarmRule {
  /** A level at or below this is a reason for an alarm. */
  readonly raise: number;
  /** An alarm ends at a level above this; at least `raise`. */
  readonly clear: number;
  /** Reasons in a row that it takes. */
  readonly persistence: number;
}

export interface AlarmState {
  readonly on: boolean;
  /** Reasons in a row up to now. */
  readonly reasons: number;
}

export const QUIET: AlarmState = { on: false, reasons: 0 };

export interface AlarmStep {
  readonly state: AlarmState;
  readonly event: 'raised' | 'ended' | undefined;
}

/** @throws RangeError when the rule is impossible. */
export function checkAlarm({ raise, clear, persistence }: AlarmRule): void {
  if (!Number.isFinite(raise) || !(clear >= raise)) {
    throw new RangeError(`an alarm at ${raise} that ends above ${clear}: it would never end or never be`);
  }
  if (!Number.isSafeInteger(persistence) || persistence < 1) {
    throw new RangeError(`a persistence of ${persistence}: it has to be a whole number above 0`);
  }
}

/** The state after one more level. A level that is not a number neither raises nor ends anything. */
export function stepAlarm(rule: AlarmRule, { on, reasons }: AlarmState, level: number): AlarmStep {
  if (Number.isNaN(level)) return { state: { on, reasons: 0 }, event: undefined };
  if (on) {
    const ended = level > rule.clear;
    return { state: ended ? QUIET : { on, reasons }, event: ended ? 'ended' : undefined };
  }
  const counted = level <= rule.raise ? reasons + 1 : 0;
  const raised = counted >= rule.persistence;
  return { state: { on: raised, reasons: counted }, event: raised ? 'raised' : undefined };
}

/** A run whose end is known: what the rule saw, and the truth beside it. */
export interface JudgedRun {
  readonly levels: ArrayLike<number>;
  /** Rows that were left at each level. */
  readonly remaining: ArrayLike<number>;
}

export interface AlarmLimits {
  /** A run that comes to within so many rows of its failure needs an alarm. */
  readonly due: number;
  /** An alarm raised with more rows left than this is a false one. */
  readonly early: number;
}

export interface AlarmJudgement {
  readonly runs: number;
  /** Runs that needed an alarm: `detected + missed + tooEarly`. */
  readonly due: number;
  /** Of these: an alarm stood at the end, and was not raised too early. */
  readonly detected: number;
  /** No alarm stood at the end. */
  readonly missed: number;
  /** The alarm that stood at the end was raised too early: it is among the false ones. */
  readonly tooEarly: number;
  /** Alarms raised with more than `early` rows left. */
  readonly falseAlarms: number;
  /** Rows left when the alarm of each detected run was raised, the fewest first. */
  readonly leadTimes: readonly number[];
}

/**
 * Judges the rule by runs that were not learned from.
 *
 * @throws RangeError when levels and truth are not equally many or a limit is impossible
 */
export function judgeAlarms(
  runs: readonly JudgedRun[],
  rule: AlarmRule,
  { due, early }: AlarmLimits,
): AlarmJudgement {
  checkAlarm(rule);
  if (!(due >= 0 && early >= due)) {
    throw new RangeError(`alarms due at ${due} rows and early above ${early}: early is less than due`);
  }
  const leadTimes: number[] = [];
  const count = { due: 0, missed: 0, tooEarly: 0, falseAlarms: 0 };
  for (const run of runs) {
    const { raisedAt, falseAlarms } = alarmsOf(run, rule, early);
    count.falseAlarms += falseAlarms;
    if (run.remaining.length === 0 || run.remaining[run.remaining.length - 1]! > due) continue;
    count.due += 1;
    if (raisedAt === undefined) count.missed += 1;
    else if (raisedAt > early) count.tooEarly += 1;
    else leadTimes.push(raisedAt);
  }
  leadTimes.sort((a, b) => a - b);
  return { runs: runs.length, ...count, detected: leadTimes.length, leadTimes };
}

/** `raisedAt`: rows left when the alarm was raised that stood at the end; undefined when none did. */
function alarmsOf({ levels, remaining }: JudgedRun, rule: AlarmRule, early: number) {
  if (levels.length !== remaining.length) {
    throw new RangeError(`${levels.length} levels for ${remaining.length} rows`);
  }
  let state = QUIET;
  let raisedAt: number | undefined;
  let falseAlarms = 0;
  for (let row = 0; row < levels.length; row += 1) {
    const step = stepAlarm(rule, state, levels[row]!);
    state = step.state;
    if (step.event === 'ended') raisedAt = undefined;
    if (step.event !== 'raised') continue;
    raisedAt = remaining[row]!;
    if (raisedAt > early) falseAlarms += 1;
  }
  return { raisedAt, falseAlarms };
}

/** An alarm is due within the horizon, and too early with twice that left. */
export function limitsFor(horizon: number): AlarmLimits {
  return { due: horizon, early: 2 * horizon };
}

/** What an agreement says of alarms; lengths are in rows. */
export interface AlarmTerms {
  readonly horizon: number;
  readonly persistence: number;
  readonly hysteresis: number;
}

/**
 * The rule on the levels of a label. For remaining life: at or below the horizon, ended above horizon + hysteresis.
 * A probability of failure: at or above one half, ended below 0.4. An anomaly: a p-value at or below 1 - coverage,
 * ended above twice that. The two others' horizons lie in what they learned, or nowhere.
 */
export function ruleFor(
  label: 'remaining-life' | 'failure-within' | 'none',
  { horizon, persistence, hysteresis }: AlarmTerms,
  coverage: number,
): AlarmRule {
  if (label === 'remaining-life') return { raise: horizon, clear: horizon + hysteresis, persistence };
  if (label === 'failure-within') return { raise: 0.5, clear: 0.6, persistence };
  // The p-value of 1 / (K + 1) has to pass, however it was rounded.
  const raise = 1 - coverage + 1e-9;
  return { raise, clear: 2 * raise, persistence };
}
