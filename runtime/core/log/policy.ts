import { type Checkpoint, parseCheckpoint } from './checkpoint.ts';
import {
  COSIGNATURE_SCHEMES,
  type CosignatureScheme,
  cosignatureTime,
  createCheckpointVerifier,
} from './cosignature.ts';
import { judgeNote, type Note, type NoteSignature, type NoteVerifier, parseNote } from './note.ts';
import { parseSize } from './size.ts';
import { decodeUtf8, encodeUtf8, quote } from './text.ts';
import {
  ED25519_COSIGNATURE,
  ED25519_NOTE,
  formatKeyId,
  formatVkey,
  ML_DSA_44_COSIGNATURE,
  parseVkey,
  type Vkey,
} from './vkey.ts';

/** The longest policy file that is read, in bytes, and the most lines it may have. */
export const MAX_POLICY_BYTES = 1_048_576;
export const MAX_POLICY_LINES = 4096;

/** The quorum of a policy that asks for no cosignature. */
export const NO_QUORUM = 'none';

/** How many of `n` members may lie, a log's owner among them, without two conflicting views becoming final. */
export function faults(n: number): number {
  assertMembers(n);
  return Math.max(1, Math.floor((n - 1) / 3));
}

/**
 * How many of `n` members must cosign a checkpoint to make it final: any two such sets share more members
 * than may lie. 3:3, 4:3, 5:4, 7:5, 10:7. A lone member gets 2, which it never reaches.
 */
export function quorum(n: number): number {
  return Math.floor((n + faults(n)) / 2) + 1;
}

/** A trust policy (C2SP tlog-policy): which logs, which witnesses, and how many of them. */
export interface Policy {
  readonly logs: readonly PolicyLog[];
  readonly witnesses: readonly PolicyWitness[];
  /** A group names only witnesses and groups before it. */
  readonly groups: readonly PolicyGroup[];
  /** The name of a witness or group, or NO_QUORUM. */
  readonly quorum: string;
}

export interface PolicyLog {
  /** Its name is the log's origin. */
  readonly vkey: Vkey;
  readonly url?: string;
}

export interface PolicyWitness {
  /** Only for this policy; not the name in the key. */
  readonly name: string;
  readonly vkey: Vkey;
  readonly url?: string;
}

export interface PolicyGroup {
  readonly name: string;
  /** How many members must have witnessed a checkpoint for the group to have: 1 to members.length. */
  readonly threshold: number;
  readonly members: readonly string[];
}

/** Reads a policy file. Throws, naming the line, unless it keeps every rule of C2SP tlog-policy. */
export function parsePolicy(file: Uint8Array | string): Policy {
  const builder = createBuilder();
  readLines(file).forEach((line, index) => {
    try {
      const words = wordsOf(line);
      if (words.length > 0) addLine(builder, words);
    } catch (error) {
      throw new Error(`policy, line ${index + 1}: ${(error as Error).message}`);
    }
  });
  return builder.finish();
}

/** Writes a policy file in one fixed form. Throws if it would not be read back. */
export function formatPolicy(policy: Policy): string {
  const builder = createBuilder();
  for (const log of policy.logs) builder.addLog(log);
  for (const witness of policy.witnesses) builder.addWitness(witness);
  for (const group of policy.groups) builder.addGroup(group);
  builder.setQuorum(policy.quorum);
  const lines = [
    ...policy.logs.map(({ vkey, url }) => ['log', formatVkey(vkey), ...optional(url)]),
    ...policy.witnesses.map(({ name, vkey, url }) => ['witness', name, formatVkey(vkey), ...optional(url)]),
    ...policy.groups.map(({ name, threshold, members }) => ['group', name, `${threshold}`, ...members]),
    ['quorum', policy.quorum],
  ];
  return lines.map((words) => `${words.map(checkedWord).join(' ')}\n`).join('');
}

/** A member of a consortium as a witness: one vote, whichever of its gateways cosigned. */
export interface WitnessingMember {
  readonly name: string;
  readonly witnesses: readonly Vkey[];
}

/**
 * The policy of an epoch: quorum(n) of its n members, each a group of its gateways' keys, so that the
 * biggest fleet does not own the quorum. A key is called as in its vkey; where a gateway had others before or
 * after under the same name, those behind the first are called name+id. `size` is n where members without any
 * key are left out of `members`. Throws if names collide or a key comes twice.
 */
export function consortiumPolicy(
  logs: readonly Vkey[],
  members: readonly WitnessingMember[],
  size = members.length,
): Policy {
  const taken = new Set<string>();
  const groups = members.map(({ name, witnesses }) => ({
    name,
    witnesses: witnesses.map((vkey): PolicyWitness => {
      // A key's name has no plus, so this one cannot be that of another.
      const unique = taken.has(vkey.name) ? `${vkey.name}+${formatKeyId(vkey.keyId)}` : vkey.name;
      taken.add(vkey.name);
      return { name: unique, vkey };
    }),
  }));
  const policy: Policy = {
    logs: logs.map((vkey) => ({ vkey })),
    witnesses: groups.flatMap(({ witnesses }) => witnesses),
    groups: [
      ...groups.map(({ name, witnesses }) => ({
        name,
        threshold: 1,
        members: witnesses.map((witness) => witness.name),
      })),
      { name: 'quorum', threshold: quorum(size), members: members.map(({ name }) => name) },
    ],
    quorum: 'quorum',
  };
  formatPolicy(policy);
  return policy;
}

/** A witness of the policy that cosigned, and when, by its own clock. */
export interface Witnessed {
  /** Its name in the policy. */
  readonly witness: string;
  /** POSIX seconds. */
  readonly time: number;
}

/** What a checkpoint is worth under a policy. Only `satisfied` makes it valid. */
export type PolicyVerdict =
  | { readonly kind: 'satisfied'; readonly checkpoint: Checkpoint; readonly cosigned: readonly Witnessed[] }
  /** The log did sign it; cosignatures are missing. */
  | {
      readonly kind: 'unsatisfied';
      readonly checkpoint: Checkpoint;
      readonly cosigned: readonly Witnessed[];
      /** Witnesses of the policy whose signature type cannot be verified here, so that they count as missing. */
      readonly unverifiable: readonly string[];
    }
  | { readonly kind: 'refused'; readonly reason: string };

/** What evaluatePolicy may be given besides the policy. */
export interface PolicyContext {
  /** The logs to accept, for a policy that names none. */
  readonly logs?: readonly Vkey[];
  readonly schemes?: readonly CosignatureScheme[];
}

/** Judges a signed checkpoint by a policy. Never throws for what is in `message`. */
export function evaluatePolicy(
  policy: Policy,
  message: Uint8Array | string,
  context: PolicyContext = {},
): PolicyVerdict {
  return createPolicyJudge(policy, context)(message);
}

/** As evaluatePolicy, for many checkpoints under one policy: keys are read once. Throws if no log is accepted. */
export function createPolicyJudge(
  policy: Policy,
  context: PolicyContext = {},
): (message: Uint8Array | string) => PolicyVerdict {
  const schemes = context.schemes ?? COSIGNATURE_SCHEMES;
  const logs = policy.logs.length > 0 ? policy.logs.map(({ vkey }) => vkey) : (context.logs ?? []);
  if (logs.length === 0) throw new Error('the policy names no log: say which logs to accept');
  const witnesses = policy.witnesses.map(({ vkey }) => vkey);
  // One key may be listed as a log's and as a witness's.
  const keys = new Map([...logs, ...witnesses].map((vkey) => [formatVkey(vkey), vkey]));
  const verifiers = [...keys.values()]
    .filter((vkey) => isVerifiable(vkey, schemes))
    .map((vkey) => createCheckpointVerifier(vkey, schemes));
  const unverifiable = policy.witnesses
    .filter(({ vkey }) => !isVerifiable(vkey, schemes))
    .map(({ name }) => name);
  return (message) => {
    try {
      return evaluate(policy, logs, verifiers, unverifiable, parseNote(message));
    } catch (error) {
      return refused((error as Error).message);
    }
  };
}

function evaluate(
  policy: Policy,
  logs: readonly Vkey[],
  verifiers: readonly NoteVerifier[],
  unverifiable: readonly string[],
  note: Note,
): PolicyVerdict {
  const verdict = judgeNote(note, verifiers);
  if (verdict.kind === 'forged') return refused(`invalid signature for key ${quote(verdict.name)}`);
  const checkpoint = parseCheckpoint(note.text);
  const verified = verdict.kind === 'verified' ? verdict.verified : [];
  if (!logs.some((log) => log.name === checkpoint.origin && signatureOf(log, verified) !== undefined)) {
    return refused(`no accepted log signed the checkpoint of ${quote(checkpoint.origin)}`);
  }
  const cosigned = policy.witnesses.flatMap(({ name, vkey }): Witnessed[] => {
    const line = signatureOf(vkey, verified);
    return line === undefined ? [] : [{ witness: name, time: cosignatureTime(line) }];
  });
  const enough = isQuorum(policy, new Set(cosigned.map(({ witness }) => witness)));
  if (enough) return { kind: 'satisfied', checkpoint, cosigned };
  return { kind: 'unsatisfied', checkpoint, cosigned, unverifiable };
}

/** Whether these witnesses, by their names in the policy, are enough. */
export function isQuorum(policy: Policy, witnesses: ReadonlySet<string>): boolean {
  if (policy.quorum === NO_QUORUM) return true;
  const witnessed = new Set(policy.witnesses.map(({ name }) => name).filter((name) => witnesses.has(name)));
  // A group names only what stands before it, so one pass in order settles all of them.
  for (const { name, threshold, members } of policy.groups) {
    if (members.filter((member) => witnessed.has(member)).length >= threshold) witnessed.add(name);
  }
  return witnessed.has(policy.quorum);
}

function isVerifiable(vkey: Vkey, schemes: readonly CosignatureScheme[]): boolean {
  return vkey.type === ED25519_NOTE || schemes.some(({ type }) => type === vkey.type);
}

function signatureOf(vkey: Vkey, verified: readonly NoteSignature[]): NoteSignature | undefined {
  return verified.find(({ name, keyId }) => name === vkey.name && keyId === vkey.keyId);
}

function refused(reason: string): PolicyVerdict {
  return { kind: 'refused', reason };
}

interface Builder {
  addLog(log: PolicyLog): void;
  addWitness(witness: PolicyWitness): void;
  addGroup(group: PolicyGroup): void;
  setQuorum(name: string): void;
  finish(): Policy;
}

/** Collects a policy, refusing each part that breaks a rule: what parsing and formatting have in common. */
function createBuilder(): Builder {
  const logs: PolicyLog[] = [];
  const witnesses: PolicyWitness[] = [];
  const groups: PolicyGroup[] = [];
  const names = new Set<string>();
  const grouped = new Set<string>();
  const logKeys = new Set<string>();
  const witnessKeys = new Set<string>();
  let quorumName: string | undefined;
  const define = (name: string) => {
    if (name === NO_QUORUM) throw new Error(`${NO_QUORUM} is a name of the format itself: choose another`);
    addOnce(names, name, `the name ${quote(name)}`);
  };
  return {
    addLog(log) {
      const { type } = log.vkey;
      if (type !== ED25519_NOTE && type !== ED25519_COSIGNATURE && type !== ML_DSA_44_COSIGNATURE) {
        throw new Error(`a log has a key of signature type 1, 4 or 6, ${quote(log.vkey.name)} has ${type}`);
      }
      addOnce(logKeys, publicKeyOf(log.vkey), `the key of log ${quote(log.vkey.name)}`);
      logs.push(log);
    },
    addWitness(witness) {
      const { type } = witness.vkey;
      if (type !== ED25519_COSIGNATURE && type !== ML_DSA_44_COSIGNATURE) {
        throw new Error(`a witness has a key of signature type 4 or 6, ${quote(witness.name)} has ${type}`);
      }
      addOnce(witnessKeys, publicKeyOf(witness.vkey), `the key of witness ${quote(witness.name)}`);
      define(witness.name);
      witnesses.push(witness);
    },
    addGroup(group) {
      const { name, threshold, members } = group;
      if (!Number.isInteger(threshold) || threshold < 1 || threshold > members.length) {
        throw new Error(
          `group ${quote(name)}: the threshold must be 1 to ${members.length}, its number of members`,
        );
      }
      for (const member of members) {
        if (!names.has(member))
          throw new Error(`group ${quote(name)}: ${quote(member)} is not defined before it`);
        addOnce(grouped, member, `${quote(member)} as a member of a group`);
      }
      define(name);
      groups.push(group);
    },
    setQuorum(name) {
      if (quorumName !== undefined) throw new Error('a second quorum line: a policy has one');
      if (name !== NO_QUORUM && !names.has(name))
        throw new Error(`quorum: ${quote(name)} is not defined before it`);
      quorumName = name;
    },
    finish() {
      if (quorumName === undefined) throw new Error('policy: it has no quorum line');
      return { logs, witnesses, groups, quorum: quorumName };
    },
  };
}

function addLine(builder: Builder, words: readonly string[]): void {
  const [keyword, ...rest] = words;
  const [first, second, third, ...more] = rest;
  if (keyword === 'log' && first !== undefined && rest.length <= 2) {
    builder.addLog({ vkey: parseVkey(first), ...(second !== undefined && { url: second }) });
  } else if (keyword === 'witness' && first !== undefined && second !== undefined && rest.length <= 3) {
    builder.addWitness({ name: first, vkey: parseVkey(second), ...(third !== undefined && { url: third }) });
  } else if (keyword === 'group' && first !== undefined && second !== undefined && third !== undefined) {
    const members = [third, ...more];
    builder.addGroup({ name: first, threshold: thresholdOf(second, members.length), members });
  } else if (keyword === 'quorum' && first !== undefined && rest.length === 1) {
    builder.setQuorum(first);
  } else {
    throw new Error(`${quote(words.join(' '))} is no log, witness, group or quorum line`);
  }
}

function thresholdOf(word: string, members: number): number {
  if (word === 'all') return members;
  if (word === 'any') return 1;
  const threshold = parseSize(word);
  if (threshold === undefined) throw new Error(`${quote(word)} is no threshold: all, any or a number`);
  return threshold;
}

/** The lines of a file of octets, comments among them: what is no UTF-8 may stand in a comment. */
function readLines(file: Uint8Array | string): Uint8Array[] {
  const bytes = typeof file === 'string' ? encodeUtf8(file) : file;
  if (bytes.length > MAX_POLICY_BYTES) throw new Error(`policy: more than ${MAX_POLICY_BYTES} bytes`);
  const lines: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0x0a, at);
    if (end === -1) throw new Error(`policy, line ${lines.length + 1}: it does not end in a newline`);
    if (lines.length === MAX_POLICY_LINES) throw new Error(`policy: more than ${MAX_POLICY_LINES} lines`);
    lines.push(bytes.subarray(at, end));
    at = end + 1;
  }
  return lines;
}

/** The items of a line; none for an empty line or a comment. */
function wordsOf(line: Uint8Array): string[] {
  if (line.some((octet) => (octet < 0x20 && octet !== 0x09) || octet === 0x7f)) {
    throw new Error('it has a control character');
  }
  const begin = line.findIndex((octet) => octet !== 0x20 && octet !== 0x09);
  if (begin === -1 || line[begin] === 0x23) return [];
  const text = decodeUtf8(line);
  if (text === undefined) throw new Error('it is not UTF-8');
  return text.split(/[ \t]+/).filter((word) => word !== '');
}

function checkedWord(word: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a policy may not have
  if (word === '' || /[\u0000-\u0020\u007f]/.test(word))
    throw new Error(`${quote(word)} cannot stand in a policy`);
  return word;
}

function addOnce(set: Set<string>, value: string, what: string): void {
  if (set.has(value)) throw new Error(`${what} comes twice`);
  set.add(value);
}

/** Keys are the same if their public keys are, whatever their names and types. */
function publicKeyOf(vkey: Vkey): string {
  return vkey.key.join(',');
}

function optional(word: string | undefined): string[] {
  return word === undefined ? [] : [word];
}

function assertMembers(n: number): void {
  if (!Number.isSafeInteger(n) || n < 1) throw new RangeError(`${n} is no number of members`);
}
