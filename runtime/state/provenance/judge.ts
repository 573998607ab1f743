/**
 * What a key's signature is worth, by what its gateway's identity and member have said of it. Nothing here
 * looks at a clock: a key that was revoked is refused for everything new, and what it signed before is judged
 * by when witnesses saw it.
 */
import { createVerifier, type Verifier } from '#ed25519';
import { toHex } from '../../core/encoding/base64.ts';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { keyIdOf } from '../../core/encoding/cose.ts';
import type { Endorsement } from './endorsement.ts';
import type { Purpose } from './purposes.ts';
import type { Revocation } from './revocation.ts';

/** All that is known of one gateway's keys. */
export interface KeyHistory {
  /** Ascending serial; at least one. */
  readonly history: readonly Endorsement[];
  readonly revocations: readonly Revocation[];
}

/** A signature that is to be judged. */
export interface SignatureOf {
  readonly purpose: Purpose;
  /** The public key that made it. */
  readonly key: Uint8Array;
  /**
   * POSIX seconds at which what it signed was under a checkpoint with enough cosignatures (cosignedTime);
   * undefined when it never was.
   */
  readonly cosigned: number | undefined;
}

/** Only `good` makes a signature count. */
export type KeyUse =
  | { readonly kind: 'good'; readonly serial: number }
  | { readonly kind: 'revoked'; readonly reason: string; readonly revocation: Revocation }
  | { readonly kind: 'unknown-key'; readonly reason: string };

/**
 * Judges a signature that has verified under `key`: the key must be one that the gateway's identity endorsed for
 * this purpose, and, when it was revoked, what it signed must have been cosigned by then.
 *
 * A revocation may name a time that is past, since a theft is found late. So whoever can revoke a key can also
 * disown what it signed between that time and the revocation; the time stands in `revocation` for people to
 * compare with when the revocation itself was logged.
 */
export function keyUse(keys: KeyHistory, { purpose, key, cosigned }: SignatureOf): KeyUse {
  const endorsement = keys.history.find(({ publicKeys }) => equalBytes(publicKeys[purpose], key));
  const id = toHex(keyIdOf(key));
  if (!endorsement) {
    return { kind: 'unknown-key', reason: `no endorsement names ${id} as a key for ${purpose}` };
  }
  const revocation = revocationOf(keys.revocations, purpose, key);
  if (!revocation || (cosigned !== undefined && cosigned * 1000 <= revocation.time)) {
    return { kind: 'good', serial: endorsement.serial };
  }
  const seen =
    cosigned === undefined
      ? 'no quorum of witnesses has seen it'
      : `a quorum of witnesses had seen it only at ${isoTime(cosigned * 1000)}`;
  const by = revocation.by === 'member' ? 'its member' : 'its identity key';
  return {
    kind: 'revoked',
    reason: `the key ${id} for ${purpose} was revoked by ${by} as of ${isoTime(revocation.time)}, and ${seen}`,
    revocation,
  };
}

/**
 * The revocation that counts for a key, if there is one: of the key itself, or of the identity that endorsed it.
 * The member's word comes before the identity's, then the earliest time: whoever holds a stolen identity key
 * cannot move what the member has said.
 */
export function revocationOf(
  revocations: readonly Revocation[],
  purpose: Purpose,
  key: Uint8Array,
): Revocation | undefined {
  const about = revocations.filter(
    (one) => one.purpose === 'identity' || (one.purpose === purpose && equalBytes(one.key, key)),
  );
  const byMember = about.filter(({ by }) => by === 'member');
  const decisive = byMember.length > 0 ? byMember : about;
  return decisive.reduce<Revocation | undefined>(
    (least, one) => (least === undefined || one.time < least.time ? one : least),
    undefined,
  );
}

/** Every key that was ever endorsed for a purpose, newest first, each once. */
export function everyKey({ history }: KeyHistory, purpose: Purpose): readonly Uint8Array[] {
  const keys = history.map(({ publicKeys }) => publicKeys[purpose]).reverse();
  return keys.filter((key, index) => keys.findIndex((other) => equalBytes(other, key)) === index);
}

/** The keys whose signatures are accepted on what is new: of every key those not revoked, newest first. */
export function acceptedKeys(keys: KeyHistory, purpose: Purpose): readonly Uint8Array[] {
  return everyKey(keys, purpose).filter((key) => !revocationOf(keys.revocations, purpose, key));
}

/** Verifiers of a gateway's keys for one purpose, looked up by the key identifier of a COSE_Sign1. */
export interface Keyring {
  /** The verifier of an accepted key. */
  accepted(keyId: Uint8Array): Verifier | undefined;
  /** The key and verifier of any key there ever was, for what is stored; judge it with keyUse. */
  ever(keyId: Uint8Array): { readonly key: Uint8Array; readonly verify: Verifier } | undefined;
  /** Passes what any key that ever was has signed: for a gateway's own stored entries. */
  readonly verifyAny: Verifier;
}

/** A keyring that reads `keys` anew at each call, so that a rotation or revocation counts at once. */
export function createKeyring(keys: () => KeyHistory, purpose: Purpose): Keyring {
  const verifierOf = createVerifierCache();
  const ever = (keyId: Uint8Array) => {
    const key = everyKey(keys(), purpose).find((one) => equalBytes(keyIdOf(one), keyId));
    return key && { key, verify: verifierOf(key) };
  };
  return {
    accepted(keyId) {
      const found = ever(keyId);
      return found && !revocationOf(keys().revocations, purpose, found.key) ? found.verify : undefined;
    },
    ever,
    verifyAny: (message, signature) =>
      everyKey(keys(), purpose).some((key) => verifierOf(key)(message, signature)),
  };
}

/** Keys are parsed once: they are few, and a roster bounds them. */
function createVerifierCache(): (key: Uint8Array) => Verifier {
  const cache = new Map<string, Verifier>();
  return (key) => {
    const name = toHex(key);
    const verifier = cache.get(name) ?? createVerifier(key);
    cache.set(name, verifier);
    return verifier;
  };
}

/** Milliseconds since 1970 for people; a statement's time may be beyond what a Date holds. */
export function isoTime(time: number): string {
  return Number.isNaN(new Date(time).getTime()) ? `${time} ms` : new Date(time).toISOString();
}
