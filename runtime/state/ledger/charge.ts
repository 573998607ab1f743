/**
 * A charge: which mechanism ran over which block of data. A block is an interval of time, and an episode belongs to
 * the one that it ended in, by the time of its own last signed sample: what the clock says later moves no episode
 * from one block to another.
 */
import { sha256 } from '#sha256';
import { type CborValue, decodeCbor, decodeError, encodeCbor } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, float, safeInteger, text } from '../../core/encoding/fields.ts';
import type { Mechanism } from '../../core/privacy/accountant.ts';

/** What a claim protects: one window, or one machine's run from repair to failure. */
export type ProtectedUnit = 'window' | 'episode';

/** Milliseconds since 1970, `to` not included. */
export interface Interval {
  readonly from: number;
  readonly to: number;
}

/** The one block of an agreement that gives its data no budget by the period. */
export const ALL_TIME: Interval = { from: 0, to: Number.MAX_SAFE_INTEGER };

/** `mechanism` ran over a set of which every episode that ended within [from, to) may have been part. */
export interface Charge extends Interval {
  readonly agreement: Uint8Array;
  readonly round: number;
  readonly unit: ProtectedUnit;
  readonly mechanism: Mechanism;
}

/** The block of `period` milliseconds that `time` lies in; all time where there is no period. */
export function blockOf(time: number, period: number | undefined): Interval {
  if (period === undefined) return ALL_TIME;
  const from = Math.floor(time / period) * period;
  return { from, to: from + period };
}

/** The canonical form: `[agreement, round, unit, q, sigma, steps, from, to]`. */
export function encodeCharge(charge: Charge): CborValue {
  const { samplingRate, noiseMultiplier, steps } = charge.mechanism;
  return [
    charge.agreement,
    charge.round,
    charge.unit,
    { float: samplingRate },
    { float: noiseMultiplier },
    steps,
    charge.from,
    charge.to,
  ];
}

/** @throws Error for bytes that are no charge. */
export function decodeCharge(bytes: Uint8Array): Charge {
  const fields = fieldsOf(decodeCbor(bytes), 8, 'charge');
  const charge: Charge = {
    agreement: byteString(fields[0], 'charge: agreement', 32),
    round: safeInteger(fields[1], 'charge: round'),
    unit: unitOf(text(fields[2], 'charge: unit')),
    mechanism: {
      samplingRate: float(fields[3], 'charge: sampling rate'),
      noiseMultiplier: float(fields[4], 'charge: noise multiplier'),
      steps: safeInteger(fields[5], 'charge: steps'),
    },
    from: safeInteger(fields[6], 'charge: from'),
    to: safeInteger(fields[7], 'charge: to'),
  };
  const fault = faultOf(charge);
  if (fault) throw decodeError(`charge: ${fault}`);
  return charge;
}

/** The SHA-256 of the canonical form. */
export function chargeDigest(charge: Charge): Uint8Array {
  return sha256(encodeCbor(encodeCharge(charge)));
}

/** @throws RangeError when the charge is none that decodeCharge would take: stored, it would close the ledger. */
export function checkCharge(charge: Charge): void {
  const fault = faultOf(charge);
  if (fault) throw new RangeError(`charge: ${fault}`);
}

function unitOf(name: string): ProtectedUnit {
  if (name !== 'window' && name !== 'episode') throw decodeError(`charge: unit ${name} is unknown`);
  return name;
}

function faultOf({ agreement, round, mechanism, from, to }: Charge): string | undefined {
  const { samplingRate, noiseMultiplier, steps } = mechanism;
  if (agreement.length !== 32) return `the agreement’s hash has ${agreement.length} bytes`;
  if (![round, steps, from, to].every((one) => Number.isSafeInteger(one) && one >= 0))
    return 'round, steps and times are whole numbers';
  if (from >= to) return `it is for the time from ${from} to ${to}, which is none`;
  if (!(samplingRate >= 0 && samplingRate <= 1)) return `sampling rate ${samplingRate} is not in [0, 1]`;
  if (!(noiseMultiplier > 0 && Number.isFinite(noiseMultiplier)))
    return `noise multiplier ${noiseMultiplier} is not above 0`;
  return undefined;
}
