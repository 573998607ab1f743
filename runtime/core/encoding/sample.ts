/**
 * A sample's bytes: `[1, machine, stream, incarnation, sequence, time, clock, [values]]`, deterministic CBOR,
 * the payload of a COSE_Sign1.
 */
import { type CborWriter, createCborWriter, decodeCbor, decodeError, equalBytes } from './cbor.ts';
import { fieldsOf, float, list, safeInteger, text } from './fields.ts';
import { CLOCK_STATES, type ClockState, KIND } from './kind.ts';

/** One reading of one stream. */
export interface Sample {
  readonly machine: string;
  readonly stream: string;
  /** Raised by a restore from backup, so that a number is never used twice. */
  readonly incarnation: number;
  /** Counts from 0 within (incarnation, machine, stream). */
  readonly sequence: number;
  /** UTC, milliseconds since 1970; order comes from incarnation and sequence, not from here. */
  readonly time: number;
  readonly clock: ClockState;
  /** In the order of the stream's channels. */
  readonly values: readonly number[];
}

/** Values of one sample: a FIFO of 1,024 readings of 4 axes. */
const MAX_VALUES = 4096;

const writer = createCborWriter();

/**
 * The bytes that are signed for `sample`.
 * @throws RangeError when it is none that decodeSample would take: an unsafe or negative number, too many values.
 */
export function encodeSample(sample: Sample): Uint8Array {
  const { machine, stream, incarnation, sequence, time, clock, values } = sample;
  // Before the first byte: what a writer has begun goes into whatever it writes next.
  checkNumber(incarnation);
  checkReading(sequence, time, clock, values);
  writeStream(writer, machine, stream, incarnation);
  writeReading(writer, sequence, time, clock, values);
  return writer.take();
}

/** As `encodeSample`, of one stream. */
export type SampleEncoder = (
  sequence: number,
  time: number,
  clock: ClockState,
  values: readonly number[],
) => Uint8Array;

const streamWriter = createCborWriter(1 << 14, 'shared');

/**
 * Encodes the samples of one stream, whose names are encoded once. The results are views in shared memory of
 * 16 kB: for what is soon written, not for what is kept for long.
 * @throws RangeError as `encodeSample`.
 */
export function createSampleEncoder(machine: string, stream: string, incarnation: number): SampleEncoder {
  checkNumber(incarnation);
  writeStream(writer, machine, stream, incarnation);
  const prefix = writer.take();
  return (sequence, time, clock, values) => {
    checkReading(sequence, time, clock, values);
    streamWriter.raw(prefix);
    writeReading(streamWriter, sequence, time, clock, values);
    return streamWriter.take();
  };
}

function writeStream(to: CborWriter, machine: string, stream: string, incarnation: number): void {
  to.array(8);
  to.integer(KIND.sample);
  to.text(machine);
  to.text(stream);
  to.integer(incarnation);
}

function writeReading(
  to: CborWriter,
  sequence: number,
  time: number,
  clock: ClockState,
  values: readonly number[],
): void {
  to.integer(sequence);
  to.integer(time);
  to.integer(CLOCK_STATES.indexOf(clock));
  to.floats(values);
}

function checkReading(sequence: number, time: number, clock: ClockState, values: readonly number[]): void {
  checkNumber(sequence);
  checkNumber(time);
  if (!CLOCK_STATES.includes(clock)) throw new RangeError(`sample: clock state ${clock} is unknown`);
  if (values.length > MAX_VALUES) {
    throw new RangeError(`sample: ${values.length} values, at most ${MAX_VALUES} are allowed`);
  }
}

function checkNumber(number: number): void {
  if (!Number.isSafeInteger(number) || number < 0) {
    throw new RangeError(`sample: ${number} is not a whole number between 0 and 2^53-1`);
  }
}

/**
 * The sample that `bytes` encode.
 * @throws DecodeError when they are not the one encoding of a sample.
 */
export function decodeSample(bytes: Uint8Array): Sample {
  const fields = fieldsOf(decodeCbor(bytes), 8, 'sample');
  if (fields[0] !== KIND.sample) throw decodeError(`sample: kind ${String(fields[0])} is not a sample's`);
  const clock = CLOCK_STATES[safeInteger(fields[6], 'sample: clock state')];
  if (!clock) throw decodeError('sample: clock state is unknown');
  const values = list(fields[7], MAX_VALUES, 'sample: values');
  const sample: Sample = {
    machine: text(fields[1], 'sample: machine'),
    stream: text(fields[2], 'sample: stream'),
    incarnation: safeInteger(fields[3], 'sample: incarnation'),
    sequence: safeInteger(fields[4], 'sample: sequence'),
    time: safeInteger(fields[5], 'sample: time'),
    clock,
    values: values.map((value) => float(value, 'sample: a value')),
  };
  if (!equalBytes(encodeSample(sample), bytes)) throw decodeError('sample: not in canonical form');
  return sample;
}
