/**
 * How wide intervals have to be: the model in use against the runs of this gateway's calibration machines, which
 * neither taught it nor chose it. See core/learning/conformal.ts for what is promised.
 */
import {
  lifeInterval,
  lifeScore,
  machinesNeeded,
  outcomeScore,
  outcomesWithin,
  pValue,
  type Threshold,
  thresholdOf,
} from '../../core/learning/conformal.ts';
import { type Episode, type LabelSpec, labelledWindows } from '../../core/learning/episodes.ts';
import { outputsOver, probabilityOf, usableEpisodes } from '../../core/learning/evaluate.ts';
import type { DataSheet } from '../../core/learning/features.ts';
import { type ModelSpec, predict, predictRul } from '../../core/learning/model.ts';
import type { Holdout } from './holdout.ts';

export interface CalibrationOptions {
  readonly model: ModelSpec;
  readonly sheet: DataSheet;
  readonly windows: LabelSpec;
  /** How often an interval is to hold the truth. */
  readonly coverage: number;
  readonly dataset: { episodes(): readonly Episode[]; revision(): number };
  readonly holdout: Pick<Holdout, 'roleOf' | 'counts' | 'lot'>;
}

/** How sure a prediction is; plain data, as it is published. */
export interface Certainty {
  readonly coverage: number;
  /** False: there are fewer calibration machines than the coverage takes, and nothing is promised. */
  readonly guaranteed: boolean;
  /** Calibration machines, and how many the coverage takes. */
  readonly machines: number;
  readonly needed: number;
}

/** Rows that are left; `high` null: `low` or more, as far as the cap lets see. */
export interface LifeInterval extends Certainty {
  readonly low: number;
  readonly high: number | null;
}

/** What may happen within the horizon. Both: the model cannot tell. Neither: it has not seen the like. */
export interface OutcomeSet extends Certainty {
  readonly failure: boolean;
  readonly noFailure: boolean;
}

/** How unusual a window is beside healthy ones of the calibration machines. */
export interface Unusual extends Certainty {
  readonly p: number;
}

export interface Calibration {
  /** The model that predicts from now on. */
  use(parameters: Float64Array | undefined): void;
  /** Remaining life. Undefined while nothing is known of the model's errors. */
  interval(predicted: number): LifeInterval | undefined;
  outcomes(probability: number): OutcomeSet | undefined;
  unusual(error: number): Unusual | undefined;
  /** What makes an interval of remaining life of any prediction of the model in use; null while there is nothing. */
  threshold(): (Certainty & { readonly value: number }) | null;
  status(): Certainty;
}

/** A window drawn from the runs of one machine. */
interface Drawn {
  readonly features: Float32Array;
  readonly label: number;
}

/** Healthy windows of a machine that anomalies are compared with. */
interface Healthy {
  readonly features: Float32Array;
  readonly count: number;
}

/** Windows of a machine that one is drawn from, or that are compared with: those of longer runs lie further apart. */
const MOST_WINDOWS = 2_000;
const MOST_HEALTHY = 200;

export function createCalibration(options: CalibrationOptions): Calibration {
  const { model, sheet, windows, coverage, dataset, holdout } = options;
  const { cap, label = 'remaining-life' } = windows;
  // One coin for good: with a fresh one for each prediction, anybody could throw it until it suits.
  const coin = holdout.lot('\0coin');
  let parameters: Float64Array | undefined;
  let read: { readonly of: string; readonly drawn: Drawn[]; readonly healthy: Healthy[] } | undefined;
  let threshold: Threshold | undefined;
  let groups: readonly Float64Array[] | undefined;

  /** Healthy rows come from runs that go on, too; looked at anew when they are half as many again. */
  function growth(): number {
    let rows = 0;
    for (const { machine, rows: own } of dataset.episodes()) {
      if (holdout.roleOf(machine) === 'calibrate') rows += own.length;
    }
    return Math.floor(2 * Math.log2(rows + 1));
  }

  /** Anew when a run has ended or a machine was admitted. */
  function material() {
    const of = `${dataset.revision()}/${holdout.counts().calibrate}/${label === 'none' ? growth() : 0}`;
    if (read?.of === of) return read;
    const byMachine = new Map<string, Episode[]>();
    for (const episode of usableEpisodes(dataset.episodes(), label)) {
      if (holdout.roleOf(episode.machine) !== 'calibrate') continue;
      byMachine.set(episode.machine, [...(byMachine.get(episode.machine) ?? []), episode]);
    }
    const drawn: Drawn[] = [];
    const healthy: Healthy[] = [];
    for (const [machine, episodes] of byMachine) {
      if (label === 'none') healthy.push(healthyOf(episodes));
      else drawn.push(...draw(machine, episodes));
    }
    read = { of, drawn, healthy: healthy.filter(({ count }) => count > 0) };
    threshold = undefined;
    groups = undefined;
    return read;
  }

  function windowsOf(episodes: readonly Episode[], most: number) {
    const rows = episodes.reduce((sum, episode) => sum + episode.rows.length, 0);
    return labelledWindows(episodes, sheet, { ...windows, stride: Math.max(1, Math.ceil(rows / most)) });
  }

  /** One window, any of them as likely as any other. */
  function draw(machine: string, episodes: readonly Episode[]): Drawn[] {
    const { count, features, labels } = windowsOf(episodes, MOST_WINDOWS);
    if (count === 0) return [];
    const index = Math.floor(holdout.lot(`window/${machine}`) * count);
    const width = features.length / count;
    return [{ features: features.slice(index * width, (index + 1) * width), label: labels[index]! }];
  }

  function healthyOf(episodes: readonly Episode[]): Healthy {
    const { count, features } = windowsOf(episodes, MOST_HEALTHY);
    return { count, features };
  }

  function scoreOf({ features, label: truth }: Drawn): number {
    if (label === 'failure-within') {
      return outcomeScore(probabilityOf(predict(model, parameters!, features)), truth > 0.5);
    }
    return lifeScore(predictRul(model, parameters!, features, cap), truth * cap, cap);
  }

  function thresholdNow(): Threshold | undefined {
    const { drawn } = material();
    if (!parameters || drawn.length === 0) return undefined;
    threshold ??= thresholdOf(drawn.map(scoreOf), coverage, coin);
    return threshold;
  }

  const certainty = (machines: number): Certainty => {
    // The same number for a p-value: it is at least 1 / (K + 1), and has to come down to 1 - coverage.
    const needed = machinesNeeded(coverage);
    return { coverage, guaranteed: machines >= needed, machines, needed };
  };

  return {
    use(next) {
      parameters = next;
      threshold = undefined;
      groups = undefined;
    },
    interval(predicted) {
      const found = thresholdNow();
      if (!found) return undefined;
      const { low, high } = lifeInterval(predicted, cap, found.value);
      return { low, high: high ?? null, ...certainty(found.machines) };
    },
    outcomes(probability) {
      const found = thresholdNow();
      if (!found) return undefined;
      return { ...outcomesWithin(probability, found.value), ...certainty(found.machines) };
    },
    unusual(error) {
      const { healthy } = material();
      if (!parameters || healthy.length === 0) return undefined;
      const used = parameters;
      groups ??= healthy.map(({ features, count }) => outputsOver(model, used, features, count).sort());
      return { p: pValue(groups, error), ...certainty(groups.length) };
    },
    threshold() {
      const found = label === 'remaining-life' ? thresholdNow() : undefined;
      return found ? { value: found.value, ...certainty(found.machines) } : null;
    },
    status() {
      const { drawn, healthy } = material();
      return certainty(label === 'none' ? healthy.length : drawn.length);
    },
  };
}
