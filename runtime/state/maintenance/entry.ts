/**
 * The maintenance entry: the tuple (machine, fault references, entry, previous tuple's hash). The log gets a
 * salted digest of each field, so that any subset can be shown to a partner and checked; the fields and
 * salts, the opening, stay in the journal.
 */
import { randomBytes } from '#random';
import { sha256 } from '#sha256';
import { type CborValue, decodeCbor, decodeError, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, list, safeInteger, text } from '../../core/encoding/fields.ts';

/** fault: something says it is wrong; failure: it broke; maintenance: somebody did something about it. */
export const MAINTENANCE_TYPES = ['fault', 'failure', 'maintenance'] as const;
export type MaintenanceType = (typeof MAINTENANCE_TYPES)[number];

/** The sample at which it happened: the last one before a failure, the first one after a repair. */
export interface SampleReference {
  readonly stream: string;
  readonly incarnation: number;
  readonly sequence: number;
}

export interface MaintenanceFields {
  readonly machine: string;
  /** Digests of the fault entries that this one answers. */
  readonly faults: readonly Uint8Array[];
  readonly type: MaintenanceType;
  readonly note: string;
  readonly at: SampleReference | undefined;
  /** Digest of the gateway's previous maintenance entry; absent in the first. */
  readonly previous: Uint8Array | undefined;
}

const SALT_BYTES = 32;
const FIELD_COUNT = 4;
const MAX_FAULTS = 256;
const MAX_NOTE = 4096;

/** A tuple with what opens it. */
export interface MaintenanceTuple {
  /** What stands in the log: the four digests. */
  readonly body: CborValue;
  /** SHA-256 of the body: what later entries refer to. */
  readonly hash: Uint8Array;
  /** Fields and salts, encoded for the journal. */
  readonly opening: Uint8Array;
}

/** Seals `fields` with fresh salts. @throws RangeError for a note above 4,096 characters or more than 256 faults. */
export function sealMaintenance(fields: MaintenanceFields): MaintenanceTuple {
  if (fields.faults.length > MAX_FAULTS)
    throw new RangeError(`an entry answers at most ${MAX_FAULTS} faults`);
  if (fields.note.length > MAX_NOTE) throw new RangeError(`a note has at most ${MAX_NOTE} characters`);
  const values = fieldValues(fields);
  const salts = values.map(() => randomBytes(SALT_BYTES));
  const body = values.map((value, index): CborValue => fieldDigest(salts[index]!, value));
  return { body, hash: sha256(encodeCbor(body)), opening: encodeCbor([values, salts]) };
}

/**
 * The fields behind `body`.
 * @throws DecodeError when the opening is malformed or is not that of `body`.
 */
export function openMaintenance(body: CborValue, opening: Uint8Array): MaintenanceFields {
  const parts = fieldsOf(decodeCbor(opening), 2, 'maintenance opening');
  const values = fieldsOf(parts[0], FIELD_COUNT, 'maintenance opening: fields');
  const salts = fieldsOf(parts[1], FIELD_COUNT, 'maintenance opening: salts');
  const digests = maintenanceDigests(body);
  for (const [index, value] of values.entries()) {
    const salt = byteString(salts[index], 'maintenance opening: salt', SALT_BYTES);
    if (!equalBytes(fieldDigest(salt, value), digests[index]!)) {
      throw decodeError(`maintenance opening: field ${index} is not what the log has a digest of`);
    }
  }
  return readFields(values);
}

/** The four digests of an entry's body. @throws DecodeError when it is not a maintenance entry's. */
export function maintenanceDigests(body: CborValue): readonly Uint8Array[] {
  return fieldsOf(body, FIELD_COUNT, 'maintenance entry').map((digest) =>
    byteString(digest, 'maintenance entry: digest', 32),
  );
}

export function maintenanceHash(body: CborValue): Uint8Array {
  return sha256(encodeCbor(body));
}

function fieldDigest(salt: Uint8Array, value: CborValue): Uint8Array {
  return sha256(encodeCbor([salt, value]));
}

function fieldValues(fields: MaintenanceFields): readonly CborValue[] {
  const { at } = fields;
  return [
    fields.machine,
    [...fields.faults],
    [
      MAINTENANCE_TYPES.indexOf(fields.type),
      fields.note,
      at ? [at.stream, at.incarnation, at.sequence] : null,
    ],
    fields.previous ?? null,
  ];
}

function readFields(values: readonly CborValue[]): MaintenanceFields {
  const entry = fieldsOf(values[2], 3, 'maintenance entry');
  const type = MAINTENANCE_TYPES[safeInteger(entry[0], 'maintenance entry: type')];
  if (!type) throw decodeError('maintenance entry: type is unknown');
  return {
    machine: text(values[0], 'maintenance entry: machine'),
    faults: list(values[1], MAX_FAULTS, 'maintenance entry: faults').map((digest) =>
      byteString(digest, 'maintenance entry: fault', 32),
    ),
    type,
    note: text(entry[1], 'maintenance entry: note'),
    at: entry[2] === null ? undefined : readReference(entry[2]),
    previous: values[3] === null ? undefined : byteString(values[3], 'maintenance entry: previous', 32),
  };
}

function readReference(value: CborValue | undefined): SampleReference {
  const fields = fieldsOf(value, 3, 'maintenance entry: sample');
  return {
    stream: text(fields[0], 'maintenance entry: stream'),
    incarnation: safeInteger(fields[1], 'maintenance entry: incarnation'),
    sequence: safeInteger(fields[2], 'maintenance entry: sequence'),
  };
}
