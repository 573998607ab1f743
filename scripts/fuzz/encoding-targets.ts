import { type CborValue, decodeCbor, encodeCbor } from '../../runtime/core/encoding/cbor.ts';
import { parseSign1, type Sign1 } from '../../runtime/core/encoding/cose.ts';
import { decodeEntry, type Entry, encodeEntry } from '../../runtime/core/encoding/entry.ts';
import { decodeSample, encodeSample } from '../../runtime/core/encoding/sample.ts';
import { BLOCKS, SAMPLE_KEY } from '../../test/core/log/exports.ts';
import { fuzzDecoder, type Target } from './fuzz.ts';

/** Every form of item, at both ends of each width. */
const VALUES: readonly CborValue[] = [
  [0, 23, 24, 255, 256, 65535, 65536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2n ** 53n, 2n ** 64n - 1n],
  [-1, -24, -25, -256, -257, -(2 ** 53) + 1, -(2n ** 53n), -(2n ** 64n)],
  [true, false, null],
  ['', 'text', '\u00fc\u{10ffff}\ufeff', '\ufeffx', 'x'.repeat(24)],
  [new Uint8Array(0), Uint8Array.of(0xff), new Uint8Array(300).fill(7)],
  [0, -0, 1.5, Number.NaN, Number.NEGATIVE_INFINITY].map((float) => ({ float })),
  [1, [2, [3, ['x', new Uint8Array(3)]]], []],
  new Map<number | string, CborValue>([
    [1, -8],
    [-1, null],
    [300, 'far'],
    ['a', [1]],
    ['bb', new Map<number, CborValue>([[0, { float: 0.1 }]])],
  ]),
  { tag: 18, value: [new Uint8Array(2), new Map(), null] },
];

const SAMPLE = {
  machine: 'press-1',
  stream: 'spindle',
  incarnation: 1,
  sequence: 70_000,
  time: 1_700_000_000_000,
  clock: 'stepped',
  values: [1.5, -0, Number.NaN, Number.POSITIVE_INFINITY],
} as const;

const ENTRIES: readonly Entry[] = (['start', 'maintenance', 'gap', 'round'] as const).map((kind, at) => ({
  kind,
  incarnation: at,
  sequence: 100 * at,
  time: 1_700_000_000_000,
  clock: 'synchronised',
  body: VALUES.slice(at * 2),
}));

/** Writes a COSE_Sign1 from what was read of it, without the code that reads it. */
export function encodeSign1({ keyId, payload, signature }: Sign1): Uint8Array {
  const header = encodeCbor(
    new Map<number, CborValue>([
      [1, -8],
      [4, keyId],
    ]),
  );
  return encodeCbor({ tag: 18, value: [header, new Map(), payload, signature] });
}

export const ENCODING_TARGETS: readonly Target[] = [
  fuzzDecoder('cbor', decodeCbor, encodeCbor, [VALUES, ...VALUES].map(encodeCbor)),
  fuzzDecoder('cose', parseSign1, encodeSign1, [
    SAMPLE_KEY.sign(encodeSample(SAMPLE)),
    SAMPLE_KEY.sign(new Uint8Array(0)),
    BLOCKS[0]!.entries[0]!,
  ]),
  fuzzDecoder('sample', decodeSample, encodeSample, [
    encodeSample(SAMPLE),
    encodeSample({ ...SAMPLE, machine: '', clock: 'synchronised', values: [] }),
  ]),
  fuzzDecoder('entry', decodeEntry, encodeEntry, ENTRIES.map(encodeEntry)),
];
