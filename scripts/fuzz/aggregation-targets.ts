import {
  decodeAggregateShare,
  encodeAggregateShare,
  sortReports,
} from '../../runtime/core/aggregation/aggregate-share.ts';
import { Field64, fromSigned } from '../../runtime/core/aggregation/field64.ts';
import { decodeReportShare, encodeReportShare, reportShares } from '../../runtime/core/aggregation/report.ts';
import { type ReportContext, share } from '../../runtime/core/aggregation/shares.ts';
import { fuzzDecoder, type Target } from './fuzz.ts';
import { createRandom } from './random.ts';

const CONTEXT: ReportContext = {
  agreement: new Uint8Array(32).fill(9),
  round: 2 ** 40 + 5,
  attempt: 2,
  contributor: 'N\u00f6rd/1',
};
const HOLDERS = ['east', 'south', 'west'];
const VECTOR = fromSigned([1, -2, 3]);
const random = createRandom(1);
const { agreement, round, attempt } = CONTEXT;

const aggregate = encodeAggregateShare({
  set: {
    context: { agreement, round, attempt },
    reports: sortReports(
      ['c', 'a', 'b'].map((contributor) => ({ contributor, reportHash: random.bytes(32) })),
    ),
  },
  holder: 'east',
  bytes: Field64.encodeVec(VECTOR),
});

/** The readers of this room say RangeError where others say DecodeError. */
const refusals = ['RangeError'];

export const AGGREGATION_TARGETS: readonly Target[] = [
  {
    ...fuzzDecoder(
      'report share',
      decodeReportShare,
      encodeReportShare,
      reportShares(share(VECTOR, HOLDERS, CONTEXT, random.bytes), HOLDERS, 3, CONTEXT).map(encodeReportShare),
    ),
    refusals,
  },
  { ...fuzzDecoder('aggregate share', decodeAggregateShare, encodeAggregateShare, [aggregate]), refusals },
];
