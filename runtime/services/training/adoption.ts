/**
 * Whether a model of the federation predicts here. Each version is judged on the runs of this gateway's own adoption
 * machines before it does; one that is worse than those before it is refused, here alone: the federation goes on. The
 * figures are computed from raw private runs, so they stay here, and the log gets a salted digest of the decision.
 */
import { randomBytes } from '#random';
import { sha256 } from '#sha256';
import { toHex } from '../../core/encoding/base64.ts';
import { type CborValue, decodeCbor, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, float, safeInteger, text } from '../../core/encoding/fields.ts';
import type { AlarmTerms } from '../../core/learning/alarm.ts';
import type { Episode, LabelSpec } from '../../core/learning/episodes.ts';
import {
  compareModels,
  type Figures,
  figuresOf,
  type Judged,
  judgeMachine,
  usableEpisodes,
} from '../../core/learning/evaluate.ts';
import type { DataSheet } from '../../core/learning/features.ts';
import { type ModelSpec, modelHash, parameterCount } from '../../core/learning/model.ts';
import { ordered, unordered } from '../../state/journal/keys.ts';
import type { Section } from '../../state/journal/section.ts';
import type { Write } from '../../state/journal/store.ts';
import type { Role } from './holdout.ts';

export interface AdoptionOptions {
  /** SHA-256 of the agreement: what was decided under another one does not count. */
  readonly agreement: Uint8Array;
  readonly model: ModelSpec;
  readonly sheet: DataSheet;
  readonly windows: LabelSpec;
  readonly dataset: { episodes(): readonly Episode[]; lag(): number };
  readonly roleOf: (machine: string) => Role | undefined;
  /** Why no machine is held back, where none is. */
  readonly whyNone: () => string | undefined;
  /** What alarms are judged by, where there are any. */
  readonly alarm?: AlarmTerms | undefined;
  readonly section: Section;
  /** Makes a notebook entry `adoption` and the records that belong to it durable, in one. */
  readonly enter: (body: CborValue, writes: readonly Write[]) => Promise<unknown>;
  readonly onAdopted: (present: Present | undefined) => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** Pause before it is looked again whether the journal has been read; default 500 ms. */
  readonly pauseMs?: number;
}

/** The model that predicts here. */
export interface Present {
  readonly version: number;
  readonly parameters: Float64Array;
  /** Absent: it was not evaluated. */
  readonly figures: Figures | undefined;
}

export interface Decision {
  readonly version: number;
  /** SHA-256 that the federation knows this version by. */
  readonly hash: Uint8Array;
  readonly outcome: 'adopted' | 'refused' | 'not evaluated';
  readonly why: string;
  /** Runs that it was judged by. */
  readonly runs: number;
  readonly figures: Figures | undefined;
}

export interface Adoption {
  /** Nothing is judged, and nothing handed out that predicted before, until the journal has been read. */
  start(): void;
  stop(): Promise<void>;
  /** A new version of the federation. What is still being judged is finished first; of those that wait, the newest counts. */
  consider(version: number, hash: Uint8Array, parameters: Float64Array): void;
  /** There may be new runs to judge the newest version by. */
  reconsider(): void;
  present(): Present | undefined;
  status(): AdoptionStatus;
}

export interface AdoptionStatus {
  /** The version that predicts here; null when none does. */
  readonly using: number | null;
  /** Whether it was evaluated on machines that it has not learned from. */
  readonly evaluated: boolean;
  readonly latest: Omit<Decision, 'hash'> | null;
}

interface Offer {
  readonly version: number;
  readonly hash: Uint8Array;
  readonly parameters: Float64Array;
}

const PAUSE_MS = 500;
/** Decisions whose openings are kept. */
const MOST_OPENINGS = 10_000;
const OUTCOMES = ['adopted', 'refused', 'not evaluated'] as const;
const PRESENT = 'present';
const BEST = 'best';
const LATEST = 'latest';
const OPENING = 'opening/';

/**
 * @throws DecodeError or DamagedRecord when what is kept is damaged
 */
export async function openAdoption(options: AdoptionOptions): Promise<Adoption> {
  const { model, sheet, windows, dataset, section, log, pauseMs = PAUSE_MS } = options;
  const under = `${toHex(options.agreement)}/`;
  let present = decodeModel(await section.get(under + PRESENT), model);
  let best = decodeModel(await section.get(under + BEST), model)?.parameters;
  let latest = decodeLatest(await section.get(under + LATEST));
  let openings = 0;
  for await (const [key] of section.entries({ prefix: OPENING, reverse: true, limit: 1 })) {
    openings = unordered(key.slice(OPENING.length)) + 1;
  }
  let offered: Offer | undefined;
  let stopped = true;
  let working: Promise<void> | undefined;
  let again: NodeJS.Timeout | undefined;
  let asked = false;
  /** What predicted before the start is told once the journal has been read: an alarm must not relive a run. */
  let told = false;

  /** By machine, the runs that a model may be judged by. */
  function runsToJudgeBy(): Map<string, Episode[]> {
    const byMachine = new Map<string, Episode[]>();
    for (const episode of usableEpisodes(dataset.episodes(), windows.label)) {
      if (options.roleOf(episode.machine) !== 'adopt') continue;
      byMachine.set(episode.machine, [...(byMachine.get(episode.machine) ?? []), episode]);
    }
    return byMachine;
  }

  async function judge(
    parameters: Float64Array,
    runs: ReadonlyMap<string, Episode[]>,
  ): Promise<Figures | undefined> {
    const judged: Judged[] = [];
    for (const episodes of runs.values()) {
      judged.push(judgeMachine(model, parameters, episodes, sheet, windows));
      // Sampling goes on between two machines.
      await new Promise((resolve) => setImmediate(resolve));
    }
    return judged.some(({ outputs }) => outputs.length > 0)
      ? figuresOf(judged, windows, options.alarm)
      : undefined;
  }

  async function decide(offer: Offer): Promise<void> {
    const runs = runsToJudgeBy();
    const count = [...runs.values()].reduce((sum, episodes) => sum + episodes.length, 0);
    const known = latest?.version === offer.version && equalBytes(latest.hash, offer.hash);
    // The same model on the same runs gives the same answer.
    if (known && latest!.runs === count) return;
    const figures = await judge(offer.parameters, runs);
    const before = figures && best ? await judge(best, runs) : undefined;
    const verdict = figures && compareModels(figures, before, windows.label);
    const outcome = verdict ? (verdict.adopt ? 'adopted' : 'refused') : 'not evaluated';
    const why =
      verdict?.why ??
      `not evaluated: ${options.whyNone() ?? 'no machine that is held back has a finished run yet'}`;
    const decision: Decision = {
      version: offer.version,
      hash: offer.hash,
      outcome,
      why,
      runs: count,
      figures,
    };
    const next = outcome === 'refused' ? keptInstead(offer) : { ...offer, figures };
    if (known && latest!.outcome === outcome) {
      // More runs, the same answer: nothing to tell the log.
      latest = decision;
      if (present?.version === offer.version) present = next;
      return;
    }
    const writes = [
      section.put(under + LATEST, encodeDecision(decision)),
      next ? section.put(under + PRESENT, encodeModel(next)) : section.del(under + PRESENT),
    ];
    if (verdict?.adopt && verdict.best)
      writes.push(section.put(under + BEST, encodeModel({ ...offer, figures })));
    await enter(offer, decision, writes);
    if (verdict?.adopt && verdict.best) best = offer.parameters;
    latest = decision;
    present = next;
    const instead = next ? `model ${next.version} goes on predicting` : 'nothing predicts';
    const sentence = `model ${offer.version} is ${outcome === 'refused' ? `refused here, ${instead}` : 'used here'}: ${why}`;
    log('info', sentence);
    options.onAdopted(present);
  }

  /** What goes on predicting when `offer` is refused: not the same model, let in before it could be judged. */
  function keptInstead(offer: Offer): Present | undefined {
    return present && present.version !== offer.version ? present : undefined;
  }

  async function enter(offer: Offer, decision: Decision, writes: Write[]): Promise<void> {
    const salt = randomBytes(32);
    const judgedHash = modelHash(model, offer.parameters);
    const record: CborValue = [decodeCbor(encodeDecision(decision)), judgedHash];
    const opening = encodeCbor([salt, record]);
    const body = [offer.version, offer.hash, sha256(opening)];
    writes.push(section.put(OPENING + ordered(openings), opening));
    if (openings >= MOST_OPENINGS) writes.push(section.del(OPENING + ordered(openings - MOST_OPENINGS)));
    await options.enter(body, writes);
    openings += 1;
  }

  async function work(): Promise<void> {
    while ((asked || !told) && !stopped) {
      // What has not been read cannot judge, and a version must not slip in meanwhile.
      if (dataset.lag() > 0) return later();
      if (!told && present) options.onAdopted(present);
      told = true;
      if (!asked) return;
      asked = false;
      if (offered) await decide(offered);
    }
  }

  function later(): void {
    if (stopped || again) return;
    again = setTimeout(() => {
      again = undefined;
      wake();
    }, pauseMs);
    again.unref();
  }

  function wake(): void {
    if (working || stopped) return;
    working = work()
      .catch((error: Error) => {
        log('error', `a model cannot be judged: ${error.message}; what predicts stays as it is`);
      })
      .finally(() => {
        working = undefined;
        if (asked) later();
      });
  }

  return {
    start() {
      stopped = false;
      wake();
    },
    async stop() {
      stopped = true;
      clearTimeout(again);
      await working;
    },
    consider(version, hash, parameters) {
      offered = { version, hash, parameters };
      asked = true;
      wake();
    },
    reconsider() {
      if (!offered) return;
      asked = true;
      // Runs end seldom, and rows come often: not at once.
      later();
    },
    present: () => present,
    status() {
      if (!latest) return { using: present?.version ?? null, evaluated: false, latest: null };
      const { hash: _, ...shown } = latest;
      return { using: present?.version ?? null, evaluated: present?.figures !== undefined, latest: shown };
    },
  };
}

/** @throws DecodeError when it is none of a model of this shape; one of another shape counts as none. */
function decodeModel(bytes: Uint8Array | undefined, model: ModelSpec): Present | undefined {
  if (!bytes) return undefined;
  const [version, figures, packed] = fieldsOf(decodeCbor(bytes), 3, 'model in use');
  const raw = byteString(packed, 'model in use: parameters');
  if (raw.length !== 8 * parameterCount(model)) return undefined;
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  return {
    version: safeInteger(version, 'model in use: version'),
    parameters: Float64Array.from({ length: raw.length / 8 }, (_, index) => view.getFloat64(8 * index, true)),
    figures: decodeFigures(figures),
  };
}

function encodeModel({ version, parameters, figures }: Present): Uint8Array {
  const raw = new Uint8Array(8 * parameters.length);
  const view = new DataView(raw.buffer);
  parameters.forEach((value, index) => {
    view.setFloat64(8 * index, value, true);
  });
  return encodeCbor([version, encodeFigures(figures), raw]);
}

function encodeFigures(figures: Figures | undefined): CborValue {
  if (!figures) return null;
  const { machines, windows, error, trivial, more } = figures;
  const named = Object.entries(more).map(([name, value]): CborValue => [name, { float: value }]);
  return [machines, windows, { float: error }, { float: trivial }, named];
}

function decodeFigures(value: CborValue | undefined): Figures | undefined {
  if (value === null) return undefined;
  const [machines, windows, error, trivial, more] = fieldsOf(value, 5, 'figures');
  const named = (Array.isArray(more) ? more : []).map((pair: CborValue) => {
    const [name, figure] = fieldsOf(pair, 2, 'figure');
    return [text(name, 'figure: name'), float(figure, 'figure: value')] as const;
  });
  return {
    machines: safeInteger(machines, 'figures: machines'),
    windows: safeInteger(windows, 'figures: windows'),
    error: float(error, 'figures: error'),
    trivial: float(trivial, 'figures: trivial'),
    more: Object.fromEntries(named),
  };
}

function encodeDecision({ version, hash, outcome, why, runs, figures }: Decision): Uint8Array {
  return encodeCbor([version, hash, OUTCOMES.indexOf(outcome), why, runs, encodeFigures(figures)]);
}

function decodeLatest(bytes: Uint8Array | undefined): Decision | undefined {
  if (!bytes) return undefined;
  const [version, hash, outcome, why, runs, figures] = fieldsOf(decodeCbor(bytes), 6, 'decision');
  const named = OUTCOMES[safeInteger(outcome, 'decision: outcome')];
  if (!named) throw new Error('the last decision on a model has an outcome that is not known');
  return {
    version: safeInteger(version, 'decision: version'),
    hash: byteString(hash, 'decision: hash', 32),
    outcome: named,
    why: text(why, 'decision: why'),
    runs: safeInteger(runs, 'decision: runs'),
    figures: decodeFigures(figures),
  };
}

/** The model that predicts in a directory whose gateway does not run. @throws DecodeError when it is damaged. */
export async function readPresent(
  section: Pick<Section, 'get'>,
  agreement: Uint8Array,
  model: ModelSpec,
): Promise<Present | undefined> {
  return decodeModel(await section.get(`${toHex(agreement)}/${PRESENT}`), model);
}

/** The section of the journal that decisions are kept in. */
export const ADOPTION = 'adoption';
