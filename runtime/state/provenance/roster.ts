/**
 * The roster: which keys each gateway has and had. The agreement pins the first endorsement of each; what
 * identities and members say later comes as signed statements, from anybody and in any order, and two rosters
 * that hold the same statements agree.
 */
import { equalBytes } from '../../core/encoding/cbor.ts';
import type { Section } from '../journal/section.ts';
import type { Write } from '../journal/store.ts';
import type { Endorsement } from './endorsement.ts';
import { everyKey, isoTime, type KeyHistory, revocationOf } from './judge.ts';
import { PURPOSES, type Purpose } from './purposes.ts';
import type { Revocation } from './revocation.ts';
import { createRosterState, type Enrolment } from './roster-state.ts';
import { readStatements, statementsPath } from './statements-file.ts';

export { type ClonedIdentity, type Enrolment, isClonedIdentity } from './roster-state.ts';

export interface Roster {
  /** The endorsement in force: the highest serial. @throws Error when no gateway is called so. */
  current(gateway: string): Endorsement;
  /** All endorsements, the pinned one among them, ascending serial. */
  history(gateway: string): readonly Endorsement[];
  revocations(gateway: string): readonly Revocation[];
  /** History and revocations together, as judge.ts takes them. */
  keys(gateway: string): KeyHistory;
  /**
   * Takes a statement in; it is verified, and stored durably before this resolves.
   * @throws Error naming what is wrong; ClonedIdentity when two endorsements contradict each other.
   */
  add(statement: Uint8Array): Promise<'new' | 'known'>;
  /** Everything beyond the agreement, in the order it came, for relaying to peers. */
  statements(): readonly Uint8Array[];
  /** Calls `listener` after each new statement about a gateway; the answer takes it off again. */
  onChange(listener: (gateway: string) => void): () => void;
}

/** Where statements are kept. */
export interface RosterStorage {
  readonly section: Section;
  /** Durable when it resolves. */
  write(writes: readonly Write[]): Promise<void>;
}

export interface RosterOptions {
  readonly storage?: RosterStorage;
  /** Statements that are held already. @throws Error, from the opening function, naming the first that is wrong. */
  readonly statements?: readonly Uint8Array[];
  /** Milliseconds since 1970; without it no time is judged. */
  readonly now?: () => number;
  readonly warn?: (message: string) => void;
}

/** A statement from the future further than this is warned of: clocks of devices run apart. */
const FUTURE_MS = 24 * 3600 * 1000;
const PREFIX = 'statement/';

/**
 * The roster over what is stored, which keeps what the agreement pins for the epochs to come. A stored statement that does not fit the agreement, as one of a gateway that
 * has left, is passed over and warned of.
 */
export async function openRoster(enrolment: Enrolment, options: RosterOptions): Promise<Roster> {
  const { storage } = options;
  const stored: Uint8Array[] = [];
  if (storage) {
    for await (const [, statement] of storage.section.entries({ prefix: PREFIX })) stored.push(statement);
    // A later epoch pins later endorsements: what this one pins must not be forgotten then.
    const pinned = enrolment.gateways
      .map(({ endorsement }) => endorsement.statement)
      .filter((statement) => !stored.some((held) => equalBytes(held, statement)));
    const writes = pinned.map((statement, index) =>
      storage.section.put(keyOf(stored.length + index), statement),
    );
    if (writes.length > 0) await storage.write(writes);
    stored.push(...pinned);
  }
  return createRoster(enrolment, options, stored);
}

/**
 * The roster of an agreement and statements that came with it, kept in memory: for offline verification.
 * @throws Error naming the first statement that is wrong.
 */
export function rosterOf(enrolment: Enrolment, statements: readonly Uint8Array[] = []): Roster {
  return createRoster(enrolment, { statements }, []);
}

function keyOf(index: number): string {
  return `${PREFIX}${String(index).padStart(8, '0')}`;
}

function createRoster(
  enrolment: Enrolment,
  { storage, statements = [], now, warn = () => undefined }: RosterOptions,
  stored: readonly Uint8Array[],
): Roster {
  const state = createRosterState(enrolment);
  const listeners = new Set<(gateway: string) => void>();
  let turn: Promise<unknown> = Promise.resolve();
  let count = stored.length;
  const unfit: string[] = [];
  for (const statement of stored) {
    try {
      const judged = state.judge(statement);
      if (judged !== 'known') judged.apply();
    } catch (error) {
      unfit.push((error as Error).message);
    }
  }
  if (unfit.length > 0)
    warn(`stored statements about keys are passed over, ${unfit.length} in all, the first: ${unfit[0]}`);
  for (const statement of statements) {
    const judged = state.judge(statement);
    if (judged !== 'known') judged.apply();
  }

  async function take(statement: Uint8Array): Promise<'new' | 'known'> {
    const judged = state.judge(statement);
    if (judged === 'known') return 'known';
    if (storage) {
      await storage.write([storage.section.put(keyOf(count), statement)]);
      count += 1;
    }
    judged.apply();
    if (now && judged.time > now() + FUTURE_MS) {
      warn(
        `a statement about the keys of ${judged.gateway} is dated ${isoTime(judged.time)}: is a clock wrong?`,
      );
    }
    for (const listener of listeners) listener(judged.gateway);
    return 'new';
  }

  return {
    current: (gateway) => state.keys(gateway).history.at(-1)!,
    history: (gateway) => state.keys(gateway).history,
    revocations: (gateway) => state.keys(gateway).revocations,
    keys: (gateway) => state.keys(gateway),
    add(statement) {
      // One after the other: two that contradict each other must not both be judged before either is stored.
      const mine = turn.then(() => take(new Uint8Array(statement)));
      turn = mine.catch(() => undefined);
      return mine;
    },
    statements: () => state.statements(),
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/**
 * Takes in the statements in a gateway's directory: its own, and those that were handed to it while it did not
 * run. One that does not fit is warned of and passed over: it must not keep the gateway from starting.
 */
export async function addStatementsOf(
  roster: Roster,
  directory: string,
  warn: (message: string) => void,
): Promise<void> {
  const path = statementsPath(directory);
  for (const statement of await readStatements(path)) {
    await roster
      .add(statement)
      .catch((error: Error) => warn(`a statement in ${path} is passed over: ${error.message}`));
  }
}

/**
 * Why a gateway with these own public keys must not sign, or undefined: the keys in its directory are not those
 * that its newest endorsement names, as after a restore from a backup older than a rotation, or one is revoked.
 */
export function ownKeysFault(
  roster: Roster,
  gateway: string,
  own: Readonly<Record<Purpose, { readonly publicKey: Uint8Array }>>,
): string | undefined {
  const keys = roster.keys(gateway);
  const { serial, publicKeys } = roster.current(gateway);
  const other = PURPOSES.filter((purpose) => !equalBytes(publicKeys[purpose], own[purpose].publicKey));
  const older = other.filter((purpose) =>
    everyKey(keys, purpose).some((key) => equalBytes(key, own[purpose].publicKey)),
  );
  if (older.length < other.length) {
    return (
      `the keys here for ${other.join(', ')} are not those of endorsement ${serial}, the newest of ${gateway}, and no ` +
      'endorsement names them: restore the directory, or have a new epoch name this gateway'
    );
  }
  if (older.length > 0) {
    const flags = older.map((purpose) => `--purpose ${purpose}`).join(' ');
    return (
      `the keys here for ${older.join(', ')} were rotated out by endorsement ${serial} of ${gateway}: this directory is ` +
      `older than that. Rotate again: kosmos keys rotate --serial ${serial + 1} ${flags}`
    );
  }
  const gone = PURPOSES.flatMap(
    (purpose) => revocationOf(keys.revocations, purpose, publicKeys[purpose]) ?? [],
  );
  if (gone.length === 0) return undefined;
  if (gone.some(({ purpose }) => purpose === 'identity')) {
    return `the identity key of ${gateway} is revoked: a new epoch has to name this gateway with another`;
  }
  const flags = gone.map(({ purpose }) => `--purpose ${purpose}`).join(' ');
  return `the keys of ${gateway} for ${gone.map(({ purpose }) => purpose).join(', ')} are revoked: kosmos keys rotate ${flags}`;
}
