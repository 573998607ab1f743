/** By whose word something is verified: an agreement, a policy file, or the key of one log. */
import type { Verifier } from '#ed25519';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { type Checkpoint, parseCheckpoint } from '../../core/log/checkpoint.ts';
import { createTimeJudge } from '../../core/log/cosigned-time.ts';
import type { Sealed } from '../../core/log/export-verifier.ts';
import { parseNote } from '../../core/log/note.ts';
import {
  createPolicyJudge,
  formatPolicy,
  NO_QUORUM,
  type Policy,
  type Witnessed,
} from '../../core/log/policy.ts';
import { missingCosignatures } from '../../core/log/tlog-proof.ts';
import { formatKeyId, type Vkey } from '../../core/log/vkey.ts';
import {
  countsCosignature,
  type LogParty,
  logParties,
  policyInForce,
  policyOf,
} from '../../services/witnessing/names.ts';
import type { Agreement } from '../../state/agreement/agreement.ts';
import { createKeyring, keyUse } from '../../state/provenance/judge.ts';
import { type Roster, rosterOf } from '../../state/provenance/roster.ts';
import { broken } from './broken.ts';

/** What an agreement, with what was said of keys since, lets somebody judge. */
export interface AgreementTrust {
  readonly kind: 'agreement';
  readonly policy: Policy;
  readonly agreement: Agreement;
  readonly roster: Roster;
  readonly parties: readonly LogParty[];
}

export type Trust =
  | AgreementTrust
  /** Logs and witnesses, and nothing about samples. */
  | { readonly kind: 'policy'; readonly policy: Policy }
  /** A log's own word. */
  | { readonly kind: 'vkey'; readonly policy: Policy };

/** @throws Error naming the first statement that does not fit the agreement. */
export function trustAgreement(agreement: Agreement, statements: readonly Uint8Array[]): AgreementTrust {
  const roster = rosterOf(agreement, statements);
  const parties = logParties(agreement, roster);
  return { kind: 'agreement', policy: policyOf(parties), agreement, roster, parties };
}

export function trustPolicy(policy: Policy): Trust {
  return { kind: 'policy', policy };
}

export function trustVkey(vkey: Vkey): Trust {
  return { kind: 'vkey', policy: { logs: [{ vkey }], witnesses: [], groups: [], quorum: NO_QUORUM } };
}

/** A checkpoint that counts. */
export interface JudgedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly cosigned: readonly Witnessed[];
  /** POSIX seconds by which a quorum had seen it; undefined when no quorum is asked for. */
  readonly time: number | undefined;
}

/** @returns a function that throws Broken, saying why, for a checkpoint that does not count. */
export function createCheckpointJudge(trust: Trust): (note: string) => JudgedCheckpoint {
  const judge = createPolicyJudge(trust.policy);
  const counts =
    trust.kind === 'agreement' ? countsCosignature(trust.agreement, trust.roster, trust.policy) : () => true;
  const timeOf = createTimeJudge(trust.policy, { counts });
  return (note) => {
    const verdict = judge(note);
    if (verdict.kind === 'refused') throw broken(`checkpoint: ${verdict.reason}`);
    const { checkpoint, cosigned } = verdict;
    if (verdict.kind === 'unsatisfied') {
      throw broken(`checkpoint: ${missingCosignatures(cosigned, verdict.unverifiable)}`);
    }
    const time = timeOf(note);
    if (time === undefined && trust.policy.quorum !== NO_QUORUM) {
      throw broken(
        'checkpoint: the quorum is not reached without cosignatures that bear no time, or that a revoked key dated after its revocation',
      );
    }
    if (trust.kind === 'agreement') checkLogKey(trust, note, checkpoint.origin, time);
    return { checkpoint, cosigned: cosigned.filter(counts), time };
  };
}

/** A revoked log key's signature counts if a quorum had seen it by then. */
function checkLogKey(
  { parties, roster }: AgreementTrust,
  note: string,
  origin: string,
  time: number | undefined,
) {
  const party = parties.find((one) => one.origin === origin)!;
  const used = parseNote(note)
    .signatures.filter(({ name }) => name === origin)
    .flatMap(({ keyId }) => party.logKeys.find((vkey) => vkey.keyId === keyId) ?? [])
    .map(({ key }) => keyUse(roster.keys(party.gateway), { purpose: 'log', key, cosigned: time }));
  const refusal = used.find((use) => use.kind !== 'good');
  if (refusal && used.every((use) => use.kind !== 'good')) {
    throw broken(`checkpoint: ${'reason' in refusal ? refusal.reason : ''}`);
  }
}

/** Looks up sample keys of a log for one cosigned time; why one does not count is told to `refuse`. */
export function sampleKeysAt(
  { parties, roster }: AgreementTrust,
  time: number | undefined,
  refuse: (reason: string) => void,
): (keyId: Uint8Array, sealed: Pick<Sealed, 'origin'>) => Verifier | undefined {
  return (keyId, { origin }) => {
    const party = parties.find((one) => one.origin === origin);
    if (!party) {
      refuse(`the agreement names no log ${origin}`);
      return undefined;
    }
    const found = createKeyring(() => roster.keys(party.gateway), 'sample').ever(keyId);
    if (!found) {
      refuse(`it is no sample key of ${party.gateway}`);
      return undefined;
    }
    const use = keyUse(roster.keys(party.gateway), { purpose: 'sample', key: found.key, cosigned: time });
    if (use.kind === 'good') return found.verify;
    refuse(use.reason);
    return undefined;
  };
}

/**
 * The agreement as a policy file for one log, with the key that signed this checkpoint of it: what other readers
 * of the format take, some of which want the signatures of all logs that a policy names.
 */
export function policyTextFor({ parties }: AgreementTrust, note: string): string {
  const { text, signatures } = parseNote(note);
  const { origin } = parseCheckpoint(text);
  const policy = policyInForce(parties);
  const own = policy.logs.filter(({ vkey }) => vkey.name === origin);
  const signed = own.filter(({ vkey }) =>
    signatures.some(({ name, keyId }) => name === vkey.name && keyId === vkey.keyId),
  );
  return formatPolicy({ ...policy, logs: signed.length > 0 ? signed : own });
}

/** Whose a log's or witness's key is by the agreement. */
export function ownerOf({ parties }: AgreementTrust, vkey: Vkey): LogParty | undefined {
  return parties.find(({ logKeys, witnessKeys }) =>
    [...logKeys, ...witnessKeys].some(
      (known) => known.name === vkey.name && known.type === vkey.type && equalBytes(known.key, vkey.key),
    ),
  );
}

export function nameOf(vkey: Vkey): string {
  return `${vkey.name} (key ${formatKeyId(vkey.keyId)})`;
}
