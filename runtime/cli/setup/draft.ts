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

/** `T` whose keys `K`, for which the agreement has defaults, may be left out. */
type Lenient<T, K extends keyof T> = Omit<T, K> & Partial<Pick<T, K>>;

export interface DraftTerms
  extends Pick<AgreementTerms, 'consortium' | 'epoch' | 'log' | 'privacy' | 'federation'> {
  readonly learning: Lenient<
    AgreementTerms['learning'],
    'features' | 'label' | 'model' | 'stride' | 'conditionInputs'
  >;
  readonly training: Lenient<AgreementTerms['training'], 'sampler' | 'clipping'>;
  readonly prediction?: AgreementTerms['prediction'] | undefined;
}

type Scalar = string | number | boolean | readonly Scalar[] | { readonly [key: string]: Scalar };

/** The document; `readAgreement` takes it. */
export function draftAgreement(terms: DraftTerms, sheet: DataSheet, members: readonly MemberCard[]): string {
  const { federation, learning, log, prediction, privacy } = terms;
  const parts = [
    table('', { consortium: terms.consortium, epoch: terms.epoch }),
    table('log', { checkpointInterval: formatDuration(log.checkpointInterval), padding: log.padding }),
    table('learning', { ...learning, period: spelt(learning.period), maxGap: spelt(learning.maxGap) }),
    table('training', terms.training),
    ...(privacy ? [table('privacy', { ...privacy, period: spelt(privacy.period) })] : []),
    table('federation', {
      ...federation,
      interval: formatDuration(federation.interval),
      phaseLimit: formatDuration(federation.phaseLimit),
    }),
    ...(prediction ? [table('prediction', { ...prediction })] : []),
    ...sheet.channels.map((channel) => table('[channel]', { ...channel })),
    ...(sheet.conditions ?? []).map((condition) => formatCondition(condition)),
    ...members.map(formatMember),
  ];
  return `${parts.join('\n')}`;
}

function spelt(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : formatDuration(ms);
}

function formatMember(member: MemberCard): string {
  const gateways = member.gateways.map(({ name, address, identity, endorsement }) =>
    table('[member.gateway]', { name, address, identity, endorsement }),
  );
  return [table('[member]', { name: member.name, key: member.key }), ...gateways].join('\n');
}

function formatCondition(condition: NonNullable<DataSheet['conditions']>[number]): string {
  const rows = (list: readonly { readonly [key: string]: Scalar }[]) =>
    `[\n${list.map((row) => `  ${scalar(row)},\n`).join('')}]`;
  return `[[condition]]\nname = ${scalar(condition.name)}\nwhen = ${rows(condition.when.map((row) => ({ ...row })))}\nranges = ${rows(
    condition.ranges.map((row) => ({ ...row })),
  )}\n`;
}

function table(header: string, values: { readonly [key: string]: Scalar | undefined }): string {
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

function isList(value: Scalar): value is readonly Scalar[] {
  return Array.isArray(value);
}

function snakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
