/** Names and keys of the logs and witnesses of an agreement, as C2SP notes use them. */
import { toHex } from '../../core/encoding/base64.ts';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { type OpenedCheckpoint, openCheckpoint } from '../../core/log/checkpoint.ts';
import { type Cosigner, createCheckpointVerifier, createCosigner } from '../../core/log/cosignature.ts';
import { createNoteSigner, type NoteSigner, type NoteVerifier, parseNote } from '../../core/log/note.ts';
import { consortiumPolicy, type Policy, quorum } from '../../core/log/policy.ts';
import { createVkey, ED25519_COSIGNATURE, ED25519_NOTE, type Vkey } from '../../core/log/vkey.ts';
import { type Agreement, type GatewayOf, originOf } from '../../state/agreement/agreement.ts';
import { acceptedKeys, everyKey, revocationOf } from '../../state/provenance/judge.ts';
import type { GatewayKeys } from '../../state/provenance/keys.ts';
import { type Roster, rosterOf } from '../../state/provenance/roster.ts';

/**
 * One gateway as a log and as a witness. What depends on keys is read from the roster each time, so that a
 * rotation or revocation counts at once; all of a gateway's keys for one purpose have one name.
 */
export interface LogParty {
  readonly gateway: string;
  readonly member: string;
  readonly origin: string;
  /** Of the newest key that is not revoked; when all are, a verifier that passes nothing. */
  readonly log: NoteVerifier;
  readonly witness: NoteVerifier;
  /** Of all keys that are accepted on what is new: those not revoked, newest first. */
  readonly logs: readonly NoteVerifier[];
  readonly witnesses: readonly NoteVerifier[];
  /** Every key there ever was, newest first, revoked ones among them: for what is stored. */
  readonly logKeys: readonly Vkey[];
  readonly witnessKeys: readonly Vkey[];
}

/** A witness's name in its cosignatures; another one than the log's, so that no key signs under two. */
export function witnessName(origin: string): string {
  return `${origin}/witness`;
}

/** The parties of an agreement with the keys of a roster; with those that the agreement pins when there is none. */
export function logParties(agreement: Agreement, roster: Roster = rosterOf(agreement)): readonly LogParty[] {
  return agreement.gateways.map((gateway) => logParty(agreement, gateway, roster));
}

function logParty(agreement: Agreement, gateway: GatewayOf, roster: Roster): LogParty {
  const origin = originOf(agreement, gateway);
  const log = keysUnder(origin, ED25519_NOTE);
  const witness = keysUnder(witnessName(origin), ED25519_COSIGNATURE);
  const keys = () => roster.keys(gateway.name);
  const logVkeys = () => distinct(everyKey(keys(), 'log').map(log));
  const witnessVkeys = () => distinct(everyKey(keys(), 'witness').map(witness));
  const isAccepted = (purpose: 'log' | 'witness') => (vkey: Vkey) =>
    acceptedKeys(keys(), purpose).some((key) => equalBytes(key, vkey.key));
  const logs = () => logVkeys().filter(isAccepted('log')).map(verifierOf);
  const witnesses = () => witnessVkeys().filter(isAccepted('witness')).map(verifierOf);
  return {
    gateway: gateway.name,
    member: gateway.member,
    origin,
    get logs() {
      return logs();
    },
    get witnesses() {
      return witnesses();
    },
    get log() {
      return logs()[0] ?? nobody(log(everyKey(keys(), 'log')[0]!));
    },
    get witness() {
      return witnesses()[0] ?? nobody(witness(everyKey(keys(), 'witness')[0]!));
    },
    get logKeys() {
      return logVkeys();
    },
    get witnessKeys() {
      return witnessVkeys();
    },
  };
}

/**
 * A note tells keys of one name apart by 32 bits only. Two that share them are found in seconds by whoever makes
 * them, and no note could be judged any more: the older one alone counts.
 */
function distinct(newestFirst: readonly Vkey[]): readonly Vkey[] {
  return newestFirst.filter(
    ({ keyId }, at) => !newestFirst.slice(at + 1).some((older) => older.keyId === keyId),
  );
}

/** Keys under one name, each made once. */
function keysUnder(name: string, type: number): (key: Uint8Array) => Vkey {
  const cache = new Map<string, Vkey>();
  return (key) => {
    const vkey = cache.get(toHex(key)) ?? createVkey(name, type, key);
    cache.set(toHex(key), vkey);
    return vkey;
  };
}

/** Parsing a key takes as long as verifying with it. */
const verifiers = new WeakMap<Vkey, NoteVerifier>();

function verifierOf(vkey: Vkey): NoteVerifier {
  const verifier = verifiers.get(vkey) ?? createCheckpointVerifier(vkey);
  verifiers.set(vkey, verifier);
  return verifier;
}

function nobody({ name, keyId }: Vkey): NoteVerifier {
  return { name, keyId, verify: () => false };
}

/**
 * Opens a stored checkpoint of `party`, signed with whichever key it had then; cosignatures of every key that a
 * witness ever had are verified. What a revoked key is worth there is for cosignedTime and keyUse to say.
 * @throws Error as openCheckpoint.
 */
export function openStored(
  message: Uint8Array | string,
  party: LogParty,
  parties: readonly LogParty[],
): OpenedCheckpoint {
  const lines = parseNote(message).signatures;
  const logs = party.logKeys.map(verifierOf);
  const signedBy = logs.find(({ name, keyId }) =>
    lines.some((line) => line.name === name && line.keyId === keyId),
  );
  const log = signedBy ?? party.log;
  const witnesses = parties.flatMap(({ witnessKeys }) => witnessKeys.map(verifierOf));
  return openCheckpoint(message, log, witnesses);
}

/**
 * The policy that says when a checkpoint of these logs is final: a quorum of the members, each by any key that one
 * of its gateways has or had. A policy file cannot say that a revoked key counts up to some time: whoever judges
 * by it alone gets, with `accepted`, the keys that are not revoked; cosignedTime over every key takes
 * `countsCosignature` besides.
 * @throws Error when fewer members than the quorum have a key left.
 */
export function policyOf(parties: readonly LogParty[], which: 'accepted' | 'ever' = 'ever'): Policy {
  const isAccepted = (accepted: readonly NoteVerifier[], { keyId }: Vkey) =>
    which === 'ever' || accepted.some((verifier) => verifier.keyId === keyId);
  const members = [...new Set(parties.map(({ member }) => member))];
  return consortiumPolicy(
    parties.flatMap((party) => party.logKeys.filter((vkey) => isAccepted(party.logs, vkey))),
    members
      .map((name) => ({
        name,
        witnesses: parties
          .filter(({ member }) => member === name)
          .flatMap((party) => party.witnessKeys.filter((vkey) => isAccepted(party.witnesses, vkey))),
      }))
      .filter(({ witnesses }) => witnesses.length > 0),
    members.length,
  );
}

/**
 * The policy to hand to others: of keys that are not revoked. Where revocations have left too few members for a
 * quorum, of all keys that there ever were, since old cosignatures still hold.
 */
export function policyInForce(parties: readonly LogParty[]): Policy {
  const all = new Set(parties.map(({ member }) => member));
  const left = new Set(parties.filter(({ witnesses }) => witnesses.length > 0).map(({ member }) => member));
  return policyOf(parties, left.size >= quorum(all.size) ? 'accepted' : 'ever');
}

/**
 * Whether a cosignature counts when a checkpoint's cosigned time is sought: one of a revoked key does when it
 * claims a time up to the revocation. The claim may be the thief's, which makes that witness one of the liars
 * that the quorum withstands.
 */
export function countsCosignature(
  agreement: Agreement,
  roster: Roster,
  policy: Policy,
): (cosignature: { readonly witness: string; readonly time: number }) => boolean {
  const limits = new Map<string, number>();
  for (const { name, vkey } of policy.witnesses) {
    const gateway = agreement.gateways.find((one) => witnessName(originOf(agreement, one)) === vkey.name);
    if (!gateway) continue;
    const revocation = revocationOf(roster.revocations(gateway.name), 'witness', vkey.key);
    if (revocation) limits.set(name, revocation.time);
  }
  return ({ witness, time }) => time * 1000 <= (limits.get(witness) ?? Number.POSITIVE_INFINITY);
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
    parties.filter((party) => signers.includes(witnessName(party.origin))).map((party) => party.member),
  );
}
