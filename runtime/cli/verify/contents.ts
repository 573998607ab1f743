/** What verified entries say: decoded, counted, and judged where entries must fit each other. */
import { toHex } from '../../core/encoding/base64.ts';
import { decodeEntry } from '../../core/encoding/entry.ts';
import { KIND, kindOf } from '../../core/encoding/kind.ts';
import { decodeSample, type Sample } from '../../core/encoding/sample.ts';
import type { MaintenanceOpening } from '../../core/log/export.ts';
import type { VerifiedEntry } from '../../core/log/export-verifier.ts';
import { type MaintenanceFields, maintenanceHash, openMaintenance } from '../../state/maintenance/entry.ts';
import { broken } from './broken.ts';
import { entryLine, type Line, type Place, sampleLine } from './show.ts';

/** What is shown of one stream. */
export interface StreamShown {
  readonly machine: string;
  readonly stream: string;
  readonly samples: number;
  /** INCARNATION/SEQUENCE */
  readonly first: string;
  readonly last: string;
  /** Numbers between the first and the last of an incarnation that are not in the bundle. */
  readonly missing: number;
}

export interface Contents {
  readonly samples: number;
  readonly maintenance: number;
  /** Maintenance entries whose fields are shown. */
  readonly opened: number;
  readonly other: number;
  readonly streams: readonly StreamShown[];
  /** Of samples and opened maintenance entries. */
  readonly machines: readonly string[];
  /** ISO 8601, by the gateway's clock; null without samples. */
  readonly from: string | null;
  readonly to: string | null;
  /** Samples whose time was not that of a synchronised clock. */
  readonly unsynchronised: number;
}

/**
 * @param print is given each entry, in the order of the log.
 * @throws Broken for an entry that is not in its form, a number that is given twice, a maintenance entry whose
 *   opening is another's, and an opening that belongs to none.
 */
export function readContents(
  entries: readonly VerifiedEntry[],
  openings: readonly MaintenanceOpening[],
  print?: (line: Line) => void,
): Contents {
  const unused = new Map(openings.map(({ digest, opening }) => [toHex(digest), opening]));
  const streams = createStreams();
  const machines = new Set<string>();
  let samples = 0;
  let maintenance = 0;
  let opened = 0;
  let unsynchronised = 0;
  let [from, to] = [Number.POSITIVE_INFINITY, 0];

  function readSample(payload: Uint8Array, place: Place): void {
    const sample = decodeSample(payload);
    streams.add(sample);
    machines.add(sample.machine);
    samples += 1;
    if (sample.clock !== 'synchronised') unsynchronised += 1;
    from = Math.min(from, sample.time);
    to = Math.max(to, sample.time);
    print?.(sampleLine(sample, place));
  }

  function readEntry(payload: Uint8Array, place: Place): void {
    if (place.signed_by === 'block') throw new Error('only a sample may be signed with its block');
    const entry = decodeEntry(payload);
    let fields: MaintenanceFields | undefined;
    if (entry.kind === 'maintenance') {
      maintenance += 1;
      const digest = toHex(maintenanceHash(entry.body));
      const opening = unused.get(digest);
      unused.delete(digest);
      fields = opening && openMaintenance(entry.body, opening);
    }
    if (fields) {
      opened += 1;
      machines.add(fields.machine);
    }
    print?.(entryLine(entry, fields, place));
  }

  for (const { block, position, payload, signedBy } of entries) {
    const place = { block, position, signed_by: signedBy };
    try {
      if (kindOf(payload) === KIND.sample) readSample(payload, place);
      else readEntry(payload, place);
    } catch (error) {
      throw broken(`block ${block}, entry ${position}: ${(error as Error).message}`);
    }
  }
  const [stray] = unused.keys();
  if (stray !== undefined)
    throw broken(`opening ${stray.slice(0, 16)}: no maintenance entry of the bundle is its`);
  return {
    samples,
    maintenance,
    opened,
    other: entries.length - samples - maintenance,
    streams: streams.all(),
    machines: [...machines].sort(),
    from: samples > 0 ? iso(from) : null,
    to: samples > 0 ? iso(to) : null,
    unsynchronised,
  };
}

interface Counting {
  machine: string;
  stream: string;
  samples: number;
  first: Sample;
  last: Sample;
  missing: number;
}

/** In a log the numbers of a stream ascend. */
function createStreams() {
  const streams = new Map<string, Counting>();
  return {
    add(sample: Sample) {
      const { machine, stream, incarnation, sequence } = sample;
      const name = `${machine}/${stream}`;
      const seen = streams.get(name);
      if (!seen) {
        streams.set(name, { machine, stream, samples: 1, first: sample, last: sample, missing: 0 });
        return;
      }
      const { last } = seen;
      const same = incarnation === last.incarnation;
      if (incarnation < last.incarnation || (same && sequence <= last.sequence)) {
        throw new Error(`${name}: number ${numberOf(sample)} comes behind ${numberOf(last)}`);
      }
      if (same) seen.missing += sequence - last.sequence - 1;
      seen.samples += 1;
      seen.last = sample;
    },
    all: (): readonly StreamShown[] =>
      [...streams.values()].map(({ first, last, ...rest }) => ({
        ...rest,
        first: numberOf(first),
        last: numberOf(last),
      })),
  };
}

function numberOf({ incarnation, sequence }: Sample): string {
  return `${incarnation}/${sequence}`;
}

function iso(time: number): string {
  return Number.isNaN(new Date(time).getTime()) ? `${time} ms` : new Date(time).toISOString();
}
