/** What gateways say to each other in a round; every message is a COSE_Sign1 of its sender's sample key. */
import { sha256 } from '#sha256';
import { type CborValue, decodeCbor, decodeError, encodeCbor } from '../../core/encoding/cbor.ts';
import { parseSign1, type Sign1Signer, verifySign1 } from '../../core/encoding/cose.ts';
import { byteString, fieldsOf, list, safeInteger, text } from '../../core/encoding/fields.ts';
import { KIND } from '../../core/encoding/kind.ts';
import type { Parties } from './parties.ts';

const TYPE = { prepare: 1, promise: 2, manifest: 3, contributed: 4, set: 5, aggregate: 6, vote: 7 } as const;
type MessageType = keyof typeof TYPE;

const MAX_GATEWAYS = 1000;
const HASH_BYTES = 32;

/** Where the federation stands: which model, and the hash of its parameters. */
export interface ModelHead {
  readonly version: number;
  readonly hash: Uint8Array;
}

/** A leader asks for a round. */
export interface Prepare {
  readonly round: number;
  readonly head: ModelHead;
}

/** A voter's word that it will sign nothing of an earlier round any more. */
export interface Promised {
  readonly round: number;
  /** Empty when it can contribute; else why it cannot. */
  readonly unready: string;
  /** It only needs more time: data still coming in. */
  readonly waiting: boolean;
  /** The record of an earlier round that it has voted for on this model, and that round's number. */
  readonly accepted: { readonly round: number; readonly record: Uint8Array } | undefined;
}

/** What a round is about; one for each round. */
export interface Manifest {
  readonly agreement: Uint8Array;
  readonly round: number;
  readonly head: ModelHead;
  readonly leader: string;
  readonly cohort: readonly string[];
  readonly committee: readonly string[];
}

/** A contributor's word that all holders have its shares. */
export interface Contributed {
  readonly manifest: Uint8Array;
  readonly report: Uint8Array;
}

/** A signature of the accepted set. */
export interface SetSignature {
  readonly round: number;
  readonly set: Uint8Array;
}

/** A voter's word for what a round made of the model. */
export interface Vote {
  readonly agreement: Uint8Array;
  readonly round: number;
  readonly head: ModelHead;
  readonly record: Uint8Array;
}

function seal(signer: Sign1Signer, type: MessageType, fields: readonly CborValue[]): Uint8Array {
  return signer.sign(encodeCbor([KIND.federation, TYPE[type], ...fields]));
}

/** The fields of a message, after its signature and the sender were checked. */
function unseal(bytes: Uint8Array, type: MessageType, arity: number, parties: Parties, from: string) {
  const sender = parties.byName(from);
  if (!sender) throw decodeError(`${type}: ${from} is no gateway of the agreement`);
  const message = parseSign1(bytes);
  const verify = sender.verifierOf(message.keyId);
  if (!verify || !verifySign1(message, verify)) {
    throw decodeError(`${type}: not signed by ${from}`);
  }
  const fields = fieldsOf(decodeCbor(message.payload), arity + 2, type);
  if (fields[0] !== KIND.federation || fields[1] !== TYPE[type])
    throw decodeError(`${type}: another kind of message`);
  return fields.slice(2);
}

const hash = (value: CborValue | undefined, what: string) => byteString(value, what, HASH_BYTES);

function readHead(version: CborValue | undefined, parameters: CborValue | undefined): ModelHead {
  return { version: safeInteger(version, 'model version'), hash: hash(parameters, 'model hash') };
}

export const messages = {
  prepare: {
    seal: (signer: Sign1Signer, { round, head }: Prepare) =>
      seal(signer, 'prepare', [round, head.version, head.hash]),
    open(bytes: Uint8Array, parties: Parties, from: string): Prepare {
      const fields = unseal(bytes, 'prepare', 3, parties, from);
      return { round: safeInteger(fields[0], 'prepare: round'), head: readHead(fields[1], fields[2]) };
    },
  },
  promise: {
    seal: (signer: Sign1Signer, promise: Promised) =>
      seal(signer, 'promise', [
        promise.round,
        promise.unready,
        promise.waiting,
        promise.accepted ? [promise.accepted.round, promise.accepted.record] : null,
      ]),
    open(bytes: Uint8Array, parties: Parties, from: string): Promised {
      const fields = unseal(bytes, 'promise', 4, parties, from);
      const accepted = fields[3] === null ? undefined : fieldsOf(fields[3], 2, 'promise: accepted');
      return {
        round: safeInteger(fields[0], 'promise: round'),
        unready: text(fields[1], 'promise: reason'),
        waiting: fields[2] === true,
        accepted: accepted && {
          round: safeInteger(accepted[0], 'promise: accepted round'),
          record: byteString(accepted[1], 'promise: accepted record'),
        },
      };
    },
  },
  manifest: {
    seal: (signer: Sign1Signer, manifest: Manifest) => seal(signer, 'manifest', manifestFields(manifest)),
    open(bytes: Uint8Array, parties: Parties, from: string): Manifest {
      const fields = unseal(bytes, 'manifest', 7, parties, from);
      const names = (value: CborValue | undefined) =>
        list(value, MAX_GATEWAYS, 'manifest: gateways').map((name) => text(name, 'manifest: gateway'));
      return {
        agreement: hash(fields[0], 'manifest: agreement'),
        round: safeInteger(fields[1], 'manifest: round'),
        head: readHead(fields[2], fields[3]),
        leader: text(fields[4], 'manifest: leader'),
        cohort: names(fields[5]),
        committee: names(fields[6]),
      };
    },
  },
  contributed: {
    seal: (signer: Sign1Signer, { manifest, report }: Contributed) =>
      seal(signer, 'contributed', [manifest, report]),
    open(bytes: Uint8Array, parties: Parties, from: string): Contributed {
      const fields = unseal(bytes, 'contributed', 2, parties, from);
      return {
        manifest: hash(fields[0], 'contributed: manifest'),
        report: hash(fields[1], 'contributed: report'),
      };
    },
  },
  set: {
    seal: (signer: Sign1Signer, { round, set }: SetSignature) => seal(signer, 'set', [round, set]),
    open(bytes: Uint8Array, parties: Parties, from: string): SetSignature {
      const fields = unseal(bytes, 'set', 2, parties, from);
      return { round: safeInteger(fields[0], 'set: round'), set: hash(fields[1], 'set: hash') };
    },
  },
  aggregate: {
    seal: (signer: Sign1Signer, share: Uint8Array) => seal(signer, 'aggregate', [share]),
    open: (bytes: Uint8Array, parties: Parties, from: string): Uint8Array =>
      byteString(unseal(bytes, 'aggregate', 1, parties, from)[0], 'aggregate share'),
  },
  vote: {
    seal: (signer: Sign1Signer, vote: Vote) =>
      seal(signer, 'vote', [vote.agreement, vote.round, vote.head.version, vote.head.hash, vote.record]),
    open(bytes: Uint8Array, parties: Parties, from: string): Vote {
      const fields = unseal(bytes, 'vote', 5, parties, from);
      return {
        agreement: hash(fields[0], 'vote: agreement'),
        round: safeInteger(fields[1], 'vote: round'),
        head: readHead(fields[2], fields[3]),
        record: hash(fields[4], 'vote: record'),
      };
    },
  },
} as const;

function manifestFields(manifest: Manifest): readonly CborValue[] {
  const { agreement, round, head, leader, cohort, committee } = manifest;
  return [agreement, round, head.version, head.hash, leader, [...cohort], [...committee]];
}

/** What contributions and reports refer to. */
export function manifestHash(manifest: Manifest): Uint8Array {
  return sha256(encodeCbor(manifestFields(manifest)));
}
