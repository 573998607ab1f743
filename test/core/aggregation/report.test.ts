import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type AggregateShare,
  acceptedSetHash,
  aggregateShareHash,
  decodeAggregateShare,
  encodeAggregateShare,
  MINIMUM_BATCH,
  sortReports,
} from '../../../runtime/core/aggregation/aggregate-share.ts';
import { Field64, fromSigned } from '../../../runtime/core/aggregation/field64.ts';
import {
  decodeReportShare,
  encodeReportShare,
  type ReportShare,
  reportHash,
  reportShares,
  shareHash,
} from '../../../runtime/core/aggregation/report.ts';
import { expand, type ReportContext, share, sum } from '../../../runtime/core/aggregation/shares.ts';
import { fixedRandom } from './helpers.ts';

const context: ReportContext = {
  agreement: new Uint8Array(32).fill(9),
  round: 2 ** 40 + 5,
  attempt: 2,
  contributor: 'Nörd/1',
};
const HOLDERS = ['east', 'south', 'west'];
const VECTOR = fromSigned([1, -2, 3]);

function messages(): ReportShare[] {
  return reportShares(share(VECTOR, HOLDERS, context, fixedRandom('report')), HOLDERS, 3, context);
}

function aggregate(): AggregateShare {
  const reports = ['c', 'a', 'b'].map((contributor, i) => ({
    contributor,
    reportHash: new Uint8Array(32).fill(i),
  }));
  const { agreement, round, attempt } = context;
  return {
    set: { context: { agreement, round, attempt }, reports: sortReports(reports) },
    holder: 'east',
    bytes: Field64.encodeVec(VECTOR),
  };
}

test('report shares come back as they were, and together give the vector', () => {
  const received = messages().map((message) => decodeReportShare(encodeReportShare(message)));
  assert.deepEqual(received, messages());
  const whole = sum(
    received.map((one) =>
      expand(one.share, one.length, { ...one.context, holder: one.holders[one.holderIndex]!.holder }),
    ),
  );
  assert.deepEqual(whole, VECTOR);
  assert.equal(new Set(received.map((one) => Buffer.from(reportHash(one)).toString('hex'))).size, 1);
});

test('what is read is a copy, also out of a Buffer', () => {
  const bytes = Buffer.from(encodeReportShare(messages()[0]!));
  const message = decodeReportShare(bytes);
  bytes.fill(0);
  assert.deepEqual(message, messages()[0]);
});

test('the layout is the one that is written down', () => {
  const message = messages()[1]!;
  const text = (value: string): Buffer =>
    Buffer.concat([Buffer.of(Buffer.byteLength(value)), Buffer.from(value)]);
  const head = Buffer.concat([
    Buffer.alloc(32, 9),
    Buffer.from('0000010000000005', 'hex'),
    Buffer.from('00000002', 'hex'),
    text('Nörd/1'),
    Buffer.from('00000003', 'hex'),
    Buffer.of(3),
    ...message.holders.flatMap(({ holder, shareHash }) => [text(holder), shareHash]),
  ]);
  assert.ok(message.share.kind === 'seed');
  const expected = Buffer.concat([Buffer.of(1, 1), head, Buffer.of(1, 1), message.share.seed]);
  assert.deepEqual(Buffer.from(encodeReportShare(message)), expected);
  const hash = createHash('sha256').update('kosmos report hash v1\0').update(head).digest();
  assert.deepEqual(Buffer.from(reportHash(message)), hash);
  const own = createHash('sha256')
    .update('kosmos share hash v1\0')
    .update(Buffer.of(1))
    .update(message.share.seed)
    .digest();
  assert.deepEqual(Buffer.from(message.holders[1]!.shareHash), own);
});

test('aggregate shares come back as they were, and their layout is the one that is written down', () => {
  const message = aggregate();
  const bytes = encodeAggregateShare(message);
  assert.deepEqual(decodeAggregateShare(bytes), message);
  const set = Buffer.concat([
    Buffer.alloc(32, 9),
    Buffer.from('000001000000000500000002', 'hex'),
    Buffer.from('0003', 'hex'),
    ...[
      ['a', 1],
      ['b', 2],
      ['c', 0],
    ].map(([name, fill]) =>
      Buffer.concat([Buffer.of(1), Buffer.from(String(name)), Buffer.alloc(32, Number(fill))]),
    ),
  ]);
  const expected = Buffer.concat([
    Buffer.of(1, 2),
    set,
    Buffer.from('\x04east'),
    Buffer.from('00000003', 'hex'),
    message.bytes,
  ]);
  assert.deepEqual(Buffer.from(bytes), expected);
  const sha256 = (domain: string, rest: Uint8Array): Buffer =>
    createHash('sha256').update(domain).update(rest).digest();
  assert.deepEqual(Buffer.from(acceptedSetHash(message.set)), sha256('kosmos accepted set v1\0', set));
  assert.deepEqual(Buffer.from(aggregateShareHash(message)), sha256('kosmos aggregate share v1\0', expected));
});

const FORMS: [string, Uint8Array[], (bytes: Uint8Array) => Uint8Array][] = [
  ['report share', messages().map(encodeReportShare), (bytes) => encodeReportShare(decodeReportShare(bytes))],
  [
    'aggregate share',
    [encodeAggregateShare(aggregate())],
    (bytes) => encodeAggregateShare(decodeAggregateShare(bytes)),
  ],
];

for (const [name, examples, again] of FORMS) {
  test(`${name}: every cut and every appended byte is refused`, () => {
    for (const bytes of examples) {
      for (let length = 0; length < bytes.length; length++)
        assert.throws(() => again(bytes.subarray(0, length)), RangeError);
      assert.throws(() => again(new Uint8Array([...bytes, 0])), /too many/);
    }
  });

  test(`${name}: a changed byte is refused, or read as a message with exactly those bytes`, () => {
    for (const bytes of examples) {
      for (let i = 0; i < bytes.length; i++) {
        for (const flip of [1, 0x80, 0xff]) {
          const changed = bytes.map((byte, place) => (place === i ? byte ^ flip : byte));
          let back: Uint8Array;
          try {
            back = again(changed);
          } catch (error) {
            assert.ok(error instanceof RangeError, `byte ${i}: ${error}`);
            continue;
          }
          assert.deepEqual(back, changed);
        }
      }
    }
  });

  test(`${name}: any bytes are refused with a RangeError, or are the form`, () => {
    const start = examples[0]!.subarray(0, 2);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (tail, plausible) => {
        const bytes = plausible ? new Uint8Array([...start, ...tail]) : tail;
        try {
          assert.deepEqual(again(bytes), bytes);
        } catch (error) {
          if (!(error instanceof RangeError)) throw error;
        }
      }),
      { numRuns: 2_000 },
    );
  });
}

test('a changed share does not fit its hash', () => {
  for (const message of messages()) {
    const bytes = encodeReportShare(message);
    bytes[bytes.length - 8]! ^= 1;
    assert.throws(() => decodeReportShare(bytes), /not the one that its hash commits to/);
  }
});

test('report shares that contradict themselves are refused by reader and writer', () => {
  const [first, second] = [messages()[0]!, messages()[1]!];
  const named = (holders: readonly string[]): ReportShare['holders'] =>
    first.holders.map((entry, i) => ({ ...entry, holder: holders[i]! }));
  const wrong: [ReportShare, RegExp][] = [
    [{ ...first, holderIndex: 3 }, /3 of 3 holders/],
    [{ ...first, holderIndex: 1 }, /wrong kind/],
    [{ ...second, holderIndex: 0 }, /wrong kind/],
    [{ ...second, holderIndex: 2 }, /commits to/],
    [{ ...first, length: 2 }, /cannot hold 2/],
    [{ ...first, length: 0 }, /0 elements/],
    [{ ...second, length: 2 ** 24 + 1 }, /are allowed/],
    [{ ...first, holders: first.holders.slice(0, 1) }, /1 holders/],
    [{ ...first, holders: named(['east', 'south', 'east']) }, /named twice/],
    [{ ...first, holders: named(['east', 'south', context.contributor]) }, /may not hold/],
    [{ ...second, share: { kind: 'seed', seed: new Uint8Array(16) } }, /16 bytes/],
    [{ ...first, share: { kind: 'explicit', bytes: new Uint8Array(24).fill(0xff) } }, /modulus/],
  ];
  for (const [message, reason] of wrong) assert.throws(() => encodeReportShare(message), reason);
  // The same faults in the bytes of somebody who does not check: the place of the holder's index is known.
  const bytes = encodeReportShare(second);
  const place = bytes.length - 34;
  assert.equal(bytes[place], 1);
  for (const index of [0, 2, 3, 255]) {
    bytes[place] = index;
    assert.throws(() => decodeReportShare(bytes), RangeError);
  }
  // An explicit share beyond the modulus whose hash is right.
  const share = { kind: 'explicit', bytes: new Uint8Array(24).fill(0xff) } as const;
  const honest = encodeReportShare(first);
  const at = Buffer.from(honest).indexOf(Buffer.from(first.holders[0]!.shareHash));
  honest.set(shareHash(share), at);
  honest.set(share.bytes, honest.length - 24);
  assert.throws(() => decodeReportShare(honest), /modulus/);
});

test('an accepted set must be sorted, without twins, and not too small', () => {
  const { set, holder, bytes } = aggregate();
  const [a, b, c] = set.reports;
  assert.equal(set.reports.length, MINIMUM_BATCH);
  for (const reports of [[], [a!, b!], [b!, a!, c!], [a!, a!, b!]]) {
    const message = { set: { ...set, reports }, holder, bytes };
    assert.throws(() => encodeAggregateShare(message), RangeError);
    assert.throws(() => acceptedSetHash(message.set), RangeError);
  }
  const swapped = encodeAggregateShare(aggregate());
  const at = Buffer.from(swapped).indexOf('\x01a');
  swapped[at + 1] = 'd'.charCodeAt(0);
  assert.throws(() => decodeAggregateShare(swapped), /out of order/);
  assert.throws(() => encodeAggregateShare({ ...aggregate(), bytes: new Uint8Array(0) }), RangeError);
  assert.throws(() => encodeAggregateShare({ ...aggregate(), bytes: new Uint8Array(12) }), RangeError);
  assert.throws(
    () => encodeAggregateShare({ ...aggregate(), bytes: new Uint8Array(8).fill(0xff) }),
    /modulus/,
  );
});

test('another version and another type are named', () => {
  const bytes = encodeReportShare(messages()[0]!);
  assert.throws(() => decodeReportShare(bytes.with(0, 2)), /version 2 is unknown/);
  assert.throws(() => decodeReportShare(bytes.with(1, 2)), /type 2/);
  assert.throws(() => decodeAggregateShare(bytes), /type 1/);
});
