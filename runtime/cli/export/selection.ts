/** Which entries are exported. */
import { z } from 'zod';
import { encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { KIND } from '../../core/encoding/kind.ts';
import { decodeSample, type Sample } from '../../core/encoding/sample.ts';
import { problem } from '../terminal/problem.ts';

const named = z.string().min(1).max(64);
const whole = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** As it goes to the daemon; also what it comes to. */
export const selectionSchema = z.strictObject({
  machine: named.optional(),
  stream: named.optional(),
  /** Milliseconds since 1970: from this one on, up to before that one. */
  from: whole.optional(),
  to: whole.optional(),
  sample: z.strictObject({ machine: named, stream: named, incarnation: whole, sequence: whole }).optional(),
  maintenance: z.boolean(),
  /** The sample with nothing beside it. */
  alone: z.boolean(),
});

export type Selection = z.output<typeof selectionSchema>;

/** What was typed. */
export interface SelectionOptions {
  readonly machine?: string | undefined;
  readonly stream?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly sample?: string | undefined;
  readonly maintenance: boolean;
}

/** @throws Problem, exit code 2, when it names nothing, or things that do not go together. */
export function selectionFrom(options: SelectionOptions, alone: boolean): Selection {
  const { machine, stream, maintenance } = options;
  const from = timeFrom('--from', options.from);
  const to = timeFrom('--to', options.to);
  const sample = sampleFrom(options.sample);
  if (from !== undefined && to !== undefined && to <= from) throw misuse('--to must be later than --from');
  if (sample && [machine, stream, from, to].some((given) => given !== undefined)) {
    throw misuse('--sample names one sample: --machine, --stream, --from and --to do not go with it');
  }
  if (alone && (!sample || maintenance)) throw misuse('--format tlog-proof is for one --sample alone');
  const selection = { machine, stream, from, to, sample, maintenance, alone };
  if (!wantsSamples(selection) && !maintenance) {
    throw problem('what is to be exported?', {
      todo: 'give --machine, --stream, --from and --to, --sample or --maintenance',
      exitCode: 2,
    });
  }
  return selection;
}

function timeFrom(option: string, given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  const time = Date.parse(given);
  if (Number.isSafeInteger(time) && time >= 0) return time;
  throw misuse(`${option} ${given} is no time: write it as 2026-03-01T06:00Z`);
}

function sampleFrom(given: string | undefined): Selection['sample'] {
  if (given === undefined) return undefined;
  const [machine, stream, incarnation, sequence, ...more] = given.split('/');
  const numbers = [incarnation, sequence].map((part) =>
    /^[0-9]{1,16}$/.test(part ?? '') ? Number(part) : -1,
  );
  const judged = selectionSchema.shape.sample.safeParse({
    machine,
    stream,
    incarnation: numbers[0],
    sequence: numbers[1],
  });
  if (judged.success && more.length === 0) return judged.data;
  throw misuse(
    `--sample ${given} is no sample: write MACHINE/STREAM/INCARNATION/SEQUENCE, as press-1/monitor/0/1234`,
  );
}

function misuse(what: string) {
  return problem(what, { exitCode: 2 });
}

export function wantsSamples({ machine, stream, from, to, sample }: Selection): boolean {
  return [machine, stream, from, to, sample].some((part) => part !== undefined);
}

/** A machine that is asked for comes with what was done to it. */
export function wantsMaintenance({ machine, maintenance }: Selection): boolean {
  return maintenance || machine !== undefined;
}

/** Whether it ends somewhere; if not, it ends with what is final. */
export function isClosed({ to, sample }: Selection): boolean {
  return to !== undefined || sample !== undefined;
}

export function isInTime({ from, to }: Selection, time: number): boolean {
  return time >= (from ?? 0) && (to === undefined || time < to);
}

/** The sample in a payload if it is wanted. Payloads of other machines and streams are passed over undecoded. */
export function createSampleFilter(selection: Selection): (payload: Uint8Array) => Sample | undefined {
  const { sample } = selection;
  const machine = sample?.machine ?? selection.machine;
  const stream = sample?.stream ?? selection.stream;
  // What the payload of a wanted sample opens with, as far as that is known.
  const known: readonly (string | number | undefined)[] = sample
    ? [sample.machine, sample.stream, sample.incarnation, sample.sequence]
    : [machine, stream];
  const unknown = known.indexOf(undefined);
  const start = known
    .slice(0, unknown < 0 ? known.length : unknown)
    .reduce((bytes: Uint8Array, field) => concat(bytes, encodeCbor(field!)), sampleHead);
  return (payload) => {
    if (!equalBytes(payload.subarray(0, start.length), start)) return undefined;
    const found = decodeSample(payload);
    const isWanted = (stream === undefined || found.stream === stream) && isInTime(selection, found.time);
    return isWanted ? found : undefined;
  };
}

/** An array of eight that opens with the kind of a sample. */
const sampleHead = Uint8Array.of(0x88, KIND.sample);

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  return Uint8Array.of(...a, ...b);
}

/** The selection in words, for what is said of it. */
export function describeSelection(selection: Selection): string {
  const { machine, stream, from, to, sample, maintenance } = selection;
  if (sample) return `${sample.machine}/${sample.stream}/${sample.incarnation}/${sample.sequence}`;
  const parts = [
    machine === undefined ? [] : [`machine ${machine}`],
    stream === undefined ? [] : [`stream ${stream}`],
    from === undefined ? [] : [`from ${new Date(from).toISOString()}`],
    to === undefined ? [] : [`to ${new Date(to).toISOString()}`],
    maintenance ? ['maintenance'] : [],
  ].flat();
  return parts.join(', ');
}
