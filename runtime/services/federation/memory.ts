/** What a gateway must not forget between two steps of a round; all of it durable before anything leaves. */
import { decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, list, safeInteger } from '../../core/encoding/fields.ts';
import { type ModelSpec, modelHash } from '../../core/learning/model.ts';
import type { Journal } from '../../state/journal/journal.ts';
import { ordered, unordered } from '../../state/journal/keys.ts';
import type { Write } from '../../state/journal/store.ts';
import type { ModelHead } from './messages.ts';
import { decodeSigned, encodeSigned, type Signed } from './record.ts';

/** A model, and the votes that made it the federation's (none for the first). */
export interface CertifiedModel {
  readonly head: ModelHead;
  readonly parameters: Float64Array;
  readonly votes: readonly Signed[];
}

export interface Accepted {
  readonly round: number;
  readonly record: Uint8Array;
}

export interface Memory {
  model(): CertifiedModel;
  /** Earlier models that are still kept, oldest first, the present one last. */
  recent(): readonly CertifiedModel[];
  /** The highest round promised; nothing of an earlier one is signed any more. */
  promised(): number;
  promise(round: number): Promise<void>;
  /** The record voted for on the present model, if any. */
  accepted(): Accepted | undefined;
  accept(accepted: Accepted): Promise<void>;
  /** The set signed last: one a round. */
  signedSet(): { readonly round: number; readonly set: Uint8Array } | undefined;
  signSet(round: number, set: Uint8Array): Promise<void>;
  /** Stores the encoded, noised vector; only the latest round's is kept. */
  storeVector(round: number, vector: Uint8Array): Promise<void>;
  /** The last round that a vector was made for: one a round. */
  contributed(): number;
  /** Makes `model` the present one and forgets the vote that led to it; `store` makes that durable, in one batch. */
  adopt(model: CertifiedModel, store: (writes: readonly Write[]) => Promise<void>): Promise<void>;
}

const MODEL = 'model/';

/**
 * @param initial the parameters of version 0, which follow from the agreement.
 * @param keep how many models are kept. @throws DecodeError or DamagedRecord when a record cannot be read.
 */
export async function openMemory(
  journal: Journal,
  model: ModelSpec,
  initial: Float64Array,
  agreementHash: string,
  keep: number,
): Promise<Memory> {
  const section = journal.section(`federation/${agreementHash}`);
  const first: CertifiedModel = {
    head: { version: 0, hash: modelHash(model, initial) },
    parameters: initial,
    votes: [],
  };
  const models: CertifiedModel[] = [];
  for await (const [key, value] of section.entries({ prefix: MODEL })) {
    models.push(decodeModel(unordered(key.slice(MODEL.length)), value, model));
  }
  if (models.length === 0) models.push(first);
  let promised = await section.get('promised').then((value) => (value ? decodeCounter(value) : 0));
  let accepted = await section
    .get('accepted')
    .then((value) => (value && value.length > 1 ? decodePair(value) : undefined));
  let signed = await section.get('set').then((value) => (value ? decodePair(value) : undefined));
  let contributed = await section.get('vector').then((value) => (value ? decodePair(value).round : 0));
  const encodePair = (round: number, bytes: Uint8Array) => encodeCbor([round, bytes]);

  return {
    model: () => models.at(-1)!,
    recent: () => models,
    promised: () => promised,
    async promise(round) {
      promised = round;
      await journal.write([section.put('promised', encodeCbor([round]))]);
    },
    accepted: () => (accepted ? { round: accepted.round, record: accepted.bytes } : undefined),
    async accept({ round, record }) {
      accepted = { round, bytes: record };
      await journal.write([section.put('accepted', encodePair(round, record))]);
    },
    signedSet: () => (signed ? { round: signed.round, set: signed.bytes } : undefined),
    async signSet(round, set) {
      signed = { round, bytes: set };
      await journal.write([section.put('set', encodePair(round, set))]);
    },
    async storeVector(round, vector) {
      contributed = round;
      await journal.write([section.put('vector', encodePair(round, vector))]);
    },
    contributed: () => contributed,
    async adopt(next, store) {
      const dropped = models.length >= keep ? models.splice(0, models.length - keep + 1) : [];
      models.push(next);
      accepted = undefined;
      await store([
        section.put(MODEL + ordered(next.head.version), encodeModel(next)),
        section.del('accepted'),
        ...dropped.map((old) => section.del(MODEL + ordered(old.head.version))),
      ]);
    },
  };
}

function encodeModel({ parameters, votes }: CertifiedModel): Uint8Array {
  return encodeCbor([encodeParameters(parameters), votes.map(encodeSigned)]);
}

function decodeModel(version: number, bytes: Uint8Array, spec: ModelSpec): CertifiedModel {
  const fields = fieldsOf(decodeCbor(bytes), 2, 'stored model');
  const parameters = decodeParameters(byteString(fields[0], 'stored model: parameters'));
  const votes = list(fields[1], 1000, 'stored model: votes').map(decodeSigned);
  return { head: { version, hash: modelHash(spec, parameters) }, parameters, votes };
}

/** What a peer is sent that asks for the newest model. */
export function encodeCertifiedModel(model: CertifiedModel): Uint8Array {
  return encodeCbor([model.head.version, encodeParameters(model.parameters), model.votes.map(encodeSigned)]);
}

/** @throws DecodeError for bytes that are not a model of `spec`; its votes are not checked yet. */
export function decodeCertifiedModel(bytes: Uint8Array, spec: ModelSpec): CertifiedModel {
  const fields = fieldsOf(decodeCbor(bytes), 3, 'model');
  return decodeModel(safeInteger(fields[0], 'model: version'), encodeCbor([fields[1]!, fields[2]!]), spec);
}

/** Parameters as little-endian float64, which is what the model hash is taken over. */
function encodeParameters(parameters: Float64Array): Uint8Array {
  const bytes = new Uint8Array(parameters.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of parameters.entries()) view.setFloat64(index * 8, value, true);
  return bytes;
}

function decodeParameters(bytes: Uint8Array): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Float64Array.from({ length: Math.floor(bytes.length / 8) }, (_, index) =>
    view.getFloat64(index * 8, true),
  );
}

function decodeCounter(bytes: Uint8Array): number {
  return safeInteger(fieldsOf(decodeCbor(bytes), 1, 'counter')[0], 'counter');
}

function decodePair(bytes: Uint8Array): { readonly round: number; readonly bytes: Uint8Array } {
  const fields = fieldsOf(decodeCbor(bytes), 2, 'federation state');
  return {
    round: safeInteger(fields[0], 'federation state: round'),
    bytes: byteString(fields[1], 'federation state'),
  };
}
