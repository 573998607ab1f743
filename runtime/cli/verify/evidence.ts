/** Judges a file of evidence: whether it convicts a key, and whose key that is. */
import { judgeEvidence, parseEvidence } from '../../core/log/evidence.ts';
import { formatVkey, type Vkey } from '../../core/log/vkey.ts';
import { isoTime, revocationOf } from '../../state/provenance/judge.ts';
import { broken } from './broken.ts';
import { type AgreementTrust, nameOf, ownerOf, type Trust } from './trust.ts';

export interface EvidenceReport {
  readonly kind: 'evidence';
  readonly key: string;
  readonly origin: string;
  readonly sizes: readonly [number, number];
  readonly finding: string;
  /** Whose key it is; null when neither an agreement nor a policy was given. */
  readonly owner: string | null;
  /** Of a gateway's key that was revoked. */
  readonly revoked: string | null;
}

/** @throws Broken when it proves nothing, or against a key that is nobody's. */
export function verifyEvidence(file: Uint8Array, trust: Trust | undefined): EvidenceReport {
  const evidence = inside(() => parseEvidence(file));
  const verdict = inside(() => judgeEvidence(evidence));
  if (verdict.kind === 'unproven') throw broken(`evidence: ${verdict.reason}`);
  const { vkey } = evidence;
  const { origin, sizes, finding } = verdict;
  return { kind: 'evidence', key: formatVkey(vkey), origin, sizes, finding, ...aboutKey(vkey, trust) };
}

function aboutKey(vkey: Vkey, trust: Trust | undefined): Pick<EvidenceReport, 'owner' | 'revoked'> {
  if (!trust) return { owner: null, revoked: null };
  if (trust.kind === 'agreement') return inAgreement(vkey, trust);
  const known = formatVkey(vkey);
  const { logs, witnesses } = trust.policy;
  if (logs.some((log) => formatVkey(log.vkey) === known)) return { owner: `log ${vkey.name}`, revoked: null };
  const witness = witnesses.find((one) => formatVkey(one.vkey) === known);
  if (witness) return { owner: `witness ${witness.name}`, revoked: null };
  throw broken(`evidence: ${nameOf(vkey)} is neither a log nor a witness of the policy`);
}

function inAgreement(vkey: Vkey, trust: AgreementTrust): Pick<EvidenceReport, 'owner' | 'revoked'> {
  const party = ownerOf(trust, vkey);
  if (!party) throw broken(`evidence: ${nameOf(vkey)} is no key of the agreement's gateways`);
  const purpose = vkey.name === party.origin ? 'log' : 'witness';
  const revocation = revocationOf(trust.roster.revocations(party.gateway), purpose, vkey.key);
  return {
    owner: `${purpose} key of ${party.gateway} of ${party.member}`,
    revoked: revocation ? isoTime(revocation.time) : null,
  };
}

function inside<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw broken(`evidence: ${(error as Error).message}`);
  }
}

export function describeEvidence({
  key,
  origin,
  finding,
  owner,
  revoked,
}: EvidenceReport): readonly string[] {
  return [
    `proven: the key ${key} signed both of two views of ${origin} that cannot both be true`,
    `${finding}`,
    owner === null ? 'whose key that is, an agreement says: give --agreement FILE' : `it is the ${owner}`,
    ...(revoked === null
      ? []
      : [`the key is revoked as of ${revoked}: what was signed later may be another's`]),
  ];
}
