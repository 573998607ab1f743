/**
 * A sample's bytes: `[1, machine, stream, incarnation, sequence, time, clock, [values]]`, deterministic CBOR,
 * the payload of a COSE_Sign1.
 */
import { createCborWriter, decodeCbor, decodeError, equalBytes } from './cbor.ts';
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
  // Before the first byte: what a writer has begun goes into whatever it writes next.
  checkSample(sample);
  writer.array(8);
  writer.integer(KIND.sample);
  writer.text(sample.machine);
  writer.text(sample.stream);
  writer.integer(sample.incarnation);
  writer.integer(sample.sequence);
  writer.integer(sample.time);
  writer.integer(CLOCK_STATES.indexOf(sample.clock));
  writer.array(sample.values.length);
  for (const value of sample.values) writer.float(value);
  return writer.take();
}

function checkSample({ incarnation, sequence, time, clock, values }: Sample): void {
  for (const number of [incarnation, sequence, time]) {
    if (!Number.isSafeInteger(number) || number < 0) {
      throw new RangeError(`sample: ${number} is not a whole number between 0 and 2^53-1`);
    }
  }
  if (!CLOCK_STATES.includes(clock)) throw new RangeError(`sample: clock state ${clock} is unknown`);
  if (values.length > MAX_VALUES) {
    throw new RangeError(`sample: ${values.length} values, at most ${MAX_VALUES} are allowed`);
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
