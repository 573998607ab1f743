/** A gateway's own contribution to a round: budget first, then private training in the child process. */

import { type LabelledWindows, type LabelSpec, labelledWindows } from '../../core/learning/episodes.ts';
import type { DataSheet } from '../../core/learning/features.ts';
import type { TrainingJob } from '../../core/learning/job.ts';
import type { ModelSpec } from '../../core/learning/model.ts';
import { learningRateAt } from '../../core/learning/presets.ts';
import type { AgreementTerms } from '../../state/agreement/schema.ts';
import type { Charge, Ledger } from '../../state/ledger/ledger.ts';
import type { Dataset } from './dataset.ts';
import type { Trainer } from './trainer.ts';

export interface LearnerOptions {
  readonly terms: AgreementTerms;
  readonly agreement: Uint8Array;
  readonly model: ModelSpec;
  readonly sheet: DataSheet;
  readonly windows: LabelSpec;
  readonly dataset: Dataset;
  readonly ledger: Ledger;
  readonly trainer: Trainer;
  /** Whether recordings that are being read have come to their end. */
  readonly settled: () => boolean;
  /** Whether some source never ends, so that the newest samples are always still on their way. */
  readonly live: boolean;
  /** Whether a machine here has the stream that the agreement learns from. */
  readonly hasStream: boolean;
}

/** Blocks that may be unread: the newest of a live source, or the entries that rounds themselves make. */
const NEWEST = 16;

export interface LocalLearner {
  readiness(): { readonly kind: 'ready' } | { readonly kind: 'waiting' | 'unable'; readonly why: string };
  /** The change of the parameters, or an error and nothing. */
  update(
    round: number,
    version: number,
    parameters: Float64Array,
    signal: AbortSignal,
  ): Promise<Float64Array>;
}

export function createLearner(options: LearnerOptions): LocalLearner {
  const { terms, dataset, ledger } = options;
  const { training, privacy } = terms;
  /** Recordings have been read to their end once. */
  let read = false;
  let cached: { readonly revision: number; readonly windows: LabelledWindows } | undefined;

  function windows(): LabelledWindows {
    const revision = dataset.revision();
    if (cached?.revision !== revision) {
      cached = { revision, windows: labelledWindows(dataset.episodes(), options.sheet, options.windows) };
    }
    return cached.windows;
  }

  /** What a round costs; undefined where the agreement asks for no privacy. */
  function chargeFor(round: number): Charge | undefined {
    if (training.unit === 'none' || !privacy) return undefined;
    const { samplingRate, stepsPerRound } = training;
    return {
      agreement: options.agreement,
      round,
      unit: training.unit,
      mechanism: { samplingRate, noiseMultiplier: privacy.noiseMultiplier, steps: stepsPerRound },
    };
  }

  function budget(unit: Charge['unit']) {
    return { epsilon: privacy!.epsilon, delta: privacy!.delta, unit };
  }

  return {
    readiness() {
      if (!options.hasStream) {
        return { kind: 'unable', why: `no machine here has the stream ${terms.learning.stream}` };
      }
      if (options.settled() && dataset.lag() === 0) read = true;
      if (!options.settled() || dataset.lag() > (options.live || read ? NEWEST : 0))
        return { kind: 'waiting', why: 'data are still being read' };
      if (dataset.counts().failures === 0) return { kind: 'unable', why: 'no machine has failed yet' };
      // How many there are is nobody else's business.
      if (windows().episodes < training.minimumEpisodes) {
        return { kind: 'unable', why: 'too few machines have failed yet' };
      }
      const charge = chargeFor(0);
      if (charge && !ledger.allows(charge, budget(charge.unit))) {
        return { kind: 'unable', why: 'the privacy budget is spent' };
      }
      return { kind: 'ready' };
    },
    async update(round, version, parameters, signal) {
      const { features, labels, episodeOf } = windows();
      const charge = chargeFor(round);
      if (charge && !ledger.allows(charge, budget(charge.unit)))
        throw new Error('the privacy budget is spent');
      const job: TrainingJob = {
        model: options.model,
        parameters,
        features,
        labels,
        episodeOf,
        unit: training.unit,
        clipNorm: training.clipNorm,
        noiseMultiplier: privacy?.noiseMultiplier ?? 0,
        samplingRate: training.samplingRate,
        steps: training.stepsPerRound,
        learningRate: learningRateAt(training, version, terms.federation.rounds),
        optimiser: training.optimiser,
        expectedBatch: training.expectedBatch,
      };
      const result = await options.trainer.train(job, signal);
      // Charged, durably, before anything of it can leave; a training that failed has told nobody anything.
      if (charge) await ledger.charge(charge, budget(charge.unit));
      return result.parameters.map((value, index) => value - parameters[index]!);
    },
  };
}
