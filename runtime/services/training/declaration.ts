/** What a stream has declared of its channels, against what the agreement says of them. */
import { type CborValue, decodeError } from '../../core/encoding/cbor.ts';
import { fieldsOf, list, text } from '../../core/encoding/fields.ts';

/** SenML name and unit (RFC 8428). */
export interface ChannelOf {
  readonly name: string;
  readonly unit: string;
}

export interface Declaration {
  readonly machine: string;
  readonly stream: string;
  readonly channels: readonly ChannelOf[];
}

const MOST_CHANNELS = 4096;

/** The `stream` entry's body: machine, stream, interval, channels. @throws DecodeError when it is none. */
export function readDeclaration(body: CborValue): Declaration {
  const fields = fieldsOf(body, 4, 'stream entry');
  const channels = list(fields[3], MOST_CHANNELS, 'stream entry: channels').map((channel) => {
    const pair = fieldsOf(channel, 2, 'stream entry: a channel');
    return {
      name: text(pair[0], 'stream entry: name of a channel'),
      unit: text(pair[1], 'stream entry: unit of a channel'),
    };
  });
  if (channels.length === 0) throw decodeError('stream entry: no channels');
  return {
    machine: text(fields[0], 'stream entry: machine'),
    stream: text(fields[1], 'stream entry: stream'),
    channels,
  };
}

/** Why `declared` is not what is agreed, and what to do; undefined when it is. Channels count by their order. */
export function declarationFault(
  { machine, stream, channels }: Declaration,
  agreed: readonly ChannelOf[],
): string | undefined {
  const whose = `stream ${stream} of machine ${machine} is not learned from`;
  if (channels.length !== agreed.length) {
    return `${whose}: it has ${channels.length} channels, the agreement ${agreed.length}; the driver has to be the one agreed on`;
  }
  for (const [index, { name, unit }] of channels.entries()) {
    const expected = agreed[index]!;
    if (name !== expected.name) {
      return `${whose}: its channel ${index + 1} is ${name}, the agreement’s ${expected.name}; the driver has to be the one agreed on`;
    }
    if (unit !== expected.unit) {
      return `${whose}: ${name} is in ${unit}, the agreement has it in ${expected.unit}; set the driver to that unit, or agree on ${unit} with ranges in it`;
    }
  }
  return undefined;
}
