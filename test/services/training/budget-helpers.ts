/** A learner over data that a test hands in, on a real journal, that can be made to crash at any of its writes. */
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import type { Episode } from '../../../runtime/core/learning/episodes.ts';
import type { TrainingJob } from '../../../runtime/core/learning/job.ts';
import { initialParameters, type ModelSpec } from '../../../runtime/core/learning/model.ts';
import { epsilonOf } from '../../../runtime/core/privacy/accountant.ts';
import { openEvidenceBook } from '../../../runtime/services/training/evidence.ts';
import { createLearner, type LearnerOptions } from '../../../runtime/services/training/learner.ts';
import type { AgreementTerms } from '../../../runtime/state/agreement/schema.ts';
import { type Journal, openJournal } from '../../../runtime/state/journal/journal.ts';
import { decodeCharge } from '../../../runtime/state/ledger/charge.ts';
import { openEvidence } from '../../../runtime/state/ledger/evidence.ts';
import { openLedger } from '../../../runtime/state/ledger/ledger.ts';
import { createClock } from '../../../runtime/state/provenance/clock.ts';
import type { GatewayKeys } from '../../../runtime/state/provenance/keys.ts';
import { openRecorder } from '../../../runtime/state/provenance/recorder.ts';
import { closing } from '../../state/journal/helpers.ts';
import { createConsortium, newKeys, temporaryDirectory } from '../consortium.ts';
import { contents } from '../gateway-state.ts';

export const DELTA = 1e-5;
export const DAY = 86_400_000;
export const MECHANISM = { samplingRate: 0.5, noiseMultiplier: 2, steps: 1 };
export const MODEL: ModelSpec = { kind: 'dense', inputs: 2, hidden: [], activation: 'tanh' };
export const PARAMETERS = initialParameters(MODEL, Uint8Array.of(1));
export const never = new AbortController().signal;

const base = createConsortium({ fleets: [1, 1, 1] }).agreement;

/** A run of one channel that ended at `ended`, its last rows a second apart. */
export function episode(machine: string, ended: number, end: Episode['end'] = 'failure'): Episode {
  const values = [10, 20, 30, 40];
  return {
    machine,
    rows: values.map((value) => [value]),
    times: values.map((_, index) => ended - 1000 * (values.length - 1 - index)),
    end,
    ended,
  } as Episode;
}

export interface Crash {
  /** The write that it comes at, counted from 0. */
  readonly at: number;
  /** Whether that write is still made. */
  readonly after: boolean;
}

/** Writes fail from a point on, as they do in a process that is gone. */
export interface Fault {
  crash: Crash | undefined;
  writes: number;
  /** Where it came. */
  crashedIn: string | undefined;
  at<T>(what: string, work: () => Promise<T>): Promise<T>;
}

export function createFault(): Fault {
  const gone = () => Object.assign(new Error('the process is gone'), { name: 'Gone' });
  const fault: Fault = {
    crash: undefined,
    writes: 0,
    crashedIn: undefined,
    async at(what, work) {
      const { crash } = fault;
      const index = fault.writes;
      fault.writes += 1;
      if (fault.crashedIn !== undefined) throw gone();
      if (index !== crash?.at) return work();
      fault.crashedIn = `${what} ${index}, ${crash.after ? 'after' : 'before'} it`;
      if (crash.after) await work();
      throw gone();
    },
  };
  return fault;
}

function withFault(journal: Journal, fault: Fault): Journal {
  return {
    ...journal,
    write: (writes) => fault.at('write', () => journal.write(writes)),
    append: (entries, options) => fault.at('append', () => journal.append(entries, options)),
  };
}

export interface Setting {
  readonly privacy: AgreementTerms['privacy'];
  readonly unit?: 'window' | 'episode';
  readonly label?: AgreementTerms['learning']['label'];
  readonly minimumEpisodes?: number;
  readonly agreement?: Uint8Array;
  readonly trains?: (machine: string) => boolean;
  readonly deposit?: (entry: Uint8Array) => Promise<void>;
  readonly train?: (job: TrainingJob, resume: string | undefined) => Promise<Float64Array>;
  readonly fault?: Fault;
}

/** All of a gateway's learning, opened in `directory`. */
export async function openLearning(t: TestContext, directory: string, keys: GatewayKeys, setting: Setting) {
  const real = await openJournal(join(directory, 'journal'), {
    commitIntervalMs: 2,
    maxBytes: 1e9,
    maxDiskBytes: 2_000_000_000,
    maxPendingBytes: 1e8,
  });
  closing(t, () => real.close());
  const { fault = createFault(), privacy, unit = 'window', deposit = async () => undefined } = setting;
  const journal = withFault(real, fault);
  const recorder = await openRecorder(journal, keys, createClock());
  const ledger = await openLedger(journal, recorder, (entry) => fault.at('deposit', () => deposit(entry)));
  const evidence = await openEvidenceBook(journal, recorder);
  const terms: AgreementTerms = {
    ...base.terms,
    learning: { ...base.terms.learning, label: setting.label ?? 'remaining-life' },
    training: {
      ...base.terms.training,
      unit: privacy ? unit : 'none',
      samplingRate: MECHANISM.samplingRate,
      minimumEpisodes: setting.minimumEpisodes ?? 1,
    },
    privacy,
  };
  const { window, minimum, slopeScale, cap } = terms.learning;
  const jobs: TrainingJob[] = [];
  const resumed: (string | undefined)[] = [];
  const data = { episodes: [] as Episode[], revision: 0 };
  const options: LearnerOptions = {
    terms,
    agreement: setting.agreement ?? base.hash,
    model: MODEL,
    sheet: { channels: terms.channel },
    windows: { window, minimum, slopeScale, cap, label: terms.learning.label },
    loss: 'squared',
    dataset: {
      episodes: () => data.episodes,
      revision: () => data.revision,
      lag: () => 0,
    },
    ledger,
    evidence,
    trainer: {
      async train(job, _, options) {
        jobs.push(job);
        resumed.push(options?.resume);
        const parameters =
          (await setting.train?.(job, options?.resume)) ?? job.parameters.map((value) => value + 0.25);
        return { parameters, steps: job.steps, losses: new Float64Array(job.steps) };
      },
    },
    ...(setting.trains ? { trains: setting.trains } : {}),
    settled: () => true,
    hasStream: true,
    live: false,
  };
  const learner = createLearner(options);
  return {
    journal: real,
    recorder,
    ledger,
    evidence,
    terms,
    agreement: options.agreement,
    learner,
    jobs,
    resumed,
    give(...episodes: readonly Episode[]) {
      data.episodes = [...data.episodes, ...episodes];
      data.revision += 1;
    },
    update: (round: number, version = 0) => learner.update(round, version, PARAMETERS, never),
  };
}

/** What so many rounds cost. */
export const costOf = (rounds: number) => epsilonOf([{ ...MECHANISM, steps: rounds }], DELTA);
/** A budget for so many rounds, and a little more. */
export const privacyOf = (rounds: number, period?: number): Setting['privacy'] => ({
  epsilon: costOf(rounds) * 1.0001,
  delta: DELTA,
  noiseMultiplier: MECHANISM.noiseMultiplier,
  ...(period === undefined ? {} : { period }),
});

/** The same in a directory of its own, with keys of its own. */
export async function learningOf(t: TestContext, setting: Setting) {
  const directory = await temporaryDirectory(t);
  const keys = newKeys();
  return { directory, keys, ...(await openLearning(t, directory, keys, setting)) };
}

export type Learning = Awaited<ReturnType<typeof openLearning>>;

/** The charges and the evidence that the log tells of. */
export async function logged(learning: Pick<Learning, 'journal'>) {
  const { entries } = await contents(learning.journal);
  const bodies = (kind: string) => entries.filter((entry) => entry.kind === kind).map(({ body }) => body);
  return {
    charges: bodies('charge').map((body) => decodeCharge(encodeCbor(body))),
    evidence: bodies('training').map(openEvidence),
  };
}
