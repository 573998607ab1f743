/**
 * A gateway's own contribution to a round: budget first, then private training in the child process, then the charge
 * with the evidence of what was done, and only then the update.
 */
import { randomBytes } from '#random';
import { sha256 } from '#sha256';
import { toHex } from '../../core/encoding/base64.ts';
import { encodeCbor } from '../../core/encoding/cbor.ts';
import {
  type Episode,
  type LabelledWindows,
  type LabelSpec,
  labelledWindows,
} from '../../core/learning/episodes.ts';
import type { DataSheet } from '../../core/learning/features.ts';
import type { TrainingJob } from '../../core/learning/job.ts';
import { type ModelSpec, modelHash } from '../../core/learning/model.ts';
import { learningRateAt } from '../../core/learning/presets.ts';
import type { AgreementTerms } from '../../state/agreement/schema.ts';
import type { Write } from '../../state/journal/store.ts';
import { ALL_TIME, type Interval } from '../../state/ledger/charge.ts';
import {
  type EpisodeIdentity,
  encodeIdentity,
  parametersOf,
  setRoot,
  updateDigest,
} from '../../state/ledger/evidence.ts';
import type { Ledger } from '../../state/ledger/ledger.ts';
import type { Dataset } from './dataset.ts';
import { chargeable, eligible, identitiesOf, type Price, priceOf } from './eligible.ts';
import type { EvidenceBook, UpdateFacts } from './evidence.ts';
import type { Trainer } from './trainer.ts';

export interface LearnerOptions {
  readonly terms: AgreementTerms;
  readonly agreement: Uint8Array;
  readonly model: ModelSpec;
  readonly sheet: DataSheet;
  readonly windows: LabelSpec;
  /** What the model's output is held against; the squared error when absent. */
  readonly loss?: NonNullable<TrainingJob['loss']>;
  readonly dataset: Pick<Dataset, 'episodes' | 'revision' | 'lag'>;
  readonly ledger: Pick<Ledger, 'allows' | 'charge' | 'pieces'>;
  /** Where evidence of training goes; without one nobody can audit what was done. */
  readonly evidence?: EvidenceBook;
  readonly trainer: Pick<Trainer, 'train'>;
  /** What drops the checkpoint of a run, for the batch that charges it. */
  readonly forgetting?: () => readonly Write[];
  /** Whether a machine trains; one that is held back judges models instead. All do when absent. */
  readonly trains?: (machine: string) => boolean;
  /** Whether recordings that are being read have come to their end. */
  readonly settled: () => boolean;
  /** Whether some source never ends, so that the newest samples are always still on their way. */
  readonly live: boolean;
  /** Whether a machine here has the stream that the agreement learns from. */
  readonly hasStream: boolean;
}

/** Blocks that may be unread: the newest of a live source, or the entries that rounds themselves make. */
const NEWEST = 16;
/** To be looked at again when a run that is learned from has grown by this. */
const GROWTH = 1.1;

export interface LocalLearner {
  readiness(): { readonly kind: 'ready' } | { readonly kind: 'waiting' | 'unable'; readonly why: string };
  /**
   * The change of the parameters, or an error and nothing. Updates asked for at once are made one after the other.
   * @throws BudgetSpent when the budget does not allow it; Error when nothing can be learned from, or `signal` aborts.
   */
  update(
    round: number,
    version: number,
    parameters: Float64Array,
    signal: AbortSignal,
  ): Promise<Float64Array>;
}

/** What is learned from, as it is now. */
interface Prepared {
  readonly episodes: readonly Episode[];
  readonly windows: LabelledWindows;
}

export function createLearner(options: LearnerOptions): LocalLearner {
  const { terms, dataset, ledger, evidence, trains = () => true } = options;
  const { training, privacy, learning } = terms;
  const period = privacy?.period;
  /** The healthy state is learned from machines that run; whatever else needs to know how a run ended. */
  const fromRunning = learning.label === 'none' && period === undefined;
  /** Recordings have been read to their end once. */
  let read = false;
  let cached: (Prepared & { readonly data: string; readonly rows: number }) | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  /** @param exact whether runs that have grown a little since are looked at again. */
  function prepared(interval: Interval, exact: boolean): Prepared {
    const all = dataset.episodes();
    const rows = fromRunning
      ? all.reduce((sum, one) => sum + (one.end === 'running' ? one.rows.length : 0), 0)
      : 0;
    const data = `${dataset.revision()} ${interval.from} ${interval.to}`;
    const isSame = cached?.data === data && rows >= cached.rows;
    if (cached && isSame && rows <= cached.rows * (exact ? 1 : GROWTH)) return cached;
    const episodes = eligible(all, interval, fromRunning, trains);
    const windows = labelledWindows(episodes, options.sheet, options.windows);
    cached = { data, rows, episodes, windows };
    return cached;
  }

  function intervalFor(price: Price | undefined): Interval | undefined {
    return price ? chargeable(ledger, price, period, dataset.episodes()) : ALL_TIME;
  }

  /** Why what there is does not do; undefined when it does. */
  function lackOf({ windows }: Prepared): string | undefined {
    const rest = period === undefined ? '' : ' in data that have budget left';
    if (learning.label !== 'none' && windows.failures === 0) return `no machine has failed yet${rest}`;
    // How many there are is nobody else's business.
    if (windows.episodes >= training.minimumEpisodes) return undefined;
    return learning.label === 'none'
      ? `too few machines have run yet${rest}`
      : `too few machines have failed yet${rest}`;
  }

  function jobFor(
    version: number,
    parameters: Float64Array,
    windows: LabelledWindows,
    samplerSeed: Uint8Array,
  ) {
    const { features, labels, atLeast, episodeOf } = windows;
    return {
      model: options.model,
      parameters,
      features,
      labels,
      atLeast,
      episodeOf,
      loss: options.loss ?? 'squared',
      unit: training.unit,
      clipNorm: training.clipNorm,
      noiseMultiplier: privacy?.noiseMultiplier ?? 0,
      samplingRate: training.samplingRate,
      steps: training.stepsPerRound,
      learningRate: learningRateAt(training, version, terms.federation.rounds),
      optimiser: training.optimiser,
      expectedBatch: training.expectedBatch,
      sampler: training.sampler,
      clipping: training.clipping,
      samplerSeed,
    } satisfies TrainingJob;
  }

  async function update(
    round: number,
    version: number,
    parameters: Float64Array,
    signal: AbortSignal,
  ): Promise<Float64Array> {
    signal.throwIfAborted();
    const price = priceOf(terms, options.agreement, round);
    const interval = intervalFor(price);
    if (!interval) throw new Error('the privacy budget is spent');
    const now = prepared(interval, true);
    const lack = now.windows.episodes === 0 ? lackOf(now) : undefined;
    if (lack) throw new Error(lack);
    const episodes = await identitiesOf(now.episodes);
    const modelIn = modelHash(options.model, parameters);
    const name = jobName(options.agreement, version, modelIn, episodes);
    const samplerSeed = (await evidence?.seedFor(name)) ?? randomBytes(32);
    const job = jobFor(version, parameters, now.windows, samplerSeed);
    const result = await options.trainer.train(job, signal, { resume: toHex(name) });
    // Whoever asked has gone: nothing will leave, and nothing is paid.
    signal.throwIfAborted();
    const change = result.parameters.map((value, index) => value - parameters[index]!);
    const facts: UpdateFacts = {
      agreement: options.agreement,
      round,
      version,
      episodes,
      seed: samplerSeed,
      modelIn,
      updateOut: updateDigest(change),
      charge: price && { ...price.charge, ...interval },
      parameters: parametersOf(job),
    };
    await pay(facts, price);
    return change;
  }

  /** Charged, durably and with others, and its evidence in the log, before anything of it can leave. */
  async function pay(facts: UpdateFacts, price: Price | undefined): Promise<void> {
    const prepared = evidence?.prepareUpdate(facts);
    const along = {
      writes: [...(prepared?.writes ?? []), ...(options.forgetting?.() ?? [])],
      durable: () => prepared?.durable(),
    };
    if (price && facts.charge) await ledger.charge(facts.charge, price.budget, along);
    else await evidence?.store(along);
    await evidence?.settle();
  }

  return {
    readiness() {
      if (!options.hasStream) {
        return { kind: 'unable', why: `no machine here has the stream ${learning.stream}` };
      }
      if (options.settled() && dataset.lag() === 0) read = true;
      if (!options.settled() || dataset.lag() > (options.live || read ? NEWEST : 0))
        return { kind: 'waiting', why: 'data are still being read' };
      const interval = intervalFor(priceOf(terms, options.agreement, 0));
      if (!interval) return { kind: 'unable', why: nothingToCharge() };
      const lack = lackOf(prepared(interval, false));
      return lack === undefined ? { kind: 'ready' } : { kind: 'unable', why: lack };
    },
    update(round, version, parameters, signal) {
      const mine = turn.then(() => update(round, version, parameters, signal));
      turn = mine.catch(() => undefined);
      return mine;
    },
  };

  function nothingToCharge(): string {
    return dataset.episodes().length === 0 ? 'no machine has run yet' : 'the privacy budget is spent';
  }
}

/** What a run is called whose steps may be gone on with: another round of the same model and data is the same run. */
function jobName(
  agreement: Uint8Array,
  version: number,
  modelIn: Uint8Array,
  episodes: readonly EpisodeIdentity[],
): Uint8Array {
  return sha256(encodeCbor([agreement, version, modelIn, setRoot(episodes.map(encodeIdentity))]));
}
