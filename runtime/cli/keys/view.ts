/** What a roster knows, for people and for JSON: public keys and their state, nothing secret. */
import { toBase64, toHex } from '../../core/encoding/base64.ts';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { keyIdOf } from '../../core/encoding/cose.ts';
import { everyKey, isoTime, revocationOf } from '../../state/provenance/judge.ts';
import { PURPOSES } from '../../state/provenance/purposes.ts';
import type { Enrolment, Roster } from '../../state/provenance/roster.ts';
import { table } from '../terminal/layout.ts';

export interface KeyRow {
  readonly gateway: string;
  readonly member: string;
  readonly purpose: string;
  /** The key identifier that stands in signed entries, in hexadecimal. */
  readonly id: string;
  readonly publicKey: string;
  readonly state: 'current' | 'previous' | 'revoked';
  /** The endorsement that named it first, and when that was made. */
  readonly serial: number;
  readonly endorsed: string;
  readonly revoked?: { readonly as_of: string; readonly by: string; readonly reason: string };
}

/** Every key of the gateways, newest first. */
export function keyRows(enrolment: Enrolment, roster: Roster, only?: string): readonly KeyRow[] {
  return enrolment.gateways
    .filter(({ name }) => only === undefined || name === only)
    .flatMap(({ name: gateway, member }) => {
      const keys = roster.keys(gateway);
      const current = roster.current(gateway).publicKeys;
      return PURPOSES.flatMap((purpose) =>
        everyKey(keys, purpose).map((key): KeyRow => {
          const first = keys.history.find(({ publicKeys }) => equalBytes(publicKeys[purpose], key))!;
          const revocation = revocationOf(keys.revocations, purpose, key);
          const state = equalBytes(current[purpose], key) ? 'current' : 'previous';
          return {
            gateway,
            member,
            purpose,
            id: toHex(keyIdOf(key)),
            publicKey: toBase64(key),
            state: revocation ? 'revoked' : state,
            serial: first.serial,
            endorsed: isoTime(first.time),
            ...(revocation && {
              revoked: { as_of: isoTime(revocation.time), by: revocation.by, reason: revocation.reason },
            }),
          };
        }),
      );
    });
}

export function keyTable(rows: readonly KeyRow[]): readonly string[] {
  return table(
    [{ title: 'gateway' }, { title: 'purpose' }, { title: 'key' }, { title: 'serial' }, { title: 'state' }],
    rows.map(({ gateway, purpose, id, serial, state, revoked }) => [
      gateway,
      purpose,
      id,
      String(serial),
      revoked
        ? `revoked by ${revoked.by} as of ${revoked.as_of}${revoked.reason === '' ? '' : `: ${revoked.reason}`}`
        : state,
    ]),
  );
}
