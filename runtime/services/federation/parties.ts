/** Who takes part in a federation, and what a round number decides about them: its leader and its committee. */
import type { Verifier } from '#ed25519';
import { sha256 } from '#sha256';
import { compareBytes, encodeCbor } from '../../core/encoding/cbor.ts';
import { quorum } from '../../core/log/policy.ts';
import type { Agreement } from '../../state/agreement/agreement.ts';
import { createKeyring } from '../../state/provenance/judge.ts';
import { type Roster, rosterOf } from '../../state/provenance/roster.ts';

export interface Party {
  readonly name: string;
  readonly member: string;
  /**
   * The verifier of one of its sample keys, by the key identifier of a message: of the present one, or of one
   * before it, since stored records outlive a rotation; undefined when it has none such or has revoked it.
   */
  verifierOf(keyId: Uint8Array): Verifier | undefined;
}

export interface Parties {
  readonly agreement: Agreement;
  readonly self: string;
  /** Every gateway of the agreement, in its order. */
  readonly all: readonly Party[];
  /** One gateway a member has its vote: the first. */
  readonly voters: readonly Party[];
  /** Votes that decide. */
  readonly quorum: number;
  byName(name: string): Party | undefined;
}

/** The parties of an agreement, their keys read from the roster at each call; from the agreement when there is none. */
export function createParties(
  agreement: Agreement,
  self: string,
  roster: Roster = rosterOf(agreement),
): Parties {
  const all = agreement.gateways.map(({ name, member }): Party => {
    const keyring = createKeyring(() => roster.keys(name), 'sample');
    return { name, member, verifierOf: (keyId) => keyring.accepted(keyId) };
  });
  const voters = agreement.members.flatMap(
    (member) => all.find((party) => party.member === member.name) ?? [],
  );
  return {
    agreement,
    self,
    all,
    voters,
    quorum: quorum(voters.length),
    byName: (name) => all.find((party) => party.name === name),
  };
}

/** How far a round's number may leap: a liar that could take the last number would end all rounds. */
export const MAX_LEAP = 1_000_000;

/** The leader of a round: the voters in turn. It proposes and relays, and is trusted with nothing. */
export function leaderOf(parties: Parties, round: number): string {
  return parties.voters[round % parties.voters.length]!.name;
}

/** Different members among these gateways. */
export function membersAmong(parties: Parties, names: readonly string[]): number {
  return new Set(names.map((name) => parties.byName(name)?.member)).size;
}

/**
 * The committee of a round: the gateways of the cohort with the lowest hash of (agreement, round, name), one a
 * member as long as there are others. Everybody computes it; nobody chooses it.
 */
export function drawCommittee(parties: Parties, round: number, cohort: readonly string[]): readonly string[] {
  const ranked = cohort
    .map((name) => ({ name, rank: sha256(encodeCbor([parties.agreement.hash, round, name])) }))
    .sort((a, b) => compareBytes(a.rank, b.rank))
    .map(({ name }) => name);
  const seated: string[] = [];
  const memberOf = (name: string) => parties.byName(name)?.member;
  for (const name of ranked) {
    if (!seated.some((other) => memberOf(other) === memberOf(name))) seated.push(name);
  }
  return seated.slice(0, parties.agreement.terms.federation.committee);
}
