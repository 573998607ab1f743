import { type CborValue, decodeCbor, encodeCbor } from '../../runtime/core/encoding/cbor.ts';
import { encodeFlawed } from './flaws.ts';
import type { Random } from './random.ts';

/** A change of one input; `other` is a second input to take parts from. */
type Mutation = (input: Uint8Array, other: Uint8Array, random: Random) => Uint8Array;

const BYTES = [0, 1, 0x0a, 0x0d, 0x20, 0x2b, 0x2f, 0x30, 0x39, 0x3d, 0x7f, 0x80, 0xd2, 0xe2, 0xf6, 0xff];
/** Heads of CBOR items: lengths that lie, forms longer than needed, indefinite lengths, floats, tags. */
const HEADS = [
  ...[0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1f, 0x3b, 0x5a, 0x5b, 0x5f, 0x7b, 0x7f, 0x80, 0x9a, 0x9b, 0x9f],
  ...[0xa0, 0xbb, 0xbf, 0xc0, 0xd2, 0xdb, 0xf4, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xff],
];
const NUMBERS = [0n, 1n, 23n, 24n, 255n, 256n, 65535n, 65536n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n];
const LARGE = [2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];
const WORDS = [
  ...[
    '\n',
    '\n\n',
    '\r\n',
    ' ',
    '  ',
    '\t',
    '\0',
    '+',
    '=',
    '==',
    '-',
    '0',
    '00',
    '\u2014 ',
    '\u00a0',
    '\ufeff',
  ],
  ...[
    '9007199254740991',
    '9007199254740992',
    '-1',
    '1e3',
    'old ',
    'index ',
    'extra ',
    'key ',
    'quorum none\n',
  ],
  ...['group g 1 ', 'log ', 'witness ', '.p/256', 'x000/', 'tile/entries/', '\u{10ffff}', '#'],
].map((word) => new TextEncoder().encode(word));

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** A range of `input`, seldom a long one. */
function range(input: Uint8Array, random: Random): readonly [number, number] {
  const begin = random.below(input.length + 1);
  const longest = random.below(4) === 0 ? input.length : 8;
  return [begin, Math.min(input.length, begin + random.below(longest + 1))];
}

function number(random: Random, width: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, random.pick([...NUMBERS, ...LARGE]));
  return new Uint8Array(view.buffer, 8 - width);
}

function overwritten(input: Uint8Array, at: number, part: Uint8Array): Uint8Array {
  return joined(input.subarray(0, at), part, input.subarray(at + part.length));
}

function lines(input: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let at = 0; at < input.length; ) {
    const end = input.indexOf(0x0a, at);
    found.push(input.subarray(at, end === -1 ? input.length : end + 1));
    at = end === -1 ? input.length : end + 1;
  }
  return found;
}

const MUTATIONS: readonly Mutation[] = [
  (input, _other, random) => {
    if (input.length === 0) return input;
    const at = random.below(input.length);
    return input.with(at, input[at]! ^ (1 << random.below(8)));
  },
  (input, _other, random) => {
    if (input.length === 0) return input;
    return input.with(random.below(input.length), random.pick([...BYTES, ...HEADS]));
  },
  (input, _other, random) => {
    const at = random.below(input.length + 1);
    const part = random.below(2) === 0 ? random.bytes(1 + random.below(4)) : random.pick(WORDS);
    return joined(input.subarray(0, at), part, input.subarray(at));
  },
  (input, _other, random) => {
    const [begin, end] = range(input, random);
    return joined(input.subarray(0, begin), input.subarray(end));
  },
  (input, other, random) => {
    const [begin, end] = range(other, random);
    const at = random.below(input.length + 1);
    return joined(
      input.subarray(0, at),
      other.subarray(begin, end),
      input.subarray(at + random.below(2) * (end - begin)),
    );
  },
  (input, other, random) => {
    return joined(
      input.subarray(0, random.below(input.length + 1)),
      other.subarray(random.below(other.length + 1)),
    );
  },
  (input, _other, random) => input.slice(0, random.below(input.length + 1)),
  (input, _other, random) => {
    const [begin, end] = range(input, random);
    const part = input.subarray(begin, end);
    const times = random.below(8) === 0 ? 64 : 1 + random.below(3);
    return joined(input.subarray(0, end), ...Array.from({ length: times }, () => part), input.subarray(end));
  },
  (input, _other, random) => {
    return overwritten(input, random.below(input.length + 1), number(random, random.pick([1, 2, 4, 8])));
  },
  // An integer of CBOR in place of one, in a form that may be longer than needed.
  (input, _other, random) => {
    const at = random.below(input.length + 1);
    const width = random.below(4);
    const head = Uint8Array.of((random.below(8) << 5) | (24 + width));
    return joined(
      input.subarray(0, at),
      head,
      number(random, 1 << width),
      input.subarray(at + random.below(3)),
    );
  },
  (input, other, random) => {
    const all = lines(input);
    const at = random.below(all.length + 1);
    const line = random.pick([...lines(other), ...all, Uint8Array.of(0x0a)]);
    const how = random.below(3);
    if (how === 0) return joined(...all.toSpliced(at, 1));
    if (how === 1) return joined(...all.toSpliced(at, 0, line));
    return joined(...all.toSpliced(at, 1, line));
  },
  (input, _other, random) => {
    // A decimal near a digit: one more, one less, a leading zero.
    const digits = [...input.keys()].filter((at) => input[at]! >= 0x30 && input[at]! <= 0x39);
    if (digits.length === 0) return input;
    const at = random.pick(digits);
    return input.with(at, 0x30 + ((input[at]! - 0x30 + random.pick([1, 9])) % 10));
  },
];

/** One to four changes of `input`. */
export function mutate(input: Uint8Array, other: Uint8Array, random: Random, limit: number): Uint8Array {
  let changed = input;
  for (let times = 1 + random.below(4); times > 0; times--) {
    changed = random.pick(MUTATIONS)(changed, other, random);
    if (changed.length > limit) changed = changed.slice(0, limit);
  }
  return changed;
}

/**
 * A change within what the bytes mean: a value of a CBOR item put in another's place, dropped, repeated, or
 * taken from elsewhere, and all written canonically, so that it gets past the decoder of CBOR to the fields;
 * now and then no change at all, but one item written in another form.
 */
export function mutateCbor(input: Uint8Array, other: Uint8Array, random: Random): Uint8Array | undefined {
  try {
    const donors = partsOf(decodeCbor(other));
    const value = decodeCbor(input);
    const place = { left: random.below(partsOf(value).length) };
    if (random.below(3) === 0) return encodeFlawed(value, place, random);
    return encodeCbor(changedAt(value, place, donors, random));
  } catch {
    // No CBOR, or an exchange that gave none (a key that is no key): the other mutations take over.
    return undefined;
  }
}

function childrenOf(value: CborValue): readonly CborValue[] {
  if (Array.isArray(value)) return value as readonly CborValue[];
  if (value instanceof Map) return [...value.values()];
  if (typeof value === 'object' && value !== null && 'tag' in value) return [value.value];
  return [];
}

function partsOf(value: CborValue): readonly CborValue[] {
  return [value, ...childrenOf(value).flatMap(partsOf)];
}

/** `value` with its `left`-th part, counted in depth, exchanged. */
function changedAt(
  value: CborValue,
  place: { left: number },
  donors: readonly CborValue[],
  random: Random,
): CborValue {
  if (place.left-- === 0) return exchange(value, donors, random);
  if (Array.isArray(value)) {
    return (value as readonly CborValue[]).map((item) => changedAt(item, place, donors, random));
  }
  if (value instanceof Map) {
    return new Map([...value].map(([key, item]) => [key, changedAt(item, place, donors, random)]));
  }
  if (typeof value === 'object' && value !== null && 'tag' in value) {
    return { tag: value.tag, value: changedAt(value.value, place, donors, random) };
  }
  return value;
}

function exchange(value: CborValue, donors: readonly CborValue[], random: Random): CborValue {
  const how = random.below(8);
  if (how === 0) return random.pick(donors);
  if (how === 1)
    return random.pick<CborValue>([null, true, '', [], new Map(), new Uint8Array(0), { float: 0 }]);
  if (typeof value === 'number' || typeof value === 'bigint') {
    const near = BigInt(value) + BigInt(random.pick([-1, 1]));
    return random.below(2) === 0 && near >= 0n ? near : random.pick([...NUMBERS, ...LARGE]);
  }
  if (typeof value === 'string') {
    const part = random.pick(['', 'x', '\n', '\u0000', '\ufeff', '\u{10ffff}', value]);
    return random.below(2) === 0 ? value + part : part + value;
  }
  if (value instanceof Map) {
    const map = new Map<number | string, CborValue>(value);
    const key = random.pick([...map.keys(), 0, 1, 4, -1, 'x']);
    if (random.below(3) === 0) map.delete(key);
    else map.set(key, random.pick(donors));
    return map;
  }
  if (value instanceof Uint8Array) {
    const nested = random.below(2) === 0 ? mutateCbor(value, value, random) : undefined;
    return nested ?? mutate(value, value, random, value.length + 64);
  }
  if (Array.isArray(value)) {
    const items = value as readonly CborValue[];
    const at = random.below(items.length + 1);
    if (how < 4) return items.toSpliced(at, 1);
    if (how < 6) return items.toSpliced(at, 0, random.pick([...donors, ...items]));
    return items.toReversed();
  }
  if (typeof value === 'object' && value !== null && 'float' in value) {
    return { float: random.pick([0, -0, Number.NaN, Number.POSITIVE_INFINITY, -1e308, 5e-324]) };
  }
  if (typeof value === 'object' && value !== null && 'tag' in value) {
    return { tag: random.pick([0, 17, 18, 19, 98]), value: value.value };
  }
  return random.pick(donors);
}
