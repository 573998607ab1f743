/** Terms of a new agreement from a learning preset and a budget. */
import type { PrivacyUnit } from '../../core/learning/job.ts';
import type { LearningPreset } from '../../core/learning/presets.ts';
import { solveNoiseMultiplier } from '../../core/privacy/accountant.ts';
import type { DraftTerms } from './draft.ts';

/** What one gateway is expected to hold: round numbers that are agreed, not counted. */
export interface Fleet {
  /** Finished episodes. */
  readonly episodes: number;
  /** Windows of one episode. */
  readonly windowsALife: number;
}

export interface TermsRequest {
  readonly consortium: string;
  readonly stream: string;
  readonly preset: LearningPreset;
  readonly fleet: Fleet;
  readonly unit: 'window' | 'episode';
  readonly epsilon: number | 'off';
  readonly delta: number;
  /** The preset's when undefined. */
  readonly rounds: number | undefined;
  readonly checkpointIntervalMs: number;
  /** Leaves by which logs grow in one step; as it comes when undefined. */
  readonly padding?: number;
  readonly intervalMs: number;
}

const PHASE_LIMIT_MS = 60_000;
/** One round in ten may fail after its charge, and the planned ones can be made all the same. */
const SPARE = 0.1;

/** The noise is the least that keeps all planned rounds within the budget. @throws RangeError when none does. */
export function draftTerms(request: TermsRequest): DraftTerms {
  const { preset, fleet, epsilon, delta } = request;
  const unit: PrivacyUnit = epsilon === 'off' ? 'none' : request.unit;
  const training = preset.training[unit];
  const rounds = request.rounds ?? training.rounds;
  const { samplingRate, stepsPerRound } = training;
  const units = unit === 'episode' ? fleet.episodes : fleet.episodes * fleet.windowsALife;
  const { inputs, features, ...windows } = preset.windows;
  return {
    consortium: request.consortium,
    epoch: 1,
    log: { checkpointInterval: request.checkpointIntervalMs, padding: request.padding ?? 0 },
    learning: {
      stream: request.stream,
      ...windows,
      ...(inputs ? { inputs: [...inputs] } : {}),
      ...(features ? { features: [...features] } : {}),
      hidden: [...training.hidden],
      activation: training.activation,
    },
    training: {
      unit,
      clipNorm: training.clipNorm,
      samplingRate,
      expectedBatch: samplingRate * units,
      minimumEpisodes: Math.max(1, Math.floor(fleet.episodes / 2)),
      stepsPerRound,
      firstLearningRate: training.firstLearningRate,
      lastLearningRate: training.lastLearningRate,
      optimiser: training.optimiser,
    },
    privacy:
      epsilon === 'off'
        ? undefined
        : {
            epsilon,
            delta,
            noiseMultiplier: solveNoiseMultiplier({
              samplingRate,
              steps: (rounds + Math.ceil(rounds * SPARE)) * stepsPerRound,
              epsilon,
              delta,
            }),
          },
    federation: {
      mode: 'fedavg',
      rounds,
      minimumBatch: 3,
      committee: 3,
      updateBound: training.updateBound,
      fractionBits: 24,
      interval: request.intervalMs,
      phaseLimit: PHASE_LIMIT_MS,
      averageLast: 1,
    },
  };
}
