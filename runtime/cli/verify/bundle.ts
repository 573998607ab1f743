/** Checks a bundle that a gateway exported: every signature, every proof, and by whose word. */
import { toHex } from '../../core/encoding/base64.ts';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { decodeExport, type ExportBundle } from '../../core/log/export.ts';
import { createExportVerifier } from '../../core/log/export-verifier.ts';
import { parsePolicy } from '../../core/log/policy.ts';
import { decodeUtf8 } from '../../core/log/text.ts';
import { type Agreement, readAgreement, unsignedBy } from '../../state/agreement/agreement.ts';
import { formatFaults } from '../../state/settings/format.ts';
import { problem } from '../terminal/problem.ts';
import { broken } from './broken.ts';
import { type Contents, readContents } from './contents.ts';
import type { Given } from './given.ts';
import { describeCosigned, type JudgedBy, judgedByOf, type Seen, seenBy } from './report.ts';
import type { Line } from './show.ts';
import {
  type AgreementTrust,
  createCheckpointJudge,
  policyTextFor,
  sampleKeysAt,
  type Trust,
  trustAgreement,
} from './trust.ts';

export interface BundleReport extends Contents {
  readonly kind: 'bundle';
  readonly judged_by: JudgedBy;
  readonly origin: string;
  readonly size: number;
  readonly root: string;
  readonly cosigned: readonly Seen[];
  /** When a quorum had seen it, ISO 8601; null when none is asked for. */
  readonly cosigned_time: string | null;
  readonly entries: number;
  readonly blocks: number;
  /** Statements about keys that were taken into account. */
  readonly statements: number;
  readonly notes: readonly string[];
}

/** @throws Broken at the first broken thing; Problem when there is nothing to judge by. */
export function verifyBundle(file: Uint8Array, given: Given, print?: (line: Line) => void): BundleReport {
  const bundle = inside('', () => decodeExport(file));
  const notes: string[] = [];
  const carried = bundle.document && readCarried(bundle.document, bundle.signatures);
  const keys = keyTrust(bundle, carried, given, notes);
  const trust: Trust = given.other ?? keys;
  const { time, cosigned } = createCheckpointJudge(trust)(bundle.checkpoint);
  if (carried && (!given.agreement || equalBytes(carried.hash, given.agreement.hash))) {
    checkPolicy(bundle, carried);
  }
  let refusal: string | undefined;
  const sampleKeys = sampleKeysAt(keys, time, (reason) => {
    refusal = reason;
  });
  const verified = inside(
    '',
    () => createExportVerifier({ policy: trust.policy, sampleKeys })(bundle),
    () => refusal,
  );
  if (verified.entries.length === 0) throw broken('bundle: it shows no entry');
  if (given.other && !verified.samePolicy)
    notes.push('the policy in the bundle is not the one that it was judged by');
  const contents = readContents(verified.entries, bundle.openings, print);
  const { origin, size, root } = verified.checkpoint;
  return {
    kind: 'bundle',
    judged_by: judgedByOf(trust, keys, carried !== undefined && given.agreement === undefined),
    origin,
    size,
    root: toHex(root),
    cosigned: seenBy(trust, cosigned),
    cosigned_time: time === undefined ? null : new Date(time * 1000).toISOString(),
    entries: verified.entries.length,
    blocks: verified.blocks.length,
    statements: keys.roster.statements().length,
    notes,
    ...contents,
  };
}

/** The agreement in a bundle: well-formed, and signed by all of its members, whoever they are. */
function readCarried(document: Uint8Array, signatures: string | undefined): Agreement {
  const text = decodeUtf8(document);
  if (text === undefined) throw broken('agreement in the bundle: it is no text');
  const read = readAgreement(text, 'agreement in the bundle');
  if (!read.ok) throw broken(formatFaults(read.faults));
  const agreement = read.value;
  if (signatures === undefined) throw broken('agreement in the bundle: it is not signed');
  const missing = inside('agreement in the bundle: ', () => unsignedBy(agreement, signatures));
  if (missing.length > 0) throw broken(`agreement in the bundle: not signed by ${missing.join(', ')}`);
  return agreement;
}

/** Whose sample keys count: by the agreement that was given, else by the bundle's. */
function keyTrust(
  { statements }: ExportBundle,
  carried: Agreement | undefined,
  given: Given,
  notes: string[],
): AgreementTrust {
  const agreement = given.agreement ?? carried;
  if (!agreement) {
    throw problem('the bundle carries no agreement, so nothing says whose keys these are', {
      todo: 'give --agreement FILE',
      exitCode: 2,
    });
  }
  const isCarried = carried !== undefined && equalBytes(carried.hash, agreement.hash);
  if (carried && !isCarried) {
    if (carried.terms.consortium !== agreement.terms.consortium) {
      throw broken(
        `bundle: it is of the consortium ${carried.terms.consortium}, not of ${agreement.terms.consortium}`,
      );
    }
    notes.push(
      `the bundle carries another agreement of the consortium (epoch ${carried.terms.epoch}, sha256 ${toHex(carried.hash)}), which was not looked at`,
    );
  }
  if (isCarried)
    return inside('statement in the bundle or given: ', () =>
      trustAgreement(agreement, [...statements, ...given.statements]),
    );
  return trustAgreement(agreement, [...fitting(agreement, statements, notes), ...given.statements]);
}

/** The policy in a bundle is for readers who have no use for an agreement; it must be what the agreement comes to. */
function checkPolicy({ policy, statements, checkpoint }: ExportBundle, carried: Agreement): void {
  const trust = inside('statement in the bundle: ', () => trustAgreement(carried, statements));
  inside('policy in the bundle: ', () => parsePolicy(policy));
  if (policy !== policyTextFor(trust, checkpoint)) {
    throw broken('policy in the bundle: it is not what the agreement in the bundle comes to');
  }
}

/** Statements that fit an agreement which is not the one that they came with. */
function fitting(
  agreement: Agreement,
  statements: readonly Uint8Array[],
  notes: string[],
): readonly Uint8Array[] {
  const fit = statements.filter((statement) => {
    try {
      trustAgreement(agreement, [statement]);
      return true;
    } catch {
      // It is of another epoch's gateway, or is none: for this agreement it says nothing.
      return false;
    }
  });
  const left = statements.length - fit.length;
  if (left > 0) notes.push(`${left} statements about keys do not fit this agreement and were passed over`);
  return fit;
}

function inside<T>(what: string, work: () => T, why: () => string | undefined = () => undefined): T {
  try {
    return work();
  } catch (error) {
    const reason = why();
    throw broken(`${what}${(error as Error).message}${reason === undefined ? '' : `: ${reason}`}`);
  }
}

/** The report as lines for people. */
export function describeBundle(report: BundleReport): readonly string[] {
  const { samples, maintenance, opened, other, streams, from, to, unsynchronised } = report;
  return [
    `holds: ${samples} samples, ${maintenance} maintenance entries (${opened} opened) and ${other} other entries, out of ${report.blocks} blocks`,
    ...(from !== null && to !== null ? [`samples from ${from} to ${to}, by the gateway's clock`] : []),
    ...streams.map(
      (one) =>
        `  ${one.machine}/${one.stream}: ${one.samples} samples, ${one.first} to ${one.last}${one.missing > 0 ? `; ${one.missing} numbers in between are not in the bundle` : ''}`,
    ),
    ...(unsynchronised > 0 ? [`  ${unsynchronised} samples say that their clock was not synchronised`] : []),
    `log ${report.origin}, checkpoint of size ${report.size}`,
    ...describeCosigned(report.cosigned, report.cosigned_time),
    ...report.judged_by.words,
    ...report.notes.map((note) => `note: ${note}`),
  ];
}
