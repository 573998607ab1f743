/** What a roster knows, and how it judges a statement. No storage, no clock: the same statements, the same answer. */
import { toHex } from '../../core/encoding/base64.ts';
import { decodeCbor, decodeError, equalBytes } from '../../core/encoding/cbor.ts';
import { keyIdOf, parseSign1 } from '../../core/encoding/cose.ts';
import { fieldsOf, safeInteger, text } from '../../core/encoding/fields.ts';
import { KIND } from '../../core/encoding/kind.ts';
import { type Endorsement, namesSameKeys, openEndorsement } from './endorsement.ts';
import type { KeyHistory } from './judge.ts';
import { PURPOSES } from './purposes.ts';
import { openRevocation, type Revocation } from './revocation.ts';
import { MAX_STATEMENT_BYTES } from './statements-file.ts';

/** What an agreement says of keys. */
export interface Enrolment {
  readonly members: readonly { readonly name: string; readonly publicKey: Uint8Array }[];
  readonly gateways: readonly {
    readonly member: string;
    readonly name: string;
    readonly identity: Uint8Array;
    readonly endorsement: Endorsement;
  }[];
}

/** Two endorsements of one serial with different keys: somebody else has a copy of the identity key. */
export interface ClonedIdentity extends Error {
  readonly name: 'ClonedIdentity';
  readonly gateway: string;
  /** Both statements; together they are the evidence. */
  readonly statements: readonly [Uint8Array, Uint8Array];
}

export function isClonedIdentity(error: unknown): error is ClonedIdentity {
  return error instanceof Error && error.name === 'ClonedIdentity';
}

/** The most endorsements of a gateway beyond the pinned one, and the most revocations by either signer. */
const MAX_ENDORSEMENTS = 256;
const MAX_REVOCATIONS = 256;

/** A statement that holds and is new; it counts when `apply` is called. */
export interface Judged {
  readonly gateway: string;
  readonly time: number;
  apply(): void;
}

export interface RosterState {
  keys(gateway: string): KeyHistory;
  statements(): readonly Uint8Array[];
  /** @throws Error naming what is wrong with the statement. */
  judge(statement: Uint8Array): Judged | 'known';
}

type Gateway = Enrolment['gateways'][number];

export function createRosterState(enrolment: Enrolment): RosterState {
  const histories = new Map<string, KeyHistory>(
    enrolment.gateways.map((gateway) => [gateway.name, { history: [gateway.endorsement], revocations: [] }]),
  );
  const statements: Uint8Array[] = [];
  const known = new Set<string>();
  /** Whose each key is: a key has one owner and one purpose for ever. */
  const owners = new Map<string, string>();
  for (const { name, publicKey } of enrolment.members) owners.set(toHex(publicKey), `member ${name}`);
  for (const { name, identity, endorsement } of enrolment.gateways) {
    owners.set(toHex(identity), `identity of ${name}`);
    claim(endorsement);
  }

  function claim({ gateway, publicKeys }: Endorsement): void {
    for (const purpose of PURPOSES) owners.set(toHex(publicKeys[purpose]), `${purpose} of ${gateway}`);
  }

  function keys(gateway: string): KeyHistory {
    const found = histories.get(gateway);
    if (!found) throw new Error(`no gateway of the agreement is called ${gateway}`);
    return found;
  }

  function judge(statement: Uint8Array): Judged | 'known' {
    if (statement.length > MAX_STATEMENT_BYTES) {
      throw decodeError(`statement: ${statement.length} bytes, at most ${MAX_STATEMENT_BYTES} are read`);
    }
    const name = toHex(statement);
    if (known.has(name)) return 'known';
    const subject = subjectOf(statement);
    const gateway = enrolment.gateways.find((one) => one.name === subject.gateway);
    if (!gateway || gateway.member !== subject.member) {
      throw new Error(`the agreement names no gateway ${subject.gateway} of ${subject.member}`);
    }
    const change =
      subject.kind === KIND.endorsement
        ? judgeEndorsement(openEndorsement(statement, gateway.identity), keys(gateway.name))
        : judgeRevocation(openRevocation(statement, revokingKeys(gateway)), keys(gateway.name));
    if (change === 'known') return 'known';
    return {
      gateway: gateway.name,
      time: change.time,
      apply() {
        histories.set(gateway.name, change.keys);
        change.claim?.();
        known.add(name);
        statements.push(statement);
      },
    };
  }

  function revokingKeys({ identity, member }: Gateway) {
    const { publicKey } = enrolment.members.find((one) => one.name === member)!;
    return { identity, memberKey: publicKey };
  }

  function judgeEndorsement(endorsement: Endorsement, { history, revocations }: KeyHistory) {
    const { gateway, serial, time } = endorsement;
    const same = history.find((one) => one.serial === serial);
    if (same && equalBytes(same.statement, endorsement.statement)) return 'known';
    if (same && !namesSameKeys(same, endorsement)) throw clonedIdentity(same, endorsement);
    if (same)
      throw new Error(`endorsement ${serial} of ${gateway}: there is one of this serial with another time`);
    if (history.length > MAX_ENDORSEMENTS) {
      throw new Error(
        `endorsement ${serial} of ${gateway}: there are ${history.length} already; a new epoch of the agreement can begin with the newest`,
      );
    }
    for (const purpose of PURPOSES) {
      const key = endorsement.publicKeys[purpose];
      const owner = owners.get(toHex(key)) ?? repeatedIn(endorsement, purpose);
      if (owner !== undefined && owner !== `${purpose} of ${gateway}`) {
        throw new Error(
          `endorsement ${serial} of ${gateway}: its ${purpose} key ${toHex(keyIdOf(key))} is or was the key of: ${owner}`,
        );
      }
    }
    const grown = [...history, endorsement].sort((a, b) => a.serial - b.serial);
    return { time, keys: { history: grown, revocations }, claim: () => claim(endorsement) };
  }

  function judgeRevocation(revocation: Revocation, { history, revocations }: KeyHistory) {
    const { gateway, by, time } = revocation;
    if (revocations.filter((one) => one.by === by).length >= MAX_REVOCATIONS) {
      throw new Error(`revocation for ${gateway}: there are ${MAX_REVOCATIONS} already`);
    }
    return { time, keys: { history, revocations: [...revocations, revocation] }, claim: undefined };
  }

  return { keys, statements: () => [...statements], judge };
}

/** Who else of the same endorsement has this purpose's key. */
function repeatedIn({ gateway, publicKeys }: Endorsement, purpose: (typeof PURPOSES)[number]) {
  const other = PURPOSES.find((one) => one !== purpose && equalBytes(publicKeys[one], publicKeys[purpose]));
  return other && `${other} of ${gateway}`;
}

function clonedIdentity(held: Endorsement, other: Endorsement): ClonedIdentity {
  const message =
    `two endorsements of ${held.gateway} have serial ${held.serial} and different keys: its identity key is in two hands, ` +
    `or its directory was restored from a backup; ${held.member} must revoke it: kosmos keys revoke --member-key FILE`;
  return Object.assign(new Error(message), {
    name: 'ClonedIdentity' as const,
    gateway: held.gateway,
    statements: [held.statement, other.statement] as const,
  });
}

/** What a statement says it is about; nothing of it is verified. @throws DecodeError when it is no statement. */
export function subjectOf(statement: Uint8Array): {
  readonly kind: number;
  readonly member: string;
  readonly gateway: string;
} {
  const payload = decodeCbor(parseSign1(statement).payload);
  const kind = Array.isArray(payload) ? payload[0] : undefined;
  if (kind !== KIND.endorsement && kind !== KIND.revocation) {
    throw decodeError('statement: neither an endorsement nor a revocation');
  }
  const fields = fieldsOf(payload, 7, 'statement');
  return {
    kind: safeInteger(kind, 'statement: kind'),
    member: text(fields[1], 'statement: member'),
    gateway: text(fields[2], 'statement: gateway'),
  };
}
