/** What every kind of verification says: by whose word, and who cosigned when. */
import { toHex } from '../../core/encoding/base64.ts';
import { NO_QUORUM, type Witnessed } from '../../core/log/policy.ts';
import { type AgreementTrust, ownerOf, type Trust } from './trust.ts';

/** By whose word it was judged. */
export interface JudgedBy {
  readonly by: 'agreement' | 'agreement in the bundle' | 'policy' | 'log key';
  /** Of the agreement, where one says whose sample keys count. */
  readonly consortium?: string;
  readonly epoch?: number;
  readonly sha256?: string;
  readonly signed_by?: readonly string[];
  /** For people. */
  readonly words: readonly string[];
}

/** @param keys the agreement that says whose sample keys count. @param carried that came with the bundle itself. */
export function judgedByOf(trust: Trust, keys: AgreementTrust | undefined, carried: boolean): JudgedBy {
  const about = keys && {
    consortium: keys.agreement.terms.consortium,
    epoch: keys.agreement.terms.epoch,
    sha256: toHex(keys.agreement.hash),
    signed_by: keys.agreement.members.map(({ name }) => name),
  };
  const described = about
    ? `consortium ${about.consortium}, epoch ${about.epoch}, sha256 ${about.sha256}, signed by ${about.signed_by.join(', ')}`
    : '';
  if (trust.kind === 'vkey') {
    return { by: 'log key', words: ["by the log's own key alone: no witness was asked for"] };
  }
  if (trust.kind === 'policy') {
    const asks = trust.policy.quorum === NO_QUORUM ? ', which asks for no witness' : '';
    const words = [
      `log and witnesses by the policy that was given${asks}`,
      ...(about
        ? [`sample keys by the agreement in the bundle itself (${described}): compare that hash`]
        : []),
    ];
    return { by: 'policy', ...about, words };
  }
  if (!carried)
    return { by: 'agreement', ...about, words: [`by the agreement that was given (${described})`] };
  return {
    by: 'agreement in the bundle',
    ...about,
    words: [`by the agreement in the bundle itself (${described}): compare that hash`],
  };
}

/** Who cosigned, and when by their own clock. */
export interface Seen {
  readonly witness: string;
  /** By the agreement; null when none says it. */
  readonly member: string | null;
  /** ISO 8601; null when no time is claimed. */
  readonly time: string | null;
}

export function seenBy(trust: Trust, cosigned: readonly Witnessed[]): readonly Seen[] {
  return cosigned.map(({ witness, time }) => {
    const vkey = trust.policy.witnesses.find(({ name }) => name === witness)?.vkey;
    const owner = vkey && trust.kind === 'agreement' ? ownerOf(trust, vkey) : undefined;
    return { witness, member: owner?.member ?? null, time: time > 0 ? iso(time) : null };
  });
}

export function describeCosigned(cosigned: readonly Seen[], time: string | null): readonly string[] {
  const rows = cosigned.map(
    ({ witness, member, time: at }) =>
      `  ${witness}${member === null ? '' : ` of ${member}`}, ${at ?? 'no time'}`,
  );
  return [
    `cosigned by ${cosigned.length === 0 ? 'nobody' : ''}`.trimEnd(),
    ...rows,
    ...(time === null ? [] : [`a quorum had seen it by ${time}`]),
  ];
}

function iso(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `${seconds} s` : date.toISOString();
}
