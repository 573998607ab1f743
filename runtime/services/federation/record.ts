/**
 * The record of a round: manifest, accepted set with everybody's signatures, aggregate shares. Whoever has it
 * can check all of it and comes to the same model. With a quorum of votes for it, it is the next model.
 */
import { sha256 } from '#sha256';
import {
  type AggregateShare,
  acceptedSetHash,
  decodeAggregateShare,
} from '../../core/aggregation/aggregate-share.ts';
import { Field64 } from '../../core/aggregation/field64.ts';
import { decodeMean } from '../../core/aggregation/fixed-point.ts';
import { sum } from '../../core/aggregation/shares.ts';
import { type CborValue, decodeCbor, decodeError, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, list, text } from '../../core/encoding/fields.ts';
import { applyUpdate, type ModelSpec, modelHash } from '../../core/learning/model.ts';
import { type Manifest, type ModelHead, messages, type Vote } from './messages.ts';
import { drawCommittee, leaderOf, membersAmong, type Parties } from './parties.ts';

/** Signed bytes and who signed them. */
export interface Signed {
  readonly from: string;
  readonly bytes: Uint8Array;
}

export interface RoundRecord {
  readonly manifest: Signed;
  readonly signatures: readonly Signed[];
  readonly aggregates: readonly Signed[];
}

/** What a record comes to, all of it checked. */
export interface Outcome {
  readonly manifest: Manifest;
  readonly contributors: readonly string[];
  readonly parameters: Float64Array;
  readonly head: ModelHead;
  readonly recordHash: Uint8Array;
}

const MAX_SIGNED = 2000;

export function encodeRecord(record: RoundRecord): Uint8Array {
  return encodeCbor([
    encodeSigned(record.manifest),
    record.signatures.map(encodeSigned),
    record.aggregates.map(encodeSigned),
  ]);
}

/** @throws DecodeError for bytes that are not a record; nothing in it is checked yet. */
export function decodeRecord(bytes: Uint8Array): RoundRecord {
  const fields = fieldsOf(decodeCbor(bytes), 3, 'round record');
  const many = (value: CborValue | undefined) => list(value, MAX_SIGNED, 'round record').map(decodeSigned);
  return { manifest: decodeSigned(fields[0]), signatures: many(fields[1]), aggregates: many(fields[2]) };
}

export function encodeSigned({ from, bytes }: Signed): CborValue {
  return [from, bytes];
}

export function decodeSigned(value: CborValue | undefined): Signed {
  const fields = fieldsOf(value, 2, 'signed message');
  return { from: text(fields[0], 'signed message: sender'), bytes: byteString(fields[1], 'signed message') };
}

/**
 * Checks a manifest against the agreement and what everybody can compute.
 * @throws Error that names the rule it breaks.
 */
export function checkManifest(manifest: Manifest, parties: Parties): void {
  const { terms, hash } = parties.agreement;
  const fail = (why: string): never => {
    throw new Error(`manifest of round ${manifest.round}: ${why}`);
  };
  if (!equalBytes(manifest.agreement, hash)) fail('it is for another agreement');
  if (manifest.leader !== leaderOf(parties, manifest.round)) fail(`${manifest.leader} does not lead it`);
  if (new Set(manifest.cohort).size !== manifest.cohort.length) fail('a gateway is named twice');
  const stranger = manifest.cohort.find((name) => !parties.byName(name));
  if (stranger !== undefined) fail(`${stranger} is not in the agreement`);
  if (membersAmong(parties, manifest.cohort) < terms.federation.minimumBatch) {
    fail(`the cohort has fewer than ${terms.federation.minimumBatch} members`);
  }
  const committee = drawCommittee(parties, manifest.round, manifest.cohort);
  if (committee.join('\n') !== manifest.committee.join('\n'))
    fail('the committee is not the one that was drawn');
}

/** The gateways that keep shares of a contributor: the committee without itself. */
export function holdersFor(manifest: Manifest, contributor: string): readonly string[] {
  return manifest.committee.filter((name) => name !== contributor);
}

/**
 * Checks every part of a record and adds up.
 * @param before the parameters the round started from.
 * @throws Error that names what is wrong with it.
 */
export function resolveRecord(
  bytes: Uint8Array,
  before: Float64Array,
  model: ModelSpec,
  parties: Parties,
): Outcome {
  const record = decodeRecord(bytes);
  const manifest = messages.manifest.open(record.manifest.bytes, parties, record.manifest.from);
  checkManifest(manifest, parties);
  if (record.manifest.from !== manifest.leader)
    throw new Error('round record: the manifest is not its leader’s');
  if (!equalBytes(modelHash(model, before), manifest.head.hash)) {
    throw new Error(`round record: it is for another model of version ${manifest.head.version}`);
  }
  const shares = openAggregates(record, manifest, parties);
  const set = shares[0]!.set;
  const contributors = set.reports.map((report) => report.contributor);
  checkSetSignatures(record, manifest, acceptedSetHash(set), contributors, parties);
  const { updateBound, fractionBits } = parties.agreement.terms.federation;
  const total = sum(shares.map((share) => Field64.decodeVec(share.bytes)));
  const mean = decodeMean(total, contributors.length, { bound: updateBound, fractionBits });
  const parameters = applyUpdate(before, mean);
  const head = { version: manifest.head.version + 1, hash: modelHash(model, parameters) };
  return { manifest, contributors, parameters, head, recordHash: sha256(bytes) };
}

/** The aggregate shares: one from each of the committee, all of the same set, which is one of this round. */
function openAggregates(
  record: RoundRecord,
  manifest: Manifest,
  parties: Parties,
): readonly AggregateShare[] {
  const shares = manifest.committee.map((holder) => {
    const signed = record.aggregates.find((candidate) => candidate.from === holder);
    if (!signed) throw decodeError(`round record: no aggregate share of ${holder}`);
    const share = decodeAggregateShare(messages.aggregate.open(signed.bytes, parties, holder));
    if (share.holder !== holder)
      throw decodeError(`round record: ${holder} signed a share of ${share.holder}`);
    return share;
  });
  if (record.aggregates.length !== shares.length)
    throw decodeError('round record: an aggregate share too many');
  const setHash = acceptedSetHash(shares[0]!.set);
  if (shares.some((share) => !equalBytes(acceptedSetHash(share.set), setHash))) {
    throw decodeError('round record: the committee added up different sets');
  }
  const { context, reports } = shares[0]!.set;
  if (
    !equalBytes(context.agreement, manifest.agreement) ||
    context.round !== manifest.round ||
    context.attempt !== 0
  ) {
    throw decodeError('round record: the accepted set is of another round');
  }
  const names = reports.map((report) => report.contributor);
  if (names.some((name) => !manifest.cohort.includes(name))) {
    throw decodeError('round record: a contributor is not in the cohort');
  }
  if (membersAmong(parties, names) < parties.agreement.terms.federation.minimumBatch) {
    throw decodeError('round record: fewer members contributed than the agreement demands');
  }
  return shares;
}

/** Signatures of the accepted set by the whole committee and every contributor. @throws Error naming who is missing. */
export function checkSetSignatures(
  record: Pick<RoundRecord, 'signatures'>,
  manifest: Manifest,
  setHash: Uint8Array,
  contributors: readonly string[],
  parties: Parties,
): void {
  for (const name of signersOf(manifest, contributors)) {
    const signed = record.signatures.find((candidate) => candidate.from === name);
    if (!signed) throw decodeError(`accepted set of round ${manifest.round}: ${name} has not signed it`);
    const signature = messages.set.open(signed.bytes, parties, name);
    if (signature.round !== manifest.round || !equalBytes(signature.set, setHash)) {
      throw decodeError(`accepted set of round ${manifest.round}: ${name} signed another one`);
    }
  }
}

/** Everybody whose signature an accepted set needs. */
export function signersOf(manifest: Manifest, contributors: readonly string[]): readonly string[] {
  return [...new Set([...manifest.committee, ...contributors])];
}

/**
 * Checks that a quorum of members voted for one outcome of one record.
 * @returns what they voted for. @throws Error when they are too few or disagree.
 */
export function checkVotes(votes: readonly Signed[], parties: Parties): Vote {
  const first = votes[0];
  if (!first) throw decodeError('certificate: no votes');
  const reference = messages.vote.open(first.bytes, parties, first.from);
  const voters = new Set<string>();
  for (const { from, bytes } of votes) {
    if (!parties.voters.some((voter) => voter.name === from))
      throw decodeError(`certificate: ${from} has no vote`);
    const vote = messages.vote.open(bytes, parties, from);
    const same =
      vote.round === reference.round &&
      vote.head.version === reference.head.version &&
      equalBytes(vote.head.hash, reference.head.hash) &&
      equalBytes(vote.record, reference.record) &&
      equalBytes(vote.agreement, parties.agreement.hash);
    if (!same) throw decodeError(`certificate: ${from} voted for something else`);
    voters.add(from);
  }
  if (voters.size < parties.quorum) {
    throw decodeError(`certificate: ${voters.size} votes, ${parties.quorum} are needed`);
  }
  return reference;
}
