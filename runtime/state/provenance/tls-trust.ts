/**
 * Which TLS keys a gateway may show, by the roster at the time of asking. A gateway that has rotated its TLS key
 * carries the endorsement in its certificate: a peer that has not heard of it refuses the handshake this once,
 * learns the key from the certificate, and knows it when the gateway tries again.
 */
import { certifiedStatement } from './certificate.ts';
import { acceptedKeys } from './judge.ts';
import type { Roster } from './roster.ts';

export interface TlsTrust {
  /** The gateway's TLS keys that are not revoked, newest first. */
  keysOf(gateway: string): readonly Uint8Array[];
  /** Takes in what a certificate, in DER form, says of its key; for certificates whose key is nobody's. */
  learn(certificate: Uint8Array): void;
}

export function createTlsTrust(roster: Roster, warn: (message: string) => void): TlsTrust {
  let learning = false;
  return {
    keysOf: (gateway) => acceptedKeys(roster.keys(gateway), 'tls'),
    learn(certificate) {
      // One at a time: strangers must not keep the device busy with checking what they made up.
      const statement = learning ? undefined : certifiedStatement(certificate);
      if (!statement) return;
      learning = true;
      roster
        .add(statement)
        .catch((error: Error) => warn(`a certificate's endorsement is refused: ${error.message}`))
        .finally(() => {
          learning = false;
        });
    },
  };
}
