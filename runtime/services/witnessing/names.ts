/** Names and keys of the logs and witnesses of an agreement, as C2SP notes use them. */
import { type Cosigner, createCosignatureVerifier, createCosigner } from '../../core/log/cosignature.ts';
import {
  createNoteSigner,
  createNoteVerifier,
  type NoteSigner,
  type NoteVerifier,
} from '../../core/log/note.ts';
import { createVkey, ED25519_COSIGNATURE, ED25519_NOTE } from '../../core/log/vkey.ts';
import { type Agreement, type GatewayOf, originOf } from '../../state/agreement/agreement.ts';
import type { GatewayKeys } from '../../state/provenance/keys.ts';

/** One gateway as a log and as a witness. */
export interface LogParty {
  readonly gateway: string;
  readonly member: string;
  readonly origin: string;
  readonly log: NoteVerifier;
  readonly witness: NoteVerifier;
}

/** A witness's name in its cosignatures; another one than the log's, so that no key signs under two. */
export function witnessName(origin: string): string {
  return `${origin}/witness`;
}

export function logParties(agreement: Agreement): readonly LogParty[] {
  return agreement.gateways.map((gateway) => logParty(agreement, gateway));
}

function logParty(agreement: Agreement, gateway: GatewayOf): LogParty {
  const origin = originOf(agreement, gateway);
  const { log, witness } = gateway.endorsement.publicKeys;
  return {
    gateway: gateway.name,
    member: gateway.member,
    origin,
    log: createNoteVerifier(createVkey(origin, ED25519_NOTE, log)),
    witness: createCosignatureVerifier(createVkey(witnessName(origin), ED25519_COSIGNATURE, witness)),
  };
}

/** A gateway's own signers under its log's origin. */
export function ownSigners(
  keys: GatewayKeys,
  origin: string,
): { readonly log: NoteSigner; readonly cosigner: Cosigner } {
  return {
    log: createNoteSigner(origin, keys.log),
    cosigner: createCosigner(witnessName(origin), keys.witness),
  };
}

/** The members whose gateways have cosigned, going by the names of verified signatures. */
export function cosigningMembers(
  parties: readonly LogParty[],
  signers: readonly string[],
): ReadonlySet<string> {
  return new Set(
    parties.filter((party) => signers.includes(party.witness.name)).map((party) => party.member),
  );
}
