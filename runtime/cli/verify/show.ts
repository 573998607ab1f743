/** Verified entries as plain data, one JSON object an entry. */
import { toHex } from '../../core/encoding/base64.ts';
import type { CborValue } from '../../core/encoding/cbor.ts';
import type { Entry } from '../../core/encoding/entry.ts';
import type { Sample } from '../../core/encoding/sample.ts';
import type { MaintenanceFields } from '../../state/maintenance/entry.ts';

/** Where an entry stands, and what signs it. */
export interface Place {
  readonly block: number;
  readonly position: number;
  readonly signed_by: 'entry' | 'block';
}

export type Line = Readonly<Record<string, unknown>>;

export function sampleLine(sample: Sample, place: Place): Line {
  const { machine, stream, incarnation, sequence, time, clock, values } = sample;
  return {
    kind: 'sample',
    machine,
    stream,
    incarnation,
    sequence,
    time: iso(time),
    clock,
    values: values.map(numberLine),
    ...place,
  };
}

/** @param opened the fields of a maintenance entry whose opening is there and is its own. */
export function entryLine(entry: Entry, opened: MaintenanceFields | undefined, place: Place): Line {
  const { kind, incarnation, sequence, time, clock, body } = entry;
  const own =
    kind === 'maintenance' ? maintenanceLine(opened) : kind === 'stream' ? streamLine(body) : undefined;
  return {
    kind,
    incarnation,
    sequence,
    time: iso(time),
    clock,
    ...(own ?? { body: valueLine(body) }),
    ...place,
  };
}

function maintenanceLine(opened: MaintenanceFields | undefined): Line {
  if (!opened) return { opened: false };
  const { machine, type, note, faults, at, previous } = opened;
  return {
    opened: true,
    machine,
    type,
    note,
    faults: faults.map(toHex),
    at: at ?? null,
    previous: previous ? toHex(previous) : null,
  };
}

/** A declaration: `[machine, stream, interval, [[channel, unit]...]]`; anything else is shown as it is. */
function streamLine(body: CborValue): Line | undefined {
  if (!Array.isArray(body) || body.length !== 4 || !Array.isArray(body[3])) return undefined;
  const [machine, stream, interval, channels] = body as readonly CborValue[];
  const rows = (channels as readonly CborValue[]).map((row) =>
    Array.isArray(row) ? row.map(valueLine) : valueLine(row),
  );
  return { machine, stream, interval_ms: interval, channels: rows };
}

/** JSON has no number for these. */
function numberLine(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}

function valueLine(value: CborValue): unknown {
  if (value instanceof Uint8Array) return toHex(value);
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return value.map(valueLine);
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([key, inner]) => [key, valueLine(inner)]));
  if (typeof value !== 'object' || value === null) return value;
  if ('float' in value) return numberLine(value.float);
  return 'tag' in value ? { tag: value.tag, value: valueLine(value.value) } : null;
}

function iso(time: number): string {
  return Number.isNaN(new Date(time).getTime()) ? `${time} ms` : new Date(time).toISOString();
}
