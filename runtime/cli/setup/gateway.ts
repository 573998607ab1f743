/** Making a gateway: its directory, its keys, and the card it hands to whoever drafts the agreement. */
import { mkdir } from 'node:fs/promises';
import { toBase64 } from '../../core/encoding/base64.ts';
import { exists } from '../../state/files.ts';
import { createCertificate } from '../../state/provenance/certificate.ts';
import { endorse } from '../../state/provenance/endorsement.ts';
import { createGatewayKeys, keyPath, loadGatewayKeys } from '../../state/provenance/keys.ts';

/** What an agreement needs to know of a gateway. */
export interface GatewayCard {
  readonly member: string;
  readonly name: string;
  /** Absent when it may only dial out. */
  readonly address?: string | undefined;
  readonly identity: string;
  readonly endorsement: string;
}

/**
 * Makes keys and certificate in `directory`.
 * @throws Error when there are keys already.
 */
export async function createGateway(directory: string, member: string, name: string): Promise<void> {
  if (await exists(keyPath(directory, 'identity'))) {
    throw new Error(
      `${directory} holds a gateway's keys already; choose another directory, or keep that gateway`,
    );
  }
  await mkdir(directory, { recursive: true, mode: 0o750 });
  await createGatewayKeys(directory);
  await createCertificate(directory, `${member}/${name}`);
}

/** The card of the gateway in `directory`. */
export async function cardOf(
  directory: string,
  member: string,
  name: string,
  address: string | undefined,
): Promise<GatewayCard> {
  const keys = await loadGatewayKeys(directory);
  return {
    member,
    name,
    ...(address === undefined ? {} : { address }),
    identity: toBase64(keys.identity.publicKey),
    endorsement: toBase64(endorse(keys, member, name, Date.now())),
  };
}
