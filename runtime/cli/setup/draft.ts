/** Drafting an agreement: its terms and the members' cards, written as TOML. */
import type { DataSheet } from '../../core/learning/features.ts';
import type { AgreementTerms } from '../../state/agreement/schema.ts';
import { formatDuration } from '../../state/settings/units.ts';
import type { GatewayCard } from './gateway.ts';

/** A member with its key (base64) and its gateways. */
export interface MemberCard {
  readonly name: string;
  readonly key: string;
  readonly gateways: readonly GatewayCard[];
}

export type DraftTerms = Pick<
  AgreementTerms,
  'consortium' | 'epoch' | 'log' | 'learning' | 'training' | 'privacy' | 'federation'
>;

type Scalar =
  | string
  | number
  | boolean
  | readonly (string | number)[]
  | Readonly<Record<string, string | number>>;

/** The document; `readAgreement` takes it. */
export function draftAgreement(terms: DraftTerms, sheet: DataSheet, members: readonly MemberCard[]): string {
  const { federation, log, privacy } = terms;
  const parts = [
    table('', { consortium: terms.consortium, epoch: terms.epoch }),
    table('log', { checkpointInterval: formatDuration(log.checkpointInterval), padding: log.padding }),
    table('learning', terms.learning),
    table('training', terms.training),
    ...(privacy ? [table('privacy', privacy)] : []),
    table('federation', {
      ...federation,
      interval: formatDuration(federation.interval),
      phaseLimit: formatDuration(federation.phaseLimit),
    }),
    ...sheet.channels.map((channel) => table('[channel]', { ...channel })),
    ...(sheet.conditions ?? []).map((condition) => formatCondition(condition)),
    ...members.map(formatMember),
  ];
  return `${parts.join('\n')}`;
}

function formatMember(member: MemberCard): string {
  const gateways = member.gateways.map(({ name, address, identity, endorsement }) =>
    table('[member.gateway]', { name, address, identity, endorsement }),
  );
  return [table('[member]', { name: member.name, key: member.key }), ...gateways].join('\n');
}

function formatCondition(condition: NonNullable<DataSheet['conditions']>[number]): string {
  const rows = (list: readonly Readonly<Record<string, string | number>>[]) =>
    `[\n${list.map((row) => `  ${scalar(row)},\n`).join('')}]`;
  return `[[condition]]\nname = ${scalar(condition.name)}\nwhen = ${rows(condition.when.map((row) => ({ ...row })))}\nranges = ${rows(
    condition.ranges.map((row) => ({ ...row })),
  )}\n`;
}

function table(header: string, values: Readonly<Record<string, Scalar | undefined>>): string {
  const lines = Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [`${snakeCase(key)} = ${scalar(value)}\n`],
  );
  return `${header === '' ? '' : `[${header}]\n`}${lines.join('')}`;
}

function scalar(value: Scalar): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (isList(value)) return `[${value.map(scalar).join(', ')}]`;
  return `{ ${Object.entries(value)
    .map(([key, inner]) => `${snakeCase(key)} = ${scalar(inner)}`)
    .join(', ')} }`;
}

function isList(value: Scalar): value is readonly (string | number)[] {
  return Array.isArray(value);
}

function snakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
