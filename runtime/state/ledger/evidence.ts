/**
 * Evidence of training: what a `training` entry of the log says of one update, and how an auditor checks what a
 * member opens of it later. The entry commits to the episodes that were eligible and to the seed that the sampler
 * drew from, each under a salt, and names the model before, the update, the parameters and the charge. Which units
 * were drawn stands nowhere.
 *
 * Two forms of body:
 *   `['update', agreement, round, version, set, seed, modelIn, updateOut, charge | null, parameters]`
 *   `['opening', agreement, round, update, part, charge | null]`
 */
import { createSha256, sha256 } from '#sha256';
import { toHex } from '../../core/encoding/base64.ts';
import { type CborValue, decodeCbor, decodeError, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, float, safeInteger, text } from '../../core/encoding/fields.ts';
import { merkleRoot } from '../../core/log/block-root.ts';

/** How an update was computed, in the words of a training job. */
export interface TrainingParameters {
  readonly unit: 'window' | 'episode' | 'none';
  readonly sampler: string;
  readonly loss: string;
  readonly clipNorm: number;
  readonly samplingRate: number;
  readonly noiseMultiplier: number;
  readonly steps: number;
  readonly learningRate: number;
  readonly expectedBatch: number;
  readonly optimiser: Setting;
  readonly clipping: Setting;
}

/** A kind and its numbers, in the order of their names. */
export interface Setting {
  readonly kind: string;
  readonly values: readonly (readonly [name: string, value: number])[];
}

export interface UpdateEvidence {
  readonly form: 'update';
  readonly agreement: Uint8Array;
  readonly round: number;
  /** The model version that was trained on. */
  readonly version: number;
  /** SHA-256 of a salt and the Merkle root over the eligible episodes. */
  readonly set: Uint8Array;
  /** SHA-256 of a salt and the sampler's seed. */
  readonly seed: Uint8Array;
  readonly modelIn: Uint8Array;
  /** SHA-256 of the change of the parameters, float64 little-endian. */
  readonly updateOut: Uint8Array;
  /** Digest of the charge that pays for it; none where the agreement asks for no privacy. */
  readonly charge: Uint8Array | undefined;
  readonly parameters: TrainingParameters;
}

/** What of an update may be opened. */
export type Part = 'set' | 'seed';

/** Says that a part of an update was opened, and what that was charged. */
export interface OpeningEvidence {
  readonly form: 'opening';
  readonly agreement: Uint8Array;
  readonly round: number;
  /** SHA-256 of the body of the update's entry. */
  readonly update: Uint8Array;
  readonly part: Part;
  readonly charge: Uint8Array | undefined;
}

export type Evidence = UpdateEvidence | OpeningEvidence;

/** An episode as a committed set names it. */
export interface EpisodeIdentity {
  readonly machine: string;
  readonly end: 'failure' | 'censored' | 'running';
  /** Milliseconds since 1970. */
  readonly ended: number;
  readonly rows: number;
  /** Of the rows: see {@link rowsDigest}. */
  readonly digest: Uint8Array;
}

/** What an auditor is given to see behind a commitment. */
export type Opening =
  | { readonly part: 'set'; readonly salt: Uint8Array; readonly episodes: readonly EpisodeIdentity[] }
  | { readonly part: 'seed'; readonly salt: Uint8Array; readonly seed: Uint8Array };

export const SALT_BYTES = 32;
const MAX_EPISODES = 1_000_000;

export function encodeEvidence(evidence: Evidence): CborValue {
  const { agreement, round } = evidence;
  const charge = evidence.charge ?? null;
  if (evidence.form === 'opening')
    return ['opening', agreement, round, evidence.update, evidence.part, charge];
  const { version, set, seed, modelIn, updateOut, parameters } = evidence;
  const body = encodeParameters(parameters);
  return ['update', agreement, round, version, set, seed, modelIn, updateOut, charge, body];
}

/** The body of a `training` entry. @throws DecodeError when it is none, or not in canonical form. */
export function openEvidence(body: CborValue): Evidence {
  const form = Array.isArray(body) ? body[0] : undefined;
  if (form !== 'update' && form !== 'opening') throw decodeError('training entry: form is unknown');
  const evidence = form === 'update' ? decodeUpdate(body) : decodeOpening(body);
  if (!equalBytes(encodeCbor(encodeEvidence(evidence)), encodeCbor(body)))
    throw decodeError('training entry: not in canonical form');
  return evidence;
}

function decodeUpdate(body: CborValue): UpdateEvidence {
  const what = 'training entry';
  const fields = fieldsOf(body, 10, what);
  const hash = (index: number, name: string) => byteString(fields[index], `${what}: ${name}`, 32);
  return {
    form: 'update',
    agreement: hash(1, 'agreement'),
    round: safeInteger(fields[2], `${what}: round`),
    version: safeInteger(fields[3], `${what}: version`),
    set: hash(4, 'set'),
    seed: hash(5, 'seed'),
    modelIn: hash(6, 'model'),
    updateOut: hash(7, 'update'),
    charge: fields[8] === null ? undefined : hash(8, 'charge'),
    parameters: decodeParameters(fields[9]),
  };
}

function decodeOpening(body: CborValue): OpeningEvidence {
  const what = 'training entry of an opening';
  const fields = fieldsOf(body, 6, what);
  const part = text(fields[4], `${what}: part`);
  if (part !== 'set' && part !== 'seed') throw decodeError(`${what}: part ${part} is unknown`);
  return {
    form: 'opening',
    agreement: byteString(fields[1], `${what}: agreement`, 32),
    round: safeInteger(fields[2], `${what}: round`),
    update: byteString(fields[3], `${what}: update`, 32),
    part,
    charge: fields[5] === null ? undefined : byteString(fields[5], `${what}: charge`, 32),
  };
}

function encodeParameters(given: TrainingParameters): CborValue {
  return [
    given.unit,
    given.sampler,
    given.loss,
    { float: given.clipNorm },
    { float: given.samplingRate },
    { float: given.noiseMultiplier },
    given.steps,
    { float: given.learningRate },
    { float: given.expectedBatch },
    encodeSetting(given.optimiser),
    encodeSetting(given.clipping),
  ];
}

function decodeParameters(value: CborValue | undefined): TrainingParameters {
  const what = 'training entry: parameters';
  const fields = fieldsOf(value, 11, what);
  const unit = text(fields[0], what);
  if (unit !== 'window' && unit !== 'episode' && unit !== 'none')
    throw decodeError(`${what}: unit ${unit} is unknown`);
  return {
    unit,
    sampler: text(fields[1], what),
    loss: text(fields[2], what),
    clipNorm: float(fields[3], what),
    samplingRate: float(fields[4], what),
    noiseMultiplier: float(fields[5], what),
    steps: safeInteger(fields[6], what),
    learningRate: float(fields[7], what),
    expectedBatch: float(fields[8], what),
    optimiser: decodeSetting(fields[9], `${what}: optimiser`),
    clipping: decodeSetting(fields[10], `${what}: clipping`),
  };
}

function encodeSetting({ kind, values }: Setting): CborValue {
  return [kind, ...values.flatMap(([name, value]): CborValue[] => [name, { float: value }])];
}

function decodeSetting(value: CborValue | undefined, what: string): Setting {
  if (!Array.isArray(value) || value.length % 2 === 0 || value.length > 33)
    throw decodeError(`${what}: not a kind and its values`);
  const [kind, ...rest] = value as readonly CborValue[];
  const values = rest.flatMap((name, index) =>
    index % 2 === 0 ? [[text(name, what), float(rest[index + 1], what)] as const] : [],
  );
  return { kind: text(kind, what), values };
}

/** A setting of a training job: its kind, and its numbers in the order of their names. */
export function settingOf(given: { readonly kind: string }): Setting {
  const values = Object.entries(given).flatMap(([name, value]: [string, unknown]) =>
    typeof value === 'number' ? [[name, value] as const] : [],
  );
  return { kind: given.kind, values: values.sort(([a], [b]) => (a < b ? -1 : 1)) };
}

/** The parameters of a training job, or of whatever else has them. */
export function parametersOf(
  job: Omit<TrainingParameters, 'optimiser' | 'clipping'> & {
    readonly optimiser: { readonly kind: string };
    readonly clipping: { readonly kind: string };
  },
): TrainingParameters {
  const { unit, sampler, loss, clipNorm, samplingRate, noiseMultiplier } = job;
  const { steps, learningRate, expectedBatch, optimiser, clipping } = job;
  return {
    ...{ unit, sampler, loss, clipNorm, samplingRate, noiseMultiplier, steps, learningRate, expectedBatch },
    optimiser: settingOf(optimiser),
    clipping: settingOf(clipping),
  };
}

const HASHED_AT_ONCE = 65_536;

/** SHA-256 over an episode's rows: for each, how many values (4 bytes), and the values as float64, little-endian. */
export function rowsDigest(rows: readonly (readonly number[])[]): Uint8Array {
  const hash = createSha256();
  let view = new DataView(new ArrayBuffer(HASHED_AT_ONCE));
  let used = 0;
  for (const row of rows) {
    const length = 4 + 8 * row.length;
    if (used + length > view.byteLength) {
      hash.update(new Uint8Array(view.buffer, 0, used));
      used = 0;
      if (length > view.byteLength) view = new DataView(new ArrayBuffer(length));
    }
    view.setUint32(used, row.length, true);
    for (let index = 0; index < row.length; index += 1)
      view.setFloat64(used + 4 + 8 * index, row[index]!, true);
    used += length;
  }
  return Uint8Array.from(hash.update(new Uint8Array(view.buffer, 0, used)).digest());
}

/** A leaf of the tree over an eligible set. */
export function encodeIdentity({ machine, end, ended, rows, digest }: EpisodeIdentity): Uint8Array {
  return encodeCbor([machine, end, ended, rows, digest]);
}

/** @throws DecodeError when the bytes are no leaf of an eligible set. */
export function decodeIdentity(bytes: Uint8Array): EpisodeIdentity {
  const what = 'episode of a set';
  const fields = fieldsOf(decodeCbor(bytes), 5, what);
  const end = text(fields[1], what);
  if (end !== 'failure' && end !== 'censored' && end !== 'running')
    throw decodeError(`${what}: end ${end} is unknown`);
  return {
    machine: text(fields[0], what),
    end,
    ended: safeInteger(fields[2], what),
    rows: safeInteger(fields[3], what),
    digest: byteString(fields[4], what, 32),
  };
}

/** The Merkle root (RFC 6962) over an eligible set, in the order that the sampler numbers it. */
export function setRoot(leaves: readonly Uint8Array[]): Uint8Array {
  return merkleRoot(leaves);
}

/** SHA-256(salt || value), both of 32 bytes. @throws RangeError for another length. */
export function commit(salt: Uint8Array, value: Uint8Array): Uint8Array {
  if (salt.length !== SALT_BYTES || value.length !== 32)
    throw new RangeError(`a commitment is to 32 bytes under a salt of ${SALT_BYTES}`);
  const both = new Uint8Array(SALT_BYTES + 32);
  both.set(salt);
  both.set(value, SALT_BYTES);
  return sha256(both);
}

/** SHA-256 of an update: float64, little-endian. */
export function updateDigest(update: Float64Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 * update.length));
  update.forEach((value, index) => {
    view.setFloat64(8 * index, value, true);
  });
  return sha256(new Uint8Array(view.buffer));
}

/** What an opening names as its update. */
export function evidenceDigest(evidence: Evidence): Uint8Array {
  return sha256(encodeCbor(encodeEvidence(evidence)));
}

/**
 * Checks what was opened against the entry of the update.
 * @throws Error saying what does not fit.
 */
export function checkOpening(evidence: UpdateEvidence, opening: Opening): void {
  const { part, salt } = opening;
  if (part === 'set' && opening.episodes.length > MAX_EPISODES)
    throw new Error(`the set has more than ${MAX_EPISODES} episodes`);
  const value = part === 'seed' ? opening.seed : setRoot(opening.episodes.map(encodeIdentity));
  if (salt.length !== SALT_BYTES || value.length !== 32 || !equalBytes(commit(salt, value), evidence[part]))
    throw new Error(
      `this is not the ${part} that round ${evidence.round} committed to (${toHex(evidence[part]).slice(0, 16)})`,
    );
}
