/** Gateways with keys that can be replaced, and what an agreement says of them. */
import { createSigner, type Signer } from '#ed25519';
import { sha256 } from '#sha256';
import {
  type EndorsedKeys,
  endorse,
  openEndorsement,
} from '../../../runtime/state/provenance/endorsement.ts';
import type { Purpose } from '../../../runtime/state/provenance/purposes.ts';
import { revoke } from '../../../runtime/state/provenance/revocation.ts';
import type { Enrolment } from '../../../runtime/state/provenance/roster.ts';

/** The same key for the same name, so that a failure can be seen again. */
export function keyOf(name: string): Signer {
  return createSigner(sha256(new TextEncoder().encode(name)));
}

export type TestKeys = EndorsedKeys & Readonly<Record<Purpose, Signer>>;

/** A gateway's keys of one generation. */
export function keysOf(gateway: string, generation = 0): TestKeys {
  const key = (purpose: string) => keyOf(`${gateway} ${purpose} ${generation}`);
  return {
    identity: keyOf(`${gateway} identity`),
    sample: key('sample'),
    log: key('log'),
    witness: key('witness'),
    tls: key('tls'),
  };
}

export const GATEWAYS = [
  ['acme', 'hall-1'],
  ['acme', 'hall-2'],
  ['bolt', 'mill'],
  ['cog', 'lathe'],
] as const;

export const memberKey = (member: string) => keyOf(`member ${member}`);

export function memberOf(gateway: string): string {
  return GATEWAYS.find(([, name]) => name === gateway)![0];
}

export function enrolmentOfAll(): Enrolment {
  return {
    members: [...new Set(GATEWAYS.map(([member]) => member))].map((name) => ({
      name,
      publicKey: memberKey(name).publicKey,
    })),
    gateways: GATEWAYS.map(([member, name]) => {
      const keys = keysOf(name);
      const identity = keys.identity.publicKey;
      return {
        member,
        name,
        identity,
        endorsement: openEndorsement(endorse(keys, member, name, 1000), identity),
      };
    }),
  };
}

/** The endorsement of all keys of a generation, its serial unless another is given. */
export function endorsed(gateway: string, generation: number, serial = generation, time = 2000): Uint8Array {
  return endorse(keysOf(gateway, generation), memberOf(gateway), gateway, time, serial);
}

/** The revocation of a generation's key, by the gateway's identity unless the member's key is to sign. */
export function revoked(
  gateway: string,
  purpose: Purpose | 'identity',
  generation: number,
  time: number,
  by: 'identity' | 'member' = 'identity',
): Uint8Array {
  const member = memberOf(gateway);
  const signer = by === 'member' ? memberKey(member) : keysOf(gateway).identity;
  const key = keysOf(gateway, generation)[purpose].publicKey;
  return revoke(signer, { member, gateway, purpose, key, time, reason: 'stolen' });
}
