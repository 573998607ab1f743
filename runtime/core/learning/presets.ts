import { solveNoiseMultiplier } from '../privacy/accountant.ts';
import type { Mechanism } from '../privacy/rdp.ts';
import type { LabelSpec } from './episodes.ts';
import { type DataSheet, featureCount } from './features.ts';
import type { Optimiser, PrivacyUnit } from './job.ts';
import type { Activation, ModelSpec } from './model.ts';

/** How the members train, for one privacy unit. Chosen on training machines only: see scripts/tune. */
export interface TrainingPreset {
  readonly hidden: readonly number[];
  readonly activation: Activation;
  /** Rounds that the budget is laid out for. */
  readonly rounds: number;
  /** DP-SGD steps of each gateway in each round. */
  readonly stepsPerRound: number;
  readonly samplingRate: number;
  readonly clipNorm: number;
  /** The learning rate falls geometrically from the first to the last round. */
  readonly firstLearningRate: number;
  readonly lastLearningRate: number;
  readonly optimiser: Optimiser;
  /** Every value of an update is clipped to +- this when it is encoded for aggregation. */
  readonly updateBound: number;
}

/** What a consortium of one kind of machine agrees on to learn. */
export interface LearningPreset {
  readonly name: string;
  readonly windows: LabelSpec;
  readonly training: Readonly<Record<PrivacyUnit, TrainingPreset>>;
}

/**
 * On the noised gradient Adam makes steps of a size that neither the clip norm nor the expected batch
 * changes, so that these constants serve fleets of other sizes too.
 */
const ADAM: Optimiser = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

/** NASA C-MAPSS, with the sheet of its flight conditions: the 21 sensors, not the three settings. */
export const cmapssPreset: LearningPreset = {
  name: 'cmapss',
  windows: {
    window: 50,
    // Some engines of the test files are cut off after 19 cycles.
    minimum: 15,
    slopeScale: 7,
    cap: 125,
    inputs: [
      ...['T2', 'T24', 'T30', 'T50', 'P2', 'P15', 'P30', 'Nf', 'Nc', 'epr', 'Ps30', 'phi'],
      ...['NRf', 'NRc', 'BPR', 'farB', 'htBleed', 'Nf_dmd', 'PCNfR_dmd', 'W31', 'W32'],
    ],
  },
  training: {
    none: {
      hidden: [32, 16],
      activation: 'elu',
      rounds: 20,
      stepsPerRound: 25,
      samplingRate: 0.1,
      clipNorm: 1,
      firstLearningRate: 0.01,
      lastLearningRate: 0.001,
      optimiser: ADAM,
      updateBound: 1,
    },
    window: {
      hidden: [32, 16],
      activation: 'elu',
      rounds: 20,
      stepsPerRound: 25,
      samplingRate: 0.1,
      clipNorm: 0.1,
      firstLearningRate: 0.03,
      lastLearningRate: 0.003,
      optimiser: ADAM,
      updateBound: 1,
    },
    episode: {
      hidden: [16, 8],
      activation: 'elu',
      rounds: 20,
      stepsPerRound: 5,
      samplingRate: 1,
      clipNorm: 0.1,
      firstLearningRate: 0.03,
      lastLearningRate: 0.006,
      optimiser: ADAM,
      updateBound: 1,
    },
  },
};

/**
 * The simulated machines. Their load changes from row to row, so that a slope over a window tells little:
 * it is left small.
 */
export const simulatedPreset: LearningPreset = {
  name: 'simulated-machine',
  windows: { window: 20, minimum: 10, slopeScale: 1, cap: 125 },
  training: {
    ...cmapssPreset.training,
    episode: { ...cmapssPreset.training.episode, firstLearningRate: 0.04, lastLearningRate: 0.004 },
  },
};

/** The model that `preset` trains for `unit` on machines described by `sheet`. */
export function modelSpecOf(preset: LearningPreset, unit: PrivacyUnit, sheet: DataSheet): ModelSpec {
  const { hidden, activation } = preset.training[unit];
  return { kind: 'dense', inputs: featureCount(sheet, preset.windows), hidden, activation };
}

/** The learning rate of `round`, counted from 0, of `rounds`; after the last it stays where it is. */
export function learningRateAt(
  training: Pick<TrainingPreset, 'firstLearningRate' | 'lastLearningRate'>,
  round: number,
  rounds: number,
): number {
  const { firstLearningRate, lastLearningRate } = training;
  const passed = rounds > 1 ? Math.min(1, round / (rounds - 1)) : 0;
  return firstLearningRate * (lastLearningRate / firstLearningRate) ** passed;
}

/**
 * All steps of `rounds` rounds as one mechanism, with the least noise that keeps them within the budget.
 *
 * @throws RangeError when the budget cannot be kept
 */
export function mechanismOf(
  training: TrainingPreset,
  rounds: number,
  budget: { readonly epsilon: number; readonly delta: number },
): Mechanism {
  const { samplingRate, stepsPerRound } = training;
  const steps = rounds * stepsPerRound;
  const noiseMultiplier = solveNoiseMultiplier({ samplingRate, steps, ...budget });
  return { samplingRate, noiseMultiplier, steps };
}
